"""Decoding: the samples in an audio file, whatever wrote it, or one error that names the file.

Recorders and pipes leave sizes in WAV headers that are not true, while the sound is whole. What is
missing for certain is refused here, for preparing, training and inference alike.
"""

import io
import struct
from pathlib import Path

import soundfile

UNKNOWN_SIZE = 0x7FFF0000  # bytes; what does not know its size writes one from here on, or 0
HEADER_SIZE = 128  # bytes; sizes that count a header too are wrong by less
FRAMES_UNKNOWN = 2**40  # a FLAC from a pipe tells of more

UNDECODABLE = {  # (place, bytes there): format
    (4, b"ftyp"): "MPEG-4 (m4a, mp4, 3gp)",
    (0, b"\x1a\x45\xdf\xa3"): "WebM or Matroska",
    (0, b"#!AMR"): "AMR",
    (0, b"\xff\xf1"): "AAC",
    (0, b"\xff\xf9"): "AAC",
    (0, b"\x30\x26\xb2\x75"): "Windows Media (wma)",
}


def decode(path, longest=None):
    """Decodes an audio file.

    Arguments
    ---------
    path : str or Path
        File in a format that soundfile reads (wav, flac, ogg, mp3, ...), whatever its suffix. A WAV
        header may tell of an unknown size, or of one that is wrong by a header.
    longest : float
        Of what is accepted, in s; None accepts any length.

    Returns
    -------
    numpy.ndarray
        The samples, float32, (L, channels).
    int
        Sampling rate, in Hz.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, cut off, undecodable or too long.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, [0.0] * 8000, 16000)
    >>> samples, rate = decode(path)
    >>> samples.shape, rate
    ((8000, 1), 16000)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Audio file {path} does not exist; expected a wav or flac file.")
    content = path.read_bytes()
    if not content:
        raise ValueError(f"Audio file {path} is empty (0 bytes). Restore or delete it.")
    content = _with_true_size(content, path)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            _check_length(file, path)
            _check_seconds(file, path, longest)
            samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
            frames = file.frames
    except soundfile.SoundFileError as error:
        raise ValueError(_undecodable(content, path, error)) from error
    if len(samples) < frames:
        raise ValueError(_cut_off(path))
    if len(samples) == 0:
        raise ValueError(f"Audio file {path} is empty (0 samples). Restore or delete it.")
    return samples, rate


def _with_true_size(content, path):
    """The bytes of a file; of a WAV, with the size of its sound as far as that is there."""
    place = _data_place(content)
    if place is None:
        return content
    (told,) = struct.unpack_from("<I", content, place)
    sound = content[place + 4 :]
    unknown = told >= UNKNOWN_SIZE or (told == 0 and not _is_chunk(sound))
    if not unknown and told > len(sound) + HEADER_SIZE:
        raise ValueError(_cut_off(path))
    size = len(sound) if unknown else min(told, len(sound))
    return content[:place] + struct.pack("<I", size) + sound


def _data_place(content):
    """Where a WAV tells the size of its sound; None of other files."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return None
    place = 12
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        if name == b"data":
            return place + 4
        place += 8 + size + size % 2
    return None


def _is_chunk(content):
    """Whether what follows an empty sound is a chunk of other things, and no sound."""
    if len(content) < 8:
        return False
    name, size = struct.unpack_from("<4sI", content)
    return name.isascii() and name.decode("ascii").isprintable() and size <= len(content) - 8


def _check_length(file, path):
    """Refuses an open file that does not know its length, or is shorter than it tells."""
    if file.frames > FRAMES_UNKNOWN:
        raise ValueError(
            f"Audio file {path} does not tell how long it is, as if written to a pipe. "
            f"Restore it, or {_conversion(path)}"
        )
    of_riff = file.format in ("WAV", "WAVEX")  # whose sizes were looked at above
    if not of_riff and any(x in file.extra_info for x in ("should be", "does not match")):
        raise ValueError(_cut_off(path))


def _check_seconds(file, path, longest):
    seconds = file.frames / file.samplerate
    if longest is not None and seconds > longest:
        raise ValueError(
            f"Audio file {path} lasts {seconds:.1f} s; expected at most {longest:g} s: cut it."
        )


def _cut_off(path):
    return f"Audio file {path} is cut off: its header tells of more samples. Restore or delete it."


def _undecodable(content, path, error):
    reason = f"{getattr(error, 'error_string', error)}".strip().rstrip(".")
    for (place, mark), name in UNDECODABLE.items():
        if content[place:].startswith(mark):
            reason = f"it is {name}"
    return f"Audio file {path} cannot be decoded ({reason}). Restore it, or {_conversion(path)}"


def _conversion(path):
    return f"convert it: ffmpeg -i {path.name} -ac 1 {path.stem}.converted.wav"
