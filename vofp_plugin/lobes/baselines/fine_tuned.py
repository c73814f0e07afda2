"""Fine-tuning: gradient steps on the labelled enrollment of each speaker, all speakers at once."""

from itertools import groupby, product

import torch
from torch import nn

from vofp_plugin.lobes.baselines.adapted import NOTHING, AdaptedModel
from vofp_plugin.lobes.enrollment import relative_lengths
from vofp_plugin.nnet.injection import inject_, injected, weight_specs
from vofp_plugin.utils.twin import twin


class FineTunedModel(AdaptedModel):
    """A shared model of which some layers are fine-tuned on each speaker's labelled enrollment.

    Each speaker has copies of the weights, which run as injected weights in a twin of the main
    model. A speaker's loss is the mean cross-entropy over the enrollment, and the gradient of the
    sum over speakers is that of each speaker alone. BatchNorm keeps its statistics. Where the
    steps of a speaker diverge, so that an answer is no finite number, the shared model answers.

    Arguments
    ---------
    main_model : torch.nn.Module
        Maps features (B, T, F) to log-probabilities (B, classes).
    layers : dict
        {name: fnmatch patterns on layer names}, the choices of what is tuned.
    learning_rates : list of float
    steps : list of int
        Numbers of gradient steps; zero steps are always among the choices.
    optimizer : callable
        Called as `optimizer(tensors, lr=...)`. It must treat every number by itself, as SGD and
        Adam do.

    Raises
    ------
    ValueError
        If a number of steps is no whole number.

    Example
    -------
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.enrollment import Enrollment
    >>> model = FineTunedModel(DSCNN(num_classes=10), {"last": ["classifier"]}, [0.01], [1, 3])
    >>> model.settings
    [{}, {'layers': 'last', 'lr': 0.01, 'steps': 1}, {'layers': 'last', 'lr': 0.01, 'steps': 3}]
    >>> model.setting = model.settings[-1]
    >>> labels = torch.tensor([[0, 1], [0, 1], [0, 1]])
    >>> enrollment = Enrollment(torch.rand(3, 2, 101, 40), torch.ones(3, 2), labels)
    >>> weights = model.eval().personalize(enrollment)
    >>> weights["classifier.bias"].shape, model(torch.rand(6, 101, 40), weights=weights).shape
    (torch.Size([3, 10]), torch.Size([6, 10]))
    """

    def __init__(self, main_model, layers, learning_rates, steps, optimizer=torch.optim.SGD):
        if not all(isinstance(count, int) and count >= 0 for count in steps):
            raise ValueError(f"Got steps {list(steps)}; expected whole numbers, at least 0.")
        super().__init__(
            main_model,
            [
                {"layers": name, "lr": rate, "steps": count}
                for name, rate, count in product(layers, learning_rates, sorted(set(steps) - {0}))
            ],
        )
        self.layers = layers
        self.optimizer = optimizer

    def forward(self, feats, lens=None, weights=None):
        """Maps features (N * Q, T, F) to log-probabilities (N * Q, classes).

        Arguments
        ---------
        feats : torch.Tensor
        lens : torch.Tensor
            Relative lengths, (N * Q,); None for features without padding.
        weights : dict
            {parameter name: (N, *shape)} of what was tuned; None runs the shared weights.

        Returns
        -------
        torch.Tensor
        """
        lens = relative_lengths(feats, lens)
        if weights is None:
            return self.main_model(feats, lens)
        tuned = [name.rpartition(".")[0] for name in weights]
        with injected(inject_(twin(self.main_model), tuned), weights) as main_model:
            log_probs = main_model(feats, lens)
        diverged = ~log_probs.isfinite().all(dim=1, keepdim=True)
        if not diverged.any():
            return log_probs
        return log_probs.where(~diverged, self.main_model(feats, lens))

    def adaptations(self, enrollment, settings):
        """Fine-tunes; settings in a row that differ in `steps` alone, ascending, share them."""
        for tuned, group in groupby(settings, lambda s: s and {**s, "steps": None}):
            if tuned == NOTHING:
                yield from (None for _ in group)
            else:
                steps = [setting["steps"] for setting in group]
                yield from self._trajectory(enrollment, tuned["layers"], tuned["lr"], steps)

    def _trajectory(self, enrollment, layers, lr, steps):
        """Weights after each of the numbers of `steps`, ascending."""
        main_model = inject_(twin(self.main_model), self.layers[layers]).eval()
        weights = _copies(main_model, len(enrollment.lens))
        optimizer = self.optimizer(list(weights.values()), lr=lr)
        done = 0
        for count in steps:
            for _ in range(count - done):
                with torch.enable_grad():
                    loss = _loss(main_model, enrollment, weights)
                gradients = torch.autograd.grad(loss, list(weights.values()))
                for weight, gradient in zip(weights.values(), gradients, strict=True):
                    weight.grad = gradient
                optimizer.step()
            done = count
            yield {name: weight.detach().clone() for name, weight in weights.items()}


def _copies(main_model, num_speakers):
    """Leaf tensors that start from the shared weights, {parameter name: (N, *shape)}."""
    return {
        name: main_model.get_parameter(name)
        .detach()
        .expand(num_speakers, *shape)
        .clone()
        .requires_grad_()
        for name, shape in weight_specs(main_model).items()
    }


def _loss(main_model, enrollment, weights):
    """Sum over speakers of the mean cross-entropy over their utterances, in nats."""
    present = enrollment.lens > 0
    lens = enrollment.lens.where(present, 1.0).flatten().to(enrollment.feats.dtype)
    with injected(main_model, weights):
        log_probs = main_model(enrollment.feats.flatten(0, 1), lens)
    nll = nn.functional.nll_loss(log_probs, enrollment.labels.flatten(), reduction="none")
    nll = nll.view_as(present) * present
    return (nll.sum(dim=1) / present.sum(dim=1).clamp(min=1)).sum()
