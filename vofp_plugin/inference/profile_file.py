"""Bytes of a profile: JSON behind a checksum of every byte of it, bounded when it is read."""

import hashlib
import json
import re

import torch

SCHEMA_VERSION = 2
# Sums and statistics of speech stay far below; the square of more would overflow.
HIGHEST = 1e9
LAYOUT = re.compile(rb'\{"checksum":"([0-9a-f]{64})","content":(.*)\}\n', re.DOTALL)


def pack(content):
    """Makes the bytes of a profile.

    Arguments
    ---------
    content : dict
        Of texts, finite numbers, and lists and dicts of them.

    Returns
    -------
    bytes
        One JSON object, with the schema version.

    Raises
    ------
    ValueError
        If a number is not finite.

    Example
    -------
    >>> unpack(pack({"a": [1.5]}))
    {'a': [1.5]}
    """
    content = {"schema_version": SCHEMA_VERSION, **content}
    text = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return b'{"checksum":"%s","content":%s}\n' % (_checksum(text), text)


def unpack(data):
    """Reads what `pack` made.

    Raises
    ------
    ValueError
        If a byte of it was altered, or it is of another schema version.
    """
    match = LAYOUT.fullmatch(data)
    if match is None or match[1] != _checksum(match[2]):
        raise ValueError("its checksum is missing or wrong")
    try:
        content = json.loads(match[2].decode("utf-8"))
        version = content.pop("schema_version")
    except (RecursionError, AttributeError, TypeError, KeyError) as error:
        raise ValueError("it is no JSON object of a profile") from error
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"it has schema version {version!r}; expected {SCHEMA_VERSION}, so read it with the "
            "version of vofp_plugin that wrote it"
        )
    return content


def _checksum(text):
    return hashlib.sha256(text).hexdigest().encode("ascii")


def numbers_of(tensors):
    """{field: nested lists} of a NamedTuple of tensors.

    Raises
    ------
    ValueError
        If one of them is not finite or too large to be read again.
    """
    for tensor in tensors:
        _check_bounds(tensor)
    return {name: tensor.tolist() for name, tensor in tensors._asdict().items()}


def tensors_of(numbers, like):
    """NamedTuple of tensors of {field: nested lists}, with the fields and shapes of `like`.

    Raises
    ------
    ValueError
        If fields, shapes or types differ, or a number is not finite or too large.
    """
    if not isinstance(numbers, dict) or set(numbers) != set(like._fields):
        raise ValueError(f"it lacks the fields {', '.join(like._fields)}, or has others")
    try:
        tensors = like._replace(**{name: torch.tensor(x) for name, x in numbers.items()})
    except (TypeError, RuntimeError, OverflowError) as error:  # texts, and whole numbers too large
        raise ValueError("it holds something else than numbers") from error
    for tensor, expected in zip(tensors, like, strict=True):
        if tensor.shape != expected.shape or tensor.dtype != expected.dtype:
            raise ValueError(
                f"it holds {tensor.dtype} of shape {tuple(tensor.shape)}; expected "
                f"{expected.dtype} of {tuple(expected.shape)}"
            )
        _check_bounds(tensor)
    return tensors


def _check_bounds(tensor):
    if not (tensor.abs() <= HIGHEST).all():  # NaN is not
        raise ValueError(f"it holds numbers that are not finite, or above {HIGHEST:g}")
