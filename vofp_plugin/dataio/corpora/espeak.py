"""Speech synthesis with espeak-ng, called through the library in the PyPI package espeakng-loader.

espeak-ng is GPL-3, so it is an optional extra of this package and imported only when used.
"""

import ctypes
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

# Values of speak_lib.h, the public header of espeak-ng.
_SYNCHRONOUS_RETRIEVAL = 2
_RATE, _VOLUME, _PITCH, _PITCH_RANGE = 1, 2, 3, 4
_POSITION_CHARACTER = 1
_UTF8 = 1

MAX_RATE = 450  # words per minute

_SAFE_VOLUME = 25  # at the usual 100, the loudest voices clip inside espeak-ng

_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True)
class Voice:
    """One way of speaking.

    Arguments
    ---------
    accent : str
        Language of espeak-ng, as "en-us".
    variant : str
        Voice variant of espeak-ng, one of `Espeak.variants`, as "f1".
    pitch : int
        0 to 100; 50 is the variant's own pitch.
    pitch_range : int
        0 (monotone) to 100; 50 is the variant's own range.
    rate : int
        Words per minute, 80 to 450.

    Example
    -------
    >>> Voice(accent="en-us", variant="f1", pitch=50, pitch_range=50, rate=175).name
    'en-us-f1'
    """

    accent: str
    variant: str
    pitch: int
    pitch_range: int
    rate: int

    @property
    def name(self):
        """Accent and variant in characters fit for a file name."""
        return f"{self.accent}-{self.variant}".replace(" ", "-")


class Espeak:
    """A freshly loaded espeak-ng.

    The library keeps hidden state, so the samples of a word depend on everything said before it.
    Each `Espeak` therefore loads its own copy: the same calls in the same order give the same
    samples.

    Raises
    ------
    ImportError
        If the package espeakng-loader is missing.

    Example
    -------
    >>> espeak = Espeak()
    >>> voice = Voice(accent="en-us", variant="f1", pitch=50, pitch_range=50, rate=175)
    >>> espeak.say("yes", voice).ndim
    1
    >>> espeak.sample_rate
    22050
    """

    def __init__(self):
        loader = _import_loader()
        data_path = loader.get_data_path()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            self._library = ctypes.CDLL(shutil.copy(loader.get_library_path(), folder))
        self._chunks = []
        # Without this reference the callback would be freed while espeak-ng still calls it.
        self._callback = _CALLBACK(self._collect)
        self.sample_rate = self._library.espeak_Initialize(
            _SYNCHRONOUS_RETRIEVAL, 0, os.fsencode(data_path), 0
        )
        if self.sample_rate <= 0:
            raise RuntimeError(f"espeak-ng could not read its data in {data_path}.")
        self._library.espeak_SetSynthCallback(self._callback)
        self.variants = sorted(path.name for path in Path(data_path, "voices", "!v").iterdir())

    def say(self, text, voice):
        """Returns the samples of a spoken text.

        Arguments
        ---------
        text : str
            What to say, in English.
        voice : Voice
            How to say it.

        Returns
        -------
        samples : torch.Tensor
            Shape (L,), at `sample_rate` Hz, within [-1, 1].

        Raises
        ------
        ValueError
            If espeak-ng does not know the accent or the variant.
        """
        # espeak-ng silently speaks with its plain voice when the variant is unknown.
        if voice.variant not in self.variants:
            raise ValueError(f"Unknown variant {voice.variant!r}; there are {self.variants}.")
        if self._library.espeak_SetVoiceByName(f"{voice.accent}+{voice.variant}".encode()):
            raise ValueError(f"espeak-ng knows no accent {voice.accent!r}; use one as 'en-us'.")
        self._set(_RATE, voice.rate)
        self._set(_VOLUME, _SAFE_VOLUME)
        self._set(_PITCH, voice.pitch)
        self._set(_PITCH_RANGE, voice.pitch_range)
        return self._synthesize(text.encode())

    def _set(self, parameter, value):
        if self._library.espeak_SetParameter(parameter, value, 0):
            raise RuntimeError(f"espeak-ng refused the value {value} for parameter {parameter}.")

    def _synthesize(self, text):
        self._chunks.clear()
        size = ctypes.c_size_t(len(text) + 1)  # with the final zero byte
        error = self._library.espeak_Synth(text, size, 0, _POSITION_CHARACTER, 0, _UTF8, None, None)
        if error or not self._chunks:
            raise RuntimeError(f"espeak-ng could not say {text.decode()!r} (error {error}).")
        samples = torch.frombuffer(bytearray(b"".join(self._chunks)), dtype=torch.int16)
        return samples.float() / 2**15

    def _collect(self, samples, num_samples, _events):
        if samples and num_samples > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * num_samples))
        return 0


def _import_loader():
    try:
        import espeakng_loader
    except ImportError as error:
        raise ImportError(
            "The package espeakng-loader, which speaks the synthetic corpus, is not installed; "
            "type: pip install vofp_plugin[synthetic]"
        ) from error
    return espeakng_loader
