"""Words to train on: made up, cut from speech, and read from folders of any corpus."""

import pytest
import torch
from tiny_corpus import speak, write

from vofp_plugin.dataio.corpora.cut_words import LONGEST, SHORTEST, cut_words
from vofp_plugin.dataio.corpora.made_up_words import LANGUAGES, LIKES, make_up_words
from vofp_plugin.dataio.corpora.synthetic_words import make_words
from vofp_plugin.dataio.corpora.word_folders import speech_rows, word_rows


def test_no_made_up_word_is_there_twice_and_families_are_alike():
    words = make_up_words(300)
    assert len({(word.language, word.text) for word in words}) == len(words) == 300
    assert {word.language for word in words} == set(LANGUAGES)
    names = [word.name for word in words]
    assert len(set(names)) == 300
    for first in range(0, 300, LIKES):
        family = sorted(names)[first : first + LIKES]
        assert len({name.rpartition("-")[0] for name in family}) == 1, "neighbours in the alphabet"
    assert make_up_words(30) == words[:30] != make_up_words(30, seed=1)


def test_unknown_languages_are_refused():
    with pytest.raises(ValueError, match=r"Got languages \['xx'\]; expected some of en-us"):
        make_up_words(3, ["fi", "xx"])


def test_words_are_made_once_and_other_ones_are_refused(tmp_path):
    settings = {"num_words": 6, "choir_size": 2, "num_choirs": 1, "num_takes": 2}
    folder = make_words(tmp_path / "words", **settings)
    rows = word_rows(folder)
    assert {row["spk_id"] for row in rows} == {"words:voice000", "words:voice001"}
    assert len(rows) <= 24 and all(0.2 < row["duration"] < 1.8 for row in rows)
    assert len({row["audio_hash"] for row in rows}) == len(rows), "no take is a copy"
    before = folder.stat().st_mtime_ns
    assert make_words(folder, **settings) == folder and folder.stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="asked for are words made with .*'seed': 1"):
        make_words(folder, seed=1, **settings)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").touch()
    with pytest.raises(FileExistsError, match="holds other files"):
        make_words(tmp_path / "other", **settings)


def test_cuts_are_speech_of_a_words_length():
    generator = torch.Generator().manual_seed(0)
    envelope = (torch.arange(10 * 16000) / 16000 * 9).sin().clamp(min=0.01)
    cuts = cut_words(envelope * torch.randn(len(envelope), generator=generator))
    assert len(cuts) >= 10
    for (start, stop), (after, _) in zip(cuts, cuts[1:], strict=False):
        assert SHORTEST <= (stop - start) / 16000 <= LONGEST + 0.1 and stop <= after


@pytest.mark.parametrize("length", [0, 100, 4000])
def test_what_is_too_short_for_a_word_has_no_cut(length):
    assert cut_words(torch.randn(length)) == []


def test_folders_of_words_and_of_speech(tmp_path):
    for word, speaker in ((0, "ann"), (1, "ann"), (0, "bob")):
        write(tmp_path / "mine" / f"w{word}" / f"{speaker}_1.wav", speak(word, len(speaker), 0))
    write(tmp_path / "mine" / "_noise_" / "x_1.wav", speak(0, 0, 0))
    rows = word_rows(tmp_path / "mine")
    assert [row["command"] for row in rows] == ["mine:w0", "mine:w0", "mine:w1"]
    assert {row["spk_id"] for row in rows} == {"mine:ann", "mine:bob"}
    assert len(word_rows(tmp_path / "mine", words=["w1"])) == 1
    speech = [x for take in range(5) for x in speak(take % 3, 1, take)]
    write(tmp_path / "read" / "train" / "s1" / "c2" / "s1-c2-1.wav", speech)
    cuts = speech_rows(tmp_path / "read")
    assert {row["spk_id"] for row in cuts} == {"read:s1"}
    assert (
        len({row["ID"] for row in cuts}) == len({row["command"] for row in cuts}) == len(cuts) > 1
    )
    with pytest.raises(FileNotFoundError, match="Found no WORD/SPEAKER"):
        word_rows(tmp_path / "read" / "none")
