"""A finished run is loaded as any SpeechBrain model is, and answers with a speaker's profile."""

import shutil
from unittest.mock import patch

import pytest
import torch
from tiny_runs import folder_contents, run_google
from voices import utter

from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.inference.profile import load_profile
from vofp_plugin.lobes.models.ds_cnn import DSCNN


@pytest.fixture
def spotter(finished_run):
    return KeywordSpotter.from_hparams(finished_run / "pretrained")


@pytest.fixture
def wavs():
    return [utter(take=take) for take in range(3)]


def test_loading_needs_no_data_and_writes_nothing(finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = folder_contents(finished_run / "pretrained")
    KeywordSpotter.from_hparams(finished_run / "pretrained")
    assert folder_contents(tmp_path) == {}
    assert folder_contents(finished_run / "pretrained") == before
    text = (finished_run / "pretrained" / "hyperparams.yaml").read_text()
    assert str(finished_run) not in text


def test_weights_are_those_of_the_last_checkpoint(spotter, finished_run):
    state = torch.load(max(finished_run.glob("save/CKPT*/model.ckpt")), weights_only=True)
    loaded = spotter.mods.model.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    assert not spotter.mods.model.training


def test_file_is_answered_as_its_clip(spotter, google_corpus):
    path = min(google_corpus.glob("*/*.wav"))
    log_probs, score, index, text = spotter.classify_file(path)
    front_end = spotter.hparams.front_end
    clip = front_end.fit(spotter.load_audio(str(path)))
    expected = spotter.mods.model(front_end(clip.unsqueeze(0)))
    torch.testing.assert_close(log_probs, expected)
    assert score == log_probs.max() and log_probs[0, index] == score
    assert text[0] in {folder.name for folder in google_corpus.iterdir()}


def test_profile_changes_answers_and_merges(spotter, wavs, tmp_path):
    profile = spotter.enroll(wavs)
    profile.save(tmp_path / "anna.json")
    loaded = load_profile(tmp_path / "anna.json", spotter.mods.model)
    clips = torch.stack(wavs)
    own, again, none = (
        spotter.classify_batch(clips, profiles=p)[0] for p in (profile, loaded, None)
    )
    assert torch.equal(own, again) and not torch.allclose(own, none)
    plain = spotter.merge(profile)
    assert type(plain) is DSCNN
    torch.testing.assert_close(plain(spotter.hparams.front_end(clips)), own)


@pytest.mark.parametrize(
    "wav, message",
    [
        (torch.full((16000,), torch.nan), "Query 2 holds NaN"),
        (torch.full((16000,), 20000.0), "Query 2 .* divide 16-bit integers"),
        (torch.zeros(2, 16000), "Query 2 has shape .* one channel"),
        (torch.zeros(16000).short(), "Query 2 is a tensor of torch.int16"),
        (torch.zeros(1500), "Query 2 has 0.094 s; expected at least 0.1 s"),
    ],
)
def test_query_that_is_no_waveform_is_refused(spotter, wavs, wav, message):
    with pytest.raises((TypeError, ValueError), match=message):
        spotter.classify_batch([wavs[0], wav])


def test_words_are_those_of_the_model(google_corpus, cache_folder, tmp_path, wavs):
    run_google("vofp_labelled.yaml", google_corpus, tmp_path, cache_folder)
    spotter = KeywordSpotter.from_hparams(tmp_path / "pretrained")
    words = list(spotter.hparams.label_encoder.lab2ind)[:3]
    one, other = spotter.enroll(wavs, words), spotter.enroll(wavs, words[::-1])
    assert not torch.equal(one.summary.values, other.summary.values)
    with pytest.raises(ValueError, match="Got the words xyzzy; expected some of "):
        spotter.enroll(wavs, ["xyzzy", *words[:2]])


def test_shared_run_answers_but_does_not_enroll(google_corpus, cache_folder, tmp_path, wavs):
    run_google("shared.yaml", google_corpus, tmp_path, cache_folder)
    spotter = KeywordSpotter.from_hparams(tmp_path / "pretrained")
    assert spotter(wavs)[0].exp().sum(dim=1).tolist() == pytest.approx([1.0] * 3)
    with pytest.raises(
        TypeError, match="Got a SharedModel to enroll with; expected a personalized"
    ):
        spotter.enroll(wavs)


@pytest.mark.parametrize("path", ["nowhere/query.wav", "/nowhere/query.wav"])
def test_missing_file_is_not_looked_for_on_a_hub(spotter, path):
    with patch("speechbrain.inference.interfaces.fetch", side_effect=AssertionError("fetched")):
        with pytest.raises(FileNotFoundError, match=f"Audio file {path} does not exist; expected"):
            spotter.classify_file(path)


def test_missing_folder_is_not_looked_for_on_a_hub(finished_run):
    for folder in ("user/model", finished_run / "pretraind"):
        with patch("speechbrain.inference.interfaces.fetch", side_effect=AssertionError("fetched")):
            with pytest.raises(FileNotFoundError, match=f"Found no folder {folder}; expected the"):
                KeywordSpotter.from_hparams(folder)


def test_damaged_weights_are_told(finished_run, tmp_path):
    folder = shutil.copytree(finished_run / "pretrained", tmp_path / "damaged")
    (folder / "model.ckpt").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="Cannot load the model in .*damaged .* again"):
        KeywordSpotter.from_hparams(folder)


def test_weights_of_another_model_are_refused(finished_run, tmp_path):
    """Be they too few: what they lack would stay random."""
    folder = shutil.copytree(finished_run / "pretrained", tmp_path / "other")
    state = torch.load(folder / "model.ckpt", weights_only=True)
    main = {name: tensor for name, tensor in state.items() if name.startswith("main_model.")}
    torch.save(main, folder / "model.ckpt")
    with pytest.raises(ValueError, match="Missing key.* is damaged, or of another model"):
        KeywordSpotter.from_hparams(folder)


def test_folder_of_the_run_is_not_the_one_to_load(finished_run):
    with pytest.raises(ValueError, match="Got the folder of a run; expected .*/pretrained"):
        KeywordSpotter.from_hparams(finished_run)


def test_code_that_python_does_not_find_is_no_damage(finished_run, tmp_path):
    folder = shutil.copytree(finished_run / "pretrained", tmp_path / "mine")
    text = (folder / "hyperparams.yaml").read_text()
    text = text.replace("vofp_plugin.lobes.models.ds_cnn.DSCNN", "nowhere_to_be_found.DSCNN")
    (folder / "hyperparams.yaml").write_text(text)
    with pytest.raises(ImportError, match="nowhere_to_be_found.* add its folder to PYTHONPATH"):
        KeywordSpotter.from_hparams(folder)


def test_profile_is_read_for_the_model_of_the_spotter(spotter, wavs, tmp_path):
    profile = spotter.enroll(wavs)
    profile.save(tmp_path / "anna.json")
    loaded = spotter.load_profile(tmp_path / "anna.json")
    own, again = (spotter.classify_batch(wavs, profiles=p)[0] for p in (profile, loaded))
    assert torch.equal(own, again)


def test_samples_that_are_not_read_are_told(spotter, wavs, caplog):
    spotter.classify_batch([torch.nn.functional.pad(wavs[0], (0, 4000))])
    assert "are read" not in caplog.text
    spotter.classify_batch([torch.nn.functional.pad(wavs[0], (0, 16000))])
    assert "Query 1 has 2.0 s, of which the loudest 1.0 s are read" in caplog.text


def test_one_waveform_is_no_batch(spotter, wavs):
    with pytest.raises(ValueError, match=r"Got waveforms of shape \(16000,\); expected \(B, L\)"):
        spotter.classify_batch(wavs[0])


def test_weights_of_a_profile_are_made_once(spotter, wavs):
    profiles = [spotter.enroll(wavs[:1]), spotter.enroll(wavs[1:])]
    model = spotter.mods.model
    with patch.object(model, "personalize", side_effect=model.personalize) as personalize:
        answers = [
            spotter.classify_batch(wavs, profiles=profile)[0]
            for profile in profiles
            for _ in range(3)
        ]
    assert personalize.call_count == 2
    assert torch.equal(answers[0], answers[2]) and not torch.allclose(answers[0], answers[3])


def test_no_query_is_refused(spotter):
    with pytest.raises(ValueError, match="Got no waveform; expected at least one"):
        spotter.classify_batch([])
