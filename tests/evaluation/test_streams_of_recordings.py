"""Streams of recordings: drawn alike each time, labelled by frame, in rooms and noise."""

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.lobes.features import Fbank

from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.evaluation.personal_vad import PersonalVadEvaluation, personal_vad_section
from vofp_plugin.evaluation.streams import StreamStudio, draw_streams, write_streams
from vofp_plugin.lobes.enrollment import Enrollment

PITCHES = {"ann": 300, "bob": 600, "cid": 1200, "dan": 2400, "eve": 4800}  # Hz


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Four utterances of 0.5 s of each speaker, a tone of a pitch of their own."""
    folder, rows = tmp_path_factory.mktemp("speech"), []
    time = np.arange(8000) / 16000
    for speaker, pitch in PITCHES.items():
        for take in range(4):
            path = folder / f"{speaker}{take}.wav"
            soundfile.write(path, 0.3 * np.sin(2 * np.pi * (pitch + 5 * take) * time), 16000)
            row = {"ID": path.stem, "wav": str(path), "start": 0, "stop": 8000}
            rows.append({**row, "spk_id": speaker})
    return rows


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd(Fbank(n_mels=40), clip_duration=0.5)


def test_drawn_alike_each_time_and_no_utterance_enrolls_and_is_heard(rows, tmp_path):
    specs = draw_streams(rows, most=2, per_target=3, length=4)
    assert specs == draw_streams(rows, most=2, per_target=3, length=4) and len(specs) == 15
    speakers = {row["ID"]: row["spk_id"] for row in rows}
    for spec in specs:
        heard = [speakers[name] for name in spec.utterances]
        assert len(set(heard)) == 4 and spec.target in heard
        assert {speakers[name] for name in spec.enrollment} == {spec.target}
        assert not set(spec.enrollment) & set(spec.utterances)
        assert not {speakers[name] for name in spec.stranger} & set(heard)
    write_streams(specs, tmp_path / "streams.jsonl")
    assert (tmp_path / "streams.jsonl").read_text().count("\n") == 15


def test_too_few_utterances_are_told(rows):
    with pytest.raises(ValueError, match="0 of them with more than 4 utterances"):
        draw_streams(rows, most=4)


def test_labels_are_of_the_frames_with_each_speaker(rows, front_end):
    (spec, *_) = draw_streams(rows, most=2, length=3)
    feats, labels = StreamStudio(front_end, rows).make(spec)
    assert len(feats) == len(labels)
    assert labels.unique().tolist() == [0, 1, 2]
    loudest = feats.argmax(dim=1)
    mine = loudest[labels == 1].mode().values
    others = loudest[labels == 2].unique(return_counts=True)
    others = others[0][others[1] > 5]
    assert len(others) >= 2 and mine not in others
    level = feats.max(dim=1).values
    assert level[labels > 0].min() > level[labels == 0].median() + 20


def test_rooms_and_noise_change_the_sound_but_not_the_labels(rows, front_end):
    (spec, *_) = draw_streams(rows, most=2, length=3)
    studio = StreamStudio(front_end, rows)
    dry, labels = studio.make(spec)
    room = torch.randn(4000) * torch.exp(-torch.arange(4000) / 800)
    wet, same = studio.make(spec, rooms=[room])
    noisy, alike = studio.make(spec, noises=[torch.randn(2000)], snr=(10.0, 10.0))
    assert torch.equal(labels, same) and torch.equal(labels, alike)
    assert not torch.allclose(dry, wet) and (noisy >= dry - 1).float().mean() > 0.9


class Oracle(torch.nn.Module):
    """Knows the pitch of the enrollment, and takes a frame of that pitch for the target's."""

    def __init__(self):
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(1))

    def personalize(self, enrollment):
        assert isinstance(enrollment, Enrollment)
        return enrollment.feats.flatten(1, 2).mean(dim=1).argmax(dim=1)

    def forward(self, feats, lens=None, weights=None):
        level, pitch = feats.max(dim=2)
        target = (pitch - (weights if weights is not None else 0)).abs() < 2
        scores = torch.stack([-level, level + 100 * target, level - 100 * target], dim=2)
        return scores


def test_who_knows_the_voice_is_precise_and_a_stranger_is_not(rows, front_end):
    evaluation = PersonalVadEvaluation(per_target=1, length=3)
    specs = evaluation.drawn(rows, [2])
    made = evaluation.rows(Oracle(), front_end, rows, specs, shots=2)
    found = {(row["condition"], row["enrollment"]): row for row in made}
    assert len(found) == 6 and set(found["quiet", "own"]["per_target"]) == set(PITCHES)
    assert found["quiet", "own"]["target"] > 0.8 > found["quiet", "stranger"]["target"]
    assert "| noise and room | none | 0 |" in personal_vad_section(made)


def test_rooms_that_are_not_there_are_told(rows, front_end, tmp_path):
    evaluation = PersonalVadEvaluation(room_folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="give a folder of impulse responses"):
        evaluation.rows(Oracle(), front_end, rows, evaluation.drawn(rows, [2]), shots=2)
