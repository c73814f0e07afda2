"""Nearest class mean, against means and distances computed by hand."""

import pytest
import torch
from torch import nn

from vofp_plugin.lobes.baselines.nearest_mean import NearestMeanModel
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.lobes.models.bc_resnet import BCResNet
from vofp_plugin.lobes.models.ds_cnn import DSCNN


class FirstFrame(nn.Module):
    """Its embedding is the first frame, so that a test knows every embedding."""

    def __init__(self, size, num_classes):
        super().__init__()
        self.classifier = nn.Linear(size, num_classes)

    def embed(self, x):
        return x[:, 0]

    def forward(self, x, lens=None):
        return torch.log_softmax(self.classifier(self.embed(x)), dim=1)


def frames(*values):
    """Utterances of one frame and one feature, (B, 1, 1)."""
    return torch.tensor(values).reshape(-1, 1, 1)


@pytest.fixture
def model():
    """Class means 0, 10 and 20 with the variance 1 within classes."""
    model = NearestMeanModel(FirstFrame(1, 3), [1.0, 3.0], [1.0, 2.0], [1.0]).eval()
    first = (frames(-1.0, 1.0, 9.0), torch.tensor([0, 0, 1]))
    model.learn([first, (frames(11.0, 19.0, 21.0), torch.tensor([1, 2, 2]))])
    return model


def enroll(values, labels, lens):
    values, labels = torch.tensor(values), torch.tensor(labels)
    return Enrollment(values[..., None, None], torch.tensor(lens), labels)


ENROLLMENT = enroll([[4.0, 8.0], [14.0, 99.0]], [[0, 0], [1, 2]], [[1.0, 1.0], [1.0, 0.0]])


def test_training_means_and_covariance(model):
    assert model.training_means.flatten().tolist() == [0, 10, 20]
    assert model.covariance == 1


@pytest.mark.parametrize(
    "prior_count, offset, expected",
    [
        # First speaker: sum 12 of 2; second speaker: sum 14 of 1.
        (1.0, False, [[12 / 3, 10, 20], [0, (10 + 14) / 2, 20]]),
        (3.0, False, [[12 / 5, 10, 20], [0, (30 + 14) / 4, 20]]),
        (1.0, True, [[4, 14, 24], [2, 12, 22]]),
    ],
)
def test_class_means(model, prior_count, offset, expected):
    model.setting = {
        "prior_count": prior_count,
        "temperature": 1.0,
        "shrinkage": 1.0,
        "offset": offset,
    }
    means = model.personalize(ENROLLMENT).means
    torch.testing.assert_close(means.squeeze(2), torch.tensor(expected).float())


def test_answers_are_a_softmax_of_distances(model):
    model.setting = {"prior_count": 1.0, "temperature": 2.0, "shrinkage": 1.0, "offset": False}
    answers = model(frames(5.0, 6.0, 5.0, 6.0), weights=model.personalize(ENROLLMENT))
    distances = [[1.0, 25.0, 225.0], [4.0, 16.0, 196.0], [25.0, 49.0, 225.0], [36.0, 36.0, 196.0]]
    torch.testing.assert_close(answers, torch.log_softmax(-2 * torch.tensor(distances), dim=1))


def test_who_enrolled_nothing_is_answered_by_the_classifier(model):
    model.setting = {"prior_count": 1.0, "temperature": 2.0, "shrinkage": 1.0, "offset": True}
    enrollment = enroll([[4.0, 8.0], [14.0, 99.0]], [[0, 0], [1, 2]], [[1.0, 1.0], [0.0, 0.0]])
    queries = frames(5.0, 6.0, 5.0, 6.0)
    answers, classifier = model(queries, weights=model.personalize(enrollment)), model(queries)
    torch.testing.assert_close(answers[2:], classifier[2:])
    assert not torch.isclose(answers[:2], classifier[:2]).all()


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, 1.0])
def test_distances_are_relative_to_the_covariance(shrinkage):
    model = NearestMeanModel(FirstFrame(2, 2), [1.0], [1.0], [shrinkage], [False]).eval()
    corner = torch.tensor([[3.0, 1.0], [-3.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    feats = torch.cat([corner, corner + 10]).unsqueeze(1)
    model.learn([(feats, torch.tensor([0] * 4 + [1] * 4))])
    covariance = torch.tensor([[5.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(model.covariance, covariance)
    model.setting = model.settings[-1]
    far = Enrollment(10 * torch.ones(1, 1, 1, 2), torch.ones(1, 1), torch.ones(1, 1).long())
    x = torch.tensor([4.0, 7.0])
    inverse = torch.linalg.inv((1 - shrinkage) * covariance + shrinkage * 3 * torch.eye(2))
    distances = torch.stack([y @ inverse @ y / 2 for y in (x, x - 10)])
    answers = model(x.reshape(1, 1, 2), weights=model.personalize(far))[0]
    torch.testing.assert_close(answers, torch.log_softmax(-distances, dim=0))


def test_offset_is_the_mean_move_of_the_enrolled_classes(model):
    model.setting = {"prior_count": 1.0, "temperature": 1.0, "shrinkage": 1.0, "offset": True}
    means = model.personalize(enroll([[2.0, 18.0]], [[0, 1]], [[1.0, 1.0]])).means
    # The moves are 1 and 4, so the third class moves by 2.5.
    torch.testing.assert_close(means.flatten(), torch.tensor([1.0, 14.0, 22.5]))


def test_doing_nothing_is_the_shared_model(model):
    x = frames(5.0, 6.0)
    assert torch.equal(model(x, weights=model.personalize(ENROLLMENT)), model.main_model(x))


def test_what_was_learned_is_in_the_state(model):
    other = NearestMeanModel(FirstFrame(1, 3), [1.0], [1.0], [1.0])
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.training_means, model.training_means)
    assert torch.equal(other.covariance, model.covariance)


@pytest.mark.parametrize("main_model", [DSCNN(num_classes=5), BCResNet(num_classes=5)])
def test_main_models_give_what_their_classifier_reads(main_model):
    main_model.eval()
    x = torch.randn(3, 101, 40)
    logits = main_model.classifier(main_model.embed(x))
    torch.testing.assert_close(main_model(x), torch.log_softmax(logits, dim=1))


def test_covariance_that_cannot_be_inverted_is_told():
    model = NearestMeanModel(FirstFrame(3, 2), [1.0], [1.0], [0.0]).eval()
    model.covariance.zero_()  # as of one utterance for each class
    model.setting = model.settings[-1]
    enrollment = Enrollment(torch.randn(1, 1, 1, 3), torch.ones(1, 1), torch.tensor([[0]]))
    with pytest.raises(ValueError, match="shrinkage 0.0 for a covariance of 3 .* larger shrinkage"):
        model.personalize(enrollment)
