"""Verification: official lists and layouts, ages apart, impostors of another corpus."""

import shutil
from functools import partial

import pytest
from tiny_corpus import SPEAKERS, WORDS
from tiny_runs import RECIPES, TINY, load_prepare

from vofp_plugin.dataio.manifests import read_manifest, speakers_of
from vofp_plugin.evaluation import reports
from vofp_plugin.runs.runner import run

VOXCELEB = RECIPES / "VoxCeleb" / "personalized_verification"
SPEECHOCEAN = RECIPES / "speechocean762" / "verification"


def prepared(recipe, folder, **options):
    """Prepares, and reads {name of a manifest: its rows by ID}."""
    module, function = load_prepare(recipe)
    getattr(module, function)(save_folder=folder, **options)
    return {path.stem: read_manifest(path, "root") for path in folder.glob("*.csv")}


@pytest.fixture
def trial_list(tmp_path):
    """Lines of VoxCeleb's veri_test.txt, of the first three speakers."""

    def name(speaker, take):
        return f"{SPEAKERS[speaker]}/{WORDS[0]}/{take:05d}.wav"

    lines = [f"1 {name(speaker, 0)} {name(speaker, 1)}" for speaker in range(3)]
    lines += [f"0 {name(speaker, 0)} {name((speaker + 1) % 3, 1)}" for speaker in range(3)]
    (tmp_path / "veri_test.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "veri_test.txt"


def test_speakers_of_an_official_list_are_tested(voxceleb_corpus, trial_list, tmp_path):
    manifests = prepared(
        VOXCELEB, tmp_path / "manifests", data_folder=voxceleb_corpus, test_trials=trial_list
    )
    asked = speakers_of(manifests["test"].values())
    assert asked == set(SPEAKERS[:3])
    assert not asked & speakers_of(manifests["train"].values())
    assert f"{SPEAKERS[0]}/{WORDS[0]}/00000" in manifests["test"]


def test_long_training_utterances_are_cut(voxceleb_corpus, tmp_path):
    manifests = prepared(VOXCELEB, tmp_path, data_folder=voxceleb_corpus, chunk=0.3)
    assert {row["duration"] for row in manifests["train"].values()} <= {0.3} | {
        row["duration"] for row in manifests["train"].values() if row["duration"] < 0.6
    }
    assert any(name.endswith("_1") for name in manifests["train"])
    assert not any(name.endswith("_1") for name in manifests["test"])


def test_an_official_list_is_scored(voxceleb_corpus, trial_list, tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "save_figure", lambda figure, path: None)
    module, function = load_prepare(VOXCELEB)
    arguments = [
        str(VOXCELEB / "hparams" / "two_covariance.yaml"),
        f"--data_folder={voxceleb_corpus}",
        f"--test_trials={trial_list}",
        f"--output_folder={tmp_path / 'run'}",
        f"--cache_folder={tmp_path / 'cache'}",
        *TINY,
        "--num_epochs=1",
        "--test_shots=[1]",
        "--chunk=1.0",
        "--conditions={noise: null, own_noise: null}",
        "--bad_enrollments=[]",
    ]
    metrics = run(getattr(module, function), arguments)
    (row, *_) = metrics["detection"]["rows"]
    assert (row["negatives"], row["trials"], row["shots"]) == ("other speaker", 6, 1)


def test_a_folder_of_another_layout_is_told(google_corpus, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the layout of VoxCeleb"):
        prepared(VOXCELEB, tmp_path, data_folder=google_corpus)


def test_ages_are_apart_and_impostors_are_in_both(speechocean_corpus, voxceleb_corpus, tmp_path):
    impostors = shutil.copytree(voxceleb_corpus / "wav", tmp_path / "impostors")
    prepare = partial(prepared, SPEECHOCEAN, data_folder=speechocean_corpus, chunk=0.3)
    manifests = prepare(tmp_path / "manifests", impostor_folder=impostors)
    tested, adults, children = (
        speakers_of(manifests[name].values()) for name in ("test", "adults", "children")
    )
    assert adults | children == tested
    both = adults & children
    assert both and all(name.startswith("impostor_") for name in both)
    some = next(row for row in manifests["test"].values() if row["spk_id"] in both)
    assert some["wav"].startswith(str(impostors))
    assert not any(name.startswith("impostor") for name in speakers_of(
        prepare(tmp_path / "alone")["train"].values()
    ))  # fmt: skip
