"""Scores of claims: what a detector says of the trials of a set, under a condition."""

import numpy as np
import torch

from vofp_plugin.augment.bad_enrollment import TWO_SPEAKERS, two_speakers
from vofp_plugin.utils.evaluation_mode import evaluation_mode

ENROLLMENTS = ("own", "stranger", "none")


class ClaimScorer:
    """Scores a set of trials, for which every utterance is heard once.

    Arguments
    ---------
    model : Detector
    condition : Condition
    asked : TrialSet
    words : numpy.ndarray
        Class index of the claimed word of each trial, (M,); None where only speakers are asked.
    """

    def __init__(self, model, condition, asked, words=None):
        self.model, self.condition, self.asked = model, condition, asked
        queries, self.query = np.unique(asked.query, return_inverse=True)
        log_probs, self.queries = self._hear(condition.queries, queries)
        self.word_scores = None if words is None else _log_odds(log_probs[self.query, words])

    def scores(self, enrollment, shots):
        """Scores of all trials for a kind of `ENROLLMENTS` and K = `shots`.

        Arguments
        ---------
        enrollment : str
            "own"; "stranger", another speaker's enrollment claimed as the target's; "none", whose
            score of the speaker is 0, so that it rejects nobody; or a bad one of the condition, of
            which nothing is refused: the worst case.
        shots : int

        Returns
        -------
        torch.Tensor
            Log-odds of the word, if words are asked, and the speaker's score, (M, 1 or 2).
        """
        if enrollment == "none":
            speaker = torch.zeros(len(self.query))
        else:
            speaker = self._speaker_scores(self._codes(enrollment)[:, :shots])
        scores = [self.word_scores, speaker] if self.word_scores is not None else [speaker]
        return torch.stack(scores, dim=1)

    @torch.no_grad()
    def _speaker_scores(self, codes):
        with evaluation_mode(self.model):
            weights = self.model.head.weights(self.model.head.summarize(codes))
            every = self.model.head.all_pairs(self.queries, weights)
        return every[self.asked.enrollment, self.query].cpu()

    def _codes(self, enrollment):
        """Codes of the utterances that enroll, (E, largest K, D), in the room of the target."""
        chosen = self._chosen(enrollment)
        if enrollment in self.condition.bad:
            return self._heard(self.condition.bad[enrollment], chosen)
        rooms = [self.condition.room_of(speaker) for speaker in self.asked.speakers]
        codes = self.queries.new_zeros(*chosen.shape, self.queries.shape[1])
        for room in self.condition.rooms:
            here = np.array([r is room for r in rooms])
            if here.any():
                codes[here] = self._heard(room, chosen[here])
        return codes

    def _chosen(self, enrollment):
        """Places of the utterances that enroll, (E, largest K)."""
        own = self.asked.places
        if enrollment not in ("stranger", TWO_SPEAKERS):
            return own
        strange = own[self.asked.strangers()]
        if enrollment == "stranger":
            return strange
        return np.array([two_speakers(*pair) for pair in zip(own, strange, strict=True)])

    def _heard(self, utterances, chosen):
        """Codes (*, D) of some utterances (*), each heard once."""
        places, inverse = np.unique(chosen, return_inverse=True)
        return self._hear(utterances, places)[1][inverse.reshape(chosen.shape)]

    @torch.no_grad()
    def _hear(self, utterances, places):
        """Log-probabilities of words (U, C) and codes (U, D) of some utterances."""
        device = next(self.model.parameters()).device
        heard = []
        with evaluation_mode(self.model):
            for part in np.array_split(places, -(-len(places) // 256)):
                feats, lens = utterances.features(part), utterances.lens[part]
                lens = lens.where(lens > 0, 1.0)  # of what a profile would refuse
                heard.append(self.model.hear(feats.to(device), lens.to(device)))
        log_probs, codes = (torch.cat(part) for part in zip(*heard, strict=True))
        return log_probs.cpu(), codes


def _log_odds(log_probs):
    """Log-odds (*), in nats, of log-probabilities; bounded where one is 0."""
    return log_probs - torch.log1p(-log_probs.exp().clamp(max=1 - 1e-6))
