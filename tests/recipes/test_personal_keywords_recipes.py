"""Recipes of personal keywords run: words and speakers of no two splits are the same."""

import itertools
import math

import pytest
from tiny_corpus import speak, write
from tiny_runs import RECIPES, load_prepare

from vofp_plugin.dataio.manifests import read_manifest
from vofp_plugin.evaluation.reports import read_metrics
from vofp_plugin.runs.runner import run

ARABIC = RECIPES / "Arabic-speech-commands" / "personal_keywords"
SYNTHETIC = RECIPES / "Personal-keywords" / "synthetic"
WORDS, SPEAKERS = [f"word{w:02}" for w in range(12)], [f"{s:04}" for s in range(12)]
TINY = (
    "--channels=8",
    "--num_epochs=1",
    "--episodes_per_epoch=2",
    "--rounds=1",
    "--voices=2",
    "--words=3",
    "--max_shots=2",
    "--test_shots=[1]",
    "--test_draws=1",
    "--take={augmentation: {tempo: 0.1}}",
    "--conditions={quiet_enrollment: null}",
)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Twelve words by twelve speakers, two takes each; and running speech of four others."""
    folder = tmp_path_factory.mktemp("corpora")
    for word, speaker, take in itertools.product(range(12), range(12), range(2)):
        name = f"{SPEAKERS[speaker]}_NO_{take:02}.wav"
        write(folder / "mine" / WORDS[word] / name, speak(word % 6, speaker + word, take))
    for speaker in range(4):
        speech = [sample for take in range(4) for sample in speak(take, speaker, take)]
        write(folder / "speech" / "train" / f"s{speaker}" / "1.wav", speech)
    return folder


def rows_of(folder):
    return {
        split: list(read_manifest(folder / "manifests" / f"{split}.csv").values())
        for split in ("train", "valid", "test")
    }


def check_run(metrics, folder):
    rows = rows_of(folder)
    for key in ("spk_id", "command"):
        names = [{row[key] for row in rows[split]} for split in rows]
        assert not set.intersection(*names[:2]) and not names[2] & (names[0] | names[1])
    assert read_metrics(folder)["detection"]["rule"] == "target_only"
    assert [judged["rule"] for judged in metrics["detection_also"]] == ["anybody"]
    assert (folder / "pretrained" / "decision_anybody.json").is_file()
    cells = {(row["enrollment"], row["shots"]) for row in metrics["results"]}
    assert cells == {("none", 0), ("own", 1), ("stranger", 1)}
    assert all(math.isfinite(row["value"]) for row in metrics["results"])
    none = [row for row in metrics["detection"]["rows"] if row["enrollment"] == "none"]
    assert none and all(row["far"] == 0 for row in none), "nothing is detected without takes"


@pytest.mark.parametrize("yaml", ["heard.yaml", "unheard.yaml", "amortized.yaml"])
def test_real_words(words, tmp_path, cache_folder, yaml):
    module, function = load_prepare(ARABIC)
    options = []
    if yaml != "heard.yaml":  # another corpus is tested, this one trains
        options = [f"--speech_folders=[{words / 'speech'}]", "--heard=True"]
    metrics = run(
        getattr(module, function),
        [
            str(ARABIC / "hparams" / yaml),
            f"--data_folder={words / 'mine'}",
            f"--output_folder={tmp_path / 'run'}",
            f"--cache_folder={cache_folder}",
            "--test_words=[word00, word01, word02]",
            "--test_speakers=['0000', '0001']",
            "--valid_folder=null",
            *TINY,
            *options,
        ],
    )
    check_run(metrics, tmp_path / "run")
    cut = [row for row in rows_of(tmp_path / "run")["train"] if row["spk_id"].startswith("speech:")]
    assert bool(cut) == (yaml != "heard.yaml")


def test_words_made_up(tmp_path, cache_folder):
    module, function = load_prepare(SYNTHETIC)
    arguments = [
        str(SYNTHETIC / "hparams" / "words.yaml"),
        f"--output_folder={tmp_path / 'run'}",
        f"--cache_folder={cache_folder}",
        f"--data_folder={tmp_path / 'words'}",
        "--synthetic_words={num_words: 30, choir_size: 6, num_choirs: 1}",
        *TINY,
    ]
    check_run(run(getattr(module, function), arguments), tmp_path / "run")


def test_splits_that_share_a_word_are_refused(words, tmp_path):
    module, function = load_prepare(ARABIC)
    folder = words / "mine"
    with pytest.raises(ValueError, match="share .* words .*Leave one of the folders out"):
        getattr(module, function)(folder, tmp_path, word_folders=[folder])
    with pytest.raises(ValueError, match="Got mine:yes to test; expected some of mine:word"):
        getattr(module, function)(folder, tmp_path, test_words=["yes"])
    assert not any(tmp_path.iterdir())
