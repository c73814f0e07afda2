"""Enrollment encoder: any number of utterances of each speaker to one code per speaker.

Every utterance gives D values and D precisions. Their sums are the whole summary of a speaker,
so the order of the utterances does not matter and a new one is added to an old summary exactly.
"""

from typing import NamedTuple

import torch
from torch import nn


class Enrollment(NamedTuple):
    """Enrollment utterances of N speakers, up to K each.

    Arguments
    ---------
    feats : torch.Tensor
        Features, (N, K, T, F).
    lens : torch.Tensor
        Relative lengths, (N, K), in (0, 1]; 0 where a speaker has fewer than K utterances.
    labels : torch.Tensor
        Class index of the word said in each utterance, (N, K), or None.

    Example
    -------
    >>> lens = torch.tensor([[1.0, 0.8], [0.0, 0.0]])  # the second speaker has no utterance
    >>> Enrollment(torch.rand(2, 2, 101, 40), lens).present
    tensor([ True, False])
    """

    feats: torch.Tensor
    lens: torch.Tensor
    labels: torch.Tensor | None = None

    @property
    def present(self):
        """Whether a speaker has any enrollment, (N,), bool."""
        return (self.lens > 0).any(dim=1)


class Summary(NamedTuple):
    """What is kept of the enrollment of N speakers: 2 D numbers each. Summaries add up.

    Arguments
    ---------
    values : torch.Tensor
        Precision-weighted sum of the utterances' values, (N, D).
    precisions : torch.Tensor
        Sum of the utterances' precisions, (N, D); zero without enrollment.

    Example
    -------
    >>> Summary(torch.rand(2, 8), torch.tensor([[1.0], [0.0]]).expand(2, 8)).present
    tensor([ True, False])
    """

    values: torch.Tensor
    precisions: torch.Tensor

    @property
    def present(self):
        """Whether a speaker has any enrollment, (N,), bool."""
        return (self.precisions > 0).any(dim=1)


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


class EnrollmentEncoder(nn.Module):
    """Encodes enrollment utterances to one normalized code per speaker.

    Arguments
    ---------
    embedding_model : torch.nn.Module
        Called as `embedding_model(feats (B, T, F), lens (B,))`, gives (B, 1, E): `ConvEmbedding`
        or any SpeechBrain embedding model such as Xvector or ECAPA_TDNN.
    embedding_size : int
        E.
    code_size : int
        D.
    aggregation : str
        "mean" (every utterance has precision 1) or "bayesian" (every utterance says how precise
        each of its values is, and a prior N(0, 1) pulls the imprecise ones to zero; the layer
        normalization that follows keeps only how they compare).
    labelled : bool
        Whether the enrollment carries the class of the word said.
    num_classes : int
        Number of classes, for labels.

    Raises
    ------
    ValueError
        If `aggregation` is another word, or labels come without classes.

    Example
    -------
    >>> encoder = EnrollmentEncoder(ConvEmbedding(40, lin_neurons=64), code_size=8)
    >>> enrollment = Enrollment(torch.rand(2, 3, 101, 40), torch.ones(2, 3))
    >>> encoder(encoder.summarize(enrollment)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        embedding_model,
        embedding_size=64,
        code_size=32,
        aggregation="mean",
        labelled=False,
        num_classes=0,
    ):
        super().__init__()
        if aggregation not in ("mean", "bayesian"):
            raise ValueError(f"Got aggregation {aggregation!r}; expected 'mean' or 'bayesian'.")
        if labelled and num_classes < 1:
            raise ValueError(f"Got num_classes {num_classes}; expected at least 1 to read labels.")
        self.embedding_model = embedding_model
        self.code_size = code_size
        self.bayesian = aggregation == "bayesian"
        self.labelled = labelled
        if labelled:
            self.label_embedding = nn.Embedding(num_classes, embedding_size)
        self.factor = nn.Sequential(
            nn.LayerNorm(embedding_size),
            nn.ReLU(),
            nn.Linear(embedding_size, code_size * (2 if self.bayesian else 1)),
        )
        self.code_norm = nn.LayerNorm(code_size)

    def summarize(self, enrollment):
        """Encodes every utterance by itself and sums: `Enrollment` to `Summary`.

        Raises
        ------
        ValueError
            If the encoder needs labels and the enrollment has none, or the other way round.
        """
        if (enrollment.labels is None) == self.labelled:
            got, expected = ("without", "with") if self.labelled else ("with", "without")
            raise ValueError(
                f"Got enrollment {got} labels; this encoder was made to read it {expected} them."
            )
        present = enrollment.lens > 0
        speaker = present.nonzero()[:, 0]
        values, precisions = self._factors(enrollment, present)
        zeros = enrollment.feats.new_zeros(len(present), self.code_size)
        precisions = precisions.to(zeros.dtype)  # mixed precision makes them lower
        return Summary(
            zeros.index_add(0, speaker, values * precisions),
            zeros.index_add(0, speaker, precisions),
        )

    def forward(self, summary):
        """Maps a `Summary` to codes (N, D), layer-normalized; zeros without enrollment."""
        prior = 1.0 if self.bayesian else 1e-9
        code = self.code_norm(summary.values / (summary.precisions + prior))
        return code * summary.present.unsqueeze(1)

    def _factors(self, enrollment, present):
        """Values and precisions of the utterances that are `present` (N, K), (U, D) each."""
        if not present.any():
            return enrollment.feats.new_zeros(2, 0, self.code_size)
        feats = enrollment.feats[present]
        # SpeechBrain's batches have 64-bit lengths, which some of its models do not take.
        lens = enrollment.lens[present].to(feats.dtype)
        embedding = self.embedding_model(feats, lens).squeeze(1)
        if self.labelled:
            embedding = embedding + self.label_embedding(enrollment.labels[present])
        factors = self.factor(embedding)
        if not self.bayesian:
            return factors, torch.ones_like(factors)
        values, precisions = factors.chunk(2, dim=-1)
        return values, nn.functional.softplus(precisions)


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
