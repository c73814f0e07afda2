"""Bad input is refused with one message that says what to do, and leaves nothing half-written."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from tiny_corpus import SPEAKERS, WORDS
from tiny_runs import (
    GOOGLE,
    RECIPES,
    folder_contents,
    google_arguments,
    load_prepare,
    train_google,
)

from vofp_plugin.runs.runner import main

HPARAMS = RECIPES.parent / "hparams"
BROKEN = f"{WORDS[1]}/{SPEAKERS[0]}_nohash_0.wav"
# What a start leaves whatever comes of it: a log, and what was asked for.
TRACES = {
    "contents.json",
    "log.txt",
    "env.log",
    "hyperparams.yaml",
    "run.py",
    "classes.txt",
    "train_log.txt",
}


@pytest.fixture
def refuse(monkeypatch, capsys, google_corpus, tmp_path, cache_folder):
    """Function that runs `train.py` in this process and checks what a user sees and finds."""

    def refuse(message, *options, yaml="vofp.yaml", data_folder=google_corpus, untouched=()):
        folder = tmp_path / "run"
        before = folder_contents(folder)
        arguments = google_arguments(yaml, data_folder, folder, cache_folder, *options)
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        module, function = load_prepare(GOOGLE)
        with pytest.raises(SystemExit) as exit_status:
            main(getattr(module, function))
        assert exit_status.value.code == 1
        last_line = capsys.readouterr().err.splitlines()[-1]
        assert last_line.startswith("train.py: ") and re.search(message, last_line), last_line
        after = folder_contents(folder)
        new = {name for name in after if after[name] != before.get(name)}
        assert {name.rpartition("/")[2] for name in new} <= TRACES | {
            f"{split}.csv" for split in ("train", "valid", "test")
        } | {"prepared.json"}
        assert before.keys() <= after.keys()
        return folder

    return refuse


def skeleton():
    """Text of a YAML without a base, for any folder."""
    text = (HPARAMS / "keywords.yaml").read_text()
    return text.replace("!include:", f"!include:{HPARAMS}/")


def nothing(folder):
    return not folder.exists()


@pytest.mark.parametrize(
    "message, options",
    [
        ("Found no WORD/.* Point --data_folder at", ("--data_folder=nowhere",)),
        ("Override 'beeta' not found in .*yaml. Keys that exist: seed, .*, beta", ("--beeta=1",)),
        (r"main in .*ds_cnn.yaml does not: chanels\. Keys that exist", ("--main={chanels: 3}",)),
        ("an override is no valid YAML", ("--test_shots=[1,3",)),
        ("An override of .*vofp.yaml does not fit it", ("--fea_augment={repeat_augment: 2}",)),
        (
            "'no_layer' matches no .* Layers that exist: .*classifier",
            ("--targets={no_layer: full}",),
        ),
        ("Got form 'fall'; expected one of full", ("--targets={classifier: fall}",)),
        ("Got classes 10; expected 12, 35", ("--classes=10",)),
        ("Got fold 7", ("--fold=7",)),
        ("Got bad_enrollments None; expected a list of some of", ("--bad_enrollments=null",)),
        (
            "Got bad_enrollments .'music'.; expected .* or .. for none",
            ("--bad_enrollments=[music]",),
        ),
        ("for a training; add --test_only", ("--test_annotation=test.csv", "--skip_prep=True")),
        ("CSV file .*train.csv does not exist. Prepare the data", ("--skip_prep=True",)),
        ("Found no .*classes.txt; --test_only needs the --output_folder", ("--test_only",)),
        ("Got the device cuda:99, which cannot .* give --device=cpu", ("--device=cuda:99",)),
        ("Got the device gpu, which cannot be used here", ("--device=gpu", "--test_only")),
        ("Got data_folder 2024; expected a path", ("--data_folder=2024",)),
    ],
)
def test_refused_before_anything_is_written(refuse, message, options):
    assert nothing(refuse(message, *options))


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "Found no YAML file .*/vofp.yaml; give one of hparams"),
        ("base: other.yaml\n", "Found no YAML file .*/other.yaml; give one of hparams"),
        ("seed: [1\n", "vofp.yaml or an override is no valid YAML"),
        ("{text}\nlearning_rate: 1\n", "keys that nothing reads: learning_rate. Remove them"),
        ("base: {path}\nbeeta: 1\n", "has keys that .* does not: beeta. Keys that exist"),
        ("base: {path}\ndevice: cuda:99\n", "Got the device cuda:99, which cannot be used here"),
        ("{text}\ntest_only: True\n", "keys that nothing reads: test_only"),
        ("{text}\npersonalizer-lr: 0.1\n", "keys that nothing reads: personalizer-lr"),
        ("base: 'vofp.yaml'\n", "vofp.yaml is its own base"),
        ("---\nbase: {path}  # of all\nbeeta: 1", "has keys that .* does not: beeta. Keys"),
    ],
)
def test_bad_yaml(refuse, tmp_path, text, message):
    original = GOOGLE / "hparams" / "vofp.yaml"
    yaml = tmp_path / "vofp.yaml"
    if text is not None:
        yaml.write_text(text.replace("{text}", skeleton()).replace("{path}", str(original)))
    assert nothing(refuse(message, yaml=yaml))


def test_yaml_without_a_key_that_is_needed(refuse, tmp_path):
    yaml = tmp_path / "shared.yaml"
    yaml.write_text(skeleton().replace("\ntest_samples:", "\n# test_samples:"))
    assert nothing(refuse("lacks the keys test_samples; see those of vofp.yaml", yaml=yaml))


@pytest.mark.parametrize(
    "condition",
    [
        "5",
        "[5, 10]",
        "{snr: 5}",
        "{snr: [10, 5]}",
        "{snr: [low, high]}",
        "{enrollment: quiet}",
        "{snr: [5, 10], enrolment: quiet}",
        "{snr: [5, 10], enrollment: car}",
    ],
)
def test_condition_of_another_form(refuse, condition):
    message = "Got the condition street: .*; expected {} for no .* enrollment: quiet or other_noise"
    assert nothing(refuse(message, f"--conditions={{street: {condition}}}"))


def test_other_noise_needs_two_kinds(refuse, google_corpus, tmp_path):
    noise = min((google_corpus / "_background_noise_").glob("*.wav"))
    (tmp_path / "noises").mkdir()
    shutil.copy(noise, tmp_path / "noises")
    message = "Got 1 noise; expected at least 2 for another kind .* leave that condition out"
    refuse(message, f"--noise_folder={tmp_path / 'noises'}", "--conditions={}")


@pytest.mark.parametrize(
    "option, message",
    [
        ("--test_shots=5", "Got test_shots 5; expected a list of different numbers K"),
        ("--test_shots=[1, 1]", "Got test_shots .1, 1.; expected a list of different numbers K"),
        ("--test_shots=[]", "Got test_shots .*; expected a list of different"),
        ("--test_shots=[0]", "Got test_shots .*; expected a list of different"),
        ("--test_shots=[1.5]", "Got test_shots .*; expected a list of different"),
        ("--test_draws=0", "Got test_draws 0; expected a whole number above 0"),
        ("--test_samples=0", "Got test_samples 0; expected a whole number above 0"),
        ("--min_queries=0", "Got min_queries 0; expected a whole number above 0"),
        (
            "--conditions={quiet: null, noise: null, other_noise: null, quiet_enrollment: null}",
            "Got conditions .*; expected {name: condition}",
        ),
    ],
)
def test_evaluation_keys_of_another_form(refuse, option, message):
    assert nothing(refuse(message, option))


def test_override_of_what_a_baseline_has_no_use_for(refuse):
    message = "keys that nothing reads: posterior. Remove them"
    assert nothing(refuse(message, "--posterior=delta", yaml="concatenation.yaml"))


def test_missing_data_folder_option(refuse):
    message = "'data_folder' is a !PLACEHOLDER and must be replaced"
    assert nothing(refuse(message, "--data_folder=!PLACEHOLDER"))


def break_empty(path):
    path.write_bytes(b"")


def break_nan(path):
    soundfile.write(path, [0.0, np.nan, 0.1], 16000, subtype="FLOAT")


def break_rate(path):
    soundfile.write(path, np.zeros(8000), 8000)


def break_code(path):
    path.write_text("<html>404 Not Found</html>")


BREAKS = {
    "is empty": break_empty,
    "holds NaN": break_nan,
    "has 8000 Hz; expected 16000 Hz": break_rate,
    "cannot be decoded": break_code,
}


@pytest.mark.parametrize("reason", BREAKS)
def test_broken_audio_is_named(refuse, tmp_path, google_corpus, reason):
    data_folder = shutil.copytree(google_corpus, tmp_path / "data")
    BREAKS[reason](data_folder / BROKEN)
    assert nothing(refuse(f"{BROKEN} {reason}", data_folder=data_folder))


def spoil(path, change):
    """Rewrites a file that has been read whole."""
    path.write_text(change(path.read_text()))


@pytest.fixture
def manifests(finished_run, tmp_path):
    """Good manifests in the folder of a run that has not begun."""
    return shutil.copytree(finished_run / "manifests", tmp_path / "run" / "manifests")


def test_manifest_without_a_column(refuse, manifests):
    spoil(manifests / "valid.csv", lambda text: text.replace("spk_id", "speaker", 1))
    message = r"valid.csv lacks the columns \['spk_id'\]: got .* expected .* Add them"
    refuse(message, "--skip_prep=True")


def test_speaker_in_two_splits(refuse, manifests):
    last = (manifests / "test.csv").read_text().splitlines()[-1]
    spoil(manifests / "train.csv", lambda text: f"{text}{last}\n")
    message = "train and test share 1 speakers .* Move each speaker's rows to one split"
    refuse(message, "--skip_prep=True")


def test_class_that_was_not_trained(refuse, manifests):
    spoil(manifests / "test.csv", lambda text: text.replace(",up,up", ",stop,stop"))
    message = "test manifest has classes that the model does not know: stop. It knows: down, left"
    refuse(message, "--skip_prep=True")


def test_wrong_data_folder_of_a_manifest(refuse, manifests, tmp_path):
    message = f"Found no {tmp_path}/other/.* is --data_folder the folder that .data_root"
    refuse(message, "--skip_prep=True", data_folder=tmp_path / "other")


@pytest.mark.parametrize("split", ["valid", "test"])
def test_more_shots_than_a_speaker_has(refuse, manifests, split):
    """Found before training, though only the last thing needs it."""
    kept = slice(0, 1 + 6)  # two speakers are left, of fewer than 3 + 3 utterances
    spoil(manifests / f"{split}.csv", lambda text: "\n".join(text.splitlines()[kept]) + "\n")
    message = "the most that a speaker has is .* Lower the largest K in `test_shots`"
    folder = refuse(message, "--skip_prep=True")
    assert not list(folder.glob("save/CKPT*"))


@pytest.mark.parametrize(
    "message, option",
    [
        ("Found no .wav or .flac file in nowhere; give a folder", "--noise_folder=nowhere"),
        ("at least 30 . 3 utterances .the most .* is 9.*Lower", "--test_shots=[1,30]"),
    ],
)
def test_refused_before_training(refuse, message, option):
    folder = refuse(message, option)
    assert not list(folder.glob("save/CKPT*"))


CHANNELS = '--targets={"*.norm": channel, classifier: channel}'


@pytest.fixture
def run_folder(finished_run, tmp_path):
    """Copy of the folder of a finished run, for tests to spoil."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.mark.parametrize(
    "message, options",
    [
        (r"holds a run with other settings: seed 0 \(now 1\). Give another", ("--seed=1",)),
        (r"other settings: num_epochs 2 \(now 3\)", ("--num_epochs=3",)),
        (r"other settings: fold 0 \(now 1\)", ("--fold=1",)),
        (r"other settings: fold 0 \(now 1\)", ("--test_only", "--fold=1")),
        (r"other settings: targets \S+: channel classifier: full \(now", (CHANNELS,)),
        (r"other settings: main .* \(now .*channels: 16", ("--main={channels: 16}",)),
        (r"settings: noise .*probability: 0.7.* \(now .*: 0.3", ("--noise={probability: 0.3}",)),
        (
            r"settings: episodes .*none_.*: 0.2\S* .*now .*: 0.5",
            ("--episodes={none_fraction: 0.5}",),
        ),
    ],
)
def test_folder_of_another_run_is_left_alone(refuse, run_folder, message, options):
    before = folder_contents(run_folder)
    refuse(message, *options)
    assert folder_contents(run_folder) == before


def test_results_without_their_checkpoints_are_left_alone(refuse, run_folder):
    """A new training beside them would look finished before it is."""
    shutil.rmtree(run_folder / "save")
    before = folder_contents(run_folder)
    refuse("run holds the results of a training, but no checkpoint of it. Give another")
    assert folder_contents(run_folder) == before


def test_folder_of_another_yaml_is_left_alone(refuse, run_folder):
    before = folder_contents(run_folder)
    refuse(r"other settings: .*max_shots 6 \(now 0\)", yaml="shared.yaml")
    assert folder_contents(run_folder) == before


ANOTHER_MODEL = "does not fit the model .*size mismatch.* another --output_folder"


def test_checkpoint_of_another_model(refuse, run_folder):
    (run_folder / "hyperparams.yaml").unlink()  # which would have told
    refuse(ANOTHER_MODEL, "--code_size=8")


DAMAGED = "Cannot read .*: it is damaged, .* train again, or give another folder"
GARBAGE = b"\x80\x02garbage"


@pytest.mark.parametrize(
    "name, damage, options, message",
    [
        ("model.ckpt", b"", (), DAMAGED),
        ("model.ckpt", "half", (), DAMAGED),
        ("model.ckpt", GARBAGE, ("--test_only",), DAMAGED),
        ("brain.ckpt", b"", (), DAMAGED),
        ("history.ckpt", "half", ("--test_only",), DAMAGED),
        ("main_schedule.ckpt", GARBAGE, (), DAMAGED),
        ("CKPT.yaml", GARBAGE, (), DAMAGED),
        ("CKPT.yaml", GARBAGE, ("--test_only",), DAMAGED),
    ],
)
def test_corrupt_checkpoint(refuse, run_folder, name, damage, options, message):
    for path in run_folder.glob(f"save/CKPT*/{name}"):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    refuse(message, *options)


def test_tested_manifest_with_unknown_class(refuse, run_folder, tmp_path):
    annotation = shutil.copy(run_folder / "manifests" / "test.csv", tmp_path / "other.csv")
    spoil(annotation, lambda text: text.replace(",up,up", ",stop,stop"))
    message = "has classes that the model does not know: stop. It knows: down, left, up"
    refuse(message, "--test_only", f"--test_annotation={annotation}")
    assert not (run_folder / "other").exists()


@pytest.mark.parametrize("reason", BREAKS)
def test_tested_audio_that_is_broken_is_named(refuse, run_folder, tmp_path, google_corpus, reason):
    data_folder = shutil.copytree(google_corpus, tmp_path / "data")
    test_file = re.search(r"root/(\S+?\.wav)", (run_folder / "manifests" / "test.csv").read_text())
    BREAKS[reason](data_folder / test_file[1])
    refuse(test_file[1], "--test_only", data_folder=data_folder)


def test_user_sees_the_message_last(tmp_path, google_corpus, cache_folder):
    arguments = ("vofp.yaml", google_corpus, tmp_path / "run", cache_folder, "--test_shots=[30]")
    command, options = train_google(*arguments)
    process = subprocess.run(command, capture_output=True, text=True, **options)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith("train.py: Got 0 speakers with at least")
    assert "Traceback" not in process.stderr
    assert "Traceback" in (tmp_path / "run" / "log.txt").read_text()
