"""Ownership: a folder of results belongs to one process at a time."""

import fcntl
import json
import os
import shutil
import socket
import time
from contextlib import contextmanager
from pathlib import Path

from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger

from vofp_plugin.runs.checkpoints import PARTIAL
from vofp_plugin.runs.run_folder import FOLDERS

logger = get_logger(__name__)

OWNER_FILE = "owner.json"  # locked while its process lives, whatever it says


@contextmanager
def owned(folder):
    """Keeps other processes out of a folder, and removes what dead ones left half-written.

    The lock ends with its process, however that ends. Of several processes that train together,
    the main one holds it.

    Arguments
    ---------
    folder : str or Path
        Made if it is not there; removed again if nothing was written to it.

    Raises
    ------
    OSError
        If the folder cannot be written.
    RuntimeError
        If it belongs to another process.

    Example
    -------
    >>> with owned(getfixture("tmp_path") / "run"):
    ...     with owned(getfixture("tmp_path") / "run"):
    ...         pass
    Traceback (most recent call last):
    ...
    RuntimeError: .../run belongs to process ...
    """
    if not if_main_process():
        yield
        return
    folder = Path(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = _lock(folder)
    try:
        _remove_leftovers(folder)
        yield
    finally:
        (folder / OWNER_FILE).unlink(missing_ok=True)  # while nobody else can have it
        os.close(lock)
        _remove_empty(made)


def _lock(folder):
    """Makes the folder and locks its owner file, as an open descriptor."""
    path = folder / OWNER_FILE
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise OSError(
                f"Cannot write to {folder} ({error}); may you write there? Or give another "
                "--output_folder."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(lock, 1000)
            os.close(lock)
            raise RuntimeError(
                f"{folder} belongs to {_told(owner)}, which still runs. Wait until it ends, stop "
                "it, or give another --output_folder."
            ) from error
        except OSError as error:  # a file system without locks
            logger.warning("Cannot lock %s (%s); start no second run in %s.", path, error, folder)
        if _is_at(path, lock):
            break
        os.close(lock)  # its owner ended, and removed it, before it was locked
    os.truncate(lock, 0)
    me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
    os.write(lock, json.dumps(me).encode())
    return lock


def _is_at(path, lock):
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(lock))
    except FileNotFoundError:
        return False


def _told(owner):
    """The owner that a lock names, in words."""
    try:
        return "process {pid} on {host}, since {since}".format(**json.loads(owner))
    except (ValueError, KeyError, TypeError):  # it is just being written
        return "another process"


def _remove_leftovers(folder):
    """Removes half-written files of a run that was killed; nobody else writes there now."""
    for place in (folder, *(folder / name for name in FOLDERS)):
        for left in (*place.glob(f"{PARTIAL}*"), *place.glob(".*.partial")):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _remove_empty(folders):
    """Removes folders, innermost first, as far as they are empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # it holds something, or is gone
            return
