"""Speech activity: labels and likelihoods of frames."""

import pytest
import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from vofp_plugin.dataio.episodes import Episode
from vofp_plugin.lobes.detection_head import DetectionHead
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.lobes.frame_detector import FrameDetector
from vofp_plugin.lobes.models.frame_cnn import FrameCNN
from vofp_plugin.lobes.models.frame_trunk import FrameTrunk
from vofp_plugin.nnet.losses import Elbo
from vofp_plugin.tasks.personal_vad import SpeechActivityTask, TargetFramesTask, speech_frames
from vofp_plugin.tasks.streams import StreamMaker

TASK = SpeechActivityTask(Elbo(num_data=1))


@pytest.fixture
def clip():
    """Speech in the frames 20 to 59, at a level that differs by clip: (2, 101, 40), in dB."""
    feats = torch.full((2, 101, 40), -90.0)
    feats[0, 20:60, 5:20] = -10.0
    feats[1, 20:60, 5:20] = -50.0
    return feats


def test_speech_is_where_the_clip_is_loud_whatever_its_level(clip):
    expected = torch.zeros(2, 101).bool()
    expected[:, 20:60] = True
    assert torch.equal(speech_frames(clip), expected)


def test_labels_are_classes_of_frames(clip):
    encoder = CategoricalEncoder()
    encoder.update_from_iterable(TASK.classes([]))
    labels = TASK.labels([{}, {}], encoder, lambda: clip)
    assert encoder.decode_torch(labels[0, [0, 30]]) == ["no speech", "speech"]


def test_likelihood_of_a_clip_is_the_mean_over_frames():
    probabilities = torch.tensor([[[0.5, 0.5], [0.25, 0.75]]])
    nll = TASK.nll(probabilities.log(), torch.tensor([[0, 1]]))
    torch.testing.assert_close(nll, -torch.tensor([[0.5, 0.75]]).log().mean(dim=1))


def test_main_model_that_drops_frames_is_refused():
    with pytest.raises(ValueError, match="expected log-probabilities of every frame"):
        TASK.nll(torch.zeros(3, 50, 2), torch.zeros(3, 101).long())


def frame_detector():
    trunk = FrameTrunk(FrameCNN(num_classes=2, num_features=8, channels=8, num_blocks=1))
    return FrameDetector(trunk, DetectionHead(trunk.embedding_size, code_size=4), window=10)


def made_up_episode(num_speakers=4):
    """Every speaker has a band, and speaks in the second half of an utterance."""
    feats = torch.full((num_speakers, 5, 20, 8), -60.0) + torch.randn(num_speakers, 5, 20, 8)
    for speaker in range(num_speakers):
        feats[speaker, :, 10:, 2 * speaker : 2 * speaker + 2] = 0.0
    speech = torch.zeros(num_speakers, 5, 20).long()
    speech[:, :, 10:] = 1
    lens = torch.ones(num_speakers, 5)
    return Episode(
        Enrollment(feats[:, :2], lens[:, :2], speech[:, :2]),
        Enrollment(feats[:, 2:], lens[:, 2:], speech[:, 2:]),
        lens[:, 2:].bool(),
    )


def test_a_detector_learns_whose_frames_they_are():
    task, model = TargetFramesTask(Elbo(num_data=2), StreamMaker()), frame_detector()
    task.check(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    episode = made_up_episode()
    losses = []
    for step in range(60):
        heard = task.predict(model, episode, torch.Generator().manual_seed(step))
        terms = task.objective(heard, episode)
        losses.append(terms["nll"].item())
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
    right = (heard.output.argmax(dim=2) == heard.labels).float().mean()
    assert right > 0.85 and sum(losses[-5:]) < sum(losses[:5]) / 2


def test_frames_are_offered_as_every_target_and_silence_as_none():
    task, model = TargetFramesTask(Elbo(num_data=2), StreamMaker(), every=1), frame_detector()
    heard = task.predict(model, made_up_episode(), torch.Generator().manual_seed(0))
    spoken = heard.accepted.any(dim=0)
    assert torch.equal(heard.accepted ^ heard.rejected, spoken.expand(4, -1))
    assert torch.equal(heard.accepted.sum(dim=0), spoken.long())
    assert torch.equal(spoken, heard.labels.flatten() > 0)


def test_who_scores_no_frames_is_refused():
    with pytest.raises(ValueError, match="Got a FrameCNN, which scores no frames"):
        TargetFramesTask(Elbo(num_data=2), StreamMaker()).check(FrameCNN(num_classes=2))
