"""Enrolled words: a spotter of personal keywords with its profiles, as a spotter of these words."""

from types import SimpleNamespace

import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from vofp_plugin.lobes.decision import log_probability


class EnrolledWords:
    """Answers words that were enrolled by the calls of a `KeywordSpotter`, as streams ask them.

    A probability is that of the claim's log-odds beyond the threshold: 0.5 is where the decision
    accepts. Every word has its own, so they do not sum to 1.

    Arguments
    ---------
    spotter : PersonalKeywordSpotter
    words : dict
        {word: Profile}.
    far : float
        Of an operating point; None takes the model's own threshold.

    Raises
    ------
    ValueError
        If there is no word, or no such operating point.

    Example
    -------
    >>> from vofp_plugin.inference.personal_keyword_spotter import PersonalKeywordSpotter
    >>> spotter = PersonalKeywordSpotter.from_hparams("pretrained/personal-keywords")
    >>> lumos = spotter.enroll([torch.rand(16000), torch.rand(16000)])
    >>> words = EnrolledWords(spotter, {"lumos": lumos})
    >>> words.answer(torch.rand(3, 16000)).shape
    torch.Size([3, 1])
    """

    def __init__(self, spotter, words, far=None):
        if not words:
            raise ValueError("Got no words; expected {word: profile}: enroll one.")
        self.spotter, self.words = spotter, dict(words)
        self.threshold = spotter.decision.threshold_at(far)
        names = CategoricalEncoder()
        names.expect_len(len(words))
        names.update_from_iterable(words)
        self.hparams = SimpleNamespace(front_end=spotter.hparams.front_end, label_encoder=names)
        parts = [spotter.weights_of(profile) for profile in self.words.values()]
        self.weights = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def classes(self, words):
        """Indices of some words, a list.

        Raises
        ------
        ValueError
            If one was not enrolled.
        """
        unknown = [word for word in words if word not in self.words]
        if unknown:
            raise ValueError(
                f"Got the words {', '.join(unknown)}; expected some of {', '.join(self.words)}."
            )
        return [list(self.words).index(word) for word in words]

    def probability_at(self):
        """Gives the probability from which on a word is told."""
        return 0.5

    @torch.no_grad()
    def answer(self, wavs, wav_lens=None, profiles=None):
        """Log-probabilities (B, C) of every enrolled word in clips, each heard once.

        Arguments are those of `KeywordSpotter.answer`; the profiles are those of the words.
        """
        _, codes = self.spotter.mods.model.hear(*self.spotter.features(wavs, wav_lens))
        scores = self.spotter.mods.model.head.all_pairs(codes, self.weights)  # (C, B, 2)
        log_odds = self.spotter.claim_scores(scores.flatten(0, 1)).unflatten(0, scores.shape[:2])
        return log_probability(log_odds - self.threshold).t().cpu()
