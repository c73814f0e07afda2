"""Personal voice activity detection: a head detects the enrolled speaker in every frame."""

import torch
from torch.nn import functional as F

from vofp_plugin.lobes.decision import log_probability
from vofp_plugin.lobes.detector import Detector


class FrameDetector(Detector):
    """A causal main model and a detection head: no speech, the target or others in every frame.

    The code of a frame is the mean of the codes of the last frames, weighted by how likely they
    are speech. That of an enrollment utterance is the same mean over all of its frames.

    Arguments
    ---------
    main_model : FrameTrunk
    head : DetectionHead
        Of embeddings of E values.
    window : int
        Frames over which codes are averaged.

    Example
    -------
    >>> from vofp_plugin.lobes.detection_head import DetectionHead
    >>> from vofp_plugin.lobes.enrollment import Enrollment
    >>> from vofp_plugin.lobes.models.frame_cnn import FrameCNN
    >>> from vofp_plugin.lobes.models.frame_trunk import FrameTrunk
    >>> trunk = FrameTrunk(FrameCNN(num_classes=2))
    >>> model = FrameDetector(trunk, DetectionHead(trunk.embedding_size)).eval()
    >>> weights = model.personalize(Enrollment(torch.rand(2, 3, 101, 40), torch.ones(2, 3)))
    >>> model(torch.rand(8, 50, 40), weights=weights).shape  # 4 streams of each speaker
    torch.Size([8, 50, 3])
    """

    def __init__(self, main_model, head, window=60):
        super().__init__(main_model, head)
        self.window = window

    def watch(self, feats):
        """Log-probabilities of speech (B, T, 2) and codes of frames (B, T, D) of (B, T, F)."""
        log_probs, codes = self._frames(feats)
        return log_probs, recent_mean(codes, _speech(log_probs), self.window)

    def answer(self, log_probs, scores):
        """Joins log-probabilities of speech (B, T, 2) and scores of frames (B, T): (B, T, 3)."""
        silence, speech = log_probs.unbind(dim=2)
        answers = [silence, speech + log_probability(scores), speech + log_probability(-scores)]
        return torch.stack(answers, dim=2)

    def forward(self, feats, lens=None, weights=None):
        """Answers in every frame.

        Arguments
        ---------
        feats : torch.Tensor
            Features, (N * Q, T, F), Q streams of each speaker, speaker after speaker.
        lens : torch.Tensor
            Not read: no frame sees a later one.
        weights : dict
            From `personalize`; None is no enrollment, for which all speech is half the target's.

        Returns
        -------
        torch.Tensor
            Log-probabilities of no speech, the target and others, (N * Q, T, 3), in nats.
        """
        log_probs, codes = self.watch(feats)
        return self.answer(log_probs, self.head(codes, weights))

    def hear(self, feats, lens=None):
        """Log-probabilities of speech (B, T, 2) and codes (B, D) of whole utterances."""
        log_probs, codes = self._frames(feats)
        speech = _speech(log_probs).unsqueeze(2)
        return log_probs, F.normalize((speech * codes).sum(dim=1), dim=1)

    def _frames(self, feats):
        log_probs, embeddings = self.main_model(feats)
        codes = self.head.encode(embeddings.flatten(0, 1))
        return log_probs, codes.unflatten(0, embeddings.shape[:2])


def recent_mean(values, weights, window):
    """Direction of the weighted mean over the last frames, the present one included.

    Arguments
    ---------
    values : torch.Tensor
        (B, T, D).
    weights : torch.Tensor
        (B, T), not below 0.
    window : int
        Frames.

    Returns
    -------
    torch.Tensor
        (B, T, D), of length 1, and shorter where the weights of all these frames are about 0.

    Example
    -------
    >>> values = torch.eye(2).unsqueeze(0)
    >>> recent_mean(values, torch.ones(1, 2), window=2).squeeze(0)
    tensor([[1.0000, 0.0000],
            [0.7071, 0.7071]])
    """
    total = (weights.unsqueeze(2) * values).cumsum(dim=1)
    earlier = F.pad(total, (0, 0, window, 0))[:, : total.shape[1]]
    return F.normalize(total - earlier, dim=2, eps=0.1)


def _speech(log_probs):
    """Probability of speech (B, T), which the score of the speaker must not change."""
    return log_probs[..., 1].exp().detach()
