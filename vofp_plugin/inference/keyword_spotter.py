"""Keyword spotter: a trained run as a SpeechBrain `Pretrained`, with or without profiles."""

import math

from vofp_plugin.inference.interfaces import PersonalizedInterface
from vofp_plugin.lobes.decision import log_odds

UNKNOWN = "unknown"


class KeywordSpotter(PersonalizedInterface):
    """Answers keywords, with a profile of each speaker if there is one.

    Every run writes the folder `pretrained` that `from_hparams` reads.

    Example
    -------
    >>> import torch
    >>> from speechbrain.dataio.encoder import CategoricalEncoder
    >>> from speechbrain.lobes.features import Fbank
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> from vofp_plugin.lobes.embeddings import ActivationEmbedding
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.enrollment import EnrollmentEncoder
    >>> from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
    >>> from vofp_plugin.lobes.personalized import PersonalizedModel
    >>> main_model = DSCNN(num_classes=2)
    >>> model = PersonalizedModel(
    ...     main_model,
    ...     EnrollmentEncoder(ActivationEmbedding(main_model)),
    ...     HyperPersonalizer(main_model, {"*.norm": "channel"}),
    ... )
    >>> words = CategoricalEncoder()
    >>> words.update_from_iterable(["no", "yes"])
    >>> hparams = {"front_end": FrontEnd(Fbank(n_mels=40)), "label_encoder": words}
    >>> spotter = KeywordSpotter({"model": model}, hparams)  # or KeywordSpotter.from_hparams(...)
    >>> profile = spotter.enroll([torch.rand(16000), torch.rand(16000)])
    >>> log_probs, score, index, text = spotter.classify_batch(
    ...     torch.rand(3, 16000), profiles=profile
    ... )
    >>> log_probs.shape, len(text)
    (torch.Size([3, 2]), 3)
    """

    HPARAMS_NEEDED = ["front_end", "label_encoder"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.hparams.label_encoder.ignore_len()  # or it warns of a length that nobody promised

    def enroll(self, utterances, words=None):
        """Enrolls a speaker.

        Arguments
        ---------
        utterances : list of str, Path, torch.Tensor or numpy.ndarray
            Audio files, or waveforms, (L,) each, full scale at 1, of the front end's sampling rate.
        words : list of str
            The word said in each, for a model that was trained to be told.

        Returns
        -------
        Profile
            To save, to add to, and for `classify_batch`, `classify_file` and `merge`.

        Raises
        ------
        TypeError, ValueError
            If the model is not personalized, a word is none of its classes, or as
            `Profile.add` says.
        """
        return super().enroll(utterances, self.classes(words))

    def classify_batch(self, wavs, wav_lens=None, profiles=None, far=None):
        """Answers clips; arguments and errors are those of `answer` and `Decision.threshold_at`.

        Arguments
        ---------
        far : float
            Of an operating point of the model, such as 0.01: the share of sounds without any of its
            words that are told as one. None gives the best word, whatever its probability.

        Returns
        -------
        torch.Tensor
            Log-probabilities, (B, classes).
        torch.Tensor
            The highest of each, (B,).
        torch.Tensor
            Its class index, (B,).
        list of str
            Its word, B, or "unknown" where it is rejected.
        """
        threshold = self._threshold(far)
        log_probs = self.answer(wavs, wav_lens, profiles)
        score, index = log_probs.max(dim=1)
        words = self.hparams.label_encoder.decode_torch(index)
        accepted = (log_odds(score) >= threshold).tolist()
        text = [word if known else UNKNOWN for word, known in zip(words, accepted, strict=True)]
        return log_probs, score, index, text

    def classify_file(self, path, profile=None, far=None):
        """Answers the clip in an audio file; see `classify_batch`."""
        return self.classify_batch([self.load_audio(path)], profiles=profile, far=far)

    def forward(self, wavs, wav_lens=None, profiles=None):
        """Answers clips; see `classify_batch`."""
        return self.classify_batch(wavs, wav_lens, profiles)

    def probability_at(self, far=None):
        """Gives the probability from which on a word is told, such as in a stream.

        Arguments
        ---------
        far : float
            Of an operating point; None takes the model's own threshold, or 0.5 if it has none.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If there is no such operating point.
        """
        if far is None and not hasattr(self.hparams, "decision"):
            return 0.5
        self._threshold(far)  # refuses what the model has not
        return 1 / (1 + math.exp(-self.hparams.decision.threshold_at(far)))

    def _threshold(self, far):
        """Log-odds from which on a word is known."""
        if far is None:
            return -math.inf
        if not hasattr(self.hparams, "decision"):
            raise ValueError(
                f"Got far {far} for a model without operating points (no decision.json beside it); "
                "leave it out, or take a shipped model."
            )
        return self.hparams.decision.threshold_at(far)

    def classes(self, words):
        """Gives the class index of each of some words, a list; None of None."""
        if words is None:
            return None
        known = self.hparams.label_encoder.lab2ind
        unknown = sorted({str(word) for word in words if word not in known})
        if unknown:
            raise ValueError(
                f"Got the words {', '.join(unknown)}; expected some of {', '.join(known)}."
            )
        return [known[word] for word in words]
