"""Utterance embedding that needs no network of its own: what the main model makes of it."""

from fnmatch import fnmatchcase
from functools import partial

import torch
from torch import nn

from vofp_plugin.lobes.axes import PROBES, Moments, find_axes, pooled
from vofp_plugin.lobes.enrollment import relative_lengths
from vofp_plugin.nnet.recording import make_recordable_, recorded
from vofp_plugin.utils.evaluation_mode import evaluation_mode


class ActivationEmbedding(nn.Module):
    """Means and standard deviations over time of what chosen layers of the main model put out.

    They are those of the very channels that the hyper-personalizer may scale and shift; of the
    features that come in, so that the noise floor and the channel show; and the answer, by which
    the word can be told from the speaker. Each is standardized over utterances. Behind these
    `size` numbers come the answer's probabilities once more, as they are: what word was heard.
    The main model runs with its shared weights and gets no gradient from here; it reads padding
    as it does when it answers. Where it is trained too, its running statistics see the
    enrollment as well, and its dropout is on.

    Arguments
    ---------
    main_model : torch.nn.Module
        Maps features (B, T, F) and relative lengths (B,) to log-probabilities (B, classes), or to
        an embedding or frames, which are pooled like a layer's output. Not owned:
        `PersonalizedModel` holds it.
    layers : iterable of str
        fnmatch patterns on module names. An output over time gives 2 C numbers, whether it is (B,
        C, *) or (B, *, C); one of (B, C) is taken as it is, and so is what that layer reads.
    num_features : int
        F.

    Raises
    ------
    ValueError
        If a pattern matches no layer, or what a layer gives does not hold items and channels.

    Example
    -------
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> embedding = ActivationEmbedding(DSCNN(num_classes=10), ["stem.norm", "classifier"])
    >>> embedding.size  # 2 * 40 features, 2 * 48 channels, 48 + 10 of the classifier, 10 answers
    244
    >>> embedding(torch.rand(3, 101, 40), torch.ones(3)).shape
    torch.Size([3, 1, 254])
    """

    def __init__(self, main_model, layers=("*.norm", "classifier"), num_features=40):
        super().__init__()
        self._main_model = (main_model,)  # in a tuple, lest its parameters be ours too
        names = [name for name, _ in main_model.named_modules() if name]
        for pattern in layers:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ValueError(
                    f"Layer pattern {pattern!r} matches nothing. Layers that exist: "
                    f"{', '.join(names)}."
                )
        self.layers = [n for n in names if any(fnmatchcase(n, p) for p in layers)]
        handles = make_recordable_(main_model.get_submodule(name) for name in self.layers)
        try:
            with evaluation_mode(main_model):
                self.axes, self.num_answers = self._probe(num_features)
                activations, _ = self._activations(self._clips(PROBES[0], num_features))
        except BaseException:
            for handle in handles:
                handle.remove()
            raise
        self.size = activations.shape[1]
        self.standardize = nn.BatchNorm1d(self.size, affine=False)
        self.standardize.to(next(main_model.parameters()))

    def forward(self, x, lens=None):
        """Maps `x` (B, T, F), with lengths `lens` (B,), to (B, 1, size + num_answers)."""
        activations, answers = self._activations(x, lens)
        norm = self.standardize
        embedding = nn.functional.batch_norm(
            activations,
            norm.running_mean,
            norm.running_var,
            training=self.training and len(x) > 1,  # one utterance has no variance
            momentum=norm.momentum,
            eps=norm.eps,
        )
        return torch.cat([embedding, answers], dim=1).unsqueeze(1)

    @torch.no_grad()
    def _activations(self, x, lens=None):
        """Pooled features, layers and answer, (B, size), and probabilities (B, num_answers)."""
        parts, axes = [Moments.of(x.transpose(1, 2))], iter(self.axes)

        def keep(name, *tensors):
            parts.extend(a.pool(t) for a, t in zip(next(axes), tensors, strict=True) if a)

        answer = self._run(x, lens, keep)
        if self.num_answers:
            answers = answer.exp()
            parts.append(answers)
        else:
            answers = x.new_zeros(len(x), 0)
            keep("answer", None, answer)
        return pooled(parts), answers

    def _run(self, x, lens, keep):
        """Answers `x`, and calls `keep` with the name of each layer, what it reads and gives."""
        (main_model,) = self._main_model

        def keep_tensors(name, inputs, output):
            if not isinstance(output, torch.Tensor):
                raise TypeError(
                    f"A {type(main_model.get_submodule(name)).__name__} gives a "
                    f"{type(output).__name__}; expected layers that give one tensor: name others."
                )
            keep(name, inputs[0] if inputs else None, output)

        layers = {main_model.get_submodule(name): name for name in self.layers}
        with recorded({layer: partial(keep_tensors, name) for layer, name in layers.items()}):
            return main_model(x, relative_lengths(x, lens))

    @torch.no_grad()
    def _probe(self, num_features):
        """Finds the axes of what every call reads and gives, and the number of answers.

        Axes are None for what is not kept: only next to an output without time is the input.
        """
        runs = [[], []]
        for calls, shape in zip(runs, PROBES, strict=True):
            clips = self._clips(shape, num_features)
            answer = self._run(clips, None, lambda *call, calls=calls: calls.append(call))
            calls.append(("answer", None, answer))
        if [name for name, *_ in runs[0]] != [name for name, *_ in runs[1]]:
            raise ValueError(
                f"Of {', '.join(self.layers)}, some run more often in a longer clip; expected "
                "layers that do not: name others."
            )
        axes = [self._axes(*call, *longer[1:]) for call, longer in zip(*runs, strict=True)]
        if answer.dim() == 2 and (answer.exp().sum(dim=1) - 1).abs().max() < 0.01:
            return axes[:-1], answer.shape[1]
        return axes, 0

    def _axes(self, name, read, given, longer_read, longer_given):
        """Axes of what a layer reads and gives, by its tensors for the two probes."""
        (main_model,) = self._main_model
        layer = None if name == "answer" else main_model.get_submodule(name)
        last = isinstance(layer, nn.Linear | nn.LayerNorm)
        axes = find_axes(name, given.shape, longer_given.shape, last)
        if axes.channels is not None or read is None or read.dim() != given.dim():
            return None, axes
        return find_axes(name, read.shape, longer_read.shape, last), axes

    def _clips(self, shape, num_features):
        (main_model,) = self._main_model
        return next(main_model.parameters()).new_zeros(*shape, num_features)


class ConvEmbedding(nn.Module):
    """Small convolutional utterance embedding whose padding changes nothing.

    Frames beyond an utterance's length are zero before every convolution, normalization works
    on single frames, and the mean and standard deviation are taken over its own frames.

    Arguments
    ---------
    input_size : int
        Features F.
    channels : int
        Channels C of every convolution.
    kernel_sizes : list of int
        Frames seen by each convolution, odd.
    strides : list of int
        Stride of each convolution, in frames of its input.
    lin_neurons : int
        Size of the embedding.

    Raises
    ------
    ValueError
        If a kernel size is even or there are not as many strides.

    Example
    -------
    >>> ConvEmbedding(40, lin_neurons=16)(torch.rand(3, 101, 40), torch.ones(3)).shape
    torch.Size([3, 1, 16])
    """

    def __init__(
        self,
        input_size=40,
        channels=64,
        kernel_sizes=(5, 5, 3),
        strides=(2, 2, 1),
        lin_neurons=64,
    ):
        super().__init__()
        if len(strides) != len(kernel_sizes) or not all(size % 2 for size in kernel_sizes):
            raise ValueError(
                f"Got kernel_sizes {kernel_sizes} and strides {strides}; expected odd kernel sizes "
                "and as many strides as kernel sizes."
            )
        self.input_norm = nn.LayerNorm(input_size)
        sizes = [input_size] + [channels] * (len(kernel_sizes) - 1)
        # 2-D of height 1: channels-last, as (B, T, F) is, they train far faster than 1-D ones.
        self.convs = nn.ModuleList(
            nn.Conv2d(size, channels, (1, kernel), (1, stride), padding=(0, kernel // 2))
            for size, kernel, stride in zip(sizes, kernel_sizes, strides, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in kernel_sizes)
        self.out = nn.Linear(2 * channels, lin_neurons)
        self.size = lin_neurons

    def forward(self, x, lens):
        """Maps `x` (B, T, F) with relative lengths `lens` (B,) to embeddings (B, 1, D)."""
        x = self.input_norm(x)
        num_frames = (lens * x.shape[1]).round().clamp(min=1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x * frame_mask(num_frames, x)
            x = conv(x.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
            x = norm(x).relu()
            num_frames = (num_frames / conv.stride[1]).ceil()
        return self.out(mean_and_std(x, frame_mask(num_frames, x))).unsqueeze(1)


def frame_mask(num_frames, x):
    """Mask (B, T, 1) of the frames of `x` (B, T, C) that belong to `num_frames` (B,).

    Example
    -------
    >>> frame_mask(torch.tensor([1, 3]), torch.zeros(2, 3, 5)).squeeze(-1)
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    frames = torch.arange(x.shape[1], device=x.device)
    return (frames < num_frames.unsqueeze(1)).unsqueeze(-1)


def mean_and_std(x, mask):
    """Mean and standard deviation over the masked frames of `x` (B, T, C): (B, 2 C).

    Example
    -------
    >>> x = torch.tensor([[[1.0], [3.0], [50.0]]])
    >>> mean_and_std(x, frame_mask(torch.tensor([2]), x)).round(decimals=2)
    tensor([[2., 1.]])
    """
    count = mask.sum(1).clamp(min=1)
    mean = (x * mask).sum(1) / count
    variance = ((x - mean.unsqueeze(1)) ** 2 * mask).sum(1) / count
    return torch.cat([mean, (variance + 1e-5).sqrt()], dim=-1)
