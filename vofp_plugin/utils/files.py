"""Files that are written whole or not at all, and what is told where one cannot be read."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path):
    """Give a temporary path in the same folder, renamed to the final one if nothing fails.

    Arguments
    ---------
    path : str or Path
        The file to write; missing parent folders are made.

    Yields
    ------
    Path
        Where to write; removed when the block raises.

    Raises
    ------
    OSError
        If the file cannot be written.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(f"{folder}/a.txt") as partial:
    ...         _ = partial.write_text("whole")
    ...     Path(folder, "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise OSError(
            f"Cannot write {path} ({error}); is there space on the disk, and may you write there?"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def reason_of(error):
    """An error in one line of at most 300 characters, for a message that says what to do.

    Example
    -------
    >>> reason_of(ValueError("expected a number,\\n   got none"))
    'ValueError: expected a number, got none'
    """
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
