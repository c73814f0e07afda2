"""Frame detectors: causal, personalized by the enrollment, and neutral without one."""

import pytest
import torch

from vofp_plugin.lobes.detection_head import CosineHead, DetectionHead
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.lobes.frame_detector import FrameDetector, recent_mean
from vofp_plugin.lobes.models.frame_cnn import FrameCNN
from vofp_plugin.lobes.models.frame_trunk import FrameTrunk


@pytest.fixture(params=[DetectionHead, CosineHead])
def model(request):
    trunk = FrameTrunk(FrameCNN(num_classes=2, channels=8, num_blocks=2, kernel_size=3))
    return FrameDetector(trunk, request.param(trunk.embedding_size, code_size=4), window=10).eval()


@pytest.fixture
def enrollment():
    return Enrollment(10 * torch.randn(2, 3, 60, 40), torch.ones(2, 3))


@torch.no_grad()
def test_no_frame_hears_a_later_one(model, enrollment):
    weights = model.personalize(enrollment)
    feats = 10 * torch.randn(2, 50, 40)
    later = feats.clone()
    later[:, 30:] = 0
    whole, changed = model(feats, weights=weights), model(later, weights=weights)
    torch.testing.assert_close(changed[:, :30], whole[:, :30])
    assert not torch.allclose(changed[:, 30:], whole[:, 30:])


@torch.no_grad()
def test_answers_are_probabilities_and_depend_on_whom_is_enrolled(model, enrollment):
    feats = (10 * torch.randn(1, 50, 40)).expand(2, -1, -1)
    output = model(feats, weights=model.personalize(enrollment))
    torch.testing.assert_close(output.exp().sum(dim=2), torch.ones(2, 50))
    assert not torch.allclose(output[0], output[1])


@torch.no_grad()
def test_without_enrollment_all_speech_is_half_the_targets(model):
    output = model(10 * torch.randn(3, 50, 40))
    torch.testing.assert_close(output[..., 1], output[..., 2])


@torch.no_grad()
def test_an_utterance_tells_as_much_as_the_sum_of_its_summaries(model, enrollment):
    both = model.summarize(enrollment)
    parts = [model.summarize(Enrollment(x[:, None], torch.ones(2, 1))) for x in
             enrollment.feats.unbind(dim=1)]  # fmt: skip
    torch.testing.assert_close(both.values, sum(part.values for part in parts))


def test_the_window_forgets():
    values = torch.randn(1, 30, 4)
    changed = values.clone()
    changed[:, :10] = 5.0
    one, other = (recent_mean(x, torch.ones(1, 30), window=10) for x in (values, changed))
    torch.testing.assert_close(one[:, 20:], other[:, 20:], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(one[:, 15], other[:, 15])
