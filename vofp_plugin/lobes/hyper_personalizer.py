"""Variational hyper-personalizer: a speaker's code to the distribution of injected weights."""

import math

import torch
from torch import nn

from vofp_plugin.nnet.check import check_injection
from vofp_plugin.nnet.forms import FORMS
from vofp_plugin.nnet.injection import inject_, last_match, unchanged_on_error, weight_specs
from vofp_plugin.nnet.posterior import Delta, DiagonalGaussian, standard_prior


class HyperPersonalizer(nn.Module):
    """Gives the posterior over the injected numbers, and makes weights of numbers.

    Turns the targets of `main_model` into weight-injected layers (which changes nothing in what
    it computes), but does not own it: `PersonalizedModel` holds both.

    The mean of every number is a linear function of the code. Its log-variance is a number of
    its own plus one offset for each injected tensor, a linear function of how precise the code
    is, so that the posterior can narrow as enrollment grows. At the start the weights that the
    mean gives are those of the main model, up to about 5e-4; only "low_rank" in "replace" mode
    starts anew, with random weights.

    Arguments
    ---------
    main_model : torch.nn.Module
        The model to personalize.
    targets : dict
        {fnmatch pattern on layer names: form}, form one of "full", "low_rank", "channel", or None
        to leave out what the pattern matches. The last pattern that matches a layer decides.
    code_size : int
        D.
    mode : str
        "residual" (weights are shared + injected, prior N(0, prior_std^2)) or "replace" (weights
        are the injected ones, prior N(0, 1); what stands for a speaker without enrollment is
        their mean over the training speakers).
    posterior : str
        "gaussian", or "delta" for the deterministic ablation.
    prior_std : float
        Standard deviation of the prior in residual mode.
    posterior_std : float
        Standard deviation of every posterior at the start.
    rank : int
        Rank of the form "low_rank".
    generator : torch.Generator
        For the initialization.
    skip : bool
        Whether layers that cannot be injected are passed over, as for the pattern "*".
    probe : tuple
        Features (B, T, F) and relative lengths (B,) of some items, with which the injection is
        checked (`check_injection`).

    Raises
    ------
    ValueError
        If a setting is not one of its choices or not positive, or a pattern matches no
        injectable layer.
    TypeError
        If a pattern matches a layer that cannot be injected.

    Source
    ------
    Kim, Lee, Chang, Kwak. Variational On-the-Fly Personalization. ICML 2022. The formulation is
    ours: see docs/design.md.

    Example
    -------
    >>> main_model = nn.Sequential(nn.Linear(4, 3))
    >>> hyper_personalizer = HyperPersonalizer(main_model, {"0": "full"}, code_size=8)
    >>> posterior = hyper_personalizer(torch.rand(5, 8), torch.ones(5, 1))
    >>> weights = hyper_personalizer.weights(posterior.sample(), main_model)
    >>> weights["0.weight"].shape
    torch.Size([5, 3, 4])
    """

    def __init__(
        self,
        main_model,
        targets,
        code_size=32,
        mode="residual",
        posterior="gaussian",
        prior_std=0.3,
        posterior_std=0.09,
        rank=4,
        generator=None,
        skip=False,
        probe=None,
    ):
        super().__init__()
        _check_choice("mode", mode, ("residual", "replace"))
        _check_choice("posterior", posterior, ("gaussian", "delta"))
        _check_targets(targets)
        _check_positive(prior_std=prior_std, posterior_std=posterior_std, rank=rank)
        self.mode = mode
        self.prior_std = prior_std if mode == "residual" else 1.0
        with unchanged_on_error(main_model):
            inject_(main_model, targets, skip)
            if probe is not None:
                check_injection(main_model, *probe, skip=skip)
            self.forms = _make_forms(main_model, targets, rank)
        self.sizes = [form.size for form in self.forms.values()]

        self.mean = nn.Linear(code_size, sum(self.sizes))
        # Numbers of a speaker without enrollment; only replace mode ever changes them.
        self.register_buffer("none_numbers", torch.zeros(sum(self.sizes)))
        self._start_slopes(generator)
        self._start(main_model, generator)
        self.log_var = None
        if posterior == "gaussian":
            start = torch.full((self.num_numbers,), 2 * math.log(posterior_std))
            self.log_var = nn.Parameter(start)
            self.log_var_offset = nn.Linear(1, len(self.sizes))
            nn.init.normal_(self.log_var_offset.weight, 0.0, 1e-3, generator=generator)
            nn.init.zeros_(self.log_var_offset.bias)
        if mode == "replace":
            self._freeze_replaced(main_model)
        self.to(next(main_model.parameters()))

    @property
    def num_numbers(self):
        """P, the injected numbers of one speaker."""
        return sum(self.sizes)

    def forward(self, code, precisions):
        """Gives the posterior over numbers (N, P) of codes (N, D) with their precisions (N, 1)."""
        mean = self.mean(code)
        if self.log_var is None:
            return Delta(mean)
        sizes = torch.tensor(self.sizes, device=code.device)
        offset = self.log_var_offset(precisions.log1p()).repeat_interleave(sizes, dim=1)
        return DiagonalGaussian(mean, self.log_var + offset)

    def prior(self):
        """Gives the prior of every number.

        In residual mode its mean is what stands for no enrollment: zero, but for the random
        factor of "low_rank", whose distance to zero says nothing about a speaker.
        """
        prior = standard_prior(self.prior_std, device=self.mean.weight.device)
        if self.mode == "residual":
            prior = DiagonalGaussian(self.none_numbers.unsqueeze(0), prior.log_var)
        return prior

    def weights(self, numbers, main_model):
        """Makes the injected weights.

        Arguments
        ---------
        numbers : torch.Tensor
            (N, P).
        main_model : torch.nn.Module
            Whose shared weights the numbers refer to.

        Returns
        -------
        dict
            {parameter name: (N, *shape)}, as `injected` expects.
        """
        shared = dict(main_model.named_parameters())
        weights = {}
        for (name, form), part in zip(
            self.forms.items(), numbers.split(self.sizes, dim=1), strict=True
        ):
            tensor = form.tensor(part, shared[name])
            weights[name] = tensor if self.mode == "replace" else shared[name] + tensor
        return weights

    @torch.no_grad()
    def update_none(self, numbers, momentum=0.01):
        """Moves what stands for no enrollment towards the mean of training speakers (N, P)."""
        if self.mode == "replace":
            self.none_numbers.lerp_(numbers.mean(0), momentum)

    def main_model_changed(self, main_model):
        """Starts anew from a `main_model` whose weights were loaded since this was made.

        Numbers of residual mode say what is added to the weights, whatever these are.
        """
        if self.mode == "replace":
            self._start(main_model)

    @torch.no_grad()
    def _start_slopes(self, generator):
        """Small weights: numbers deviate by 5e-4 from the start, for any code and layer size."""
        std = 5e-4 * self.mean.in_features**-0.5  # a code has about unit values
        nn.init.normal_(self.mean.weight, 0.0, std, generator=generator)
        free = torch.cat([form.is_free() for form in self.forms.values()])
        if self.mode == "residual":
            self.mean.weight *= free.unsqueeze(1)

    @torch.no_grad()
    def _start(self, main_model, generator=None):
        """Numbers that give the weights of the main model, for any enrollment and for none."""
        shared = dict(main_model.named_parameters())
        starts = [
            form.start(shared[name], self.mode, generator) for name, form in self.forms.items()
        ]
        self.mean.bias.copy_(torch.cat([start.to(self.mean.bias) for start in starts]))
        self.none_numbers.copy_(self.mean.bias)

    def _freeze_replaced(self, main_model):
        """A shared weight that nothing reads in replace mode must not be trained."""
        for name, parameter in main_model.named_parameters():
            if name in self.forms and not self.forms[name].reads_shared:
                parameter.requires_grad_(False)


def _make_forms(main_model, targets, rank):
    """One form for each weight spec, {parameter name: form}."""
    forms = {}
    for name, shape in weight_specs(main_model).items():
        layer = name.rpartition(".")[0]
        form = targets.get(last_match(targets, layer))
        if form is None:
            raise ValueError(
                f"Layer {layer!r} is weight-injected already, and no target matches it; expected a "
                "main model without such layers, or with those of the targets: use eject_ first."
            )
        forms[name] = FORMS[form](shape, rank)
    return forms


def _check_targets(targets):
    forms = [form for form in targets.values() if form is not None]
    if not forms:
        raise ValueError("Got no targets; expected {pattern on layer names: form}.")
    for form in forms:
        _check_choice("form", form, FORMS)


def _check_choice(word, got, choices):
    if got not in choices:
        raise ValueError(f"Got {word} {got!r}; expected one of {', '.join(choices)}.")


def _check_positive(**numbers):
    for word, got in numbers.items():
        if not got > 0:
            raise ValueError(f"Got {word} {got}; expected a number above 0.")
