"""Fine-tuning of many speakers at once equals fine-tuning a plain copy for each of them."""

import copy

import pytest
import torch
import torch.nn.functional as F

from vofp_plugin.lobes.baselines.fine_tuned import FineTunedModel
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.nnet.layers import WeightInjected

LAYERS = {"all": ["*"], "norms": ["*.norm"], "injected": ["*.norm", "classifier"]}
SPEAKERS, SHOTS, CLASSES = 3, 4, 5
OPTIMIZERS = {"adam": (torch.optim.Adam, 0.01), "sgd": (torch.optim.SGD, 0.1)}


@pytest.fixture
def main_model():
    model = DSCNN(num_classes=CLASSES, num_features=8, channels=6, num_blocks=1, kernel_size=3)
    model(3 * torch.randn(20, 21, 8))  # running statistics of its own
    return model


@pytest.fixture
def enrollment():
    lens = torch.ones(SPEAKERS, SHOTS)
    lens[1, 2:] = 0  # a speaker of two utterances
    labels = torch.randint(CLASSES, (SPEAKERS, SHOTS))
    return Enrollment(torch.randn(SPEAKERS, SHOTS, 21, 8), lens, labels)


def make_model(main_model, optimizer=torch.optim.SGD, lr=0.1):
    model = FineTunedModel(main_model, LAYERS, [lr], [1, 3, 10], optimizer)
    return model.eval().requires_grad_(True)


def tune_a_copy(main_model, feats, labels, is_tuned, optimizer, lr, steps):
    """The closed reference: torch alone, one speaker, one utterance list."""
    plain = copy.deepcopy(main_model).eval()
    tuned = [p for name, p in plain.named_parameters() if is_tuned(name)]
    optimizer = optimizer(tuned, lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.nll_loss(plain(feats), labels).backward()
        optimizer.step()
    return plain


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "layers, is_tuned",
    [
        ("all", lambda name: True),
        ("norms", lambda name: ".norm." in name),
        ("injected", lambda name: ".norm." in name or "classifier" in name),
    ],
)
@torch.no_grad()
def test_speakers_together_equal_copies_of_each(
    main_model, enrollment, layers, is_tuned, optimizer
):
    kind, lr = OPTIMIZERS[optimizer]
    model, x = make_model(main_model, kind, lr), torch.randn(SPEAKERS * 2, 21, 8)
    settings = [s for s in model.settings if s.get("layers") == layers]
    assert [s["steps"] for s in settings] == [1, 3, 10]
    for setting, weights in zip(settings, model.adaptations(enrollment, settings), strict=True):
        together = model(x, weights=weights)
        for n in range(SPEAKERS):
            present = enrollment.lens[n] > 0
            with torch.enable_grad():
                plain = tune_a_copy(
                    main_model,
                    enrollment.feats[n, present],
                    enrollment.labels[n, present],
                    is_tuned,
                    kind,
                    lr,
                    setting["steps"],
                )
            mine = slice(2 * n, 2 * n + 2)
            torch.testing.assert_close(together[mine], plain(x[mine]), rtol=1e-3, atol=1e-4)
    assert (together - main_model(x)).abs().max() > 0.05, "tuning changes the answers"


@torch.no_grad()
def test_one_setting_equals_its_place_in_the_sweep(main_model, enrollment):
    model = make_model(main_model)
    swept = list(model.adaptations(enrollment, model.settings))
    assert swept[0] is None
    for setting, weights in zip(model.settings[1:], swept[1:], strict=True):
        model.setting = setting
        alone = model.personalize(enrollment)
        assert alone.keys() == weights.keys()
        assert all(torch.equal(alone[name], weights[name]) for name in alone)


@torch.no_grad()
def test_doing_nothing_and_no_enrollment_are_the_shared_model(main_model, enrollment):
    model, x = make_model(main_model), torch.randn(SPEAKERS * 2, 21, 8)
    assert model.settings[0] == model.setting
    assert torch.equal(model(x, weights=model.personalize(enrollment)), main_model(x))
    model.setting = model.settings[-1]
    nothing = Enrollment(torch.zeros(2, 0, 21, 8), torch.zeros(2, 0), torch.zeros(2, 0).long())
    assert torch.equal(model(x, weights=model.personalize(nothing)), main_model(x))


@torch.no_grad()
def test_speaker_without_enrollment_beside_others_keeps_the_shared_weights(main_model, enrollment):
    model = make_model(main_model)
    model.setting = model.settings[-1]
    enrollment.lens[1] = 0
    for name, weight in model.personalize(enrollment).items():
        assert torch.equal(weight[1], main_model.get_parameter(name))
        assert not torch.equal(weight[0], main_model.get_parameter(name))


@torch.no_grad()
def test_tuning_leaves_the_shared_model_as_it_was(main_model, enrollment):
    before = copy.deepcopy(main_model.state_dict())
    model = make_model(main_model)
    list(model.adaptations(enrollment, model.settings))
    assert all(torch.equal(before[name], value) for name, value in main_model.state_dict().items())
    assert all(parameter.grad is None for parameter in main_model.parameters())
    assert not any(isinstance(layer, WeightInjected) for layer in main_model.modules())


def test_statistics_stay_in_training_mode_too(main_model, enrollment):
    model = FineTunedModel(main_model, {"all": ["*"]}, [0.1], [2]).train()
    model.setting = model.settings[-1]
    before = model.main_model.stem.norm.running_mean.clone()
    model.personalize(enrollment)
    assert torch.equal(model.main_model.stem.norm.running_mean, before)
    assert model.main_model.training


def test_enrollment_without_labels_is_refused(main_model, enrollment):
    model = FineTunedModel(main_model, {"all": ["*"]}, [0.1], [2])
    model.setting = model.settings[-1]
    with pytest.raises(ValueError, match="without labels; adaptation needs the class of every"):
        model.personalize(enrollment._replace(labels=None))


@pytest.mark.parametrize("steps", [[-2], [1.5]])
def test_steps_that_cannot_be_done_are_refused(main_model, steps):
    with pytest.raises(ValueError, match="expected whole numbers"):
        FineTunedModel(main_model, {"all": ["*"]}, [0.1], steps)


@torch.no_grad()
def test_shared_model_answers_for_a_speaker_whose_steps_diverged(main_model, enrollment):
    model, queries = make_model(main_model), torch.randn(2 * SPEAKERS, 21, 8)
    model.setting = model.settings[-1]
    weights = model.personalize(enrollment)
    tuned = model(queries, weights=weights)
    weights["classifier.bias"][1] = torch.nan
    answers = model(queries, weights=weights)
    lost = torch.tensor([False, False, True, True, False, False])
    assert torch.equal(answers[lost], main_model(queries)[lost])
    torch.testing.assert_close(answers[~lost], tuned[~lost])
    assert not torch.allclose(tuned[lost], answers[lost], atol=0.01)
