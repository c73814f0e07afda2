"""Enrollment encoder: any number of utterances of each speaker to one code per speaker.

Every utterance gives D values and their precision. The sums are the whole summary of a speaker,
so the order of the utterances does not matter and a new one is added to an old summary exactly.
"""

from typing import NamedTuple

import torch
from torch import nn


def relative_lengths(feats, lens=None):
    """Relative lengths (B,) of features (B, T, F): those given, or ones without padding.

    Raises
    ------
    ValueError
        If what is given are no lengths, such as weights in their place.

    Example
    -------
    >>> relative_lengths(torch.rand(2, 101, 40))
    tensor([1., 1.])
    """
    if lens is None:
        return feats.new_ones(len(feats))
    if not isinstance(lens, torch.Tensor) or lens.shape != feats.shape[:1]:
        got = tuple(lens.shape) if isinstance(lens, torch.Tensor) else type(lens).__name__
        raise ValueError(
            f"Got {got} as relative lengths of {len(feats)} items; expected a tensor "
            f"({len(feats)},). Give weights by name: model(feats, weights=weights)."
        )
    return lens


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
    """What is kept of the enrollment of N speakers: D + 1 numbers each. Summaries add up.

    Arguments
    ---------
    values : torch.Tensor
        Precision-weighted sum of the utterances' values, (N, D).
    precisions : torch.Tensor
        Sum of the utterances' precisions, (N, 1); zero without enrollment.

    Example
    -------
    >>> Summary(torch.rand(2, 8), torch.tensor([[1.0], [0.0]])).present
    tensor([ True, False])
    """

    values: torch.Tensor
    precisions: torch.Tensor

    @property
    def present(self):
        """Whether a speaker has any enrollment, (N,), bool."""
        return self.precisions.squeeze(1) > 0


class EnrollmentEncoder(nn.Module):
    """Encodes enrollment utterances to one normalized code per speaker.

    Arguments
    ---------
    embedding_model : torch.nn.Module
        Called as `embedding_model(feats (B, T, F), lens (B,))`, gives (B, 1, E):
        `ActivationEmbedding`, `ConvEmbedding` or any SpeechBrain embedding model such as Xvector
        or ECAPA_TDNN. Where it has `num_answers`, so many probabilities of words come after E.
    embedding_size : int
        E; None takes `embedding_model.size`.
    code_size : int
        D.
    aggregation : str
        "mean" (every utterance has precision 1) or "bayesian" (every utterance says how precise
        it is, so that a poor one counts less).
    words : str
        The word said scales and shifts the values of an utterance, since a sound tells other things
        of a speaker in another word. It is "heard" (by the probabilities of the answer of an
        `ActivationEmbedding`), "told" (by the label that the enrollment carries) or "ignored".
    num_classes : int
        Number of classes, where words are told.

    Raises
    ------
    ValueError
        If `aggregation` or `words` is none of its choices, words are told without classes, or
        heard by an embedding model that does not answer.

    Example
    -------
    >>> from vofp_plugin.lobes.embeddings import ConvEmbedding
    >>> encoder = EnrollmentEncoder(ConvEmbedding(40, lin_neurons=64), code_size=8)
    >>> enrollment = Enrollment(torch.rand(2, 3, 101, 40), torch.ones(2, 3))
    >>> encoder(encoder.summarize(enrollment)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        embedding_model,
        embedding_size=None,
        code_size=32,
        aggregation="mean",
        words="ignored",
        num_classes=0,
    ):
        super().__init__()
        if aggregation not in ("mean", "bayesian"):
            raise ValueError(f"Got aggregation {aggregation!r}; expected 'mean' or 'bayesian'.")
        self.num_words = _count_words(words, embedding_model, num_classes)
        self.embedding_model = embedding_model
        self.code_size = code_size
        self.bayesian = aggregation == "bayesian"
        self.words = words
        num_outputs = code_size + 1 if self.bayesian else code_size
        self.factor = nn.Linear(embedding_size or embedding_model.size, num_outputs)
        if self.num_words:  # scale and shift of each
            self.word_effect = nn.Linear(self.num_words, 2 * code_size, bias=False)
            nn.init.normal_(self.word_effect.weight)
        self.code_norm = nn.LayerNorm(code_size)

    @property
    def labelled(self):
        """Whether an enrollment must carry labels."""
        return self.words == "told"

    def summarize(self, enrollment):
        """Encodes every utterance by itself and sums: `Enrollment` to `Summary`.

        A `Summary` is returned as it is, and labels that the encoder does not read are passed over.

        Raises
        ------
        ValueError
            If shapes or relative lengths are none of an enrollment, features of an utterance are
            no finite numbers, or the encoder needs labels and the enrollment has none that fit.
        """
        if isinstance(enrollment, Summary):
            return enrollment
        _check_enrollment(enrollment)
        if self.labelled:
            _check_labels(enrollment, self.num_words)
        present = enrollment.lens > 0
        # Sums are in the features' precision; mixed precision makes the terms lower.
        sums = enrollment.feats.new_zeros(len(present), self.code_size + 1)
        if present.any():
            feats = enrollment.feats[present]
            _check_finite(feats)
            labels = enrollment.labels[present] if self.labelled else None
            each = self.summarize_each(feats, enrollment.lens[present], labels)
            terms = torch.cat(each, dim=1).to(sums.dtype)
            sums = sums.index_add(0, present.nonzero()[:, 0], terms)
        return Summary(*sums.split([self.code_size, 1], dim=1))

    def summarize_each(self, feats, lens, labels=None):
        """Gives the summary of each utterance by itself, by operations that can be exported.

        Arguments
        ---------
        feats : torch.Tensor
            Features of utterances, (U, T, F).
        lens : torch.Tensor
            Relative lengths, (U,).
        labels : torch.Tensor
            Class index of the word said in each, (U,), where words are told.

        Returns
        -------
        Summary
            Of U utterances: (U, D) and (U, 1).
        """
        # SpeechBrain's batches have 64-bit lengths, which some of its models do not take.
        embedding = self.embedding_model(feats, lens.to(feats.dtype)).squeeze(1)
        num_answers = getattr(self.embedding_model, "num_answers", 0)
        embedding, answers = embedding.tensor_split([embedding.shape[1] - num_answers], dim=1)
        factors = self.factor(embedding)
        values = factors[:, : self.code_size]
        if self.num_words:
            words = answers if self.words == "heard" else self._told(labels)
            scale, shift = self.word_effect(words).chunk(2, dim=1)
            values = values * (1 + scale) + shift
        if not self.bayesian:
            return Summary(values, torch.ones_like(values[:, :1]))
        precisions = nn.functional.softplus(factors[:, self.code_size :])
        return Summary(values * precisions, precisions)

    def forward(self, summary):
        """Maps a `Summary` to codes (N, D), layer-normalized; zeros without enrollment."""
        precisions = summary.precisions
        precisions = precisions + 1 if self.bayesian else precisions.clamp(min=1)
        code = self.code_norm(summary.values / precisions)
        return code * summary.present.unsqueeze(1)

    def _told(self, labels):
        """Certain words (U, words) of labels (U,)."""
        one_hot = nn.functional.one_hot(labels.long(), self.num_words)
        return one_hot.to(self.word_effect.weight.dtype)


def _count_words(words, embedding_model, num_classes):
    """Number of words by which an encoder reads utterances; 0 where they are ignored."""
    if words == "ignored":
        return 0
    if words == "heard":
        if not getattr(embedding_model, "num_answers", 0):
            raise ValueError(
                f"Got words 'heard' for {type(embedding_model).__name__}, which answers none; "
                "expected ActivationEmbedding of log-probabilities, or words 'told' or 'ignored'."
            )
        return embedding_model.num_answers
    if words != "told":
        raise ValueError(f"Got words {words!r}; expected 'heard', 'told' or 'ignored'.")
    if num_classes < 1:
        raise ValueError(f"Got num_classes {num_classes}; expected at least 1 to read labels.")
    return num_classes


def _check_enrollment(enrollment):
    feats, lens = enrollment.feats, enrollment.lens
    if feats.dim() != 4 or lens.shape != feats.shape[:2]:
        raise ValueError(
            f"Got an enrollment with feats of shape {tuple(feats.shape)} and lens of shape "
            f"{tuple(lens.shape)}; expected (speakers, K, frames, features) and (speakers, K)."
        )
    if not ((lens >= 0) & (lens <= 1)).all():
        raise ValueError(
            f"Got lens from {lens.min():g} to {lens.max():g}; expected relative lengths in (0, 1], "
            "and 0 where there is no utterance."
        )


def _check_finite(feats):
    if not feats.isfinite().all():
        raise ValueError(
            "Got an enrollment with features that are NaN or infinite; leave that utterance out, "
            "by a length of 0."
        )


def _check_labels(enrollment, num_classes):
    labels = enrollment.labels
    if labels is None:
        raise ValueError(
            "Got enrollment without labels; this encoder was made to read it with them: give "
            "the class of every word said."
        )
    if labels.shape != enrollment.lens.shape or not ((labels >= 0) & (labels < num_classes)).all():
        raise ValueError(
            f"Got enrollment labels of shape {tuple(labels.shape)} from {labels.min()} to "
            f"{labels.max()}; expected {tuple(enrollment.lens.shape)}, from 0 to {num_classes - 1}."
        )
