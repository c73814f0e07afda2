"""Claims: whether a clip is that of the profile it is offered with, and of which among many."""

from abc import abstractmethod

import torch

from vofp_plugin.inference.interfaces import PersonalizedInterface
from vofp_plugin.lobes.detector import Detector


class ClaimInterface(PersonalizedInterface):
    """Base of inference classes that accept or reject a clip; see `PersonalizedVerifier`.

    What a profile stands for, a speaker or a word by a speaker, is the model's.
    A score is the log-odds, in nats, that the claim is true. It is accepted from a threshold on
    that was found on validation speakers: the model's own, or that of an operating point `far`, the
    share of false claims accepted there, such as 0.001, 0.01 or 0.05.
    """

    HPARAMS_NEEDED = ["front_end", "decision"]

    def __init__(self, modules=None, *args, **kwargs):
        super().__init__(modules, *args, **kwargs)
        if not isinstance(self.mods.model, Detector):
            raise TypeError(
                f"Got a {type(self.mods.model).__name__}; expected a Detector, as the recipes of "
                "target-speaker and personal keywords train it."
            )

    @property
    def decision(self):
        """What makes log-odds of scores, and says from which on a claim is accepted."""
        return self.hparams.decision

    @abstractmethod
    def claim_scores(self, rows):
        """Scores (B,) of what the model puts out for clips, (B, ...)."""

    def verify_batch(self, wavs, wav_lens=None, profiles=None, far=None):
        """Says of each clip whether it is that of its profile's speaker.

        Arguments
        ---------
        wavs, wav_lens, profiles
            As for `answer`.
        far : float
            Of an operating point; None takes the model's own threshold.

        Returns
        -------
        torch.Tensor
            Scores, (B,), in nats.
        torch.Tensor
            Whether each is accepted, (B,), bool.

        Raises
        ------
        ValueError, TypeError
            As `answer` and `Decision.threshold_at`.
        """
        threshold = self.decision.threshold_at(far)
        scores = self.claim_scores(self.rows(wavs, wav_lens, profiles))
        return scores, scores >= threshold

    def verify(self, wav, profile, far=None):
        """Says whether one clip, a path or a waveform, is that of the profile's speaker.

        Returns
        -------
        float
            Score, in nats.
        bool
            Whether it is accepted.
        """
        scores, accepted = self.verify_batch([wav], profiles=profile, far=far)
        return scores.item(), accepted.item()

    @torch.no_grad()
    def identify(self, wav, profiles, far=None):
        """Finds who of some speakers is heard in a clip, or none of them.

        The share of false claims is that of one speaker: among more, more are accepted by mistake.

        Arguments
        ---------
        wav : str, Path, torch.Tensor or numpy.ndarray
            An audio file or a waveform, (L,).
        profiles : dict
            {name: Profile}, of any number of speakers; the clip is heard once.
        far : float
            As for `verify_batch`.

        Returns
        -------
        str
            Name of the best, or None where not even that one is accepted.
        float
            Score of the best, in nats.
        """
        if not profiles:
            raise ValueError("Got no profiles to identify a speaker by; expected {name: profile}.")
        threshold = self.decision.threshold_at(far)
        parts = [self.weights_of(profile) for profile in profiles.values()]
        weights = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        scores = self.claim_scores(self.mods.model.offered(*self.features([wav]), weights).cpu())
        best = scores.argmax().item()
        name = list(profiles)[best] if scores[best] >= threshold else None
        return name, scores[best].item()
