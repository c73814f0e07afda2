"""Scores of claims: what a detector says of the trials of a set, under a condition."""

import numpy as np
import torch

from vofp_plugin.augment.bad_enrollment import TWO_SPEAKERS, two_speakers
from vofp_plugin.lobes.decision import class_log_odds
from vofp_plugin.tasks.detection import SCORES, WORD
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
        Class index of the claimed word of each trial, (M,), where the main model classifies words;
        None where the head scores them, or only speakers are asked.
    """

    def __init__(self, model, condition, asked, words=None):
        self.model, self.condition, self.asked = model, condition, asked
        queries, self.query = np.unique(asked.query, return_inverse=True)
        log_probs, self.queries = self._hear(condition.queries, queries)
        self.word_scores = None if words is None else class_log_odds(log_probs)[self.query, words]

    def scores(self, enrollment, shots):
        """Scores of all trials for a kind of `ENROLLMENTS` and K = `shots`.

        Arguments
        ---------
        enrollment : str
            "own"; "stranger", another speaker's enrollment claimed as the target's; "none"; or a
            bad one of the condition, of which nothing is refused: the worst case.
        shots : int
            K; 0 of "none".

        Returns
        -------
        torch.Tensor
            Of `SCORES`, (M, 2); 0 where there is none.
        """
        codes = self._codes("own" if enrollment == "none" else enrollment)
        heard = self._head_scores(codes[:, :shots])
        scores = torch.zeros(len(self.query), len(SCORES))
        if self.word_scores is not None:
            scores[:, WORD] = self.word_scores
        scores[:, -heard.shape[1] :] = heard
        return scores

    @torch.no_grad()
    def _head_scores(self, codes):
        """Scores of the head for every trial: of the speaker, (M, 1), or of both, (M, 2)."""
        with evaluation_mode(self.model):
            weights = self.model.head.weights(self.model.head.summarize(codes))
            every = self.model.head.all_pairs(self.queries, weights)
        return every[self.asked.enrollment, self.query].view(len(self.query), -1).cpu()

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
        """Log-probabilities of words (U, C), or None, and codes (U, D) of some utterances."""
        device = next(self.model.parameters()).device
        heard = []
        with evaluation_mode(self.model):
            for part in np.array_split(places, -(-len(places) // 256)):
                feats, lens = utterances.features(part), utterances.lens[part]
                lens = lens.where(lens > 0, 1.0)  # of what a profile would refuse
                heard.append(self.model.hear(feats.to(device), lens.to(device)))
        log_probs, codes = zip(*heard, strict=True)
        return None if log_probs[0] is None else torch.cat(log_probs).cpu(), torch.cat(codes)
