"""The synthetic corpus: distinct voices, takes that differ, made whole, once and repeatably."""

import importlib
import itertools
import shutil
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import soundfile
import torch

from vofp_plugin.dataio.corpora import synthetic
from vofp_plugin.dataio.corpora.espeak import Espeak, Voice
from vofp_plugin.dataio.corpora.synthetic import (
    ACCENTS,
    COMMANDS,
    MARKER,
    MAX_SPEECH_DURATION,
    MIN_VOICE_DISTANCE,
    PEAK_LEVELS,
    SHIFTED_SOUNDS,
    TAKE_PITCH_STEP,
    TAKE_RATE_RATIO,
    candidate_voices,
    distinct_voices,
    make_corpus,
    spectral_distance,
    voice_spectrum,
)
from vofp_plugin.dataio.manifests import read_manifest
from vofp_plugin.dataio.splits import SPLITS, check_disjoint

TINY = {"words": ["yes", "stop"], "num_speakers": 3, "num_takes": 2}
PLAIN = Voice(accent="en-us", variant="adam", pitch=50, pitch_range=50, rate=150)


@pytest.fixture
def espeak():
    pytest.importorskip("espeakng_loader", reason="needs the extra 'synthetic'")
    return Espeak()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A finished tiny corpus and its utterances; tests leave it as it is."""
    pytest.importorskip("espeakng_loader", reason="needs the extra 'synthetic'")
    folder = tmp_path_factory.mktemp("synthetic") / "corpus"
    return folder, make_corpus(folder, **TINY)


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def read_speech(path):
    """The word alone, at a peak of 1, and its sample rate."""
    samples, sample_rate = soundfile.read(path)
    (loud,) = np.nonzero(samples)
    return samples[loud[0] : loud[-1] + 1] / np.abs(samples).max(), sample_rate


def test_corpus_holds_every_take_of_every_word_and_nothing_else(tiny):
    folder, utterances = tiny
    speakers = sorted({utterance.speaker for utterance in utterances})
    assert len(speakers) == 3
    expected = {
        f"{word}/{speaker}_nohash_{take}.flac"
        for word in TINY["words"]
        for speaker in speakers
        for take in range(2)
    }
    assert {path.relative_to(folder).as_posix() for path, _, _ in utterances} == expected
    assert set(snapshot(folder)) == expected | {MARKER}
    for path, speaker, word in utterances:
        assert (path.parent.name, path.name.split("_nohash_")[0]) == (word, speaker)


def test_files_are_one_second_of_16_bit_mono_without_clipping(tiny):
    low, high = (10 ** (level / 20) for level in PEAK_LEVELS)
    for path, _, _ in tiny[1]:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames) == (16000, 1, 16000)
        assert info.subtype == "PCM_16"
        assert 0.95 * low < np.abs(soundfile.read(path)[0]).max() < min(1.0, 1.05 * high)


def test_takes_differ_in_rate_and_waveform(espeak, tmp_path):
    utterances = make_corpus(tmp_path / "corpus", words=["stop"], num_speakers=1, num_takes=6)
    takes = [read_speech(path)[0] for path, _, _ in utterances]
    durations = [len(take) for take in takes]
    assert max(durations) > 1.04 * min(durations)
    for first, second in itertools.combinations(takes, 2):
        length = min(len(first), len(second))
        assert np.abs(first[:length] - second[:length]).max() > 0.1


@pytest.mark.parametrize(
    "word, whole", [("up", True), ("internationalization", True), ("on and on and " * 9, False)]
)
def test_speech_fits_whatever_the_word(espeak, tmp_path, word, whole):
    """Long words are said faster; only what cannot be said in time is cut."""
    utterances = make_corpus(tmp_path / "corpus", words=[word], num_speakers=2, num_takes=2)
    for path, _, _ in utterances:
        speech, sample_rate = read_speech(path)
        duration = len(speech) / sample_rate
        assert soundfile.info(path).duration == 1.0
        assert 0.1 < duration < MAX_SPEECH_DURATION + 0.01
        assert (duration < MAX_SPEECH_DURATION - 0.01) == whole


def test_no_voice_clips(espeak):
    voices = [replace(PLAIN, variant=variant) for variant in espeak.variants]
    peaks = [espeak.say(word, voice).abs().max() for voice in voices for word in ("go", "stop")]
    assert max(peaks) < 0.9


def test_another_sample_rate_keeps_the_duration(espeak, tmp_path):
    utterances = make_corpus(tmp_path / "corpus", **TINY, sample_rate=8000)
    assert {soundfile.info(path).frames for path, _, _ in utterances} == {8000}


def test_finished_corpus_is_found_again_without_the_synthesizer(tiny, monkeypatch):
    folder, utterances = tiny
    monkeypatch.setattr(synthetic, "Espeak", None)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert make_corpus(folder, **TINY) == utterances
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_interrupted_build_leaves_nothing_and_the_next_equals_an_uninterrupted_one(
    tiny, tmp_path, monkeypatch
):
    write = soundfile.write
    written = []

    def write_until_stopped(path, *args, **kwargs):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *args, **kwargs)

    folder = tmp_path / "corpus"
    with monkeypatch.context() as patch:
        patch.setattr(soundfile, "write", write_until_stopped)
        with pytest.raises(KeyboardInterrupt):
            make_corpus(folder, **TINY)
    assert len(written) == 5 and list(tmp_path.iterdir()) == []

    make_corpus(folder, **TINY)
    assert snapshot(folder) == snapshot(tiny[0])


def test_folders_beside_it_are_left_alone(tiny, tmp_path):
    mine = tmp_path / "corpus.partial" / "letter.txt"
    mine.parent.mkdir()
    mine.write_text("dear")
    (tmp_path / "corpus").mkdir()  # an empty folder is as good as none
    make_corpus(tmp_path / "corpus", **TINY)
    assert snapshot(tmp_path / "corpus") == snapshot(tiny[0])
    assert mine.read_text() == "dear"


def test_damaged_marker_is_told(tiny, tmp_path):
    folder = shutil.copytree(tiny[0], tmp_path / "corpus")
    (folder / MARKER).write_text("{}")
    with pytest.raises(ValueError, match="Cannot read .* .* delete .* made again"):
        make_corpus(folder, **TINY)


@pytest.mark.parametrize("change", [{"seed": 1}, {"num_takes": 3}, {"words": ["yes", "go"]}])
def test_corpus_of_other_arguments_is_refused_and_kept(tiny, change):
    before = snapshot(tiny[0])
    with pytest.raises(FileExistsError, match="delete this one"):
        make_corpus(tiny[0], **{**TINY, **change})
    assert snapshot(tiny[0]) == before


def test_folder_of_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="new or empty"):
        make_corpus(tmp_path, **TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    "change", [{"num_speakers": 0}, {"num_takes": 0}, {"words": []}, {"words": ["yes", "yes"]}]
)
def test_impossible_arguments_are_refused(tmp_path, change):
    with pytest.raises(ValueError, match="expected"):
        make_corpus(tmp_path / "corpus", **{**TINY, **change})
    assert not (tmp_path / "corpus").exists()


def test_missing_package_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ImportError, match=r"pip install vofp_plugin\[synthetic\]"):
        make_corpus(tmp_path / "corpus", **TINY)
    assert list(tmp_path.iterdir()) == []


def test_default_corpus_has_80_distinct_voices_of_every_accent(espeak):
    voices = distinct_voices(espeak, candidate_voices(espeak.variants), COMMANDS, num_voices=80)
    assert len({voice.name for voice in voices}) == 80
    assert len({voice.variant for voice in voices}) >= 60
    assert {voice.accent for voice in voices} == set(ACCENTS)
    assert all("_" not in voice.name and " " not in voice.name for voice in voices)


def test_shifted_accents_say_what_is_another_command_to_others(espeak, tmp_path, monkeypatch):
    said = {}

    def take(espeak, text, voice):
        said.setdefault(voice.accent, set()).add(text)
        return torch.ones(9)

    monkeypatch.setattr(synthetic, "_speak", take)
    make_corpus(tmp_path / "corpus", words=["peck", "pick", "no"], num_speakers=8, num_takes=1)
    assert said["en-gb-scotland"] == {"pick", "puck", "no"}
    assert said["en-us"] == {"peck", "pick", "no"}


def test_every_sound_of_a_shifted_accent_is_one_word():
    sounds = [SHIFTED_SOUNDS.get(word, word) for word in COMMANDS]
    assert len(set(sounds)) == len(COMMANDS)
    assert len(set(sounds) & set(COMMANDS)) < len(COMMANDS)  # some tell the accent


def test_near_identical_voices_are_removed(espeak):
    # These two variants are the same formants under two names.
    twin = replace(PLAIN, variant="klatt6")
    woman = replace(PLAIN, variant="f1")
    voices = distinct_voices(espeak, [PLAIN, twin, woman], COMMANDS, num_voices=2)
    assert voices == [PLAIN, woman]


def test_too_few_distinct_voices_are_refused(espeak):
    with pytest.raises(ValueError, match="ask for at most 1"):
        distinct_voices(espeak, [PLAIN, PLAIN], COMMANDS, num_voices=2)


def test_takes_of_a_voice_lie_nearer_than_two_voices_may(espeak):
    for voice in candidate_voices(espeak.variants)[:5]:
        low, high = (
            replace(
                voice,
                pitch=voice.pitch + sign * TAKE_PITCH_STEP,
                rate=round(voice.rate * (1 + sign * TAKE_RATE_RATIO)),
            )
            for sign in (-1, 1)
        )
        spectra = [voice_spectrum(espeak, take, COMMANDS) for take in (low, high)]
        assert 0 < spectral_distance(*spectra) < MIN_VOICE_DISTANCE


def test_candidates_depend_on_the_seed():
    variants = ["f1", "f2", "m1"]
    assert candidate_voices(variants, seed=1) == candidate_voices(variants, seed=1)
    assert candidate_voices(variants, seed=1) != candidate_voices(variants, seed=2)


def test_a_fresh_espeak_repeats_another(espeak):
    voice = replace(PLAIN, variant="f1")
    first = [espeak.say("yes", voice) for _ in range(3)]
    again = Espeak()
    assert all(torch.equal(samples, again.say("yes", voice)) for samples in first)


@pytest.mark.parametrize("change", [{"variant": "nobody"}, {"accent": "nowhere"}])
def test_unknown_voices_are_refused(espeak, change):
    with pytest.raises(ValueError, match="nobody|nowhere"):
        espeak.say("yes", replace(PLAIN, **change))


def test_recipe_makes_the_corpus_and_splits_it_by_speaker(espeak, tmp_path, repo_root, monkeypatch):
    monkeypatch.syspath_prepend(repo_root / "recipes" / "Synthetic-commands" / "personalized_kws")
    recipe = importlib.import_module("synthetic_commands_prepare")
    small = partial(make_corpus, words=["yes", "no"], num_speakers=6, num_takes=1)
    monkeypatch.setattr(recipe, "make_corpus", small)

    tested = []
    for fold in range(3):
        save_folder = tmp_path / f"fold{fold}"
        recipe.prepare_synthetic_commands(tmp_path / "data", save_folder, fold=fold, num_folds=3)
        check_disjoint({split: save_folder / f"{split}.csv" for split in SPLITS})
        rows = {}
        for split in SPLITS:
            rows |= read_manifest(save_folder / f"{split}.csv", tmp_path / "data")
        assert len(rows) == 12
        assert {row["command"] for row in rows.values()} == {"yes", "no"}
        tested += {row["spk_id"] for row in read_manifest(save_folder / "test.csv").values()}
    assert len(tested) == len(set(tested)) == 6
