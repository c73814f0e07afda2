"""Files for onnxruntime answer audio of any length as the spotter does, and enroll as it does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.lobes.features import Fbank
from spotters import WORDS, AlwaysYes, random_detector, random_spotter, spotter_of
from voices import RATE, utter

pytest.importorskip("onnxscript", reason="needs the extra 'onnx'")
ort = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")

from vofp_plugin.dataio.front_end import FrontEnd  # noqa: E402
from vofp_plugin.inference.export import check_parity  # noqa: E402
from vofp_plugin.inference.front_door import personalize  # noqa: E402
from vofp_plugin.inference.onnx_export import (  # noqa: E402
    export_onnx,
    export_onnx_pair,
    round_to_8_bits,
)
from vofp_plugin.inference.personal_vad import PersonalVAD  # noqa: E402
from vofp_plugin.inference.target_speaker_spotter import TargetSpeakerSpotter  # noqa: E402
from vofp_plugin.lobes.models.frame_cnn import FrameCNN  # noqa: E402

LENGTHS = [round(0.1 * RATE), RATE // 2, RATE, RATE + 77, 3 * RATE]
TAKES = [utter(take=1), utter(take=2)]


@pytest.fixture(scope="module")
def spotter():
    return random_spotter()


@pytest.fixture(scope="module")
def profile(spotter):
    return spotter.enroll(TAKES)


@pytest.fixture(scope="module")
def path(spotter, profile, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "anna.onnx"
    export_onnx(spotter, profile, path)
    return path


@pytest.fixture(scope="module")
def pair(spotter, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_onnx_pair(spotter, folder)
    return [ort.InferenceSession(folder / name) for name in ("enroll.onnx", "answer.onnx")]


def stream(length):
    """A word somewhere in a quiet room, (1, length)."""
    wav = 0.0005 * torch.randn(length, generator=torch.Generator().manual_seed(0))
    word = utter(140.0, take=3)[:length]
    wav[length - len(word) :] += word
    return wav.unsqueeze(0)


@pytest.mark.parametrize("length", LENGTHS)
def test_parity_at_any_length(spotter, profile, path, length):
    audio = stream(length)
    expected = spotter.answer([audio[0]], profiles=profile).numpy()
    (scores,) = ort.InferenceSession(path).run(None, {"audio": audio.numpy()})
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_file_tells_what_it_takes_and_hears(path):
    facts = ort.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert facts["sample_rate"] == "16000" and json.loads(facts["words"]) == list(WORDS)


def test_a_file_is_small_and_so_is_its_loss_in_8_bits(path, tmp_path):
    small, audio = tmp_path / "int8.onnx", {"audio": stream(RATE).numpy()}
    round_to_8_bits(path, small)
    scores, rounded = (ort.InferenceSession(file).run(None, audio)[0] for file in (path, small))
    assert 0 < np.abs(scores - rounded).max() < 0.05 * np.abs(scores).max()
    assert path.stat().st_size < 65536


def test_it_runs_where_torch_is_not(path):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['vofp_plugin'] = None; "
        "import numpy as np, onnxruntime as ort; audio = np.ones((1, 16000), 'float32'); "
        "print(*ort.InferenceSession(sys.argv[1]).run(None, {'audio': audio})[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == "1 3\n", done.stderr


def test_the_pair_enrolls_as_the_spotter_does(spotter, profile, pair):
    enroll, answer = pair
    state = {}
    for wav in TAKES:
        summary, weights = enroll.run(None, {"audio": wav.unsqueeze(0).numpy(), **state})
        state = {"summary": summary}
    kept = torch.cat(profile.summary, dim=1).numpy()
    np.testing.assert_allclose(summary, kept, rtol=1e-4, atol=1e-4 * np.abs(kept).max())
    audio = stream(2 * RATE)
    (scores,) = answer.run(None, {"audio": audio.numpy(), "weights": weights})
    expected = spotter.answer([audio[0]], profiles=profile).numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_the_pair_without_enrollment_answers_as_for_everybody(spotter, pair):
    audio = stream(RATE)
    (scores,) = pair[1].run(None, {"audio": audio.numpy()})
    np.testing.assert_allclose(scores, spotter.answer([audio[0]]).numpy(), atol=1e-4)


def test_a_detector_answers_as_before(tmp_path):
    spotter = random_detector(TargetSpeakerSpotter, 2)
    profile = spotter.enroll(TAKES)
    export_onnx(spotter, profile, tmp_path / "anna.onnx")
    session = ort.InferenceSession(tmp_path / "anna.onnx")
    (scores,) = session.run(None, {"audio": TAKES[0][None].numpy()})
    expected = spotter.answer([TAKES[0]], profiles=profile).numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-4, rtol=1e-4)


def test_voice_activity_is_told_of_whole_recordings(tmp_path):
    front_end = FrontEnd(Fbank(n_mels=40))
    model = personalize(FrameCNN(num_classes=2, channels=8), front_end).mods.model
    vad = PersonalVAD({"model": model}, {"front_end": front_end})
    profile = vad.enroll(TAKES)
    export_onnx(vad, profile, tmp_path / "anna.onnx")
    session = ort.InferenceSession(tmp_path / "anna.onnx")
    audio = stream(3 * RATE)
    (scores,) = session.run(None, {"audio": audio.numpy()})
    assert scores.shape[1] == 301, "frames of all three seconds, not of a clip"
    np.testing.assert_allclose(scores, vad.answer(audio, profiles=profile).numpy(), atol=1e-4)


def test_other_answers_are_refused():
    with pytest.raises(ValueError, match="The exported model answers otherwise by 0.5"):
        check_parity(torch.tensor([-2.0, 1.0]), torch.tensor([-2.0, 2.0]))


def test_what_cannot_be_exported_is_told_and_nothing_is_written(tmp_path):
    with pytest.raises(TypeError, match="personalized"):
        export_onnx(spotter_of(AlwaysYes()), None, tmp_path / "all.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(spotter, profile, tmp_path, monkeypatch):
    monkeypatch.setattr("vofp_plugin.inference.onnx_export.PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ImportError, match=r"no_such_package; .*vofp_plugin\[onnx\]"):
        export_onnx(spotter, profile, tmp_path / "anna.onnx")


def test_the_example_runs_without_torch(pair, spotter, profile, repo_root, tmp_path):
    for take, wav in enumerate([*TAKES, stream(2 * RATE)[0]]):
        soundfile.write(tmp_path / f"{take}.wav", wav.numpy(), RATE, subtype="PCM_16")
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['vofp_plugin'] = None; "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    folder = Path(pair[0]._model_path).parent
    files = [tmp_path / f"{number}.wav" for number in (2, 0, 1)]
    command = [sys.executable, "-c", code, repo_root / "docs" / "on_device.py", folder, files[0]]
    done = subprocess.run(
        [*command, "--enroll", *files[1:]], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    (own,) = spotter.answer([stream(2 * RATE)[0][RATE:]], profiles=profile).exp()
    assert float(lines[-1][-1]) == pytest.approx(own.max().item(), abs=0.01)
