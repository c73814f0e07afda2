"""Streams that stall, fail or end are told; a microphone is a stream like others."""

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from vofp_plugin.inference.sources import KEPT, microphone, patient


def test_chunks_are_passed_on_in_order_until_the_end():
    assert list(patient(iter(range(100)))) == list(range(100))


def test_a_stream_that_stalls_is_told_after_what_came():
    gate = threading.Event()

    def stalling():
        yield 1
        gate.wait(20)

    chunks = patient(stalling(), seconds=0.2)
    assert next(chunks) == 1
    with pytest.raises(TimeoutError, match="stalled: nothing came for 0.2 s"):
        next(chunks)
    gate.set()


def test_errors_of_reading_arrive():
    def broken():
        yield 1
        raise OSError("cable pulled out")

    chunks = patient(broken())
    assert next(chunks) == 1
    with pytest.raises(OSError, match="cable pulled out"):
        next(chunks)


class PortAudioError(Exception):
    pass


@pytest.fixture
def sound_card(monkeypatch):
    """A sound card that gives `chunks` of 0.1 s at once, or fails with `error`."""
    card = SimpleNamespace(chunks=3, error=None)

    class InputStream:
        def __init__(self, samplerate, blocksize, channels, callback):
            assert channels == 1
            if card.error:
                raise PortAudioError(card.error)
            for number in range(card.chunks):
                callback(np.full((blocksize, 1), number, np.float32), blocksize, None, None)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return False

    module = SimpleNamespace(InputStream=InputStream, PortAudioError=PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return card


def test_a_microphone_gives_chunks(sound_card):
    chunks = microphone(16000)
    assert [next(chunks)[0] for _ in range(3)] == [0, 1, 2]
    assert next(microphone(16000, 0.25)).shape == (4000,)


def test_a_microphone_that_is_not_there_or_is_too_fast_is_told(sound_card):
    sound_card.error = "no device"
    with pytest.raises(OSError, match="no device"):
        next(microphone(16000))
    sound_card.error, sound_card.chunks = None, KEPT + 5
    with pytest.raises(OSError, match="Heard less"):
        list(microphone(16000))


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ImportError, match=r"vofp_plugin\[microphone\]"):
        next(microphone(16000))
