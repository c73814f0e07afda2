"""Files that are written whole or not at all, and what is told where one cannot be read."""

import os
import shutil
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path):
    """Give a temporary path in the same folder, renamed to the final one if nothing fails.

    Any number of threads and processes may write one file at once: the last one's is kept. What
    processes of this machine left that died while they wrote it is removed.

    Arguments
    ---------
    path : str or Path
        The file to write, or a link to it; missing parent folders are made.

    Yields
    ------
    Path
        Where to write; removed when the block raises.

    Raises
    ------
    OSError
        If the file cannot be written, or is a folder, a device or a pipe.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(f"{folder}/a.txt") as partial:
    ...         _ = partial.write_text("whole")
    ...     Path(folder, "a.txt").read_text()
    'whole'
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():  # a device would be replaced
        raise OSError(f"Cannot write {path}: it is no file; give the path of a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_partials_of_the_dead(path)
    owner = f"{socket.gethostname()}.{os.getpid()}"
    partial = path.with_name(f".{path.name}.{owner}.{os.urandom(4).hex()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise OSError(
            f"Cannot write {path} ({error}); is there space on the disk, and may you write there?"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder):
    """Give a temporary folder beside, renamed to the final one if nothing fails.

    Arguments
    ---------
    folder : str or Path
        New or empty; missing parent folders are made.

    Yields
    ------
    Path
        Where to write; removed when the block raises.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "corpus"
    >>> with whole_folder(folder) as partial:
    ...     _ = (partial / "a.txt").write_text("whole")
    >>> [path.name for path in folder.iterdir()]
    ['a.txt']
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    partial.chmod(0o755)  # as of any other folder, not as of a secret one
    try:
        yield partial
        if folder.exists():
            folder.rmdir()  # is empty; Windows renames onto nothing
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_partials_of_the_dead(path):
    """Removes partial files of `path` whose process is gone; one of another machine may live."""
    start = f".{path.name}.{socket.gethostname()}."
    for left in path.parent.iterdir():
        if left.name.startswith(start) and left.suffix == ".partial":
            pid, _, _ = left.name.removeprefix(start).partition(".")
            if pid.isdecimal() and not _lives(int(pid)):
                left.unlink(missing_ok=True)


def _lives(pid):
    """Whether a process of this machine has the number `pid`."""
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def reason_of(error):
    """An error in one line of at most 300 characters, for a message that says what to do.

    Example
    -------
    >>> reason_of(ValueError("expected a number,\\n   got none"))
    'ValueError: expected a number, got none'
    """
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
