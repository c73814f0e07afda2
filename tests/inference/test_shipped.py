"""Shipped models: loaded by name without network, small, with a card, and right on the samples."""

import socket
from unittest.mock import patch

import pytest
import soundfile
import torch
from safetensors import safe_open

from vofp_plugin.inference.interfaces import PersonalizedInterface
from vofp_plugin.inference.keyword_spotter import UNKNOWN, KeywordSpotter
from vofp_plugin.inference.personal_vad import PersonalVAD
from vofp_plugin.inference.shipped import PACKAGE, SAMPLES, card, model_folder, shipped_models

each_model = pytest.mark.parametrize("name", shipped_models())


@pytest.fixture(scope="module")
def spotter():
    return KeywordSpotter.from_hparams("pretrained/keywords")


@each_model
def test_a_model_is_loaded_by_name_alone(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with patch.object(socket, "socket", side_effect=AssertionError("asked the network")):
        model = PersonalizedInterface.from_hparams(name)
    profile = model.enroll(sorted(SAMPLES.glob("anna_enroll_*.flac")))
    assert profile.num_used == 3
    assert not list(tmp_path.iterdir())


@each_model
def test_a_model_is_small_and_holds_tensors_alone(name):
    files = {path.name: path for path in (PACKAGE / name).iterdir()}
    assert {"hyperparams.yaml", "model.safetensors", "card.md"} <= set(files)
    assert sum(path.stat().st_size for path in files.values()) <= 400_000
    with safe_open(files["model.safetensors"], "pt") as tensors:
        assert all(tensors.get_tensor(key).isfinite().all() for key in tensors.keys())


@each_model
def test_a_card_tells_data_licence_command_figures_and_limits(name):
    for told in ("- Data: ", "- Licence: ", "- Limits: ", "python train.py ", "Figures, "):
        assert told in card(name)


def test_samples_are_twelve_small_and_credited():
    clips = sorted(SAMPLES.glob("*.flac"))
    assert len(clips) == 12 and sum(clip.stat().st_size for clip in clips) <= 400_000
    assert {soundfile.info(clip).samplerate for clip in clips} == {16000}
    credits = (SAMPLES / "CREDITS.md").read_text()
    for clip in clips:
        assert clip.name in credits or f"{clip.name.partition('_')[0]}_*.flac" in credits


def test_words_of_the_samples_are_known(spotter):
    words = {"anna_left": "left", "anna_right": "right", "bert_left": "left", "bert_right": "right"}
    profiles = {
        name: spotter.enroll(sorted(SAMPLES.glob(f"{name}_enroll_*.flac")))
        for name in ("anna", "bert")
    }
    asked = [profiles[name.partition("_")[0]] for name in words]
    text = spotter.classify_batch([SAMPLES / f"{name}.flac" for name in words], None, asked)[3]
    assert text == list(words.values())


def test_an_operating_point_tells_what_is_no_word(spotter):
    clips = [torch.zeros(16000) + 1e-4 * torch.randn(16000), SAMPLES / "anna_right.flac"]
    noise, _ = spotter.classify_batch(clips, far=0.01)[3]
    assert noise == UNKNOWN
    with pytest.raises(ValueError, match="Got far 0.5; expected one of the operating points"):
        spotter.classify_batch(clips, far=0.5)


def test_another_class_refuses_a_model():
    with pytest.raises(TypeError, match="for KeywordSpotter; expected one for PersonalVAD"):
        PersonalVAD.from_hparams("pretrained/keywords")


def test_unknown_names_list_what_is_there():
    for use in (model_folder, card):
        with pytest.raises(FileNotFoundError, match="pretrained/nothing.*pretrained/keywords"):
            use("pretrained/nothing")
