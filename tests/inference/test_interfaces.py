"""What all inference classes share: a speaker for each item, threads, and errors by their cause."""

import threading

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.lobes.features import Fbank
from torch import nn
from voices import utter

from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.lobes.embeddings import ActivationEmbedding
from vofp_plugin.lobes.enrollment import EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.personalized import PersonalizedModel


def make_spotter(n_mels=40, **options):
    """A spotter of two words to which the speaker makes a difference."""
    torch.manual_seed(0)
    main_model = DSCNN(num_classes=2, channels=6, num_blocks=1)
    encoder = EnrollmentEncoder(ActivationEmbedding(main_model), code_size=8)
    personalizer = HyperPersonalizer(main_model, {"*": "channel"}, 8)
    nn.init.normal_(personalizer.mean.weight, std=0.1)
    words = CategoricalEncoder()
    words.update_from_iterable(["no", "yes"])
    front_end = FrontEnd(Fbank(n_mels=n_mels))
    hparams = {"front_end": front_end, "label_encoder": words}
    modules = {"model": PersonalizedModel(main_model, encoder, personalizer)}
    return KeywordSpotter(modules, hparams, **options)


@pytest.fixture
def spotter():
    return make_spotter()


@pytest.fixture(scope="module")
def wavs():
    return torch.stack([utter(take=take) for take in range(6)])


@pytest.fixture
def speakers(spotter):
    """Profiles of three speakers."""
    voices = [(120.0, 1.0), (230.0, 1.3), (170.0, 0.8)]
    return [spotter.enroll([utter(*voice)]) for voice in voices]


def answers(spotter, *arguments, **keywords):
    return spotter.classify_batch(*arguments, **keywords)[0]


# Items and their speakers


@pytest.mark.parametrize("places", ["010101", "001122", "0n1n00", "012nn1", "nnnnnn", "000000"])
def test_every_item_has_the_speaker_it_names(spotter, speakers, wavs, places):
    profiles = [None if place == "n" else speakers[int(place)] for place in places]
    together = answers(spotter, wavs, profiles=profiles)
    for wav, profile, answer in zip(wavs, profiles, together, strict=True):
        alone = answers(spotter, wav.unsqueeze(0), profiles=profile)
        torch.testing.assert_close(answer, alone[0], atol=1e-5, rtol=1e-5)


def test_speakers_differ(spotter, speakers, wavs):
    first, second, nobody = (
        answers(spotter, wavs, profiles=x) for x in (speakers[0], speakers[1], None)
    )
    assert (first - second).abs().max() > 1e-3 and (first - nobody).abs().max() > 1e-3


def test_relative_lengths_leave_padding_out(spotter, speakers, wavs):
    padded = nn.functional.pad(wavs[:2], (0, 8000), value=0.5)
    lens = torch.tensor([2 / 3, 1 / 3])
    expected = answers(spotter, [wavs[0], wavs[1][:8000]], profiles=speakers[0])
    assert torch.equal(answers(spotter, padded, lens, speakers[0]), expected)


@pytest.mark.parametrize("lens", [[1.0], [1.0, 0.0], [1.5, 1.0], [float("nan"), 1.0]])
def test_bad_lengths_are_refused(spotter, wavs, lens):
    with pytest.raises(ValueError, match="Got wav_lens .*expected"):
        spotter.classify_batch(wavs[:2], torch.tensor(lens))


def test_lengths_of_a_list_are_refused(spotter, wavs):
    with pytest.raises(ValueError, match="padded batch .B, L., and none for a list"):
        spotter.classify_batch(list(wavs), torch.ones(len(wavs)))


def test_another_number_of_profiles_is_refused(spotter, speakers, wavs):
    with pytest.raises(ValueError, match="Got 3 profiles of 6 items; expected one for each"):
        spotter.classify_batch(wavs, profiles=speakers)


@pytest.mark.parametrize("wrong", ["anna.json", torch.rand(3), {"anna": 1}, 3])
def test_what_is_no_profile_is_told(spotter, wavs, wrong):
    for profiles in (wrong, [wrong] * len(wavs)):
        with pytest.raises(TypeError, match="Got a .* for a profile; expected what `enroll`"):
            spotter.classify_batch(wavs, profiles=profiles)
    with pytest.raises(TypeError, match="for a profile"):
        spotter.merge(wrong)


def test_paths_arrays_and_tensors_are_alike(spotter, wavs, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, wavs[0].numpy(), 16000, subtype="FLOAT")
    kinds = [path, str(path), wavs[0].numpy(), wavs[0], wavs[0].double().numpy()]
    first, *others = (spotter.enroll([kind, wavs[1]]).summary.values for kind in kinds)
    assert all(torch.allclose(first, other, atol=1e-4) for other in others)
    for batch in (kinds, np.stack([wavs[0].numpy()] * 2)):
        rows = answers(spotter, batch)
        torch.testing.assert_close(rows, rows[:1].expand_as(rows), atol=1e-4, rtol=1e-4)


def test_one_path_is_no_list(spotter):
    with pytest.raises(TypeError, match="Got the path anna.wav alone; expected a list"):
        spotter.enroll("anna.wav")


# Identity


def test_answers_are_never_of_an_older_model(spotter, speakers, wavs):
    spotter.classify_batch(wavs, profiles=speakers[0])
    with torch.no_grad():
        spotter.mods.model.main_model.classifier.bias[0] += 1
    with pytest.raises(ValueError, match="made with another model"):
        spotter.classify_batch(wavs, profiles=speakers[0])


def test_profile_of_another_front_end_is_refused(spotter, speakers, wavs, tmp_path):
    speakers[0].save(tmp_path / "anna.json")
    spotter.hparams.front_end = FrontEnd(Fbank(n_mels=40, f_max=4000))
    for use in (
        lambda: spotter.classify_batch(wavs, profiles=speakers[0]),
        lambda: spotter.load_profile(tmp_path / "anna.json"),
    ):
        with pytest.raises(ValueError, match="made with another front end or sampling rate"):
            use()


# Threads


def far(answer, expected):
    """Items whose answers differ."""
    return ((answer - expected).abs().amax(dim=1) > 1e-5).nonzero().flatten().tolist()


def run_threads(*functions):
    """Runs functions at once; raises what one of them raised."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_two_threads_with_two_speakers_and_one_that_enrolls(spotter, speakers, wavs):
    """Of 2,000 answers none is of the other speaker, and the model is as before."""
    before = {name: x.clone() for name, x in spotter.mods.model.state_dict().items()}
    shared = answers(spotter, wavs)
    clips = torch.cat([wavs, wavs[:4]])
    expected = [answers(spotter, clips, profiles=speaker) for speaker in speakers[:2]]
    wrong, asking = [], threading.Event()
    enrolled = []

    def ask(number):
        for _ in range(100):  # of 10 clips each
            answer = answers(spotter, clips, profiles=speakers[number])
            wrong.extend(far(answer, expected[number]))
        asking.set()

    def enroll():
        while not asking.is_set():
            enrolled.append(spotter.enroll([utter(120.0)]).summary.values)

    run_threads(lambda: ask(0), lambda: ask(1), enroll)
    assert len(wrong) == 0
    assert all(torch.equal(values, speakers[0].summary.values) for values in enrolled)
    assert torch.equal(answers(spotter, wavs), shared)
    after = spotter.mods.model.state_dict()
    assert all(torch.equal(after[name], x) for name, x in before.items())


# Errors by their cause


@pytest.mark.parametrize("device", ["cuda:77", "mps", "no_such_device"])
def test_device_that_is_not_there_is_no_damage(finished_run, device):
    with pytest.raises(ValueError, match=f"Cannot use the device '{device}'.*this machine has"):
        KeywordSpotter.from_hparams(finished_run / "pretrained", run_opts={"device": device})


def test_unknown_option_is_no_damage(finished_run):
    with pytest.raises(TypeError, match="profil"):
        KeywordSpotter.from_hparams(finished_run / "pretrained", profil="anna.json")
