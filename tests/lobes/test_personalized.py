"""The personalized model: speakers in a batch, merging, no enrollment, Monte Carlo."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vofp_plugin.lobes.baselines.shared import SharedModel
from vofp_plugin.lobes.embeddings import ActivationEmbedding, ConvEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.models.bc_resnet import BCResNet
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.models.without_lens import WithoutLens
from vofp_plugin.lobes.personalized import PersonalizedModel
from vofp_plugin.nnet.forms import FORMS
from vofp_plugin.nnet.injection import weight_specs
from vofp_plugin.nnet.layers import WeightInjected
from vofp_plugin.nnet.modes import Replace, Residual
from vofp_plugin.nnet.posterior import DeltaHead, GaussianHead

each_form = pytest.mark.parametrize("form", FORMS)
each_mode = pytest.mark.parametrize("mode", [Residual(), Replace()])


def small_main_model():
    return DSCNN(num_classes=5, num_features=8, channels=6, num_blocks=1, kernel_size=3)


def make_model(form="full", main_model=None, num_features=8, **settings):
    """A model far from its start, so that enrollment makes a difference."""
    main_model = main_model or small_main_model()
    hyper_personalizer = HyperPersonalizer(main_model, {"*": form}, 8, rank=2, **settings)
    nn.init.normal_(hyper_personalizer.mean.weight, std=0.1)
    encoder = EnrollmentEncoder(ConvEmbedding(num_features, channels=12), code_size=8)
    return PersonalizedModel(main_model, encoder, hyper_personalizer).eval()


def random_enrollment(num_speakers=3, shots=2, num_features=8):
    feats = torch.randn(num_speakers, shots, 21, num_features)
    feats += 3 * torch.randn(num_speakers, 1, 1, num_features)
    return Enrollment(feats, torch.ones(num_speakers, shots))


def no_enrollment(num_speakers):
    return Enrollment(torch.zeros(num_speakers, 0, 21, 8), torch.zeros(num_speakers, 0))


def one_speaker(weights, n):
    return {name: weight[n : n + 1] for name, weight in weights.items()}


@each_form
@each_mode
def test_merged_equals_injected(form, mode):
    model, x = make_model(form, mode=mode), torch.randn(3 * 4, 21, 8)
    weights = model.personalize(random_enrollment())
    together = model(x, weights=weights)
    for n in range(3):
        merged = model.merge(one_speaker(weights, n))
        torch.testing.assert_close(merged(x[4 * n : 4 * n + 4]), together[4 * n : 4 * n + 4])
    assert (together[:4] - model.merge(one_speaker(weights, 1))(x[:4])).abs().max() > 1e-3


def test_merged_equals_injected_in_two_dimensions():
    model = make_model("full", main_model=BCResNet(num_classes=5), num_features=40)
    weights = model.personalize(random_enrollment(1, num_features=40))
    x = torch.randn(4, 21, 40)
    torch.testing.assert_close(
        model.merge(weights)(x), model(x, weights=weights), rtol=1e-4, atol=1e-5
    )


def test_merged_model_is_plain():
    model = make_model()
    weights = model.personalize(random_enrollment(1))
    model(torch.randn(4, 21, 8), weights=weights)
    merged, plain = model.merge(weights), small_main_model()
    assert [type(m) for m in merged.modules()] == [type(m) for m in plain.modules()]
    assert not any(isinstance(m, WeightInjected) for m in merged.modules())
    assert [sorted(vars(m)) for m in merged.modules()] == [sorted(vars(m)) for m in plain.modules()]
    assert list(merged.state_dict()) == list(plain.state_dict())
    assert not any(p.grad_fn for p in merged.parameters())
    assert not merged.training


def test_merging_leaves_the_model_as_it_was():
    model, x = make_model(), torch.randn(4, 21, 8)
    before, shared = model(x), {k: v.clone() for k, v in model.state_dict().items()}
    merged = model.merge(model.personalize(random_enrollment(1)))
    with torch.no_grad():
        for parameter in merged.parameters():
            parameter.zero_()
    torch.testing.assert_close(model.state_dict(), shared, rtol=0, atol=0)
    torch.testing.assert_close(model(x), before, rtol=0, atol=0)
    assert weight_specs(model.main_model)


def test_merging_into_a_merged_model_gives_the_other_speaker():
    model, x = make_model(), torch.randn(4, 21, 8)
    first, second = (model.personalize(random_enrollment(1)) for _ in range(2))
    merged = model.merge(first)
    assert model.merge(second, into=merged) is merged
    torch.testing.assert_close(merged(x), model.merge(second)(x), rtol=0, atol=0)
    with pytest.raises(ValueError, match="of 3 speakers to merge"):
        model.merge(model.personalize(random_enrollment(3)), into=merged)
    torch.testing.assert_close(merged(x), model.merge(second)(x), rtol=0, atol=0)


def test_merging_several_speakers_is_refused():
    model = make_model()
    with pytest.raises(ValueError, match="Got weights of 3 speakers to merge; expected one"):
        model.merge(model.personalize(random_enrollment(3)))


def test_merging_weights_of_another_model_is_refused():
    model = make_model()
    weights = model.personalize(random_enrollment(1))
    weights["other.weight"] = weights.pop("classifier.weight")
    with pytest.raises(ValueError, match="missing .'classifier.weight'.*unknown .'other.weight'"):
        model.merge(weights)
    with pytest.raises(ValueError, match="Injected weights do not fit the model"):
        model.merge({})


@each_form
def test_no_enrollment_is_the_shared_model_in_residual_mode(form):
    model, x = make_model(form), torch.randn(6, 21, 8)
    expected = model(x)
    torch.testing.assert_close(model(x, weights=model.personalize(no_enrollment(3))), expected)
    weights, kl = model.draw(no_enrollment(3))
    torch.testing.assert_close(model(x, weights=weights), expected)
    assert kl.tolist() == [0.0] * 3


def test_no_enrollment_is_the_mean_of_training_speakers_in_replace_mode():
    model, x = make_model(mode=Replace()), torch.randn(6, 21, 8)
    nothing = no_enrollment(2)
    at_start = model(x, weights=model.personalize(nothing))
    enrollment = random_enrollment()
    model.draw(enrollment)  # evaluation teaches nothing
    torch.testing.assert_close(model(x, weights=model.personalize(nothing)), at_start)
    model.encoder.requires_grad_(False)
    model.train()
    for _ in range(600):
        model.draw(enrollment)
    model.eval()
    got = model.personalize(nothing)
    for name, weight in model.personalize(enrollment).items():
        expected = weight.mean(dim=0).expand_as(got[name])
        torch.testing.assert_close(got[name], expected, rtol=0, atol=0.02)


def test_speakers_without_enrollment_do_not_count_in_the_stored_mean():
    model = make_model(mode=Replace()).train()
    enrollment = random_enrollment(2)
    enrollment.lens[1] = 0
    before = model.hyper_personalizer.none_numbers.clone()
    mean = model.posterior(model.encoder.summarize(enrollment)).mean[0].detach()
    model.draw(enrollment)
    torch.testing.assert_close(model.hyper_personalizer.none_numbers, before.lerp(mean, 0.01))


def test_speakers_of_a_batch_may_lack_enrollment():
    model, x = make_model(), torch.randn(6, 21, 8)
    enrollment = random_enrollment(3)
    expected = model(x, weights=model.personalize(enrollment))
    expected[2:4] = model(x[2:4])
    enrollment.lens[1] = 0
    torch.testing.assert_close(model(x, weights=model.personalize(enrollment)), expected)
    kl = model.draw(enrollment)[1]
    assert (kl > 0).tolist() == [True, False, True]


@each_form
def test_speakers_of_a_batch_do_not_affect_each_other(form):
    model, x, enrollment = make_model(form), torch.randn(6, 21, 8), random_enrollment(3)
    together = model(x, weights=model.personalize(enrollment))
    for n in range(3):
        alone = Enrollment(enrollment.feats[n : n + 1], enrollment.lens[n : n + 1])
        items = x[2 * n : 2 * n + 2]
        expected = model(items, weights=model.personalize(alone))
        torch.testing.assert_close(together[2 * n : 2 * n + 2], expected, rtol=1e-4, atol=1e-5)
    stranger = model(
        x, weights={k: w.roll(1, dims=0) for k, w in model.personalize(enrollment).items()}
    )
    assert ((stranger - together).abs().amax(dim=1) > 1e-4).all()


def test_summary_serves_as_well_as_the_utterances():
    model, x, enrollment = make_model(), torch.randn(6, 21, 8), random_enrollment(3)
    summary = model.encoder.summarize(enrollment)
    torch.testing.assert_close(model.personalize(summary), model.personalize(enrollment))
    torch.testing.assert_close(model.predict(x, summary), model.predict(x, enrollment))


def test_weights_fit_the_main_model():
    model = make_model()
    weights = model.personalize(random_enrollment(3))
    expected = {name: (3, *shape) for name, shape in weight_specs(model.main_model).items()}
    assert {name: weight.shape for name, weight in weights.items()} == expected


def test_prediction_with_the_posterior_mean():
    model, x, enrollment = make_model(), torch.randn(6, 21, 8), random_enrollment(3)
    expected = model(x, weights=model.personalize(enrollment))
    torch.testing.assert_close(model.predict(x, enrollment), expected)


def test_monte_carlo_averages_probabilities():
    model = make_model(posterior=partial(GaussianHead, std=0.5))
    x, enrollment = torch.randn(6, 21, 8), random_enrollment(3)
    generator = torch.Generator().manual_seed(1)
    log_probs = model.predict(x, enrollment, num_samples=7, generator=generator)
    generator.manual_seed(1)
    samples = [model(x, weights=model.draw(enrollment, generator)[0]).exp() for _ in range(7)]
    torch.testing.assert_close(log_probs.exp(), sum(samples) / 7)
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(6))
    assert (samples[0] - samples[1]).abs().max() > 1e-2


def test_monte_carlo_of_delta_is_the_mean_prediction():
    model = make_model(posterior=DeltaHead)
    x, enrollment = torch.randn(6, 21, 8), random_enrollment(3)
    torch.testing.assert_close(
        model.predict(x, enrollment, num_samples=3), model.predict(x, enrollment)
    )


def test_draws_differ_by_speaker_and_depend_on_the_generator_alone():
    model = make_model()
    same = random_enrollment(1)
    enrollment = Enrollment(same.feats.expand(2, -1, -1, -1), same.lens.expand(2, -1))
    draws = [
        model.draw(enrollment, torch.Generator().manual_seed(s))[0]["classifier.weight"]
        for s in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0][0], draws[0][1])


def test_divergence_is_that_of_the_posterior_to_the_prior():
    model = make_model(mode=Residual(0.7))
    enrollment = random_enrollment(3)
    posterior = model.posterior(model.encoder.summarize(enrollment))
    q = torch.distributions.Normal(posterior.mean, posterior.std)
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 0.7)).sum(1)
    torch.testing.assert_close(model.draw(enrollment)[1], expected)


def test_shared_weights_run_without_injected_ones():
    model, x = make_model(), torch.randn(4, 21, 8)
    torch.testing.assert_close(model(x), model.main_model(x), rtol=0, atol=0)


def test_model_learns_what_only_the_enrollment_tells():
    """Each speaker says the two words the other way round; queries alone cannot tell."""
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(8 * 5, 2), nn.LogSoftmax(dim=1))
    main_model = WithoutLens(classifier)
    model = PersonalizedModel(
        main_model,
        EnrollmentEncoder(ConvEmbedding(8, channels=12), code_size=8),
        HyperPersonalizer(main_model, {"model.1": "full"}, 8, posterior=DeltaHead),
    )
    voice = torch.tensor([1.0, -1.0])
    tilt = torch.linspace(-1, 1, 8)
    enrollment = Enrollment((voice.view(2, 1, 1, 1) * tilt).expand(2, 1, 5, 8), torch.ones(2, 1))
    word = torch.tensor([1.0, -1.0])
    x = word.repeat(2).view(4, 1, 1).expand(4, 5, 8)
    labels = torch.tensor([0, 1, 1, 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        F.nll_loss(model(x, weights=model.draw(enrollment)[0]), labels).backward()
        optimizer.step()
    model.eval()
    assert (model.predict(x, enrollment).argmax(dim=1) == labels).all()
    strangers = Enrollment(enrollment.feats.flip(0), enrollment.lens)
    assert (model.predict(x, strangers).argmax(dim=1) != labels).all()


def test_shared_model_has_no_weights_and_no_divergence():
    model = SharedModel(small_main_model()).eval()
    weights, kl = model.draw(random_enrollment(3))
    x = torch.randn(6, 21, 8)
    assert weights is None and kl.tolist() == [0.0] * 3
    torch.testing.assert_close(model(x, weights=weights), model.main_model(x), rtol=0, atol=0)


def test_frozen_main_model_stays_as_it_is_from_the_start_and_in_training():
    main_model = DSCNN(num_classes=5, num_features=8, channels=6, num_blocks=1, kernel_size=3)
    encoder = EnrollmentEncoder(ConvEmbedding(8))
    personalizer = HyperPersonalizer(main_model, {"classifier": "full"})
    model = PersonalizedModel(main_model, encoder, personalizer, freeze_main_model=True)
    before = {name: tensor.clone() for name, tensor in main_model.state_dict().items()}
    for mode in (lambda: None, model.train):
        mode()
        model(torch.randn(6, 21, 8))
        after = main_model.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in main_model.parameters())


@each_mode
def test_personalizer_has_the_type_of_its_main_model(mode):
    main_model = DSCNN(num_classes=5, num_features=8, channels=6, num_blocks=1).double()
    encoder = EnrollmentEncoder(ActivationEmbedding(main_model, num_features=8)).double()
    targets = {"*.norm": "channel", "classifier": "full"}
    personalizer = HyperPersonalizer(main_model, targets, mode=mode)
    model = PersonalizedModel(main_model, encoder, personalizer).eval()
    feats = torch.randn(1, 2, 21, 8, dtype=torch.double)
    weights = model.personalize(Enrollment(feats, torch.ones(1, 2, dtype=torch.double)))
    assert model(feats[0], weights=weights).dtype == torch.double


@pytest.mark.parametrize("place", ["weights", "lens"])
def test_weights_in_the_place_of_lengths_are_refused(place):
    """Or a query would be answered as for everybody, without a word."""
    model = make_model().eval()
    weights = model.personalize(random_enrollment())
    wrong = weights if place == "weights" else torch.ones(5)
    with pytest.raises(ValueError, match="as relative lengths of 6 items; expected a tensor"):
        model(torch.randn(6, 21, 8), wrong)


class Transposed(nn.Module):
    """A main model whose first layer stacks a copy of the batch, so that speakers are mixed."""

    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x, lens):
        both = self.layer(torch.cat([x, x.flip(1)])).mean(1)
        return torch.log_softmax(self.out(both[: len(x)] + both[len(x) :]), dim=1)


def test_layers_that_mix_speakers_are_refused_before_the_first_answer():
    model = make_model(main_model=Transposed()).eval()
    with pytest.raises(ValueError, match="'?layer'?.*items of a speaker are not one half"):
        model(torch.randn(6, 21, 8), weights=model.personalize(random_enrollment()))
