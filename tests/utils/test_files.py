"""Files are whole, whoever writes them at once, and nothing is left of those who died."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from vofp_plugin.utils.files import whole_file

# Starts to write a file, and is killed.
DIE = """
import os, sys
from vofp_plugin.utils.files import whole_file
with whole_file(sys.argv[1]) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), 9)
"""


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_threads_that_write_one_file_leave_one_of_theirs(tmp_path):
    def write(number):
        with whole_file(tmp_path / "a.txt") as partial:
            partial.write_text(str(number) * 10_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    text = (tmp_path / "a.txt").read_text()
    assert text in {str(number) * 10_000 for number in range(8)}
    assert names(tmp_path) == ["a.txt"]


def test_partial_files_of_the_dead_are_removed(tmp_path):
    subprocess.run([sys.executable, "-c", DIE, str(tmp_path / "a.txt")])
    (left,) = names(tmp_path)
    assert left.endswith(".partial")
    with whole_file(tmp_path / "b.txt") as partial:
        partial.write_text("another file")
    assert names(tmp_path) == [left, "b.txt"]
    with whole_file(tmp_path / "a.txt") as partial:
        partial.write_text("whole")
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_partial_files_of_the_living_and_of_other_machines_stay(tmp_path):
    with whole_file(tmp_path / "a.txt") as mine:
        mine.write_text("first")
        elsewhere = tmp_path / ".a.txt.another_machine.999999.0123abcd.partial"
        elsewhere.touch()
        with whole_file(tmp_path / "a.txt") as partial:
            partial.write_text("second")
        assert names(tmp_path) == sorted([elsewhere.name, mine.name, "a.txt"])
    assert (tmp_path / "a.txt").read_text() == "first"


def test_failed_block_leaves_nothing_and_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError):
        with whole_file(tmp_path / "a.txt") as partial:
            partial.write_text("new")
            raise ZeroDivisionError
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the full device of Linux")
def test_full_disk_is_told(tmp_path):
    with pytest.raises(OSError, match="Cannot write .*a.txt .*is there space on the disk"):
        with whole_file(tmp_path / "a.txt"):
            with open("/dev/full", "w") as stream:
                stream.write("new")
                stream.flush()
    assert names(tmp_path) == []


def test_what_is_no_file_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(OSError, match="it is no file"), whole_file(path):
            pass
    assert (tmp_path / "pipe").is_fifo()


def test_the_file_behind_a_link_is_written(tmp_path):
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    with whole_file(tmp_path / "link.txt") as partial:
        partial.write_text("whole")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "whole"
