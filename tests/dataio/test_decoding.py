"""Decoding: what recorders and pipes write is read, what is missing or unknown is named."""

import io
import struct

import numpy as np
import pytest
import soundfile

from vofp_plugin.dataio.decoding import decode

RATE = 16000
FORMAT = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
INFO = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0"


def noise(num_samples=RATE):
    return np.random.default_rng(0).uniform(-0.5, 0.5, num_samples)


def encoded(**options):
    file = io.BytesIO()
    soundfile.write(file, noise(), RATE, **options)
    return file.getvalue()


PCM = (noise() * 32767).astype("<i2").tobytes()


def wav(data_size=32000, riff_size=None, before=b"", sound=PCM, after=b""):
    """A WAV whose header tells what it is told to tell."""
    chunks = b"WAVE" + FORMAT + before + b"data" + struct.pack("<I", data_size) + sound + after
    riff_size = len(chunks) if riff_size is None else riff_size
    return b"RIFF" + struct.pack("<I", riff_size) + chunks


@pytest.mark.parametrize(
    "content",
    [
        wav(0xFFFFFFFF, 0xFFFFFFFF),
        wav(0x7FFFFFFF - 36, 0x7FFFFFFF),
        wav(0x7FFFF000, 0x7FFFF024),
        wav(0x80000000, 0x80000024),
        wav(0, 0),
        wav(0xFFFFFFFF, 0xFFFFFFFF, before=INFO),
        wav(0, 0, before=b"JUNK" + struct.pack("<I", 28) + bytes(28)),
        wav(len(PCM) + 44),  # the size of the file
        wav(len(PCM) + 36, len(PCM) + 80),
        wav(riff_size=36),
        wav(after=INFO),
        wav(after=bytes(7)),
        wav(before=INFO),
    ],
)
def test_sizes_in_a_wav_header_may_be_unknown_or_wrong_by_a_header(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    samples, rate = decode(path)
    np.testing.assert_array_equal(samples[:, 0], np.frombuffer(PCM, "<i2") / np.float32(32768))
    assert rate == RATE


def test_wav_of_an_odd_number_of_bytes_is_whole(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(8001), RATE, subtype="PCM_24")
    path.write_bytes(path.read_bytes().removesuffix(b"\0"))
    assert len(decode(path)[0]) == 8001


@pytest.mark.parametrize(
    "options",
    [
        *({"format": "WAV", "subtype": x} for x in ("PCM_U8", "FLOAT", "ULAW", "IMA_ADPCM")),
        *({"format": x} for x in ("RF64", "W64", "AIFF", "WAVEX", "FLAC", "OGG", "MP3")),
    ],
    ids=str,
)
def test_format_is_told_by_content_and_not_by_suffix(tmp_path, options):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(**options))
    assert RATE <= len(decode(path)[0]) < 1.05 * RATE


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "AU", "FLAC", "MP3"])
def test_what_is_cut_off_is_refused(tmp_path, format, share):
    path, content = tmp_path / "a.wav", encoded(format=format)
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="a.wav (is cut off|cannot be decoded).* Restore"):
        decode(path)


@pytest.mark.parametrize("content", [b"", wav(0, sound=b""), wav(0, sound=b"", after=INFO)])
def test_what_is_empty_is_told(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.wav is empty \(0 (bytes|samples)\)"):
        decode(path)


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.m4a", b"\0\0\0\x20ftypM4A " + bytes(500), "it is MPEG-4"),
        ("a.wav", b"\0\0\0\x18ftypmp42" + bytes(500), "it is MPEG-4"),
        ("a.wav", b"\x1a\x45\xdf\xa3" + bytes(500), "it is WebM"),
        ("a.amr", b"#!AMR\n" + bytes(500), "it is AMR"),
        ("a.wav", b"no audio", "Format not recognised"),
    ],
)
def test_what_cannot_be_decoded_is_named_with_what_to_do(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    message = rf"{name} cannot be decoded \({reason}.*ffmpeg -i {name} -ac 1 a.converted.wav"
    with pytest.raises(ValueError, match=message):
        decode(path)


def test_flac_from_a_pipe_does_not_tell_how_long_it_is(tmp_path):
    path, content = tmp_path / "a.flac", bytearray(encoded(format="FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.flac does not tell how long .*ffmpeg -i a.flac"):
        decode(path)
