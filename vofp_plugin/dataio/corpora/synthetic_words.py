"""Synthetic words: made-up words of many languages, spoken by voices of espeak-ng.

They train detectors of words that nobody knows beforehand. Every word is said by the few voices of
one choir; all voices say other words too.
"""

import json
import random
from pathlib import Path

import soundfile
import torch
import torchaudio
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from vofp_plugin.dataio.corpora.espeak import Espeak, Voice
from vofp_plugin.dataio.corpora.made_up_words import LANGUAGES, LIKES, make_up_words
from vofp_plugin.dataio.level import amplitude
from vofp_plugin.utils.files import whole_folder

logger = get_logger(__name__)

MARKER = "words.json"
VERSION = 1  # to be raised whenever the same arguments give other audio
MAX_SPEECH = 1.5  # s; longer words are left out
WHISPERS = ("whisper", "whisperf")  # variants that are no voices

PITCHES, PITCH_RANGES, RATES = (20, 80), (20, 80), (105, 185)
TAKE_PITCH_STEP, TAKE_RATE_RATIO = 6, 0.15  # how far the takes of a voice stray from it
PEAK_LEVELS = (-15.0, -3.0)  # dB of full scale
FLOORS = (-60.0, -35.0)  # dB of the peak, of the noise of the microphone
PAUSE = 0.1  # s, before and after a word


def make_words(
    folder, num_words=1800, choir_size=4, num_choirs=12, num_takes=2, seed=0, sample_rate=16000
):
    """Makes the words, or finds them made by an earlier call.

    Files are ``WORD/VOICE_nohash_TAKE.flac``, as in Google Speech Commands. The folder is made
    under another name and renamed when it is complete.

    Arguments
    ---------
    folder : str or Path
        New or empty, or made by the same arguments.
    num_words : int
        About so many: what espeak-ng cannot say, or says too long, is left out.
    choir_size : int
        Voices that say a word.
    num_choirs : int
    num_takes : int
        Of each word by each voice; they differ in pitch and pace.
    seed : int
    sample_rate : int
        In Hz.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ImportError
        If the package espeakng-loader is missing.
    FileExistsError
        If the folder holds anything else.

    Example
    -------
    >>> folder = make_words(getfixture("tmp_path") / "words", 3, choir_size=2, num_takes=1)
    >>> len(list(folder.glob("*/*.flac"))) <= 6
    True
    """
    folder = Path(folder)
    settings = {
        "version": VERSION,
        "num_words": num_words,
        "choir_size": choir_size,
        "num_choirs": num_choirs,
        "num_takes": num_takes,
        "seed": seed,
        "sample_rate": sample_rate,
    }
    if folder.exists() and any(folder.iterdir()):
        _check_made(folder, settings)
        return folder
    with whole_folder(folder) as partial:
        _write_words(partial, settings)
    return folder


def _check_made(folder, settings):
    marker = folder / MARKER
    made = json.loads(marker.read_text(encoding="utf-8")) if marker.is_file() else None
    if made != settings:
        raise FileExistsError(
            f"{folder} holds {'words made with ' + str(made) if made else 'other files'}; asked "
            f"for are words made with {settings}. Name another folder, or delete this one."
        )


def _write_words(folder, settings):
    espeak, generator = Espeak(), random.Random(settings["seed"])
    choirs = _choirs(espeak, settings, generator)
    resample = torchaudio.transforms.Resample(espeak.sample_rate, settings["sample_rate"])
    words = make_up_words(settings["num_words"], tuple(LANGUAGES), settings["seed"])
    left_out = 0
    for number, word in enumerate(tqdm(words, desc="Speaking", unit="word", disable=None)):
        choir = choirs[number // LIKES % len(choirs)]
        for name, voice in choir.items():
            for take in range(settings["num_takes"]):
                speech = _say(espeak, word, voice, generator)
                if speech is None:
                    left_out += 1
                    continue
                wav = _record(resample(speech), settings["sample_rate"], generator)
                path = folder / word.name / f"{name}_nohash_{take}.flac"
                path.parent.mkdir(exist_ok=True)
                soundfile.write(path, wav.numpy(), settings["sample_rate"], subtype="PCM_16")
    logger.info("Left out %d takes that could not be said, or were too long.", left_out)
    (folder / MARKER).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def _choirs(espeak, settings, generator):
    """Voices by name, {name: Voice} of each choir; every variant once before any again."""
    variants = [name for name in espeak.variants if name not in WHISPERS]
    generator.shuffle(variants)
    voices = {
        f"voice{number:03}": Voice(
            accent="en",  # replaced by the language of what is said
            variant=variants[number % len(variants)],
            pitch=generator.randint(*PITCHES),
            pitch_range=generator.randint(*PITCH_RANGES),
            rate=generator.randint(*RATES),
        )
        for number in range(settings["choir_size"] * settings["num_choirs"])
    }
    names = list(voices)
    parts = [names[first :: settings["num_choirs"]] for first in range(settings["num_choirs"])]
    return [{name: voices[name] for name in part} for part in parts]


def _say(espeak, word, voice, generator):
    """A trimmed take at the rate of espeak-ng, (L,); None where there is none of a fit length."""
    pitch = voice.pitch + generator.randint(-TAKE_PITCH_STEP, TAKE_PITCH_STEP)
    pace = generator.uniform(1 - TAKE_RATE_RATIO, 1 + TAKE_RATE_RATIO)
    said_by = Voice(
        word.language, voice.variant, pitch, voice.pitch_range, round(voice.rate * pace)
    )
    try:
        speech = espeak.say(word.text, said_by)
    except RuntimeError:
        return None
    loud = torch.nonzero(speech.abs() > 0.02 * speech.abs().max()).flatten()
    if len(loud) < 0.05 * espeak.sample_rate:
        return None
    speech = speech[loud[0] : loud[-1] + 1]
    return speech if len(speech) <= MAX_SPEECH * espeak.sample_rate else None


def _record(speech, sample_rate, generator):
    """A word between pauses, with the noise of a microphone, (L,)."""
    peak = amplitude(generator.uniform(*PEAK_LEVELS))
    floor = peak * amplitude(generator.uniform(*FLOORS))
    pause = round(PAUSE * sample_rate)
    wav = torch.nn.functional.pad(speech / speech.abs().max() * peak, (pause, pause))
    noise = torch.randn(
        len(wav), generator=torch.Generator().manual_seed(generator.randrange(2**31))
    )
    return (wav + floor * noise).clamp(-1, 1)
