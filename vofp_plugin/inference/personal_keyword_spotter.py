"""Personal keyword spotter: words that enrollments choose, in any language."""

from dataclasses import replace

import torch
from speechbrain.utils.logger import get_logger

from vofp_plugin.dataio.quality import Quality
from vofp_plugin.dataio.takes import CUT_OFF, TWO_WORDS, UNLIKE, assess_take, likeness_of_takes
from vofp_plugin.inference.claims import ClaimInterface
from vofp_plugin.inference.keyword_spotter import UNKNOWN

logger = get_logger(__name__)

DOUBTS = {CUT_OFF: CUT_OFF, TWO_WORDS: "of two words", UNLIKE: UNLIKE}
LEAST_LIKENESS = 0.55  # cosine to the mean of the other takes, below which one is told


class PersonalKeywordSpotter(ClaimInterface):
    """Tells words by a few takes of each: a profile is of a word, by the speaker who enrolled it.

    Anybody may say it; with `only_me` nobody but the one who enrolled it. Both are decided from
    thresholds that were found on validation words and speakers.

    Example
    -------
    >>> import torch
    >>> from speechbrain.lobes.features import Fbank
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> from vofp_plugin.lobes.decision import Decision
    >>> from vofp_plugin.lobes.detection_head import CosineHead
    >>> from vofp_plugin.lobes.keyword_detector import KeywordDetector
    >>> from vofp_plugin.lobes.keyword_head import KeywordHead, WordHead
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.models.keyword_trunk import KeywordTrunk
    >>> from vofp_plugin.lobes.soft_and import SoftAnd
    >>> trunk = KeywordTrunk(DSCNN(num_classes=1))
    >>> head = KeywordHead(WordHead(trunk.word_size), CosineHead(trunk.embedding_size))
    >>> hparams = {"front_end": FrontEnd(Fbank(n_mels=40)), "decision": Decision(SoftAnd(2), 0.0)}
    >>> spotter = PersonalKeywordSpotter({"model": KeywordDetector(trunk, head)}, hparams)
    >>> words = {"lumos": spotter.enroll([torch.rand(16000), torch.rand(16000)])}
    >>> heard = spotter.spot(torch.rand(3, 16000), words)  # "lumos" or "unknown" of each
    """

    only_me = False  # whether the voice is asked too

    def forward(self, wavs, wav_lens=None, profiles=None):
        """Verifies clips; see `verify_batch`."""
        return self.verify_batch(wavs, wav_lens, profiles)

    @property
    def decision(self):
        """That of the word alone, or of word and voice together."""
        alone = getattr(self.hparams, "decision_anybody", self.hparams.decision)
        return self.hparams.decision if self.only_me else alone

    def claim_scores(self, rows):
        """Scores (B,), in nats, that the word is said, and with `only_me`, by whom."""
        return self.decision(rows[:, : self.decision.num_scores])

    def enroll(self, utterances, labels=None):
        """Enrolls a word; arguments and errors are those of `PersonalizedInterface.enroll`.

        Returns
        -------
        Profile
            Whose qualities tell of takes that seem cut off, hold two words, or are unlike the
            others.
        """
        wavs = self.waveforms(utterances)
        profile = super().enroll(wavs, labels)
        rate, used = self.hparams.front_end.sample_rate, [not q.refused for q in profile.qualities]
        takes = [assess_take(wav, rate) for wav in wavs]
        codes = self._word_codes([wav for wav, kept in zip(wavs, used, strict=True) if kept])
        likeness = iter(likeness_of_takes(codes).tolist())
        for place, kept in enumerate(used):
            if kept and len(codes) > 1 and next(likeness) < LEAST_LIKENESS:
                takes[place] = Quality(0.2, UNLIKE)
        for number, take in enumerate(takes, start=1):
            if take.reason:
                logger.warning("Take %d is %s: record it again.", number, DOUBTS[take.reason])
        worse = [
            min(pair, key=lambda quality: quality.score)
            for pair in zip(profile.qualities, takes, strict=True)
        ]
        return replace(profile, qualities=worse)

    @torch.no_grad()
    def _word_codes(self, wavs):
        """Codes of the word, (K, D)."""
        if not wavs:
            return torch.zeros(0, 1)
        _, codes = self.mods.model.hear(*self.features(wavs))
        return codes[:, : self.mods.model.head.sizes[0]].cpu()

    def spot(self, wavs, words, wav_lens=None, far=None):
        """Tells which of the enrolled words is said in each clip.

        Arguments
        ---------
        wavs, wav_lens
            As for `answer`.
        words : dict
            {word: Profile}.
        far : float
            As for `verify_batch`.

        Returns
        -------
        list of str
            The word of each clip, or "unknown".
        """
        found = [self.identify(wav, words, far)[0] for wav in self.waveforms(wavs, wav_lens)]
        return [UNKNOWN if word is None else word for word in found]
