"""Personal keyword spotter: words that enrollments choose, in any language."""

from vofp_plugin.inference.claims import ClaimInterface
from vofp_plugin.inference.keyword_spotter import UNKNOWN


class PersonalKeywordSpotter(ClaimInterface):
    """Tells words by a few takes of each: a profile is of a word, by the speaker who enrolled it.

    Whether others may say it too is the decision's: it reads the score of the word, or also that
    of the voice.

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

    def forward(self, wavs, wav_lens=None, profiles=None):
        """Verifies clips; see `verify_batch`."""
        return self.verify_batch(wavs, wav_lens, profiles)

    def claim_scores(self, rows):
        """Scores (B,), in nats, that the word is said, and where the decision asks it, by whom."""
        return self.hparams.decision(rows[:, : self.hparams.decision.num_scores])

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
