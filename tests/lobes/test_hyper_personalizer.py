"""Hyper-personalizer: where it starts, which forms it uses, and that everything is trained."""

from functools import partial
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vofp_plugin.lobes.embeddings import ConvEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.models.bc_resnet import BCResNet
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.personalized import PersonalizedModel
from vofp_plugin.nnet.forms import FORMS, Channel, Full, LowRank
from vofp_plugin.nnet.injection import injected
from vofp_plugin.nnet.losses import Elbo
from vofp_plugin.nnet.modes import Replace, Residual
from vofp_plugin.nnet.posterior import Delta, DeltaHead, DiagonalGaussian, GaussianHead

CODE_SIZE = 32
each_form = pytest.mark.parametrize("form", FORMS)


def random_code(num_speakers=4, code_size=CODE_SIZE):
    """Codes as the encoder gives them, and the precisions of some utterances."""
    code = F.layer_norm(torch.randn(num_speakers, code_size), [code_size])
    return code, 3 * torch.rand(num_speakers, 1)


def decibels(num_items, num_features=40, num_frames=51):
    sound = torch.randn(num_items, 1, num_features)
    return 15 * sound + 5 * torch.randn(num_items, num_frames, num_features) - 40


def small_main_model():
    return DSCNN(num_classes=5, num_features=8, channels=6, num_blocks=1, kernel_size=3)


def run(main_model, hyper_personalizer, numbers, x):
    with injected(main_model, hyper_personalizer.weights(numbers, main_model)):
        return main_model(x)


@each_form
@pytest.mark.parametrize("code_size", [8, 32, 256])
@pytest.mark.parametrize("main_model_class", [DSCNN, BCResNet])
def test_residual_starts_at_the_shared_model(main_model_class, code_size, form):
    main_model = main_model_class(num_classes=10)
    for _ in range(20):  # until the running statistics are those of the features
        main_model(decibels(16))
    main_model.eval()
    hyper_personalizer = HyperPersonalizer(main_model, {"*": form}, code_size)
    x = decibels(8)
    with torch.no_grad():
        numbers = hyper_personalizer(*random_code(4, code_size)).mean
        personalized = run(main_model, hyper_personalizer, numbers, x)
        assert (personalized - main_model(x)).abs().max() < 1e-2
    if form != "low_rank":  # there the zero factor hides the code until the first step
        assert not torch.equal(personalized, main_model(x))


@pytest.mark.parametrize("form", ["full", "channel"])
def test_replace_starts_at_the_shared_model(form):
    main_model = small_main_model().eval()
    x = torch.randn(8, 21, 8)
    expected = main_model(x)
    hyper_personalizer = HyperPersonalizer(main_model, {"*": form}, CODE_SIZE, mode=Replace())
    numbers = hyper_personalizer(*random_code()).mean
    torch.testing.assert_close(
        run(main_model, hyper_personalizer, numbers, x), expected, rtol=0, atol=1e-2
    )


def test_low_rank_starts_with_exactly_one_factor_zero_for_every_speaker():
    hyper_personalizer = HyperPersonalizer(small_main_model(), {"*": "low_rank"}, CODE_SIZE)
    numbers = hyper_personalizer(*random_code()).mean.split(hyper_personalizer.sizes, dim=1)
    matrices = [
        (form, part)
        for form, part in zip(hyper_personalizer.forms.values(), numbers, strict=True)
        if form.factors
    ]
    assert len(matrices) == 4
    for form, part in matrices:
        assert not part[:, ~form.is_free()].any() and part[:, form.is_free()].all()


def linear_changes(form, width, numbers_of):
    """Changes of a linear layer's outputs of unit variance, for inputs of unit variance."""
    layer = nn.Linear(width, width, bias=False)
    nn.init.normal_(layer.weight, std=width**-0.5)
    hyper_personalizer = HyperPersonalizer(layer, {"*": form}, CODE_SIZE)
    x = torch.randn(40 * 20, width)
    with torch.no_grad():
        numbers = numbers_of(hyper_personalizer(*random_code(num_speakers=40)))
        return run(layer, hyper_personalizer, numbers, x) - layer(x)


@each_form
@pytest.mark.parametrize("width", [8, 64, 512])
def test_posterior_std_is_the_output_spread_whatever_the_size_of_the_layer(form, width):
    changes = linear_changes(form, width, lambda posterior: posterior.sample())
    assert changes.std() == pytest.approx(0.09, rel=0.35)


@pytest.mark.parametrize("form", ["full", "channel"])
def test_spread_of_the_mean_does_not_depend_on_the_size_of_the_layer(form):
    spreads = [linear_changes(form, width, lambda p: p.mean).std().item() for width in (8, 512)]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.3)


def test_last_pattern_that_matches_gives_the_form():
    targets = {"*": "channel", "*.conv": "low_rank", "classifier": "full"}
    forms = HyperPersonalizer(small_main_model(), targets, CODE_SIZE).forms
    assert type(forms["classifier.weight"]) is Full
    assert type(forms["stem.conv.weight"]) is LowRank
    assert type(forms["stem.norm.weight"]) is Channel
    assert type(forms["blocks.0.depthwise.conv.weight"]) is LowRank


def test_pattern_without_a_form_leaves_out_what_it_matches():
    targets = {"*": "channel", "*.conv": None, "stem.conv": "full"}
    hyper_personalizer = HyperPersonalizer(small_main_model(), targets, CODE_SIZE)
    forms = {name: type(form) for name, form in hyper_personalizer.forms.items()}
    assert forms.pop("stem.conv.weight") is Full
    assert set(forms.values()) == {Channel} and not any(".conv." in name for name in forms)
    with pytest.raises(ValueError, match="Got no targets"):
        HyperPersonalizer(small_main_model(), {"*": None}, CODE_SIZE)


def test_layers_that_a_probe_shows_unfit_are_refused_or_passed_over():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.head = nn.GRU(6, 6, batch_first=True), nn.Linear(6, 5)
            self.read = nn.Linear(6, 6, bias=False)

        def forward(self, feats, lens):
            return self.head(self.gru(feats)[0].mean(1) @ self.read.weight)

    main_model, probe = Head(), (torch.randn(4, 9, 6), torch.ones(4))
    with pytest.raises(TypeError, match="'gru' is a GRU"):
        HyperPersonalizer(main_model, {"*": "channel"}, CODE_SIZE)
    with pytest.raises(ValueError, match="'read' is never called"):
        HyperPersonalizer(main_model, {"*": "channel", "gru": None}, CODE_SIZE, probe=probe)
    assert [type(layer) for layer in main_model.children()] == [nn.GRU, nn.Linear, nn.Linear]
    skipping = HyperPersonalizer(main_model, {"*": "channel"}, CODE_SIZE, skip=True, probe=probe)
    assert list(skipping.forms) == ["head.weight", "head.bias"]


def test_posterior_starts_with_the_spread_asked_for():
    hyper_personalizer = HyperPersonalizer(
        small_main_model(), {"*": "full"}, CODE_SIZE, posterior=partial(GaussianHead, std=0.2)
    )
    posterior = hyper_personalizer(*random_code())
    assert isinstance(posterior, DiagonalGaussian)
    expected = torch.full_like(posterior.mean, 0.2)
    torch.testing.assert_close(posterior.std, expected, rtol=0.05, atol=0)


def test_delta_has_no_log_variance():
    hyper_personalizer = HyperPersonalizer(
        small_main_model(), {"*": "full"}, CODE_SIZE, posterior=DeltaHead
    )
    assert isinstance(hyper_personalizer(*random_code()), Delta)
    assert not [name for name, _ in hyper_personalizer.named_parameters() if "log_var" in name]


@pytest.mark.parametrize("mode, std", [(Residual(0.5), 0.5), (Replace(), 1.0)])
def test_prior(mode, std):
    hyper_personalizer = HyperPersonalizer(small_main_model(), {"*": "full"}, CODE_SIZE, mode=mode)
    prior = hyper_personalizer.prior()
    torch.testing.assert_close(prior.std, torch.full_like(prior.std, std))
    assert not prior.mean.any()


def test_prior_of_the_random_factor_is_centred_where_it_starts():
    hyper_personalizer = HyperPersonalizer(small_main_model(), {"*": "low_rank"}, CODE_SIZE)
    assert hyper_personalizer.prior().mean.any()
    torch.testing.assert_close(hyper_personalizer.prior().mean[0], hyper_personalizer.mean.bias)


def test_posterior_may_narrow_with_the_precision_of_the_code():
    hyper_personalizer = HyperPersonalizer(small_main_model(), {"*": "full"}, CODE_SIZE)
    nn.init.constant_(hyper_personalizer.posterior.log_var_offset.weight, -0.1)
    code, precisions = random_code()
    wide, narrow = (hyper_personalizer(code, precisions * k).std for k in (1, 5))
    assert (narrow < wide).all()


def test_number_of_numbers_is_that_of_the_forms():
    main_model = small_main_model()
    size = sum(parameter.numel() for parameter in main_model.parameters())
    assert HyperPersonalizer(main_model, {"*": "full"}, CODE_SIZE).num_numbers == size


@each_form
def test_start_depends_on_the_generator_alone(form):
    states = [
        HyperPersonalizer(
            small_main_model(), {"*": form}, 8, generator=torch.Generator().manual_seed(seed)
        ).state_dict()
        for seed in (1, 1, 2)
    ]
    random = [name for name, value in states[0].items() if not torch.equal(value, states[2][name])]
    assert "mean.weight" in random and "posterior.log_var_offset.weight" in random
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


@each_form
def test_replace_freezes_what_nothing_reads(form):
    main_model = small_main_model()
    HyperPersonalizer(main_model, {"classifier": form}, CODE_SIZE, mode=Replace())
    frozen = {name for name, p in main_model.named_parameters() if not p.requires_grad}
    reads_weight = form == "channel"
    assert frozen == {"classifier.bias"} | (set() if reads_weight else {"classifier.weight"})


@each_form
def test_residual_freezes_nothing(form):
    main_model = small_main_model()
    HyperPersonalizer(main_model, {"*": form}, CODE_SIZE)
    assert all(parameter.requires_grad for parameter in main_model.parameters())


@each_form
def test_residual_keeps_no_change_for_no_enrollment(form):
    main_model = small_main_model()
    hyper_personalizer = HyperPersonalizer(main_model, {"*": form}, CODE_SIZE)
    hyper_personalizer.update_none(torch.randn(4, hyper_personalizer.num_numbers))
    weights = hyper_personalizer.weights(hyper_personalizer.none_numbers.unsqueeze(0), main_model)
    for name, parameter in main_model.named_parameters():
        assert torch.equal(weights[name][0], parameter)


def test_replace_keeps_the_mean_of_training_speakers_for_no_enrollment():
    hyper_personalizer = HyperPersonalizer(
        small_main_model(), {"*": "full"}, CODE_SIZE, mode=Replace()
    )
    speakers = 2 + 0.1 * torch.randn(500, 4, hyper_personalizer.num_numbers)
    for numbers in speakers:
        hyper_personalizer.update_none(numbers)
    expected = torch.full_like(hyper_personalizer.none_numbers, 2.0)
    torch.testing.assert_close(hyper_personalizer.none_numbers, expected, rtol=0, atol=0.1)
    assert "none_numbers" in hyper_personalizer.state_dict()


@pytest.mark.parametrize(
    "form, mode, posterior, aggregation",
    [*product(FORMS, [Residual, Replace], [GaussianHead, DeltaHead], ["mean", "bayesian"])],
)
def test_every_parameter_gets_a_gradient(form, mode, posterior, aggregation):
    main_model = small_main_model()
    model = PersonalizedModel(
        main_model,
        EnrollmentEncoder(
            ConvEmbedding(8, channels=6, kernel_sizes=(3, 3), strides=(2, 1), lin_neurons=10),
            embedding_size=10,
            code_size=8,
            aggregation=aggregation,
            words="told",
            num_classes=5,
        ),
        HyperPersonalizer(main_model, {"*": form}, 8, mode=mode(), posterior=posterior, rank=2),
    )
    enrollment = Enrollment(torch.randn(4, 3, 21, 8), torch.ones(4, 3), torch.randint(5, (4, 3)))
    x, labels = torch.randn(12, 21, 8), torch.randint(5, (12,))
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(parameters.values(), lr=0.01)
    for _ in range(3):  # the third pass sees what two optimizer steps have made
        optimizer.zero_grad()
        weights, kl = model.draw(enrollment)
        nll = F.nll_loss(model(x, weights=weights), labels, reduction="none").view(4, 3)
        Elbo(num_data=3)(nll, kl)["loss"].backward()
        optimizer.step()
    without = [name for name, p in parameters.items() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"targets": {"*": "fulll"}}, "Got form 'fulll'; expected one of full, channel, low_rank"),
        ({"targets": {"clasifier": "full"}}, "'clasifier' matches no injectable layer"),
        ({"targets": {}}, "Got no targets"),
        ({"rank": 0}, "Got rank 0; expected a number above 0"),
        ({"posterior": partial(GaussianHead, std=0.0)}, "Got posterior_std 0.0; expected a number"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HyperPersonalizer(small_main_model(), **{"targets": {"*": "low_rank"}, **arguments})


def test_second_one_with_other_targets_on_the_same_main_model_is_refused():
    main_model = small_main_model()
    HyperPersonalizer(main_model, {"*.norm": "channel"})
    with pytest.raises(ValueError, match="'stem.norm' is weight-injected already, .* eject_ first"):
        HyperPersonalizer(main_model, {"classifier": "full"})
    assert type(main_model.classifier) is nn.Linear, "a refused call changes nothing"


def test_parameters_of_two_layers_are_refused():
    main_model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    main_model[1].weight = main_model[0].weight
    with pytest.raises(TypeError, match="'0' is tied to 1; '1' is tied to 0"):
        HyperPersonalizer(main_model, {"*": "full"})
