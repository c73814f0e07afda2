"""One model and several threads: each has its own speaker, and nobody's weights stay behind."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from vofp_plugin.lobes.baselines.fine_tuned import FineTunedModel
from vofp_plugin.lobes.embeddings import ActivationEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.personalized import PersonalizedModel

ANSWERS = 1000  # of each of two threads


@pytest.fixture(autouse=True)
def frequent_switches():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(interval)


class Tiny(nn.Module):
    """Two layers, so that thousands of answers take seconds."""

    def __init__(self):
        super().__init__()
        self.hidden, self.classifier = nn.Linear(8, 4), nn.Linear(4, 5)

    def forward(self, feats, lens):
        return self.classifier(self.hidden(feats).relu().mean(1)).log_softmax(1)


@pytest.fixture
def main_model():
    return Tiny().eval()


@pytest.fixture
def model(main_model):
    encoder = EnrollmentEncoder(ActivationEmbedding(main_model, ["*"], num_features=8), None, 8)
    hyper_personalizer = HyperPersonalizer(main_model, {"*": "full"}, code_size=8)
    nn.init.normal_(hyper_personalizer.mean.weight)
    return PersonalizedModel(main_model, encoder, hyper_personalizer).eval()


def enroll(num_speakers=1):
    labels = torch.randint(5, (num_speakers, 2))
    return Enrollment(torch.randn(num_speakers, 2, 9, 8), torch.ones(num_speakers, 2), labels)


def count_wrong(model, weights, x, expected, times):
    with torch.no_grad():  # of each thread its own
        return sum(
            not torch.allclose(model(x, weights=weights), expected, atol=1e-6) for _ in range(times)
        )


@torch.no_grad()
def wrong_answers(model, enrollments, times, others=()):
    """Wrong answers in threads for two speakers, while `others` run as often as a twentieth."""
    x = torch.randn(1, 9, 8)
    weights = [model.personalize(enrollment) for enrollment in enrollments]
    expected = [model(x, weights=w) for w in weights]
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    before, shared = copy.deepcopy(model.state_dict()), model(x)

    def repeat(other):
        for _ in range(times // 20):
            other()

    with ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(count_wrong, model, *speaker, times)
            for speaker in zip(weights, [x, x], expected, strict=True)
        ]
        background = [pool.submit(repeat, other) for other in others]
        wrong = sum(job.result() for job in jobs)
        for job in background:
            job.result()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    torch.testing.assert_close(model(x), shared, rtol=0, atol=0)
    return wrong


def test_two_threads_with_two_speakers_answer_as_each_alone(model):
    assert wrong_answers(model, [enroll(), enroll()], ANSWERS) == 0


def test_a_third_thread_enrolls_and_a_fourth_merges_meanwhile(model):
    third = enroll()
    with torch.no_grad():
        expected, weights = model.personalize(third), model.personalize(third)

    def enroll_anew():
        with torch.no_grad():
            torch.testing.assert_close(model.personalize(third), expected)

    others = [enroll_anew, lambda: model.merge(weights)]
    assert wrong_answers(model, [enroll(), enroll()], ANSWERS, others) == 0


def test_fine_tuned_models_answer_and_tune_in_threads(main_model):
    model = FineTunedModel(main_model, {"all": ["*"]}, [0.5], [2]).eval()
    model.setting = model.settings[-1]
    third = enroll()
    others = [lambda: model.personalize(third)]
    assert wrong_answers(model, [enroll(), enroll()], ANSWERS // 20, others) == 0
