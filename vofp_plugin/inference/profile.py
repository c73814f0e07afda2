"""Profile: what is stored of a speaker. Enroll, look at the quality, save, load, personalize.

A profile is small, holds no audio, and can be added to at any time: utterances enrolled one after
another give the very profile that they give together.
"""

from collections import Counter
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path

import torch
from speechbrain.utils.logger import get_logger

from vofp_plugin.dataio.agreement import BLANK_VOICE, assess_agreement, voice_of
from vofp_plugin.dataio.audio import check_wavs
from vofp_plugin.dataio.quality import Quality, assess
from vofp_plugin.inference.identity import identity
from vofp_plugin.inference.profile_file import numbers_of, pack, tensors_of, unpack
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.utils.files import reason_of, whole_file

logger = get_logger(__name__)

# What content of any other kind may raise.
_UNFIT = ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError


@dataclass(frozen=True, eq=False)
class Profile:
    """What is stored of a speaker.

    Arguments
    ---------
    model_digest : str
        Identity of the model that the summary was made with; no other can read it.
    front_end_digest : str
        Identity of the front end that the utterances went through.
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
    front_end_digest: str
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
            labels do not fit; or if the model or the front end is another.
        RuntimeError
            If the model is in training mode.
        """
        self.check_model(model)
        self.check_front_end(front_end)
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
        profile = replace(self, summary=summary, qualities=qualities, voices=voices)
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
        self.check_model(model)
        return weights_of([self], model)

    def check_model(self, model):
        """Raises ValueError if the profile was made with another model, or it has changed since."""
        _check_identity(f"{_THIS} model", self.model_digest, model)

    def check_front_end(self, front_end):
        """Raises ValueError if the profile was made with another front end or sampling rate."""
        _check_identity(f"{_THIS} front end or sampling rate", self.front_end_digest, front_end)

    def save(self, path):
        """Writes the profile to a JSON file, whole or not at all.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If the summary holds no finite numbers.
        """
        data = self.to_bytes()
        with whole_file(path) as partial:
            partial.write_bytes(data)

    def to_bytes(self):
        """What `save` writes: JSON with a checksum, bytes."""
        return pack(
            {
                "model_digest": self.model_digest,
                "front_end_digest": self.front_end_digest,
                "summary": numbers_of(self.summary),
                "qualities": [quality._asdict() for quality in self.qualities],
                "voices": [numbers_of(voice) for voice in self.voices],
            }
        )


def enroll(model, front_end, wavs, labels=None):
    """Makes the profile of a speaker; arguments and errors are those of `Profile.add`.

    Returns
    -------
    Profile
        If no utterance is usable it is that of no enrollment, and `profile.quality` says why.
    """
    return empty_profile(model, front_end).add(model, front_end, wavs, labels)


def weights_of(profiles, model):
    """Makes the weights of several speakers at once, unchecked; for one, see `Profile.weights`.

    Arguments
    ---------
    profiles : list of Profile
        N, made with `model`.
    model : PersonalizedModel

    Returns
    -------
    dict
        {parameter name: (N, *shape)}.
    """
    parameter = next(model.parameters())
    parts = zip(*(profile.summary for profile in profiles), strict=True)
    summary = (torch.cat(part).to(parameter) for part in parts)
    with torch.no_grad():
        return model.personalize(type(profiles[0].summary)(*summary))


def empty_profile(model, front_end):
    """Makes the profile of a speaker who has not enrolled."""
    return Profile(identity(model), identity(front_end), _empty_summary(model), [], [])


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
    return profile_of_bytes(Path(path).read_bytes(), model, f"the profile {path}")


def profile_of_bytes(data, model, name="the profile"):
    """Makes a profile of what `Profile.to_bytes` gave.

    Arguments
    ---------
    data : bytes
    model : PersonalizedModel
        The one that the profile was made with.
    name : str
        Of these bytes, for messages.

    Returns
    -------
    Profile

    Raises
    ------
    ValueError
        If they are no whole profile, or were made with another model or another version.
    """
    try:
        content = unpack(data)
        digest = str(content["model_digest"])
        # Before its numbers, since those of another model may have other shapes.
        if digest == identity(model):
            return _profile(content, _empty_summary(model))
    except _UNFIT as error:
        raise ValueError(
            f"Cannot read {name} ({reason_of(error)}). It was altered, or is no profile of this "
            "version: enroll the speaker again."
        ) from error
    _check_identity(f"{name[0].upper()}{name[1:]} was made with another model", digest, model)


def _profile(content, empty):
    """Profile of a file's content; `empty` tells the fields and shapes of its summary."""
    qualities = [
        Quality(float(item["score"]), str(item["reason"])) for item in content["qualities"]
    ]
    voices = [tensors_of(item, BLANK_VOICE) for item in content["voices"]]
    if not all(0 <= quality.score <= 1 for quality in qualities):
        raise ValueError("a score that is not between 0 and 1")
    summary = tensors_of(content["summary"], empty)
    if (summary.precisions < 0).any():
        raise ValueError("a negative precision")
    num_used = sum(not quality.refused for quality in qualities)
    if len(voices) != num_used:
        raise ValueError(f"{len(voices)} voices of {num_used} utterances")
    assess_agreement(voices)  # refuses what is no covariance
    digests = content["model_digest"], str(content["front_end_digest"])
    return Profile(*digests, summary, qualities, voices)


_THIS = "This profile was made with another"


def _check_identity(problem, digest, part):
    """Raises what `problem` says, unless the digest is that of the model or front end."""
    if digest != identity(part):
        raise ValueError(
            f"{problem} ({digest}, not {identity(part)}). Load the checkpoint that it was made "
            "with, or enroll the speaker again with this one."
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
    if (labels is not None) != bool(model.told_words):
        got, expected = ("no labels", "labels") if model.told_words else ("labels", "none")
        raise ValueError(f"Got {got}; this model was trained to read {expected}.")
    check_wavs(wavs, "Waveform", front_end)
    if labels is not None:
        _check_labels(labels, model.told_words)


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
    feats, lens, labels = enrollment
    parameter = next(model.parameters())
    labels = None if labels is None else labels.to(parameter.device)
    with torch.no_grad():
        summary = model.summarize(
            Enrollment(feats.to(parameter), lens.to(parameter.device), labels)
        )
    return type(summary)(*(part.cpu().float() for part in summary))
