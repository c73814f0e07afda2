"""Profile: what is stored of a speaker. Enroll, look at the quality, save, load, personalize.

A profile is small, holds no audio, and can be added to at any time: utterances enrolled one after
another give the very profile that they give together.
"""

import hashlib
import json
from collections import Counter
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import torch
from speechbrain.utils.logger import get_logger

from vofp_plugin.dataio.agreement import BLANK_VOICE, assess_agreement, voice_of
from vofp_plugin.dataio.audio import check_wavs
from vofp_plugin.dataio.quality import Quality, assess
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.utils.files import reason_of, whole_file

logger = get_logger(__name__)

SCHEMA_VERSION = 1


class Profile(NamedTuple):
    """What is stored of a speaker.

    Arguments
    ---------
    model_digest : str
        Of the model that the summary was made with; no other can read it.
    summary : NamedTuple of torch.Tensor
        The encoder's summary of the utterances used, (1, ...) each.
    qualities : list of Quality
        Of every utterance offered, in order.
    voices : list of VoiceStatistics
        Of the utterances used.

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.embeddings import ConvEmbedding
    >>> from vofp_plugin.lobes.enrollment import EnrollmentEncoder
    >>> from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
    >>> from vofp_plugin.lobes.personalized import PersonalizedModel
    >>> main_model = DSCNN(num_classes=10)
    >>> personalizer = HyperPersonalizer(main_model, {"classifier": "full"})
    >>> encoder = EnrollmentEncoder(ConvEmbedding())
    >>> model = PersonalizedModel(main_model, encoder, personalizer).eval()
    >>> front_end = FrontEnd(Fbank(n_mels=40))
    >>> profile = enroll(model, front_end, [torch.zeros(16000)])
    >>> profile.num_used, profile.quality.reason
    (0, 'nothing usable: silence')
    >>> path = getfixture("tmp_path") / "anna.json"
    >>> profile.save(path)
    >>> load_profile(path, model).qualities == profile.qualities
    True
    >>> plain = model.merge(profile.weights(model))
    """

    model_digest: str
    summary: tuple
    qualities: list
    voices: list

    @property
    def num_used(self):
        """Number of utterances that the summary is of."""
        return len(self.voices)

    @property
    def quality(self):
        """Quality of the whole enrollment: the mean over utterances, or worse if they disagree.

        Its reason names all that is wrong with any utterance, and how often.
        """
        counts = Counter(quality.reason for quality in self.qualities if quality.reason)
        wrong = ", ".join(counts)
        if not self.voices:
            return Quality(0.0, f"nothing usable: {wrong}" if wrong else "nothing enrolled")
        num_offered = len(self.qualities)
        reasons = [f"{reason} ({n} of {num_offered})" for reason, n in counts.items()]
        agreement = assess_agreement(self.voices)
        mean = sum(quality.score for quality in self.qualities) / num_offered
        reasons += [agreement.reason] if agreement.reason else []
        return Quality(min(mean, agreement.score), ", ".join(reasons))

    def add(self, model, front_end, wavs, labels=None):
        """Enrolls further utterances.

        Utterances without speech and badly clipped ones are left out, and a warning says why; of
        the others, a warning says what is doubtful.

        Arguments
        ---------
        model : PersonalizedModel
            The one of this profile, in evaluation mode.
        front_end : FrontEnd
            The one that the model was trained with.
        wavs : list of torch.Tensor
            Waveforms, (L,) each, full scale at 1, of the front end's sampling rate.
        labels : list of int
            Class index of the word said in each, for a model that reads labels.

        Returns
        -------
        Profile
            A new one.

        Raises
        ------
        TypeError
            If a waveform is no tensor of floating-point numbers.
        ValueError
            If a waveform has another shape, is empty or holds NaN; if there is none; if the
            labels do not fit; or if the model is another.
        RuntimeError
            If the model is in training mode.
        """
        _check_model(self, model)
        _check_input(model, front_end, wavs, labels)
        summary, qualities, voices = self.summary, list(self.qualities), list(self.voices)
        for place, wav in enumerate(wavs):
            clip = front_end.fit(wav.detach().cpu().float())
            quality = assess(clip, front_end.sample_rate)
            qualities.append(quality)
            if quality.refused:
                logger.warning("Left out utterance %d: %s.", len(qualities), quality.reason)
                continue
            length = front_end.relative_length({"start": 0, "stop": len(wav)})
            label = None if labels is None else labels[place]
            new = _summarize(model, front_end(clip.unsqueeze(0)), length, label)
            summary = type(summary)(*(a + b for a, b in zip(summary, new, strict=True)))
            voices.append(voice_of(clip, front_end.sample_rate))
        profile = self._replace(summary=summary, qualities=qualities, voices=voices)
        if profile.quality.reason:
            logger.warning("Enrollment: %s.", profile.quality.reason)
        return profile

    def weights(self, model):
        """Makes the speaker's weights, as `model(feats, lens, weights)` and `merge` take.

        Arguments
        ---------
        model : PersonalizedModel
            The one that the profile was made with.

        Returns
        -------
        dict
            {parameter name: (1, *shape)}; those for no enrollment if nothing was usable.

        Raises
        ------
        ValueError
            If the model is another.
        """
        _check_model(self, model)
        device = next(model.parameters()).device
        with torch.no_grad():
            summary = type(self.summary)(*(part.to(device) for part in self.summary))
            return model.personalize(summary)

    def save(self, path):
        """Writes the profile to a JSON file, whole or not at all."""
        content = {
            "schema_version": SCHEMA_VERSION,
            "model_digest": self.model_digest,
            "summary": _numbers(self.summary),
            "qualities": [quality._asdict() for quality in self.qualities],
            "voices": [_numbers(voice) for voice in self.voices],
        }
        with whole_file(path) as partial:
            partial.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def enroll(model, front_end, wavs, labels=None):
    """Makes the profile of a speaker; arguments and errors are those of `Profile.add`.

    Returns
    -------
    Profile
        If no utterance is usable it is that of no enrollment, and `profile.quality` says why.
    """
    empty = Profile(_digest(model), _empty_summary(model), [], [])
    return empty.add(model, front_end, wavs, labels)


def load_profile(path, model):
    """Reads a profile that `Profile.save` wrote.

    Arguments
    ---------
    path : str or Path
    model : PersonalizedModel
        The one that the profile was made with.

    Returns
    -------
    Profile

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no whole profile, or was made with another model or another version.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"Found no profile {path}; enroll the speaker or fix the path.")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        version = content["schema_version"]
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, error) from error
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"Profile {path} has schema version {version!r}; expected {SCHEMA_VERSION}. Enroll the "
            "speaker again, or use the version of vofp_plugin that wrote it."
        )
    try:
        # Before its numbers, since those of another model may have other shapes.
        digest = str(content["model_digest"])
        if digest == _digest(model):
            return _profile(content, _empty_summary(model))
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise _damaged(path, error) from error
    raise _other_model(f"Profile {path}", digest, model)


def _profile(content, empty):
    """Profile of a file's content; `empty` tells the fields and shapes of its summary."""
    qualities = [
        Quality(float(item["score"]), str(item["reason"])) for item in content["qualities"]
    ]
    voices = [_tensors(item, BLANK_VOICE) for item in content["voices"]]
    if not all(0 <= quality.score <= 1 for quality in qualities):
        raise ValueError("a score that is not between 0 and 1")
    summary = _tensors(content["summary"], empty)
    if (summary.precisions < 0).any():
        raise ValueError("a negative precision")
    num_used = sum(not quality.refused for quality in qualities)
    if len(voices) != num_used:
        raise ValueError(f"{len(voices)} voices of {num_used} utterances")
    assess_agreement(voices)  # refuses what is no covariance
    return Profile(content["model_digest"], summary, qualities, voices)


def _damaged(path, error):
    return ValueError(
        f"Cannot read the profile {path} ({reason_of(error)}). It is damaged or no profile: enroll "
        "the speaker again."
    )


def _numbers(tensors):
    """{field: nested lists} of a NamedTuple of tensors."""
    return {name: tensor.tolist() for name, tensor in tensors._asdict().items()}


def _tensors(numbers, like):
    """NamedTuple of tensors of {field: nested lists}, with the fields and shapes of `like`."""
    if set(numbers) != set(like._fields):
        raise ValueError(f"fields {sorted(numbers)}, expected {sorted(like._fields)}")
    tensors = like._replace(**{name: torch.tensor(values) for name, values in numbers.items()})
    for tensor, expected in zip(tensors, like, strict=True):
        if tensor.shape != expected.shape:
            raise ValueError(f"shape {tuple(tensor.shape)}, expected {tuple(expected.shape)}")
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ValueError("something else than finite numbers")
    return tensors


def _digest(model):
    """Digest of everything that a model has learned."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def _check_model(profile, model):
    if profile.model_digest != _digest(model):
        raise _other_model("This profile", profile.model_digest, model)


def _other_model(whose, digest, model):
    return ValueError(
        f"{whose} was made with another model ({digest}, not {_digest(model)}). Load the "
        "checkpoint that it was made with, or enroll the speaker again with this one."
    )


def _check_input(model, front_end, wavs, labels):
    if model.training:
        raise RuntimeError("Got a model in training mode; call model.eval() before enrolling.")
    if isinstance(wavs, torch.Tensor) or len(wavs) == 0:
        raise ValueError(
            "Got a tensor or an empty list of waveforms; expected a list of (L,) tensors."
        )
    if labels is not None and len(labels) != len(wavs):
        raise ValueError(f"Got {len(labels)} labels of {len(wavs)} waveforms; expected one each.")
    if (labels is not None) != model.encoder.labelled:
        got, expected = ("no labels", "labels") if model.encoder.labelled else ("labels", "none")
        raise ValueError(f"Got {got}; this model was trained to read {expected}.")
    check_wavs(wavs, "Waveform", front_end)
    if labels is not None:
        _check_labels(labels, model.encoder.num_words)


def _check_labels(labels, classes):
    for label in labels:
        if not isinstance(label, Integral) or not 0 <= label < classes:
            raise ValueError(
                f"Got the label {label!r}; expected the class of a word, a whole number from 0 to "
                f"{classes - 1}."
            )


def _empty_summary(model):
    """Summary of a speaker without enrollment."""
    nothing = torch.zeros(1, 0)
    return _summary_of(model, Enrollment(nothing[..., None, None], nothing, nothing.long()))


def _summarize(model, feats, length, label):
    """Summary of one utterance's features (1, T, F)."""
    labels = None if label is None else torch.tensor([[label]])
    return _summary_of(model, Enrollment(feats.unsqueeze(0), torch.tensor([[length]]), labels))


def _summary_of(model, enrollment):
    """Summary, on the CPU, of an `Enrollment` on the CPU."""
    device = next(model.parameters()).device
    parts = [None if part is None else part.to(device) for part in enrollment]
    with torch.no_grad():
        summary = model.encoder.summarize(Enrollment(*parts))
    return type(summary)(*(part.cpu() for part in summary))
