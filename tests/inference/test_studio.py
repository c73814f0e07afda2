"""The studio judges takes, enrolls, asks and deletes speakers, and refuses what is too much."""

import pytest
import soundfile
import torch
from spotters import WORDS, random_spotter
from voices import RATE, utter

from vofp_plugin.inference import studio as studio_module
from vofp_plugin.inference.profile_store import ProfileStore
from vofp_plugin.inference.studio import Studio

SPOTTER = random_spotter()


@pytest.fixture
def studio(tmp_path):
    return Studio(SPOTTER, ProfileStore(tmp_path / "speakers.db"))


@pytest.fixture
def recording(tmp_path):
    """Writes a waveform; gives its path."""

    def write(wav, rate=RATE, name="take.wav"):
        soundfile.write(tmp_path / name, wav.numpy(), rate)
        return tmp_path / name

    return write


def test_takes_are_judged(studio, recording):
    good = studio.take(recording(utter()))
    assert good.seconds == 1.0 and good.quality.score > 0.5 and good.quality.reason == ""
    assert studio.take(recording(torch.zeros(RATE))).quality.reason == "silence"


def test_a_speaker_enrolls_is_asked_adds_takes_and_is_deleted(studio, recording):
    takes = [studio.take(recording(utter(take=take))) for take in range(2)]
    assert studio.enroll(" anna ", takes).num_used == 2
    assert studio.store.names() == ["anna"]
    path = recording(utter(take=3))
    own, none = studio.answers("anna", path)
    assert (own.enrollment, none.enrollment) == ("own", "none")
    for answer, profile in ((own, studio.store.load("anna", SPOTTER.mods.model)), (none, None)):
        _, score, _, (word,) = SPOTTER.classify_file(path, profile)
        assert (answer.word, answer.probability) == (word, pytest.approx(score.exp().item()))
    assert studio.enroll("anna", takes[:1]).num_used == 3
    studio.store.delete("anna")
    with pytest.raises(KeyError, match="no profile of 'anna'"):
        studio.answers("anna", path)


def test_a_curve_tells_where_the_word_is(studio, recording):
    studio.enroll("anna", [studio.take(recording(utter()))])
    path = recording(torch.cat([utter(take=3), utter(take=4)]))
    word, moments = studio.curve("anna", path)
    assert word in WORDS
    own = [moment for moment in moments if moment.enrollment == "own"]
    assert [moment.time for moment in own] == pytest.approx([0.5 + 0.1 * n for n in range(11)])
    assert {moment.enrollment for moment in moments} == {"own", "none"}
    assert all(0 <= moment.probability <= 1 for moment in moments)


@pytest.mark.parametrize("name", ["", "  ", None, "x" * 61, "an\nna"])
def test_what_is_no_name_is_refused(studio, recording, name):
    with pytest.raises(ValueError, match="for a name; expected"):
        studio.enroll(name, [studio.take(recording(utter()))])


def test_nothing_is_kept_of_takes_that_cannot_be_used(studio, recording):
    with pytest.raises(ValueError, match="no take"):
        studio.enroll("anna", [])
    with pytest.raises(ValueError, match=r"None of the takes can be used \(silence\)"):
        studio.enroll("anna", [studio.take(recording(torch.zeros(RATE)))])
    assert studio.store.names() == []


def test_recordings_that_are_too_long_or_too_large_are_refused(studio, recording, monkeypatch):
    with pytest.raises(ValueError, match="lasts 61.0 s; expected at most 60 s"):
        studio.take(recording(torch.zeros(61 * 8000), 8000, "long.flac"))
    monkeypatch.setattr(studio_module, "LARGEST", 2**20)
    with pytest.raises(ValueError, match="1.8 MB; expected at most 1"):
        studio.take(recording(torch.zeros(60 * RATE)))
