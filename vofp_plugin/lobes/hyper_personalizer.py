"""Variational hyper-personalizer: a speaker's code to the distribution of injected weights."""

import torch
from torch import nn

from vofp_plugin.nnet.check import check_injection
from vofp_plugin.nnet.forms import FORMS
from vofp_plugin.nnet.injection import inject_, last_match, unchanged_on_error, weight_specs
from vofp_plugin.nnet.modes import Residual
from vofp_plugin.nnet.posterior import GaussianHead


class HyperPersonalizer(nn.Module):
    """Gives the posterior over the injected numbers, and makes weights of numbers.

    Turns the targets of `main_model` into weight-injected layers (which changes nothing in what
    it computes), but does not own it: `PersonalizedModel` holds both.

    The mean of every number is a linear function of the code; the posterior around it is that of
    the head. At the start the weights that the mean gives are those of the main model, up to about
    5e-4; only "low_rank" in the mode `Replace` starts anew, with random weights.

    Arguments
    ---------
    main_model : torch.nn.Module
        The model to personalize.
    targets : dict
        {fnmatch pattern on layer names: form}, form one of "full", "low_rank", "channel", or None
        to leave out what the pattern matches. The last pattern that matches a layer decides.
    code_size : int
        D.
    mode : Residual
        Or `Replace`; None is `Residual()`.
    posterior : callable
        Class of the head, called as `posterior(sizes, generator=generator)`: `GaussianHead`, or
        `DeltaHead` for the deterministic ablation.
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
        mode=None,
        posterior=GaussianHead,
        rank=4,
        generator=None,
        skip=False,
        probe=None,
    ):
        super().__init__()
        if not rank > 0:
            raise ValueError(f"Got rank {rank}; expected a number above 0.")
        _check_targets(targets)
        self.mode = Residual() if mode is None else mode
        with unchanged_on_error(main_model):
            inject_(main_model, targets, skip)
            if probe is not None:
                check_injection(main_model, *probe, skip=skip)
            self.forms = _make_forms(main_model, targets, rank)
        self.sizes = [form.size for form in self.forms.values()]

        self.mean = nn.Linear(code_size, sum(self.sizes))
        # Numbers of a speaker without enrollment; only the mode `Replace` ever changes them.
        self.register_buffer("none_numbers", torch.zeros(sum(self.sizes)))
        self._start_slopes(generator)
        self._start(main_model, generator)
        self.posterior = posterior(self.sizes, generator=generator)
        self._freeze_replaced(main_model)
        self.to(next(main_model.parameters()))

    def extra_repr(self):
        """Tells the mode and the form of every injected parameter."""
        forms = [f"{name}: {type(form).__name__}" for name, form in self.forms.items()]
        return ", ".join([f"mode={self.mode}", *forms])

    @property
    def num_numbers(self):
        """P, the injected numbers of one speaker."""
        return sum(self.sizes)

    def forward(self, code, precisions):
        """Gives the posterior over numbers (N, P) of codes (N, D) with their precisions (N, 1)."""
        return self.posterior(self.mean(code), precisions)

    def prior(self):
        """Gives the prior of every number."""
        return self.mode.prior(self.none_numbers)

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
            {parameter name: (N, *shape)}, as `injected` expects: tensors, or weights that are
            `Factored`.
        """
        shared = dict(main_model.named_parameters())
        weights = {}
        for (name, form), part in zip(
            self.forms.items(), numbers.split(self.sizes, dim=1), strict=True
        ):
            weights[name] = self.mode.weight(form, part, shared[name])
        return weights

    @torch.no_grad()
    def update_none(self, numbers, momentum=0.01):
        """Moves what stands for no enrollment towards the mean of training speakers (N, P)."""
        self.mode.update_none_(self.none_numbers, numbers, momentum)

    def main_model_changed(self, main_model):
        """Follows a `main_model` whose weights were loaded since this was made."""
        self.mode.restart(lambda: self._start(main_model))

    @torch.no_grad()
    def _start_slopes(self, generator):
        """Small weights: numbers deviate by 5e-4 from the start, for any code and layer size."""
        std = 5e-4 * self.mean.in_features**-0.5  # a code has about unit values
        nn.init.normal_(self.mean.weight, 0.0, std, generator=generator)
        free = torch.cat([self.mode.free(form) for form in self.forms.values()])
        self.mean.weight *= free.unsqueeze(1)

    @torch.no_grad()
    def _start(self, main_model, generator=None):
        """Numbers that give the weights of the main model, for any enrollment and for none."""
        shared = dict(main_model.named_parameters())
        starts = [
            self.mode.start(form, shared[name], generator) for name, form in self.forms.items()
        ]
        self.mean.bias.copy_(torch.cat([start.to(self.mean.bias) for start in starts]))
        self.none_numbers.copy_(self.mean.bias)

    def _freeze_replaced(self, main_model):
        """A shared weight that nothing reads must not be trained."""
        for name, parameter in main_model.named_parameters():
            if name in self.forms and not self.mode.reads_shared(self.forms[name]):
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
        if form not in FORMS:
            raise ValueError(f"Got form {form!r}; expected one of {', '.join(FORMS)}.")
