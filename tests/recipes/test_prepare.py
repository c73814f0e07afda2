"""Preparing data sets: made-up trees, real ones, and everything that must be refused."""

import hashlib
import importlib.util
import logging
import shutil
import tarfile
from collections import Counter

import numpy as np
import pytest
import soundfile

from vofp_plugin.dataio.manifests import SILENCE, read_manifest
from vofp_plugin.dataio.splits import SPLITS, check_disjoint

SPEAKERS = [f"{number:08x}" for number in range(8)]


def load_recipe(repo_root, relative):
    path = repo_root / "recipes" / relative
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def google(repo_root):
    return load_recipe(
        repo_root, "Google-speech-commands/personalized_kws/google_speech_commands_prepare.py"
    )


@pytest.fixture(scope="module")
def arabic(repo_root):
    return load_recipe(
        repo_root, "Arabic-speech-commands/personalized_kws/arabic_speech_commands_prepare.py"
    )


def write_noise(path, seed, num_samples=800, sample_rate=16000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-0.1, 0.1, num_samples)
    soundfile.write(path, samples, sample_rate, **options)


def google_tree(folder, words=("up", "go", "cat"), suffix="wav", noise_s=0):
    """Two takes of each word by each of eight speakers, and noise."""
    seed = 0
    for word in words:
        for speaker in SPEAKERS:
            for take in range(2):
                seed += 1
                write_noise(folder / word / f"{speaker}_nohash_{take}.{suffix}", seed)
    if noise_s:
        write_noise(folder / "_background_noise_" / f"tap.{suffix}", 0, noise_s * 16000)
    (folder / "LICENSE").write_text("CC BY 4.0")
    return folder


def arabic_tree(folder, lists=("train", "val"), listed_suffix="wav", suffix="wav"):
    """Two takes of two words by each of eight speakers, who are dealt to the lists."""
    lines = {name: ["file,class"] for name in lists}
    seed = 0
    for number, speaker in enumerate(SPEAKERS):
        for word in ("yes", "zoom in"):
            for take in range(2):
                seed += 1
                stem = f"dataset/{word}/{speaker}_NO_{take:02d}"
                write_noise(folder / f"{stem}.{suffix}", seed)
                lines[lists[number % len(lists)]].append(f"{stem}.{listed_suffix},{word}")
    for name, content in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(content) + "\n")
    return folder


def read_all(save_folder, data_root=None):
    """All rows of the three splits, by ID."""
    check_disjoint({split: save_folder / f"{split}.csv" for split in SPLITS})
    parts = [read_manifest(save_folder / f"{split}.csv", data_root) for split in SPLITS]
    merged = {row_id: row for part in parts for row_id, row in part.items()}
    assert len(merged) == sum(map(len, parts)), "an ID is in two splits"
    return merged


def counts(rows, column="command"):
    return Counter(row[column] for row in rows.values())


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def prepare(request, name, data_folder, save_folder, **options):
    """Runs a recipe's preparation by the recipe's name."""
    module = request.getfixturevalue(name)
    getattr(module, f"prepare_{name}_speech_commands")(data_folder, save_folder, **options)


TREES = {"google": google_tree, "arabic": arabic_tree}
FIRST_FILE = {
    "google": f"up/{SPEAKERS[0]}_nohash_0.wav",
    "arabic": f"dataset/yes/{SPEAKERS[0]}_NO_00.wav",
}


def break_empty(path):
    path.write_bytes(b"")


def break_no_samples(path):
    soundfile.write(path, np.zeros(0), 16000)


def break_nan(path):
    soundfile.write(path, [0.0, np.nan, 0.1], 16000, subtype="FLOAT")


def break_rate(path):
    write_noise(path, 0, sample_rate=8000)


def break_code(path):
    path.write_text("<html>404 Not Found</html>")


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize(
    "break_file, message",
    [
        (break_empty, "empty"),
        (break_no_samples, "empty"),
        (break_nan, "NaN"),
        (break_rate, "8000 Hz; expected 16000 Hz"),
        (break_code, "cannot be decoded"),
    ],
)
def test_broken_audio_is_named_and_nothing_is_written(request, tmp_path, name, break_file, message):
    data_folder = TREES[name](tmp_path / "data")
    broken = data_folder / FIRST_FILE[name]
    break_file(broken)
    with pytest.raises(ValueError, match=message) as error:
        prepare(request, name, data_folder, tmp_path / "save")
    assert str(broken) in str(error.value)
    assert not (tmp_path / "save").exists()


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("exists", [False, True])
def test_missing_data_is_one_error_that_says_what_to_do(request, tmp_path, name, exists):
    if exists:
        (tmp_path / "data").mkdir()
    with pytest.raises(FileNotFoundError, match="Point --data_folder at") as error:
        prepare(request, name, tmp_path / "data", tmp_path / "save")
    assert str(tmp_path / "data") in str(error.value)
    assert not (tmp_path / "save").exists()


@pytest.mark.parametrize("name", TREES)
def test_second_preparation_skips_without_reading_audio(request, tmp_path, name):
    data_folder = TREES[name](tmp_path / "data")
    prepare(request, name, data_folder, tmp_path / "save")
    before = snapshot(tmp_path / "save")
    break_code(data_folder / FIRST_FILE[name])
    prepare(request, name, data_folder, tmp_path / "save")
    assert snapshot(tmp_path / "save") == before


@pytest.mark.parametrize("name", TREES)
def test_a_failed_second_preparation_keeps_the_first_whole(request, tmp_path, name):
    prepare(request, name, TREES[name](tmp_path / "data"), tmp_path / "save")
    before = snapshot(tmp_path / "save")
    break_nan(TREES[name](tmp_path / "other") / FIRST_FILE[name])
    with pytest.raises(ValueError, match="NaN"):
        prepare(request, name, tmp_path / "other", tmp_path / "save")
    assert snapshot(tmp_path / "save") == before


@pytest.mark.parametrize("name", TREES)
def test_too_few_speakers_is_an_error(request, tmp_path, name, monkeypatch):
    monkeypatch.setattr(f"{__name__}.SPEAKERS", SPEAKERS[:3])
    data_folder = TREES[name](tmp_path / "data")
    with pytest.raises(ValueError, match="Got 3 speakers .* expected at least 5"):
        prepare(request, name, data_folder, tmp_path / "save")
    assert not (tmp_path / "save").exists()


@pytest.mark.parametrize("name", TREES)
def test_exact_duplicates_are_removed(request, tmp_path, name):
    data_folder = TREES[name](tmp_path / "data")
    first = data_folder / FIRST_FILE[name]
    second = first.with_name(first.name.replace("0.wav", "1.wav"))
    second.write_bytes(first.read_bytes())
    prepare(request, name, data_folder, tmp_path / "save")
    paths = {row["wav"] for row in read_all(tmp_path / "save", data_folder).values()}
    assert str(first) in paths and str(second) not in paths


@pytest.mark.parametrize("name", TREES)
def test_skip_prep_does_nothing(request, tmp_path, name):
    module = request.getfixturevalue(name)
    function = getattr(module, f"prepare_{name}_speech_commands")
    function(tmp_path / "missing", tmp_path / "save", skip_prep=True)
    assert not (tmp_path / "save").exists()


def test_google_rows_say_what_the_path_says(google, tmp_path):
    data_folder = google_tree(tmp_path / "data", suffix="flac")
    google.prepare_google_speech_commands(data_folder, tmp_path / "save", fold=2)
    rows = read_all(tmp_path / "save", data_folder)
    assert counts(rows) == {"up": 16, "go": 16, "cat": 16}
    assert rows[f"up_{SPEAKERS[3]}_nohash_1"] == {
        "duration": 0.05,
        "start": 0,
        "stop": 800,
        "wav": str(data_folder / "up" / f"{SPEAKERS[3]}_nohash_1.flac"),
        "spk_id": SPEAKERS[3],
        "command": "up",
        "transcript": "up",
    }


@pytest.mark.parametrize("option", [{"classes": 12}, {"fold": 1}, {"num_folds": 3}])
def test_google_prepares_again_for_another_option(google, tmp_path, option):
    data_folder = google_tree(tmp_path / "data")
    google.prepare_google_speech_commands(data_folder, tmp_path / "save")
    before = snapshot(tmp_path / "save")
    google.prepare_google_speech_commands(data_folder, tmp_path / "save", **option)
    assert snapshot(tmp_path / "save")["test.csv"] != before["test.csv"]


def test_google_folds_test_every_speaker_once(google, tmp_path):
    data_folder = google_tree(tmp_path / "data")
    tested = []
    for fold in range(5):
        google.prepare_google_speech_commands(data_folder, tmp_path / "save", fold=fold)
        tested += set(counts(read_manifest(tmp_path / "save" / "test.csv"), "spk_id"))
    assert sorted(tested) == SPEAKERS


def test_google_12_classes(google, tmp_path):
    words = [*google.KEYWORDS, "cat", "visual"]
    data_folder = google_tree(tmp_path / "data", words, noise_s=30)
    google.prepare_google_speech_commands(data_folder, tmp_path / "save", classes=12)
    rows = read_all(tmp_path / "save", data_folder)
    expected = dict.fromkeys(google.KEYWORDS, 16) | {"unknown": 16, SILENCE: 16}
    assert counts(rows) == expected
    unknown = [row for row in rows.values() if row["command"] == "unknown"]
    assert {row["transcript"] for row in unknown} == {"cat", "visual"}
    assert {row["spk_id"] for row in unknown} <= set(SPEAKERS)


def test_google_silence_is_nobody_and_is_cut_from_noise_without_overlap(google, tmp_path):
    data_folder = google_tree(tmp_path / "data", noise_s=12)
    google.prepare_google_speech_commands(data_folder, tmp_path / "save", classes=12)
    for split in SPLITS:
        rows = read_manifest(tmp_path / "save" / f"{split}.csv").values()
        starts = [row["start"] for row in rows if row["spk_id"] == SILENCE]
        assert starts, "silence in every split"
        first_half = [start + 16000 <= 6 * 16000 for start in starts]
        assert all(first_half) if split == "train" else not any(first_half)
    cuts = [row for row in read_all(tmp_path / "save").values() if row["command"] == SILENCE]
    assert len(cuts) == 4
    assert {row["spk_id"] for row in cuts} == {SILENCE}
    assert {row["stop"] - row["start"] for row in cuts} == {16000}
    starts = {row["start"] for row in cuts}
    assert len(starts) == 4 and starts <= set(range(0, 12 * 16000, 16000))


def test_google_partial_copy_leaves_classes_out_with_a_warning(google, tmp_path, caplog):
    data_folder = google_tree(tmp_path / "data", ["up", "go"], noise_s=3)
    with caplog.at_level(logging.WARNING):
        google.prepare_google_speech_commands(data_folder, tmp_path / "save", classes=12)
    assert counts(read_all(tmp_path / "save")) == {"up": 16, "go": 16}
    for left_out in ("yes", "unknown", SILENCE):
        assert left_out in caplog.text


def test_google_tells_of_files_that_are_no_utterances(google, tmp_path, caplog):
    data_folder = google_tree(tmp_path / "data", noise_s=3)
    first = data_folder / FIRST_FILE["google"]
    first.rename(first.with_suffix(".WAV"))
    google.prepare_google_speech_commands(data_folder, tmp_path / "save")
    assert counts(read_all(tmp_path / "save")) == {"up": 16, "go": 16, "cat": 16}
    assert "Left out" not in caplog.text
    (data_folder / "go" / f".{first.name}").write_text("what a Mac leaves on other disks")
    (data_folder / "go" / "anna_1.wav").touch()
    (data_folder / "go" / "anna_nohash_1.mp3").touch()
    google.prepare_google_speech_commands(data_folder, tmp_path / "other")
    assert "Left out, no WORD/SPEAKER_nohash_N.wav (or .flac): 2, such as" in caplog.text
    assert str(data_folder / "go" / "anna_1.wav") in caplog.text


@pytest.mark.parametrize("name", TREES)
def test_all_broken_files_are_told_at_once(request, tmp_path, name):
    data_folder = TREES[name](tmp_path / "data")
    first = data_folder / FIRST_FILE[name]
    broken = [first, *(path for path in sorted(first.parent.iterdir()) if path != first)][:4]
    for path in broken:
        break_rate(path)
    with pytest.raises(ValueError, match="Got 4 audio files that cannot be used: Audio") as error:
        prepare(request, name, data_folder, tmp_path / "save")
    assert sum(str(path) in str(error.value) for path in broken) == 3
    assert not (tmp_path / "save").exists()


def test_google_tells_which_folders_are_left_out(google, tmp_path, caplog):
    data_folder = google_tree(tmp_path / "data", noise_s=3)
    for name in ("_unknown_", "_silence_"):
        shutil.copytree(data_folder / "up", data_folder / name)
    (data_folder / "stop").mkdir()
    (data_folder / ".git").mkdir()
    google.prepare_google_speech_commands(data_folder, tmp_path / "save")
    assert counts(read_all(tmp_path / "save")) == {"up": 16, "go": 16, "cat": 16}
    assert "with _ in front: _silence_, _unknown_, stop. To have one as a word" in caplog.text
    assert "_background_noise_" not in caplog.text and ".git" not in caplog.text


def resample_tree(folder, rate):
    for path in folder.rglob("*.wav"):
        soundfile.write(path, soundfile.read(path)[0], rate)
    return folder


@pytest.mark.parametrize("name", TREES)
def test_data_of_another_rate_are_prepared_when_asked(request, tmp_path, name):
    data_folder = resample_tree(TREES[name](tmp_path / "data"), 8000)
    with pytest.raises(ValueError, match="8000 Hz; expected 16000 Hz.*--sample_rate=8000"):
        prepare(request, name, data_folder, tmp_path / "save")
    prepare(request, name, data_folder, tmp_path / "save", sample_rate=8000)
    assert {row["duration"] for row in read_all(tmp_path / "save").values()} == {0.1}


def test_google_silence_is_cut_at_the_rate_of_the_data(google, tmp_path):
    data_folder = resample_tree(google_tree(tmp_path / "data", noise_s=12), 8000)
    google.prepare_google_speech_commands(
        data_folder, tmp_path / "save", classes=12, sample_rate=8000
    )
    cuts = [row for row in read_all(tmp_path / "save").values() if row["command"] == SILENCE]
    assert {(row["stop"] - row["start"], row["duration"]) for row in cuts} == {(8000, 1.0)}


def test_google_speaker_named_as_nobody_is_refused(google, tmp_path):
    data_folder = google_tree(tmp_path / "data")
    first = data_folder / FIRST_FILE["google"]
    first.rename(first.with_name(f"{SILENCE}_nohash_0.wav"))
    with pytest.raises(ValueError, match="Got a speaker named 'silence', which stands for nobody"):
        google.prepare_google_speech_commands(data_folder, tmp_path / "save")


def test_google_35_classes_are_the_words_of_the_release(google, tmp_path):
    assert len(set(google.WORDS)) == 35
    data_folder = google_tree(tmp_path / "data", ["up", "visual", "sushi"])
    google.prepare_google_speech_commands(data_folder, tmp_path / "save", classes=35)
    assert counts(read_all(tmp_path / "save")) == {"up": 16, "visual": 16}


def test_google_refuses_other_classes_and_words(google, tmp_path):
    data_folder = google_tree(tmp_path / "data", ["sushi"])
    with pytest.raises(ValueError, match='Got classes 10; expected 12, 35 or "all"'):
        google.prepare_google_speech_commands(data_folder, tmp_path / "save", classes=10)
    with pytest.raises(ValueError, match=r"Got the words \['sushi'\]"):
        google.prepare_google_speech_commands(data_folder, tmp_path / "save", classes=12)


def write_lists(folder, valid, test):
    for name, speaker in (("validation_list.txt", valid), ("testing_list.txt", test)):
        (folder / name).write_text(f"up/{speaker}_nohash_0.wav\ngo/{speaker}_nohash_1.wav\n")


def test_google_official_splits_need_a_complete_copy(google, tmp_path, monkeypatch):
    data_folder = google_tree(tmp_path / "data")
    write_lists(data_folder, valid=SPEAKERS[1], test=SPEAKERS[4])
    with pytest.raises(ValueError, match="48 utterances .* expected a complete copy"):
        google.prepare_google_speech_commands(data_folder, tmp_path / "save", fold=None)
    monkeypatch.setattr(google, "NUM_COMPLETE", (48, 105_829))
    google.prepare_google_speech_commands(data_folder, tmp_path / "save", fold=None)
    assert len(read_all(tmp_path / "save")) == 48
    for split, speakers in (("valid", {SPEAKERS[1]}), ("test", {SPEAKERS[4]})):
        assert set(counts(read_manifest(tmp_path / "save" / f"{split}.csv"), "spk_id")) == speakers


def test_google_refuses_official_lists_that_share_a_speaker(google, tmp_path, monkeypatch):
    data_folder = google_tree(tmp_path / "data")
    write_lists(data_folder, valid=SPEAKERS[1], test=SPEAKERS[1])
    monkeypatch.setattr(google, "NUM_COMPLETE", (48, 105_829))
    with pytest.raises(ValueError, match=f"valid and test share 1 speakers .{SPEAKERS[1]}"):
        google.prepare_google_speech_commands(data_folder, tmp_path / "save", fold=None)
    assert not (tmp_path / "save").exists()


@pytest.fixture
def local_archive(google, tmp_path, monkeypatch):
    """A small archive on disk in place of the official one."""
    path = tmp_path / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(google_tree(tmp_path / "source"), arcname=".")
    monkeypatch.setattr(google, "ARCHIVE_URL", path.as_uri())
    monkeypatch.setattr(google, "ARCHIVE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_google_downloads_when_asked_and_only_then(google, tmp_path, local_archive):
    data_folder = tmp_path / "new" / "data"
    with pytest.raises(FileNotFoundError, match="--prepare='{download: True}'"):
        google.prepare_google_speech_commands(data_folder, tmp_path / "save")
    google.prepare_google_speech_commands(data_folder, tmp_path / "save", download=True)
    assert len(read_all(tmp_path / "save")) == 48
    assert list(data_folder.parent.iterdir()) == [data_folder]
    local_archive.unlink()
    google.prepare_google_speech_commands(data_folder, tmp_path / "again", download=True)


def test_google_bad_download_leaves_nothing(google, tmp_path, local_archive):
    data_folder = tmp_path / "new" / "data"
    local_archive.write_bytes(local_archive.read_bytes()[:-100])
    with pytest.raises(ValueError, match="expected .* Try again"):
        google.prepare_google_speech_commands(data_folder, tmp_path / "save", download=True)
    assert list(data_folder.parent.iterdir()) == []
    assert not (tmp_path / "save").exists()


def test_google_archive_that_cannot_be_unpacked_leaves_nothing(
    google, tmp_path, local_archive, monkeypatch
):
    local_archive.write_bytes(local_archive.read_bytes()[:-5000])
    sha256 = hashlib.sha256(local_archive.read_bytes()).hexdigest()
    monkeypatch.setattr(google, "ARCHIVE_SHA256", sha256)
    data_folder = tmp_path / "new" / "data"
    with pytest.raises((EOFError, tarfile.ReadError)):
        google.prepare_google_speech_commands(data_folder, tmp_path / "save", download=True)
    assert list(data_folder.parent.iterdir()) == []


def test_google_download_spares_a_folder_with_other_files(google, tmp_path, local_archive):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds other files"):
        google.prepare_google_speech_commands(tmp_path / "home", tmp_path / "save", download=True)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("listed, found", [("wav", "flac"), ("flac", "wav"), ("wav", "wav")])
def test_arabic_lists_may_name_the_other_format(arabic, tmp_path, listed, found):
    data_folder = arabic_tree(tmp_path / "data", listed_suffix=listed, suffix=found)
    arabic.prepare_arabic_speech_commands(data_folder, tmp_path / "save")
    rows = read_all(tmp_path / "save", data_folder)
    assert rows[f"dataset_zoom in_{SPEAKERS[0]}_NO_00"] == {
        "duration": 0.05,
        "start": 0,
        "stop": 800,
        "wav": str(data_folder / "dataset" / "zoom in" / f"{SPEAKERS[0]}_NO_00.{found}"),
        "spk_id": SPEAKERS[0],
        "command": "zoom in",
        "transcript": "zoom in",
    }


@pytest.mark.parametrize("lists", [["train"], ["train", "val"], ["train", "val", "test"]])
def test_arabic_folds_cover_the_speakers_of_all_lists(arabic, tmp_path, lists):
    data_folder = arabic_tree(tmp_path / "data", lists)
    tested = []
    for fold in range(3):
        arabic.prepare_arabic_speech_commands(
            data_folder, tmp_path / "save", fold=fold, num_folds=3
        )
        assert counts(read_all(tmp_path / "save")) == {"yes": 16, "zoom in": 16}
        tested += set(counts(read_manifest(tmp_path / "save" / "test.csv"), "spk_id"))
    assert sorted(tested) == SPEAKERS


def test_arabic_refuses_lists_without_their_columns(arabic, tmp_path):
    data_folder = arabic_tree(tmp_path / "data")
    (data_folder / "val.csv").write_text("path,label\na.wav,yes\n")
    with pytest.raises(ValueError, match=r"val.csv lacks the columns \['file', 'class'\]"):
        arabic.prepare_arabic_speech_commands(data_folder, tmp_path / "save")
    assert not (tmp_path / "save").exists()


def test_arabic_names_a_listed_file_that_is_missing(arabic, tmp_path):
    data_folder = arabic_tree(tmp_path / "data")
    (data_folder / FIRST_FILE["arabic"]).unlink()
    with pytest.raises(FileNotFoundError, match=f"{FIRST_FILE['arabic']} is listed but"):
        arabic.prepare_arabic_speech_commands(data_folder, tmp_path / "save")


def test_arabic_refuses_a_file_name_without_a_speaker(arabic, tmp_path):
    data_folder = arabic_tree(tmp_path / "data")
    write_noise(data_folder / "dataset" / "yes" / "take1.wav", 0)
    with open(data_folder / "train.csv", "a") as file:
        file.write("dataset/yes/take1.wav,yes\n")
    with pytest.raises(ValueError, match="take1.wav; expected SPEAKER_NO_REP"):
        arabic.prepare_arabic_speech_commands(data_folder, tmp_path / "save")


def test_google_on_real_speech(google, shared_data, tmp_path):
    data_folder = shared_data / "speech_commands_v0.01_subset"
    google.prepare_google_speech_commands(data_folder, tmp_path / "save", classes="all")
    rows = read_all(tmp_path / "save", data_folder)
    words = "down eight five go left one right up zero".split()
    assert len(rows) == 3371 and sorted(counts(rows)) == words
    assert len(counts(rows, "spk_id")) == 441
    splits = [read_manifest(tmp_path / "save" / f"{split}.csv") for split in SPLITS]
    assert [len(counts(split, "spk_id")) for split in splits] == [299, 53, 89]


def test_google_12_classes_on_real_speech(google, shared_data, tmp_path):
    data_folder = shared_data / "speech_commands_v0.01_subset"
    google.prepare_google_speech_commands(data_folder, tmp_path / "save", classes=12)
    found = counts(read_all(tmp_path / "save"))
    num_keywords = sum(found[word] for word in ("down", "go", "left", "right", "up"))
    assert set(found) == {"down", "go", "left", "right", "up", "unknown", SILENCE}
    assert found["unknown"] == round(0.1 * num_keywords)
    shares = (round(0.07 * num_keywords), round(0.03 * num_keywords))
    assert found[SILENCE] == sum(min(90, share) for share in shares), "90 s in either half"


def test_arabic_on_real_speech(arabic, shared_data, tmp_path):
    data_folder = shared_data / "arabic_speech_commands"
    arabic.prepare_arabic_speech_commands(data_folder, tmp_path / "save")
    rows = read_all(tmp_path / "save", data_folder)
    assert len(rows) == 3840
    assert set(counts(rows).values()) == {96} and len(counts(rows)) == 40
    assert set(counts(rows, "spk_id").values()) == {160} and len(counts(rows, "spk_id")) == 24


def test_google_download_spares_folders_beside_it(google, tmp_path, local_archive):
    mine = tmp_path / "new" / "data.tmp" / "letter.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("dear")
    google.prepare_google_speech_commands(tmp_path / "new" / "data", tmp_path / "s", download=True)
    assert mine.read_text() == "dear"
