"""Corpora in the layouts of the data sets, small enough to be made and trained on in a test.

A word is a chord that glides, a speaker a pitch and a colour of the noise behind it, so that both
can be told apart by a small network.
"""

import csv
import itertools

import numpy as np
import soundfile

from vofp_plugin.dataio.corpora.synthetic import make_corpus

WORDS = ("down", "left", "up")
SPEAKERS = tuple(f"{number:08x}" for number in range(15))  # 10 train, 2 valid and 3 test
TAKES = 3
# Two folds of these leave two speakers to validate.
SYNTHETIC = {"words": WORDS, "num_speakers": 24, "num_takes": TAKES}
COUNTS = (len(WORDS), len(SPEAKERS), TAKES)
SAMPLE_RATE = 16000  # Hz


def speak(word, speaker, take):
    """One utterance of 0.5 to 1 s, (L,)."""
    generator = np.random.default_rng([word, speaker, take])
    time = np.arange(int(SAMPLE_RATE * generator.uniform(0.5, 1.0))) / SAMPLE_RATE
    pitch = 200 * 1.05**speaker * generator.uniform(0.98, 1.02)  # Hz
    glide = 1 + (word - 1) * time / 2
    tones = [np.sin(2 * np.pi * pitch * (word + part) * glide * time) for part in (1, 2)]
    noise = np.convolve(generator.normal(size=len(time)), np.ones(1 + speaker), mode="same")
    return 0.1 * sum(tones) + 0.01 * noise


def write(path, samples):
    """Writes an audio file of 16 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE)


def write_google(folder):
    """Google Speech Commands: WORD/SPEAKER_nohash_TAKE.wav and _background_noise_/NAME.wav."""
    for word, speaker, take in itertools.product(*map(range, COUNTS)):
        path = folder / WORDS[word] / f"{SPEAKERS[speaker]}_nohash_{take}.wav"
        write(path, speak(word, speaker, take))
    generator = np.random.default_rng(0)
    for name in ("tap", "wind"):
        noise = generator.normal(size=4 * SAMPLE_RATE)
        write(folder / "_background_noise_" / f"{name}.wav", 0.05 * noise)
    return folder


def write_arabic(folder):
    """Arabic Speech Commands: train.csv, val.csv and dataset/WORD/SPEAKER_NO_TAKE.wav."""
    lists = {"train": [], "val": []}
    for word, speaker, take in itertools.product(*map(range, COUNTS)):
        file = f"dataset/{WORDS[word]}/{SPEAKERS[speaker]}_NO_{take:02d}.wav"
        write(folder / file, speak(word, speaker, take))
        lists["val" if speaker < 3 else "train"].append((file, WORDS[word]))
    for name, rows in lists.items():
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "class"), *rows])
    return folder


def write_voxceleb(folder):
    """VoxCeleb: wav/SPEAKER/VIDEO/N.wav, a word being a video."""
    for word, speaker, take in itertools.product(*map(range, COUNTS)):
        path = folder / "wav" / SPEAKERS[speaker] / WORDS[word] / f"{take:05d}.wav"
        write(path, speak(word, speaker, take))
    return folder


def write_speechocean(folder):
    """speechocean762: manifest.csv and WAVE/SPEAKER/ID.wav; every third speaker is a child."""
    lines = []
    for word, speaker, take in itertools.product(*map(range, COUNTS)):
        file = f"WAVE/SPEAKER{SPEAKERS[speaker]}/{word}{take}.wav"
        write(folder / file, speak(word, speaker, take))
        lines.append((file, SPEAKERS[speaker], 9 if speaker % 3 == 0 else 30))
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "speaker", "age"), *lines])
    return folder


def write_synthetic(folder):
    """Synthetic commands, spoken by espeak-ng; `SYNTHETIC` are the arguments of `make_corpus`."""
    make_corpus(folder, **SYNTHETIC)
    return folder
