"""The detection model: one network hears word and voice, a head detects the enrolled speaker."""

import copy

import torch
from torch import nn

from vofp_plugin.lobes.enrollment import Summary


class Detector(nn.Module):
    """A main model and a detection head, behind the calls of `PersonalizedModel`.

    Only the head's linear layer is weight-injected, so an utterance is heard once, whoever it is
    offered as.

    Arguments
    ---------
    main_model : Trunk
        Maps features (B, T, F) and relative lengths (B,) to log-probabilities of words (B, C)
        and embeddings (B, E).
    head : DetectionHead
        Of embeddings of E values.

    Example
    -------
    >>> from vofp_plugin.lobes.detection_head import DetectionHead
    >>> from vofp_plugin.lobes.enrollment import Enrollment
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.models.trunk import Trunk
    >>> trunk = Trunk(DSCNN(num_classes=9))
    >>> model = Detector(trunk, DetectionHead(trunk.embedding_size)).eval()
    >>> weights = model.personalize(Enrollment(torch.rand(2, 3, 101, 40), torch.ones(2, 3)))
    >>> model(torch.rand(8, 101, 40), weights=weights).shape  # 4 queries of each speaker
    torch.Size([8, 10])
    """

    enrollments = ("none", "own", "stranger")
    told_words = 0

    def __init__(self, main_model, head):
        super().__init__()
        self.main_model = main_model
        self.head = head

    def hear(self, feats, lens=None):
        """Log-probabilities of words (B, C) and codes (B, D) of features (B, T, F)."""
        log_probs, embeddings = self.main_model(feats, lens)
        return log_probs, self.head.encode(embeddings)

    def forward(self, feats, lens=None, weights=None):
        """Answers queries.

        Arguments
        ---------
        feats : torch.Tensor
            Features, (N * Q, T, F), Q items of each speaker, speaker after speaker.
        lens : torch.Tensor
            Relative lengths, (N * Q,); None for features without padding.
        weights : dict
            From `personalize`; None is no enrollment.

        Returns
        -------
        torch.Tensor
            Log-probabilities of C words and, last, the score of the speaker, (N * Q, C + 1).
        """
        log_probs, codes = self.hear(feats, lens)
        return torch.cat([log_probs, self.head(codes, weights).unsqueeze(1)], dim=1)

    def offered(self, feats, lens, weights):
        """Hears one clip and offers it as each of N targets.

        Arguments
        ---------
        feats : torch.Tensor
            Features, (1, T, F).
        lens : torch.Tensor
            Its relative length, (1,).
        weights : dict
            Of N targets, from `personalize`.

        Returns
        -------
        torch.Tensor
            What `forward` would give of N such clips, (N, ...).
        """
        log_probs, codes = self.hear(feats, lens)
        speaker = self.head.all_pairs(codes, weights)
        return torch.cat([log_probs.expand(len(speaker), -1), speaker], dim=1)

    def summarize(self, enrollment):
        """Sums the codes of each speaker's utterances: `Enrollment` to `Summary`."""
        if isinstance(enrollment, Summary):
            return enrollment
        present = enrollment.lens > 0
        codes = enrollment.feats.new_zeros(*present.shape, self.head.code_size)
        if present.any():
            _, heard = self.hear(enrollment.feats[present], enrollment.lens[present])
            codes[present] = heard
        return self.head.summarize(codes, present)

    def summarize_each(self, feats, lens):
        """Gives the summaries of utterances (U, T, F) by themselves, by what can be exported."""
        _, codes = self.hear(feats, lens)
        return Summary(codes, torch.ones_like(codes[:, :1]))

    def personalize(self, enrollment):
        """Makes the weights of N speakers, of an `Enrollment` or a `Summary`."""
        return self.head.weights(self.summarize(enrollment))

    @torch.no_grad()
    def learn(self, batches):
        """Keeps a cohort of training utterances, where the head scores against one.

        Arguments
        ---------
        batches : iterable
            Features (B, T, F) and labels (B,).
        """
        if hasattr(self.head, "keep_cohort"):
            self.head.keep_cohort(torch.cat([self.hear(feats)[1] for feats, _ in batches]))

    def draw(self, enrollment, generator=None):
        """Draws the weights of N speakers and gives their KL divergence (N,), in nats."""
        return self.head.draw(self.summarize(enrollment), generator)

    def merge(self, weights):
        """Writes one speaker's weights into a plain copy of this model.

        Its head has a plain linear layer: called without weights, it detects that speaker.
        """
        plain = copy.deepcopy(self)
        plain.head.detector = self.head.merge(weights)
        return plain
