"""The subcommands of ``vofp`` that ask a model, from recordings to lines and exit statuses."""

import io
import json
import shlex
import sys
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import soundfile
from spotters import AlwaysYes, random_detector, random_spotter, spotter_of
from voices import RATE, utter

from vofp_plugin.cli import demo
from vofp_plugin.cli.main import COMMANDS, main
from vofp_plugin.inference.interfaces import PersonalizedInterface
from vofp_plugin.inference.personalized_verifier import PersonalizedVerifier
from vofp_plugin.inference.profile_store import ProfileStore
from vofp_plugin.inference.shipped import SAMPLES

SPOTTER = random_spotter()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Working folder with recordings; the model folder `model` holds a spotter."""
    monkeypatch.chdir(tmp_path)
    for take in range(3):
        soundfile.write(f"anna_{take}.wav", utter(take=take).numpy(), RATE)
    soundfile.write("short.wav", utter().numpy()[: RATE // 20], RATE)
    soundfile.write("silence.wav", 0 * utter().numpy(), RATE)
    with patch.object(PersonalizedInterface, "from_hparams", lambda source: SPOTTER):
        yield tmp_path


def refused(capsys, *command):
    """The one line on stderr of a command that fails; what was logged before is left out."""
    assert main(command) == 1
    captured = capsys.readouterr()
    (line,) = (line for line in captured.err.splitlines() if line.startswith("vofp "))
    assert captured.out == "" and captured.err.endswith(f"{line}\n")
    return line


def test_enroll_and_spot_a_finished_run(finished_run, tmp_path, capsys):
    model, paths = str(finished_run / "pretrained"), []
    for take in range(2):
        paths.append(str(tmp_path / f"{take}.wav"))
        soundfile.write(paths[-1], utter(take=take).numpy(), RATE)
    profile = str(tmp_path / "anna.json")
    assert main(["enroll", model, *paths, "--output", profile]) == 0
    assert "anna.json: 2 of 2 recordings used, quality" in capsys.readouterr().out
    assert main(["spot", model, *paths, "--profile", profile, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["wav"] for line in lines] == paths
    assert all(0 < line["probability"] <= 1 for line in lines)


def test_spot_prints_a_table_and_a_profile_changes_it(folder, capsys):
    assert main(["enroll", "model", "anna_0.wav", "anna_1.wav", "--output=anna.json"]) == 0
    capsys.readouterr()
    assert main(["spot", "model", "anna_2.wav", "silence.wav"]) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in table] == ["anna_2.wav", "silence.wav"]
    asked = ["spot", "model", "anna_2.wav", "--json"]
    assert main(asked) == main([*asked, "--profile=anna.json"]) == 0
    everybody, anna = map(json.loads, capsys.readouterr().out.splitlines())
    assert everybody != anna


def test_enroll_without_speech_writes_nothing(folder, capsys):
    message = refused(capsys, "enroll", "model", "silence.wav", "--output=anna.json")
    assert message.startswith("vofp enroll: nothing usable: silence; wrote no profile")
    assert not (folder / "anna.json").exists()


@pytest.mark.parametrize(
    "command, message",
    [
        (["spot", "model", "none.wav"], "none.wav"),
        (["spot", "model", "anna_0.wav", "--profile=none.json"], "Found no profile none.json"),
        (["listen", "model", "anna_0.wav", "--hop=2"], "Got hop 2.0 s"),
        (["listen", "model", "short.wav"], "short.wav has 0.050 s; expected at least 0.1 s"),
        (["enroll", "model", "anna_0.wav", "--output=a.json", "--words", "yes"], "labels"),
        (["profiles", "none.db", "list"], "Found no profile store none.db"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, command, message):
    line = refused(capsys, *command)
    assert line.startswith(f"vofp {command[0]}: ") and message in line
    assert not (folder / "none.db").exists()


def test_a_missing_model_folder_is_one_line(capsys):
    assert "Found no folder nowhere" in refused(capsys, "spot", "nowhere", "a.wav")


def test_a_model_of_another_kind_is_one_line(capsys):
    line = refused(capsys, "verify", "pretrained/keywords", "a.wav", "--profile=a.json")
    assert "Got a model for KeywordSpotter; expected one for ClaimInterface: take another" in line


def test_listen_prints_events_of_a_file_and_of_raw_samples(folder, capsys, monkeypatch):
    raw = io.BytesIO((32767 * utter()).short().numpy().tobytes() + b"x")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=raw))
    always_yes = spotter_of(AlwaysYes())
    with patch.object(PersonalizedInterface, "from_hparams", lambda source: always_yes):
        for stream in ("anna_0.wav", "-"):
            assert main(["listen", "model", stream, "--speaker=anna"]) == 0
            (event,) = map(json.loads, capsys.readouterr().out.splitlines())
            assert (event["word"], event["speaker"], event["start"]) == ("yes", "anna", 0)


def test_listen_takes_a_spotter_and_ends_with_ctrl_c(folder, capsys):
    judge = random_detector(PersonalizedVerifier, 1)
    with patch.object(PersonalizedInterface, "from_hparams", lambda source: judge):
        assert "got a PersonalizedVerifier" in refused(capsys, "listen", "model", "anna_0.wav")
    with patch("vofp_plugin.inference.streaming.StreamingSpotter.listen") as listen:
        listen.side_effect = KeyboardInterrupt
        assert main(["listen", "model", "anna_0.wav"]) == 130
    assert capsys.readouterr().err == ""


def test_listen_tells_when_a_speaker_speaks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    vad, (anna,) = "pretrained/personal-vad", SAMPLES.glob("anna_left*")
    takes = map(str, sorted(SAMPLES.glob("anna_enroll_*")))
    assert main(["enroll", vad, *takes, "--output=anna.json"]) == 0
    capsys.readouterr()
    assert main(["listen", vad, str(anna), "--profile=anna.json", "--speaker=anna"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(segment["end"] - segment["start"] for segment in told) > 0.2
    assert main(["listen", vad, "-", "--profile=anna.json"]) != 0
    assert "give an audio file" in capsys.readouterr().err


def test_profiles_lists_exports_and_deletes(folder, capsys):
    profile = SPOTTER.enroll([utter()])
    store = ProfileStore("speakers.db")
    for name in ("bert", "anna"):
        store.save(name, profile)
    assert main(["profiles", "speakers.db", "list"]) == 0
    assert capsys.readouterr().out == "anna\nbert\n"
    assert main(["profiles", "speakers.db", "export", "anna", "anna.json"]) == 0
    assert SPOTTER.load_profile("anna.json").num_used == 1
    assert main(["profiles", "speakers.db", "delete", "anna"]) == 0
    assert store.names() == ["bert"]
    capsys.readouterr()
    line = refused(capsys, "profiles", "speakers.db", "delete", "anna")
    assert line.startswith("vofp profiles: Found no profile of 'anna'")


def test_export_takes_the_profile(folder, capsys):
    SPOTTER.enroll([utter()]).save("anna.json")
    with patch("vofp_plugin.inference.export.export") as export:
        assert main(["export", "model", "--profile=anna.json", "--output=anna.pt2"]) == 0
    (spotter, profile, path), _ = export.call_args
    assert (spotter, profile.num_used, path) == (SPOTTER, 1, "anna.pt2")


def test_doctor_says_what_works_and_what_does_not(capsys):
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.count(": ok\n") == 2
    with patch("vofp_plugin.cli.doctor._audio_error", lambda: float("nan")):
        assert main(["doctor"]) == 1
    assert "vofp doctor: audio is written and read: off by nan" in capsys.readouterr().err


@pytest.mark.parametrize("command", [c.__name__.rpartition(".")[2] for c in COMMANDS])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    assert "example: " in capsys.readouterr().out


def test_models_lists_names_and_prints_cards(capsys):
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "pretrained/keywords: Tells nine English words" in listed
    assert "from_hparams" not in listed
    assert main(["models", "pretrained/keywords"]) == 0
    assert "- Licence: CC BY 4.0" in capsys.readouterr().out


def test_verify_and_identify_print_a_line_for_each(folder, capsys):
    judge = random_detector(PersonalizedVerifier, 1)
    with patch.object(PersonalizedInterface, "from_hparams", lambda source: judge):
        for name in ("anna", "bert"):
            judge.enroll([utter(take=len(name))]).save(f"{name}.json")
        assert main(["verify", "model", "anna_0.wav", "--profile=anna.json", "--far=0.01"]) == 0
        assert capsys.readouterr().out.split()[:2] == ["anna_0.wav", "rejected"]
        ask = ["identify", "model", "anna_0.wav", "anna_1.wav", "--profiles", "anna.json"]
        assert main([*ask, "bert.json", "--far=0.05", "--json"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["wav"] for line in lines] == ["anna_0.wav", "anna_1.wav"]
        assert {line["speaker"] for line in lines} <= {"anna", "bert"}
        assert "two profiles of one name" in refused(capsys, *ask, "./anna.json")


def test_the_demo_shows_what_it_says_and_its_next_commands_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vofp"])
    monkeypatch.setattr(demo, "HOP", 1.0)  # a quarter of the windows
    assert main(["demo"]) == 0
    told = capsys.readouterr().out
    assert "anna enrolled     bert enrolled     none enrolled" in told
    assert (tmp_path / "demo" / "demo.png").stat().st_size > 10_000
    following = [line for line in told.splitlines() if line.startswith("vofp ")]
    assert len(following) == 3
    for command in following[:2]:  # the third listens as the demo does
        assert main(shlex.split(command)[1:]) == 0
    assert "bert_left.flac  " in capsys.readouterr().out
