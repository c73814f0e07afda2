"""Keyword spotter: a trained run as a SpeechBrain `Pretrained`, with or without a profile."""

from pathlib import Path

import torch
from speechbrain.inference.interfaces import Pretrained

from vofp_plugin.dataio.audio import check_wavs, load_audio
from vofp_plugin.inference.profile import enroll, load_profile
from vofp_plugin.utils.files import reason_of


class KeywordSpotter(Pretrained):
    """Answers keywords, with a speaker's profile if there is one.

    Every run writes the folder `pretrained` that `from_hparams` reads.

    Example
    -------
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
    >>> log_probs, score, index, text = spotter.classify_batch(torch.rand(3, 16000), profile)
    >>> log_probs.shape, len(text)
    (torch.Size([3, 2]), 3)
    """

    HPARAMS_NEEDED = ["front_end", "label_encoder"]
    MODULES_NEEDED = ["model"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.hparams.label_encoder.ignore_len()  # or it warns of a length that nobody promised
        self._latest = None  # the profile that answered last, and its weights

    @classmethod
    def from_hparams(cls, source, *args, **kwargs):
        """Loads the folder `pretrained` of a run; arguments are those of SpeechBrain's.

        Its YAML can run any code, as every HyperPyYAML can: load no folder of a stranger's.

        Raises
        ------
        FileNotFoundError
            If there is no such folder; SpeechBrain's would look for it on a hub.
        ValueError
            If the weights are damaged or of another model, or this is the folder around it.
        ImportError
            If Python does not find the code of the main model.
        """
        if not Path(source).is_dir():
            raise FileNotFoundError(
                f"Found no folder {source}; expected the folder `pretrained` of a finished run."
            )
        if (Path(source) / "pretrained").is_dir():
            raise ValueError(f"Got the folder of a run; expected {Path(source) / 'pretrained'}.")
        try:
            return super().from_hparams(str(source), *args, **kwargs)
        except OSError:  # says what was not found
            raise
        except ImportError as error:
            raise ImportError(
                f"The keyword spotter in {source} needs code that Python does not find "
                f"({error}): install it, or add its folder to PYTHONPATH."
            ) from error
        except Exception as error:  # a damaged file may fail in any way
            raise ValueError(
                f"Cannot load the keyword spotter in {source} ({reason_of(error)}). It is damaged, "
                "or of another model or version of vofp_plugin: start its training again, which "
                "writes it anew."
            ) from error

    def load_audio(self, path):
        """Reads an audio file, (L,), resampled and mixed down as the front end needs.

        Raises
        ------
        FileNotFoundError, ValueError
            As `vofp_plugin.dataio.audio.load_audio`.
        """
        return load_audio(path, self.hparams.front_end.sample_rate)

    def enroll(self, wavs, words=None):
        """Enrolls a speaker.

        Arguments
        ---------
        wavs : list of torch.Tensor
            Waveforms, (L,) each, full scale at 1, of the front end's sampling rate.
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
        if not hasattr(self.mods.model, "hyper_personalizer"):
            raise TypeError(
                f"Got a {type(self.mods.model).__name__} to enroll with; expected a personalized "
                "model: load a run of vofp.yaml."
            )
        return enroll(self.mods.model, self.hparams.front_end, wavs, self._classes(words))

    def load_profile(self, path):
        """Reads a profile that was saved; errors are those of `load_profile`."""
        return load_profile(path, self.mods.model)

    @torch.no_grad()
    def classify_batch(self, wavs, profile=None):
        """Answers clips.

        Arguments
        ---------
        wavs : torch.Tensor or list of torch.Tensor
            (B, L), or B waveforms (L,), of the front end's sampling rate; cut or padded to the
            length of all clips.
        profile : Profile
            Of the speaker of all of them; None answers as for everybody.

        Returns
        -------
        torch.Tensor
            Log-probabilities, (B, classes).
        torch.Tensor
            The highest of each, (B,).
        torch.Tensor
            Its class index, (B,).
        list of str
            Its word, B.

        Raises
        ------
        ValueError
            If the profile was made with another model, or a waveform cannot be used.
        TypeError
            If a waveform is no float tensor.
        """
        if len(wavs) == 0:
            raise ValueError("Got no waveform to answer; expected at least one.")
        if isinstance(wavs, torch.Tensor) and wavs.dim() != 2:
            raise ValueError(f"Got waveforms of shape {tuple(wavs.shape)}; expected (B, L).")
        model, front_end = self.mods.model, self.hparams.front_end
        check_wavs(wavs, "Query", front_end)
        feats = front_end(torch.stack([front_end.fit(wav.cpu().float()) for wav in wavs]))
        weights = None if profile is None else self._weights(profile)
        with self.inference_ctx:
            log_probs = model(feats.to(self.device), weights=weights)
        score, index = log_probs.max(dim=1)
        return log_probs, score, index, self.hparams.label_encoder.decode_torch(index)

    def classify_file(self, path, profile=None):
        """Answers the clip in an audio file; see `classify_batch`."""
        return self.classify_batch([self.load_audio(path)], profile)

    def merge(self, profile):
        """Makes a plain main model of the speaker's weights, with nothing of this plugin."""
        return self.mods.model.merge(self._weights(profile))

    def _weights(self, profile):
        """Weights of a profile, made once for all queries in a row."""
        if self._latest is None or self._latest[0] is not profile:
            self._latest = profile, profile.weights(self.mods.model)
        return self._latest[1]

    def forward(self, wavs, profile=None):
        """Answers clips; see `classify_batch`."""
        return self.classify_batch(wavs, profile)

    def _classes(self, words):
        """Class indices of words; None of None."""
        if words is None:
            return None
        known = self.hparams.label_encoder.lab2ind
        unknown = sorted({str(word) for word in words if word not in known})
        if unknown:
            raise ValueError(
                f"Got the words {', '.join(unknown)}; expected some of {', '.join(known)}."
            )
        return [known[word] for word in words]
