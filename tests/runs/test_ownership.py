"""A run folder has one owner, and what dead ones left is cleaned."""

import multiprocessing
import os
import re
import shutil
import signal
import threading

import pytest
from tiny_runs import folder_contents, run_google

from vofp_plugin.runs.ownership import OWNER_FILE, owned


@pytest.fixture
def other_process():
    """Function that lets another process own a folder, and gives the process."""
    context = multiprocessing.get_context("fork")
    processes = []

    def start(folder):
        ready = context.Event()
        process = context.Process(target=_own_for_ever, args=(folder, ready), daemon=True)
        process.start()
        processes.append(process)
        assert ready.wait(60)
        return process

    yield start
    for process in processes:
        process.kill()


def _own_for_ever(folder, ready):
    with owned(folder):
        ready.set()
        signal.pause()


def test_second_owner_is_refused_and_told_of_the_first(tmp_path, other_process):
    process = other_process(tmp_path / "run")
    message = (
        rf"run belongs to process {process.pid} on {os.uname().nodename}, since \d{{4}}-.*Wait"
    )
    for _ in range(2):  # the first refusal must not free it
        with pytest.raises(RuntimeError, match=message), owned(tmp_path / "run"):
            pytest.fail("owned twice")
    with owned(tmp_path / "another"):
        pass


def test_folder_of_a_killed_process_is_free(tmp_path, other_process):
    process = other_process(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (tmp_path / OWNER_FILE).is_file()
    with owned(tmp_path):
        assert f'"pid": {os.getpid()}' in (tmp_path / OWNER_FILE).read_text()
    assert not list(tmp_path.iterdir())


def test_another_thread_is_refused(tmp_path):
    told = []

    def own():
        try:
            with owned(tmp_path):
                told.append("owned")
        except RuntimeError as error:
            told.append(str(error))

    with owned(tmp_path):
        thread = threading.Thread(target=own)
        thread.start()
        thread.join()
    own()
    assert re.search("belongs to process", told[0]) and told[1] == "owned"


def test_nothing_stays_where_nothing_was_written(tmp_path):
    with pytest.raises(KeyboardInterrupt), owned(tmp_path / "a" / "b"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with owned(tmp_path / "a" / "b"):
        (tmp_path / "a" / "result").touch()
    assert list(folder_contents(tmp_path)) == ["a/result"] and not (tmp_path / "a" / "b").exists()


def test_leftovers_are_removed_but_not_those_of_tests_in_the_folder(tmp_path):
    left = ("save/partial-CKPT+1/model.ckpt", ".metrics.json.7.partial", "pretrained/.m.7.partial")
    kept = ("save/CKPT+1/model.ckpt", "metrics.json", "words/.metrics.json.8.partial")
    for name in (*left, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with owned(tmp_path):
        assert folder_contents(tmp_path).keys() == {*kept, OWNER_FILE}
    assert not (tmp_path / "save" / "partial-CKPT+1").exists()


def test_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Cannot write to .*file/run .*another --output_folder"):
        with owned(tmp_path / "file" / "run"):
            pytest.fail("owned")


@pytest.mark.parametrize("options, owner", [((), "."), (("--test_only",), "test")])
def test_second_start_is_refused_before_it_writes(
    finished_run, google_corpus, cache_folder, tmp_path, options, owner
):
    folder = shutil.copytree(finished_run, tmp_path / "run") if options else tmp_path / "run"
    with owned(folder / owner):
        before = folder_contents(folder)
        with pytest.raises(RuntimeError, match="belongs to process .*, which still runs"):
            run_google("vofp.yaml", google_corpus, folder, cache_folder, *options)
        assert folder_contents(folder) == before
