"""Utterance embedding that needs no network of its own: what the main model makes of it."""

from fnmatch import fnmatchcase

import torch
from torch import nn

from vofp_plugin.utils.evaluation_mode import evaluation_mode


class ActivationEmbedding(nn.Module):
    """Means and standard deviations over time of what chosen layers of the main model put out.

    They are those of the very channels that the hyper-personalizer may scale and shift; of the
    features that come in, so that the noise floor and the channel show; and the answer's
    probabilities, by which the word can be told from the speaker. Each is standardized over
    utterances. Behind these `size` numbers come the probabilities once more, as they are: what
    word was heard. The main model runs with its shared weights and gets no gradient from here; it
    reads whole clips, padding included, as it does when it answers. Where it is trained too, its
    running statistics see the enrollment as well, and its dropout is on.

    Arguments
    ---------
    main_model : torch.nn.Module
        Maps features (B, T, F) to log-probabilities. Not owned: `PersonalizedModel` holds it.
    layers : iterable of str
        fnmatch patterns on module names. An output of dimensions (B, C, *), or (B, *, C) of
        Linear and LayerNorm layers, gives 2 C numbers; one of (B, C) is taken as it is, and so is
        what that layer reads.
    num_features : int
        F.

    Raises
    ------
    ValueError
        If a pattern matches no layer.

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
        activations, answers = self._probe(num_features)
        self.size, self.num_answers = activations.shape[1], answers.shape[1]
        self.standardize = nn.BatchNorm1d(self.size, affine=False)
        self.standardize.to(next(main_model.parameters()))

    def forward(self, x, lens=None):
        """Maps `x` (B, T, F) to (B, 1, size + num_answers); `lens` is not read."""
        activations, answers = self._activations(x)
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
    def _activations(self, x):
        """Pooled features and layer outputs, (B, size), and answers (B, num_answers)."""
        (main_model,) = self._main_model
        pooled = [mean_and_std_over_time(x.transpose(1, 2))]

        def keep(layer, inputs, output):
            if not isinstance(output, torch.Tensor):
                raise TypeError(
                    f"A {type(layer).__name__} gives a {type(output).__name__}; expected layers "
                    "that give one tensor: name others."
                )
            if output.dim() == 2:
                pooled.append(inputs[0].clone())  # a layer behind it may work in place
            if isinstance(layer, nn.Linear | nn.LayerNorm):
                output = output.movedim(-1, 1)
            pooled.append(mean_and_std_over_time(output))

        hooks = [main_model.get_submodule(name).register_forward_hook(keep) for name in self.layers]
        try:
            answers = main_model(x).exp()
            pooled.append(answers)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.cat(pooled, dim=1), answers

    def _probe(self, num_features):
        (main_model,) = self._main_model
        clip = next(main_model.parameters()).new_zeros(1, 101, num_features)
        with evaluation_mode(main_model):
            activations, answers = self._activations(clip)
        total = answers.sum(dim=1).item()
        if abs(total - 1) > 0.01:
            raise ValueError(
                f"The main model's answers have a total probability of {total:g}; expected 1: "
                "apply log_softmax to logits."
            )
        return activations, answers


def mean_and_std_over_time(x):
    """Mean and standard deviation of `x` (B, C, *) over *: (B, 2 C); (B, C) stays as it is.

    Example
    -------
    >>> mean_and_std_over_time(torch.tensor([[[1.0, 3.0]]])).round(decimals=2)
    tensor([[2., 1.]])
    """
    if x.dim() == 2:
        return x.clone()
    x = x.flatten(2)
    mean = x.mean(dim=2)
    # 30 times as fast as `var` on channels-last outputs, and precise enough at unit scale.
    variance = (x.square().mean(dim=2) - mean.square()).clamp(min=0)
    return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)


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
