"""The profile store: many processes and threads on one file, and what is deleted is gone."""

import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn

from vofp_plugin.dataio.quality import SILENT, Quality
from vofp_plugin.inference.identity import identity
from vofp_plugin.inference.profile import Profile, load_profile
from vofp_plugin.inference.profile_store import ProfileStore
from vofp_plugin.lobes.enrollment import EnrollmentEncoder, Summary


class Embedding(nn.Module):
    """An embedding model that costs nothing."""

    size = 3

    def forward(self, x, lens=None):
        return x.mean(dim=1, keepdim=True)


class Model(nn.Module):
    """What a profile needs of a model to be read."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = EnrollmentEncoder(Embedding(), code_size=2)

    def summarize(self, enrollment):
        return self.encoder.summarize(enrollment)


@pytest.fixture(scope="module")
def model():
    return Model()


def make_profile(model, value=0.0):
    summary = Summary(torch.full((1, 2), value), torch.ones(1, 1))
    return Profile(identity(model), "0" * 24, summary, [], [])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "speakers.db"


def refuse(profile):
    """The profile with one more refused utterance."""
    return replace(profile, qualities=[*profile.qualities, Quality(0.0, SILENT)])


def update_often(path, times):
    store, model = ProfileStore(path), Model()
    for _ in range(times):
        store.update("anna", model, refuse)


def in_processes(function, *arguments):
    """Runs a function in two processes at once."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=function, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def test_profiles_are_kept_by_name(path, model):
    store = ProfileStore(path)
    for number, name in enumerate(["bob", "anna", "bob"]):
        store.save(name, make_profile(model, float(number)))
    again = ProfileStore(path)
    assert again.names() == ["anna", "bob"]
    assert again.load("bob", model).summary.values.tolist() == [[2.0, 2.0]]


def test_two_processes_updating_one_profile_lose_no_update(path, model):
    ProfileStore(path).save("anna", make_profile(model))
    in_processes(update_often, path, 10)
    assert len(ProfileStore(path).load("anna", model).qualities) == 20


def test_two_processes_may_make_one_store(path):
    for number in range(3):
        in_processes(ProfileStore, path.with_name(f"{number}.db"))


def test_threads_read_and_write_at_once(path, model):
    store = ProfileStore(path)

    def use(number):
        name = f"speaker {number % 4}"
        store.save(name, make_profile(model, float(number)))
        return store.load(name, model).summary.values[0, 0].item() % 4 == number % 4

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(40)))


def test_thousands_of_speakers(path, model):
    store, profile = ProfileStore(path), make_profile(model)
    with sqlite3.connect(path) as database:  # at once, since each commit waits for the disk
        rows = [(f"speaker {number}", profile.to_bytes()) for number in range(3000)]
        database.executemany("INSERT INTO profiles VALUES (?, ?)", rows)
    store.delete("speaker 2000")
    assert len(store.names()) == 2999
    assert store.load("speaker 2999", model).num_used == 0


def test_failed_update_leaves_the_profile(path, model):
    store = ProfileStore(path)
    store.save("anna", make_profile(model, 1.0))
    with pytest.raises(ZeroDivisionError):
        store.update("anna", model, lambda profile: 1 / 0)
    assert store.load("anna", model).summary.values[0, 0] == 1


def on_disk(path):
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_deleted_is_gone_from_the_disk(path, model):
    store = ProfileStore(path)
    marks = [float(f"0.{number}") for number in (8125, 40625, 1796875)]
    reader = sqlite3.connect(path)  # keeps the log from being removed with the last connection
    for number, mark in enumerate(marks):
        store.save("anna_the_deleted", make_profile(model, mark))
        store.save(f"other {number}", make_profile(model))
    assert str(marks[-1]).encode() in on_disk(path)
    store.delete("anna_the_deleted")
    left = on_disk(path)
    assert not any(str(mark).encode() in left for mark in (*marks, "anna_the_deleted"))
    assert reader.execute("SELECT count(*) FROM profiles").fetchone() == (3,)
    reader.close()


def test_reader_that_keeps_deleted_bytes_is_told(path, model):
    store = ProfileStore(path, timeout=0.05)
    store.save("anna", make_profile(model))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM profiles").fetchone()
    with pytest.raises(OSError, match="Could not wipe .* others read it; call `wipe` again"):
        store.delete("anna")
    reader.close()
    store.wipe()
    assert store.names() == []


def test_profile_goes_to_a_file_and_back(path, model, tmp_path):
    store = ProfileStore(path)
    store.save("anna", make_profile(model, 3.0))
    store.export("anna", tmp_path / "files" / "anna.json")
    assert load_profile(tmp_path / "files" / "anna.json", model).summary.values[0, 0] == 3
    store.include("bob", tmp_path / "files" / "anna.json", model)
    assert store.load("bob", model).summary.values[0, 0] == 3
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match="Cannot read the profile .*bad.json"):
        store.include("eve", tmp_path / "bad.json", model)
    with pytest.raises(FileNotFoundError, match="Found no profile .*nobody.json"):
        store.include("eve", tmp_path / "nobody.json", model)
    assert store.names() == ["anna", "bob"]


def test_unknown_name_is_told(path, model):
    store = ProfileStore(path)
    for use in (
        lambda: store.load("eve", model),
        lambda: store.delete("eve"),
        lambda: store.export("eve", path.with_name("eve.json")),
        lambda: store.update("eve", model, refuse),
    ):
        with pytest.raises(KeyError, match="Found no profile of 'eve' in .*speakers.db"):
            use()


def test_profile_of_another_model_or_altered_is_refused(path, model):
    store = ProfileStore(path)
    store.save("anna", replace(make_profile(model), model_digest="1" * 24))
    with pytest.raises(ValueError, match="The profile of 'anna' .* made with another model"):
        store.load("anna", model)
    store._write("bob", make_profile(model).to_bytes().replace(b"0.0", b"1.0", 1))
    with pytest.raises(ValueError, match="Cannot read the profile of 'bob' in .*speakers.db"):
        store.load("bob", model)


DAMAGE = "Cannot read the profile store .*speakers.db .* damaged, or no profile store"


@pytest.mark.parametrize("data", [b"no database" * 100, b"\0" * 4096])
def test_file_that_is_no_database_is_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(ValueError, match=DAMAGE):
        ProfileStore(path)
    assert path.read_bytes() == data


def test_database_of_something_else_is_left_alone(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE songs (title)")
    with pytest.raises(ValueError, match=DAMAGE):
        ProfileStore(path)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]


def test_damaged_pages_are_one_clear_error(path, model):
    store = ProfileStore(path)
    for number in range(10):
        store.save(f"speaker {number}", make_profile(model))
    whole = path.read_bytes()
    for page in range(1, len(whole) // 4096):
        path.write_bytes(whole[: 4096 * page] + b"\xff" * 4096 + whole[4096 * (page + 1) :])
        with pytest.raises(ValueError, match=f"{DAMAGE}|Cannot read the profile of"):
            for name in store.names():
                store.load(name, model)


def test_folder_in_its_place_is_told(path):
    path.mkdir()
    with pytest.raises(OSError, match="Cannot use the profile store .*speakers.db"):
        ProfileStore(path)


def test_a_full_disk_is_told_and_the_profile_stays_as_it_was(path, model):
    resource = pytest.importorskip("resource", reason="needs limits of file sizes")
    store, profile = ProfileStore(path), make_profile(model)
    store.save("anna", profile)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes of any file
    try:
        with pytest.raises(OSError, match="is there space on the disk"):
            store.update("anna", model, refuse)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.load("anna", model).qualities == profile.qualities
