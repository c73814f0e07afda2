"""Manifests: audio checks, rows, files."""

import numpy as np
import pytest
import soundfile
from made_up_rows import row

from vofp_plugin.dataio.audio import read_audio
from vofp_plugin.dataio.manifests import (
    MANIFEST_COLUMNS,
    drop_duplicates,
    read_manifest,
    utterance_row,
    write_manifest,
)

HEADER = ",".join(MANIFEST_COLUMNS)
GOOD_LINE = "a,1.0,0,16000,$data_root/a.wav,ann,yes,yes"


def noise(seed, num_samples=1600):
    return np.random.default_rng(seed).uniform(-0.1, 0.1, num_samples)


def write_lines(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_audio_is_read_from_any_format(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(0), 16000)
    assert len(read_audio(path)) == 1600


def test_audio_of_the_rate_asked_for(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(0), 8000)
    assert len(read_audio(tmp_path / "a.wav", sample_rate=8000)) == 1600


def test_audio_that_is_cut_off_is_refused_in_flac(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(0, 16000), 16000)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="a.flac"):
        read_audio(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_audio_that_is_cut_off_is_refused_in_wav(tmp_path, share):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(0, 16000), 16000)
    path.write_bytes(path.read_bytes()[: int(share * 32044)])
    with pytest.raises(ValueError, match="a.wav is cut off: its header tells of more samples"):
        read_audio(path)


def test_two_channels_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([noise(0), noise(1)], axis=1), 16000)
    with pytest.raises(ValueError, match="a.wav has 2 channels; expected 1"):
        read_audio(tmp_path / "a.wav")


def test_infinite_samples_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", [0.0, np.inf, -np.inf], 16000, subtype="FLOAT")
    with pytest.raises(ValueError, match="a.wav holds NaN or infinite"):
        read_audio(tmp_path / "a.wav")


def test_missing_audio_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.wav does not exist"):
        read_audio(tmp_path / "a.wav")


def test_utterance_row_is_relative_to_the_data_root(tmp_path):
    path = tmp_path / "data" / "yes" / "u.1.flac"
    path.parent.mkdir(parents=True)
    soundfile.write(path, noise(0), 16000)
    made = utterance_row(path, tmp_path / "data", "ann", "unknown", transcript="yes")
    del made["audio_hash"]
    assert made == {
        "ID": "yes_u.1",
        "duration": 0.1,
        "start": 0,
        "stop": 1600,
        "wav": "$data_root/yes/u.1.flac",
        "spk_id": "ann",
        "command": "unknown",
        "transcript": "yes",
    }


def test_equal_audio_has_one_hash_in_every_lossless_format(tmp_path):
    samples = (noise(0) * 32767).astype("int16")
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    soundfile.write(tmp_path / "b.flac", samples, 16000)
    soundfile.write(tmp_path / "c.wav", samples + 1, 16000)
    a, b, c = (
        utterance_row(tmp_path / name, tmp_path, "ann", "yes")["audio_hash"]
        for name in ("a.wav", "b.flac", "c.wav")
    )
    assert a == b != c


def test_drop_duplicates_keeps_the_first_and_other_speakers_and_commands():
    rows = [
        row("a", audio_hash="h"),
        row("b", audio_hash="h"),
        row("c", audio_hash="h", spk_id="bob"),
        row("d", audio_hash="h", command="no"),
        row("e"),
    ]
    assert [kept["ID"] for kept in drop_duplicates(rows)] == ["a", "c", "d", "e"]


def test_drop_duplicates_keeps_cuts_of_one_recording():
    cuts = [dict(row("a", audio_hash="h"), start=start) for start in (0, 16000)]
    assert drop_duplicates(cuts) == cuts


def test_manifest_round_trip_keeps_order_types_and_odd_text(tmp_path):
    rows = [row("z", command='say "no, no"'), row("a b", spk_id="bjørn")]
    path = tmp_path / "new" / "train.csv"
    write_manifest(rows, path)
    manifest = read_manifest(path, data_root="/corpus")
    assert list(manifest) == ["z", "a b"]
    assert manifest["z"]["command"] == 'say "no, no"'
    assert manifest["a b"] == {
        "duration": 1.0,
        "start": 0,
        "stop": 16000,
        "wav": "/corpus/a b.wav",
        "spk_id": "bjørn",
        "command": "yes",
        "transcript": "yes",
    }
    assert isinstance(manifest["z"]["duration"], float)
    assert read_manifest(path)["z"]["wav"] == "$data_root/z.wav"


def test_speechbrain_reads_our_manifests(tmp_path):
    from speechbrain.dataio.dataset import DynamicItemDataset

    write_manifest([row("a")], tmp_path / "train.csv")
    dataset = DynamicItemDataset.from_csv(
        tmp_path / "train.csv",
        replacements={"data_root": "/corpus"},
        output_keys=["id", "wav", "duration"],
    )
    assert dataset[0] == {"id": "a", "wav": "/corpus/a.wav", "duration": 1.0}
    ours = DynamicItemDataset(
        read_manifest(tmp_path / "train.csv", "/corpus"), output_keys=["id", "wav", "duration"]
    )
    assert ours[0] == dataset[0]


@pytest.mark.parametrize("rows, message", [([], "empty split"), ([row("a")] * 2, "repeated IDs")])
def test_write_manifest_refuses_bad_rows_and_writes_nothing(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        write_manifest(rows, tmp_path / "train.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_manifest_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "train.csv"
    write_manifest([row("a")], path)

    def full_disk(source, target):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_manifest([row("b")], path)
    assert list(tmp_path.iterdir()) == [path]
    assert list(read_manifest(path)) == ["a"]


def test_read_manifest_ignores_other_columns_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "test.csv"
    path.write_text(f"{HEADER},wav_format\n{GOOD_LINE},wav\n", encoding="utf-8-sig")
    assert set(read_manifest(path)["a"]) == set(MANIFEST_COLUMNS) - {"ID"}


@pytest.mark.parametrize("delimiter", [";", "\t", ", "])
def test_read_manifest_reads_what_spreadsheet_programs_of_other_countries_write(
    tmp_path, delimiter
):
    lines = [line.replace(",", delimiter) for line in (HEADER, GOOD_LINE)]
    lines += [f'b{delimiter}"1.0"{delimiter}' + lines[1].split(delimiter, 2)[2]]
    manifest = read_manifest(write_lines(tmp_path / "test.csv", *lines))
    assert list(manifest) == ["a", "b"] and manifest["b"] == manifest["a"]
    assert manifest["a"]["stop"] == 16000


@pytest.mark.parametrize(
    "lines, message",
    [
        ([HEADER.replace(",", "|")], "separated by commas, semicolons or tabs"),
        ([HEADER.replace(",", ";"), GOOD_LINE.replace(",", ";").replace("1.0", "1,0")], "'1,0'"),
        (["ID,duration,wav", "a,1.0,a.wav"], r"lacks the columns \['start', 'stop', 'spk_id'"),
        ([HEADER], "no rows"),
        ([""], "lacks the columns"),
        ([HEADER, GOOD_LINE, GOOD_LINE], "Row 2 .* repeats the ID 'a'"),
        ([HEADER, "a,1.0,0"], "Row 1 .* too few or too many"),
        ([HEADER, GOOD_LINE + ",more"], "Row 1 .* too few or too many"),
        ([HEADER, GOOD_LINE.replace("ann", "")], "no spk_id"),
        ([HEADER, GOOD_LINE.replace("1.0", "long")], "duration 'long'"),
        ([HEADER, GOOD_LINE.replace("1.0", "nan")], "duration 'nan'"),
        ([HEADER, GOOD_LINE.replace("1.0", "-1")], "duration '-1'"),
        ([HEADER, GOOD_LINE.replace("16000", "0")], "stop '0'"),
        ([HEADER, GOOD_LINE.replace("16000", "1.5")], "stop '1.5'"),
        ([HEADER, GOOD_LINE.replace(",0,", ",-1,")], "start '-1'"),
    ],
)
def test_read_manifest_refuses_what_is_broken(tmp_path, lines, message):
    path = write_lines(tmp_path / "test.csv", *lines)
    with pytest.raises(ValueError, match=message) as error:
        read_manifest(path)
    assert str(path) in str(error.value)


def test_read_manifest_refuses_a_binary_file_and_a_missing_one(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(0), 16000)
    with pytest.raises(ValueError, match="a.flac is not a CSV"):
        read_manifest(tmp_path / "a.flac")
    with pytest.raises(FileNotFoundError, match="b.csv does not exist"):
        read_manifest(tmp_path / "b.csv")
