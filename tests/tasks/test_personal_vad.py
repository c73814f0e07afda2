"""Speech activity: labels and likelihoods of frames."""

import pytest
import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from vofp_plugin.nnet.losses import Elbo
from vofp_plugin.tasks.personal_vad import SpeechActivityTask, speech_frames

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
