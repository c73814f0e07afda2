"""Personalized verifier: is this the enrolled speaker, whatever is said?"""

from vofp_plugin.inference.claims import ClaimInterface


class PersonalizedVerifier(ClaimInterface):
    """Accepts clips of the speaker of a profile, and finds a speaker among many profiles.

    Example
    -------
    >>> import torch
    >>> from speechbrain.lobes.features import Fbank
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> from vofp_plugin.lobes.decision import Decision
    >>> from vofp_plugin.lobes.detection_head import DetectionHead
    >>> from vofp_plugin.lobes.detector import Detector
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.models.trunk import Trunk
    >>> from vofp_plugin.lobes.soft_and import SoftAnd
    >>> trunk = Trunk(DSCNN(num_classes=2))
    >>> hparams = {"front_end": FrontEnd(Fbank(n_mels=40)), "decision": Decision(SoftAnd(1), 0.0)}
    >>> model = Detector(trunk, DetectionHead(trunk.embedding_size))
    >>> verifier = PersonalizedVerifier({"model": model}, hparams)  # or from_hparams(...)
    >>> anna, bert = (verifier.enroll([torch.rand(16000)]) for _ in range(2))
    >>> scores, accepted = verifier.verify_batch(torch.rand(2, 16000), profiles=[anna, bert])
    >>> scores.shape
    torch.Size([2])
    >>> name, score = verifier.identify(torch.rand(16000), {"anna": anna, "bert": bert})
    """

    def forward(self, wavs, wav_lens=None, profiles=None):
        """Verifies clips; see `verify_batch`."""
        return self.verify_batch(wavs, wav_lens, profiles)

    def claim_scores(self, rows):
        """Scores (B,), in nats, that the speaker is heard."""
        return self.hparams.decision(rows[:, -1:])
