"""A main model of anybody's is personalized by one call, kept small, and given back."""

import copy

import pytest
import soundfile
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization
from torch import nn
from voices import utter

import vofp_plugin
from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.dataio.manifests import utterance_rows, write_manifest
from vofp_plugin.lobes.models.ds_cnn import DSCNN


class Theirs(nn.Module):
    """A model that knows nothing of the plugin: a GRU, a norm in it, and one that is not run."""

    def __init__(self):
        super().__init__()
        self.input = InputNormalization(norm_type="sentence")
        self.gru, self.norm = nn.GRU(40, 12, batch_first=True), nn.LayerNorm(12)
        self.idle, self.out = nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, feats, lens):
        states, _ = self.gru(self.input(feats, lens))
        return self.out(self.norm(states).mean(1)).log_softmax(1)


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd(Fbank(n_mels=40))


@pytest.fixture
def wavs():
    return [utter(take=take) for take in range(3)]


@pytest.fixture
def trained(front_end):
    """A personalized model to which the enrollment makes a difference."""
    personalized = vofp_plugin.personalize(Theirs(), front_end)
    nn.init.normal_(personalized.mods.model.hyper_personalizer.mean.weight, std=0.3)
    return personalized


def untouched(model):
    kinds = [(type(m), m.training, sorted(vars(m))) for m in model.modules()]
    return kinds, [p.requires_grad for p in model.parameters()]


def test_auto_takes_norms_and_the_last_linear_layer_that_run(front_end):
    personalized = vofp_plugin.personalize(Theirs(), front_end)
    assert [line.partition(",")[0] for line in personalized.injected.splitlines()[:-1]] == [
        "norm.weight: Channel",
        "norm.bias: Channel",
        "out.weight: Full",
        "out.bias: Full",
    ]
    assert "89 numbers of each speaker" in personalized.injected


def test_a_speaker_changes_answers_and_merges(trained, front_end, wavs):
    profile = trained.enroll(wavs)
    clips = torch.stack(wavs)
    own, none = trained.answer(clips, profiles=profile), trained.answer(clips)
    assert (own - none).abs().max() > 1e-3
    plain = trained.merge(profile)
    torch.testing.assert_close(plain(front_end(clips), torch.ones(3)), own)


@pytest.mark.parametrize("freeze", [True, False])
def test_unload_gives_back_the_very_model(front_end, wavs, freeze):
    model = Theirs()
    feats, lens = front_end(torch.stack(wavs)), torch.tensor([1.0, 0.5, 0.8])
    before, answer = untouched(model), model(feats, lens)
    personalized = vofp_plugin.personalize(model, front_end, freeze=freeze)
    personalized.answer(wavs, profiles=personalized.enroll(wavs))
    assert personalized.unload() is model
    assert untouched(model) == before
    assert torch.equal(model(feats, lens), answer)


@pytest.mark.parametrize(
    "settings",
    [{"targets": {"gru": "full"}}, {"targets": {"idle": "channel"}}, {"aggregation": "median"}],
)
def test_what_fails_leaves_the_model_as_it_was(front_end, settings):
    model = Theirs()
    before = untouched(model)
    with pytest.raises((TypeError, ValueError)):
        vofp_plugin.personalize(model, front_end, **settings)
    assert untouched(model) == before


def test_a_model_without_layers_for_auto_is_told_so(front_end):
    with pytest.raises(ValueError, match="name layers in `targets`"):
        vofp_plugin.personalize(nn.GRU(40, 5), front_end)


def test_null_leaves_a_layer_out(front_end):
    targets = {"*.norm": "channel", "classifier": "full", "stem.*": None}
    personalized = vofp_plugin.personalize(DSCNN(num_classes=4), front_end, targets)
    assert "stem" not in personalized.injected


def test_the_small_part_is_saved_and_loaded(trained, front_end, wavs, tmp_path):
    profile = trained.enroll(wavs)
    answer = trained.answer(wavs, profiles=profile)
    profile.save(tmp_path / "anna.json")
    trained.save(tmp_path / "small")
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == [
        "personalizer.safetensors",
        "settings.json",
    ]
    model = trained.unload()
    loaded = vofp_plugin.load(model, front_end, tmp_path / "small")
    again = loaded.answer(wavs, profiles=loaded.load_profile(tmp_path / "anna.json"))
    assert torch.equal(again, answer)


def test_what_does_not_fit_is_not_loaded(trained, front_end, tmp_path):
    trained.save(tmp_path)
    model = trained.unload()
    other = copy.deepcopy(model)
    other.out.bias.data[0] += 1
    before = untouched(other)
    with pytest.raises(ValueError, match="made for another main model"):
        vofp_plugin.load(other, front_end, tmp_path)
    assert untouched(other) == before
    with pytest.raises(ValueError, match="made for another front end"):
        vofp_plugin.load(model, FrontEnd(Fbank(n_mels=40), clip_duration=2.0), tmp_path)
    with pytest.raises(FileNotFoundError, match="expected what `save` wrote"):
        vofp_plugin.load(model, front_end, tmp_path / "none")


@pytest.mark.parametrize("name", ["settings.json", "personalizer.safetensors"])
def test_a_damaged_file_is_not_loaded(trained, front_end, tmp_path, name):
    trained.save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match="Cannot read the personalizer"):
        vofp_plugin.load(trained.unload(), front_end, tmp_path)


def test_the_package_imports_nothing_before_it_is_asked(repo_root):
    assert {"KeywordSpotter", "load", "personalize"} <= set(vofp_plugin.__all__)
    with pytest.raises(AttributeError, match="no attribute 'peronalize'"):
        _ = vofp_plugin.peronalize


def test_what_is_excluded_is_not_injected(front_end):
    personalized = vofp_plugin.personalize(Theirs(), front_end, exclude=["norm"])
    assert [line.partition(":")[0] for line in personalized.injected.splitlines()[:-1]] == [
        "out.weight",
        "out.bias",
    ]


def speech_of_two_voices():
    """Items of six speakers, to whom a word is the pitch relative to their own."""
    return [
        {"spk_id": f"s{s}", "sig": utter(p * (1.25 if label else 1.0), take=take), "label": label}
        for s, p in enumerate((100.0, 120.0, 150.0, 180.0, 210.0, 240.0))
        for label in (0, 1)
        for take in range(3)
    ]


def test_fit_learns_and_saves_what_it_learned(front_end, tmp_path):
    model = Theirs()
    before = copy.deepcopy(model.state_dict())
    personalized = vofp_plugin.personalize(model, front_end)
    sizes = {"num_speakers": 4, "max_shots": 2, "num_queries": 2}
    losses = personalized.fit(
        speech_of_two_voices(), num_epochs=3, episodes_per_epoch=10, lr=0.02, **sizes
    )
    assert len(losses) == 3 and losses[-1] < losses[0]
    profile = personalized.enroll([utter(take=take) for take in range(2)])
    answer = personalized.answer([utter()], profiles=profile)
    assert (answer - personalized.answer([utter()])).abs().max() > 1e-3
    personalized.save(tmp_path)
    personalized.unload()
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    again = vofp_plugin.load(model, front_end, tmp_path)
    assert torch.allclose(
        again.answer([utter()], profiles=again.enroll([utter(take=t) for t in range(2)])), answer
    )


def test_fit_reads_a_manifest(front_end, tmp_path):
    items = speech_of_two_voices()[::3]
    for number, item in enumerate(items):
        item["wav"] = tmp_path / f"{number}.wav"
        soundfile.write(item["wav"], item["sig"].numpy(), 16000)
    words = ["low", "high"]
    utterances = [(item["wav"], item["spk_id"], words[item["label"]]) for item in items]
    write_manifest(utterance_rows(utterances, tmp_path), tmp_path / "train.csv")
    personalized = vofp_plugin.personalize(Theirs(), front_end)
    sizes = {"num_speakers": 2, "max_shots": 1, "num_queries": 1}
    options = {"data_root": tmp_path, "num_epochs": 1, "episodes_per_epoch": 1, **sizes}
    assert len(personalized.fit(tmp_path / "train.csv", words, **options)) == 1
    with pytest.raises(ValueError, match="Got the word .high.; expected one of classes"):
        personalized.fit(tmp_path / "train.csv", ["low"], **options)


@pytest.mark.parametrize(
    "data, error, told",
    [
        ([], ValueError, "no utterance to train on"),
        ([torch.zeros(3)], TypeError, "expected a dict with spk_id"),
        ([{"spk_id": "a", "sig": torch.rand(16000), "label": 0}], ValueError, "at least 2"),
    ],
)
def test_fit_tells_what_is_no_speech(front_end, data, error, told):
    with pytest.raises(error, match=told):
        vofp_plugin.personalize(Theirs(), front_end).fit(data)
