"""The synthetic corpus: English commands spoken by many voices of espeak-ng.

It needs no download of data, which makes it fit for first runs and smoke tests. All voices come
from one synthesizer, so results on it are no evidence about real speakers.

Half of the accents shift the short vowels in a chain, as accents do (in New Zealand "pack" sounds
like "peck", and "peck" like "pick"). What they say is another command to the other half, so that
nobody can tell these words apart without knowing who speaks.
"""

import json
import math
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import soundfile
import torch
import torchaudio
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from vofp_plugin.dataio.corpora.espeak import MAX_RATE, Espeak, Voice
from vofp_plugin.dataio.level import amplitude
from vofp_plugin.utils.files import whole_folder

logger = get_logger(__name__)

COMMANDS = ("yes", "no", "up", "down", "left", "right", "pack", "peck", "pick", "puck")
ACCENTS = (
    "en",
    "en-029",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-gb-x-rp",
    "en-us",
    "en-us-nyc",
)
SHIFTED_ACCENTS = ("en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-us-nyc")
SHIFTED_SOUNDS = {  # word: what it sounds like, spelled for the other accents
    "pack": "peck",
    "peck": "pick",
    "pick": "puck",
    "puck": "pack",
    "yes": "yiss",
    "left": "lift",
    "up": "app",
}
MARKER = "corpus.json"
VERSION = 2  # to be raised whenever the same arguments give other audio

UTTERANCE_DURATION = 1.0  # s
MAX_SPEECH_DURATION = 0.95  # s
MAX_LEADING_SILENCE = 0.3  # s
PEAK_LEVELS = (-15.0, -3.0)  # dB relative to full scale
SILENCE_LEVEL = -60.0  # dB relative to the peak of the word

# What a voice is drawn from (see `Voice`), and how far the takes of one voice stray from it.
PITCHES = (30, 70)
PITCH_RANGES = (25, 75)
RATES = (120, 180)
TAKE_PITCH_STEP = 4
TAKE_RATE_RATIO = 0.08

# Measured: takes of one voice lie 1.6 dB apart (median; 99 % below 4 dB, the extremes of pitch and
# rate below 5 dB), so that voices nearer than this could be taken for one.
MIN_VOICE_DISTANCE = 5.0  # dB
SPECTRUM_BANDS = 40
SPECTRUM_FRAMES = 20
SPECTRUM_RANGE = 40.0  # dB below the loudest band


class Utterance(NamedTuple):
    """One recording of the corpus: where it is, who speaks and what."""

    path: Path
    speaker: str
    word: str


def make_corpus(folder, words=COMMANDS, num_speakers=240, num_takes=3, seed=0, sample_rate=16000):
    """Makes the corpus, or finds it made by an earlier call.

    Every utterance is 1 s of 16-bit FLAC, ``WORD/SPEAKER_nohash_TAKE.flac``. The takes of a
    speaker differ a little in pitch, rate, level and leading silence. Voices of `SHIFTED_ACCENTS`
    say the words of `SHIFTED_SOUNDS` as the other word that these name. The corpus is made under
    another name and renamed when it is complete, by one process at a time.

    Arguments
    ---------
    folder : str or Path
        Where the corpus is, or goes; new or empty then.
    words : sequence of str
        What is said.
    num_speakers : int
        Number of voices, all distinct.
    num_takes : int
        Recordings of each word by each speaker.
    seed : int
        Seed of voices and takes.
    sample_rate : int
        In Hz.

    Returns
    -------
    list
        Every `Utterance`, by speaker, word and take.

    Raises
    ------
    ImportError
        If the package espeakng-loader is missing.
    FileExistsError
        If the folder holds anything else than a corpus of the same arguments.
    ValueError
        If a number is below 1, a word repeats, or there are too few distinct voices.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "corpus"
    >>> utterances = make_corpus(folder, words=["yes", "no"], num_speakers=2, num_takes=1)
    >>> [utterance.word for utterance in utterances]
    ['yes', 'no', 'yes', 'no']
    >>> soundfile.info(utterances[0].path).duration
    1.0
    """
    _check_arguments(words, num_speakers=num_speakers, num_takes=num_takes)
    settings = {
        "version": VERSION,
        "words": list(words),
        "num_speakers": num_speakers,
        "num_takes": num_takes,
        "seed": seed,
        "sample_rate": sample_rate,
    }
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        voices = _read_marker(folder, settings)
    else:
        voices = _make_whole(folder, settings)
    return [
        Utterance(_path(folder, word, voice, take), voice.name, word)
        for voice in voices
        for word in words
        for take in range(num_takes)
    ]


def candidate_voices(variants, seed=0):
    """Draws a voice for every pair of variant and accent, each variant once before any again.

    Arguments
    ---------
    variants : list of str
        Voice variants of espeak-ng.
    seed : int
        Seed of the order and of each voice's pitch, pitch range and rate.

    Returns
    -------
    list of Voice

    Example
    -------
    >>> voices = candidate_voices(["f1", "m1"])
    >>> len(voices) == 2 * len(ACCENTS)
    True
    >>> sorted(voice.variant for voice in voices[:2])
    ['f1', 'm1']
    """
    generator = random.Random(seed)
    variants = generator.sample(variants, len(variants))
    return [
        Voice(
            accent=ACCENTS[(index + turn) % len(ACCENTS)],
            variant=variant,
            pitch=generator.randint(*PITCHES),
            pitch_range=generator.randint(*PITCH_RANGES),
            rate=generator.randint(*RATES),
        )
        for turn in range(len(ACCENTS))
        for index, variant in enumerate(variants)
    ]


def distinct_voices(espeak, candidates, words, num_voices):
    """Keeps the first voices that lie apart from every voice kept before.

    The distance of two voices is the root-mean-square difference of their log-mel spectra of one
    word, each stretched to the same number of frames and freed of its level, averaged over words.

    Arguments
    ---------
    espeak : Espeak
        The synthesizer.
    candidates : iterable of Voice
        Voices to choose from, in order.
    words : sequence of str
        What to compare them on.
    num_voices : int
        How many to keep.

    Returns
    -------
    list of Voice
        Any two at least `MIN_VOICE_DISTANCE` dB apart.

    Raises
    ------
    ValueError
        If the candidates hold fewer distinct voices.

    Example
    -------
    >>> voice = Voice(accent="en", variant="m1", pitch=50, pitch_range=50, rate=150)
    >>> distinct_voices(Espeak(), [voice, voice], words=["yes"], num_voices=1) == [voice]
    True
    """
    voices, spectra = [], []
    num_removed = 0
    with tqdm(total=num_voices, desc="Choosing voices", unit="voice", disable=None) as progress:
        for voice in candidates:
            spectrum = voice_spectrum(espeak, voice, words)
            if any(spectral_distance(spectrum, kept) < MIN_VOICE_DISTANCE for kept in spectra):
                num_removed += 1
                continue
            voices.append(voice)
            spectra.append(spectrum)
            progress.update()
            if len(voices) == num_voices:
                logger.info(
                    "Kept %d voices, removed %d nearer than %g dB to one of them.",
                    num_voices,
                    num_removed,
                    MIN_VOICE_DISTANCE,
                )
                return voices
    raise ValueError(
        f"Got num_voices={num_voices}, but only {len(voices)} of the candidates are distinct; "
        f"ask for at most {len(voices)}."
    )


def voice_spectrum(espeak, voice, words):
    """Log-mel spectra of words as one voice says them, comparable between voices.

    Arguments
    ---------
    espeak : Espeak
        The synthesizer.
    voice : Voice
        Who speaks.
    words : sequence of str
        What is said.

    Returns
    -------
    spectrum : torch.Tensor
        Shape (words, mel bands, frames), in dB; every word has a mean of 0.

    Example
    -------
    >>> voice = Voice(accent="en", variant="m1", pitch=50, pitch_range=50, rate=150)
    >>> voice_spectrum(Espeak(), voice, words=["yes", "no"]).shape
    torch.Size([2, 40, 20])
    """
    mel = torchaudio.transforms.MelSpectrogram(
        espeak.sample_rate, n_fft=512, hop_length=220, n_mels=SPECTRUM_BANDS, f_min=60, f_max=8000
    )
    return torch.stack([_word_spectrum(_trim(espeak.say(word, voice)), mel) for word in words])


def spectral_distance(first, second):
    """Distance of two voices, in dB: root mean square over bands and frames, mean over words.

    Arguments
    ---------
    first, second : torch.Tensor
        Spectra of `voice_spectrum`, of shape (words, mel bands, frames).

    Returns
    -------
    float

    Example
    -------
    >>> spectrum = torch.zeros(10, 40, 20)
    >>> spectral_distance(spectrum, spectrum + 3)
    3.0
    """
    return (first - second).square().mean(dim=(1, 2)).sqrt().mean().item()


def _check_arguments(words, **numbers):
    if not words or len(set(words)) < len(words):
        raise ValueError(f"Got the words {list(words)}; expected one or more, none of them twice.")
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"Got {name}={number}; expected at least 1.")


def _read_marker(folder, settings):
    """Voices of a finished corpus, which must have been made with the same settings."""
    marker = folder / MARKER
    if not marker.is_file():
        raise FileExistsError(
            f"{folder} holds files but no {MARKER}, so it is no synthetic corpus; name a folder "
            "that is new or empty."
        )
    try:
        made = json.loads(marker.read_text(encoding="utf-8"))
        made_with, voices = made["settings"], [Voice(**voice) for voice in made["voices"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Cannot read {marker} ({error!r}); delete {folder} to have the corpus made again."
        ) from error
    if made_with != settings:
        raise FileExistsError(
            f"{folder} holds a corpus made with {made_with}, but asked for is {settings}; "
            "name another folder, or delete this one to have it made again."
        )
    return voices


def _make_whole(folder, settings):
    """Makes the corpus under a temporary name, so that a folder never holds half of it."""
    with whole_folder(folder) as partial:
        return _write_corpus(partial, settings)


def _write_corpus(folder, settings):
    espeak = Espeak()
    words, sample_rate = settings["words"], settings["sample_rate"]
    candidates = candidate_voices(espeak.variants, settings["seed"])
    voices = distinct_voices(espeak, candidates, words, settings["num_speakers"])
    generator = random.Random(settings["seed"])
    resample = torchaudio.transforms.Resample(espeak.sample_rate, sample_rate)
    takes = [(word, take) for word in words for take in range(settings["num_takes"])]
    for word in words:
        (folder / word).mkdir(parents=True)
    for voice in tqdm(voices, desc="Speaking", unit="voice", disable=None):
        wavs = torch.stack([_record_take(espeak, word, voice, generator) for word, _ in takes])
        for (word, take), wav in zip(takes, resample(wavs).numpy(), strict=True):
            soundfile.write(_path(folder, word, voice, take), wav, sample_rate, subtype="PCM_16")
    marker = {"settings": settings, "voices": [asdict(voice) for voice in voices]}
    (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    return voices


def _path(folder, word, voice, take):
    return folder / word / f"{voice.name}_nohash_{take}.flac"


def _record_take(espeak, word, voice, generator):
    """One take at the rate of espeak-ng, of shape (L,): the word somewhere in 1 s of silence."""
    sound = SHIFTED_SOUNDS.get(word, word) if voice.accent in SHIFTED_ACCENTS else word
    pitch = voice.pitch + generator.randint(-TAKE_PITCH_STEP, TAKE_PITCH_STEP)
    rate = round(voice.rate * generator.uniform(1 - TAKE_RATE_RATIO, 1 + TAKE_RATE_RATIO))
    speech = _speak(espeak, sound, replace(voice, pitch=pitch, rate=rate))
    level = generator.uniform(*PEAK_LEVELS)
    utterance = torch.zeros(round(UTTERANCE_DURATION * espeak.sample_rate))
    room = len(utterance) - len(speech)
    start = generator.randint(0, min(room, round(MAX_LEADING_SILENCE * espeak.sample_rate)))
    utterance[start : start + len(speech)] = speech * (amplitude(level) / speech.abs().max())
    return utterance


def _speak(espeak, word, voice):
    """A trimmed word, of shape (L,); said faster, and at last cut, if it is too long."""
    limit = round(MAX_SPEECH_DURATION * espeak.sample_rate)
    speech = _trim(espeak.say(word, voice))
    while len(speech) > limit and voice.rate < MAX_RATE:
        # Consonants shrink less than the rate asks for, hence 10 % more of it.
        rate = math.ceil(1.1 * voice.rate * len(speech) / limit)
        voice = replace(voice, rate=min(MAX_RATE, rate))
        speech = _trim(espeak.say(word, voice))
    return speech[:limit]


def _trim(speech):
    """Drops the silence before and after a word, of shape (L,)."""
    magnitude = speech.abs()
    (loud,) = torch.where(magnitude > magnitude.max() * amplitude(SILENCE_LEVEL))
    return speech[loud[0] : loud[-1] + 1]


def _word_spectrum(speech, mel):
    """Log-mel spectrum in dB of a word, stretched to a fixed number of frames, mean 0."""
    spectrum = 10 * mel(speech).clamp_min(1e-10).log10()
    spectrum = spectrum.clamp_min(spectrum.max() - SPECTRUM_RANGE)
    spectrum = torch.nn.functional.interpolate(
        spectrum.unsqueeze(0), SPECTRUM_FRAMES, mode="linear", align_corners=True
    ).squeeze(0)
    return spectrum - spectrum.mean()
