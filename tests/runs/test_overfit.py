"""Small tasks that must be learned: by heart, and one that nothing but enrollment can solve."""

import itertools

import numpy as np
import pytest
from tiny_corpus import SAMPLE_RATE, speak, write
from tiny_runs import run_google

PLAIN = ("--augmentations=[]", "--fea_augment=null", "--test_draws=4")


def accuracies(metrics):
    """{(enrollment, shots): accuracy in quiet}."""
    return {
        (row["enrollment"], row["shots"]): row["value"]
        for row in metrics["results"]
        if row["metric"] == "accuracy" and row["condition"] == "quiet"
    }


@pytest.mark.parametrize("yaml", ["shared.yaml", "vofp.yaml"])
def test_few_speakers_are_learned_by_heart(tmp_path, google_corpus, cache_folder, yaml):
    options = (*PLAIN, "--num_epochs=3", "--episodes_per_epoch=20", "--num_speakers=8")
    metrics = run_google(yaml, google_corpus, tmp_path, cache_folder, *options)
    losses = [epoch["train_nll"] for epoch in metrics["training"]["epochs"]]
    assert losses[-1] < 0.1 < losses[0]


@pytest.fixture(scope="module")
def swapped_corpus(tmp_path_factory):
    """Two words, which every other speaker calls by each other's name.

    Nothing in the sound of a word says which: there are but five voices, each on both sides. An
    enrollment that carries its label does.
    """
    folder = tmp_path_factory.mktemp("corpus") / "swapped"
    for word, speaker, take in itertools.product(range(2), range(40), range(4)):
        label = ("no", "yes")[(word + speaker) % 2]
        file = f"{speaker:08x}_nohash_{2 * take + word}.wav"
        write(folder / label / file, speak(2 * word, speaker % 5, 100 * speaker + take))
    for seed in range(2):
        noise = np.random.default_rng(seed).normal(size=4 * SAMPLE_RATE)
        write(folder / "_background_noise_" / f"noise_{seed}.wav", 0.05 * noise)
    return folder


def test_personalizer_uses_the_enrollment(tmp_path, swapped_corpus, cache_folder):
    options = (*PLAIN, "--num_epochs=2", "--num_speakers=16", "--num_queries=4")
    arguments = (swapped_corpus, tmp_path / "shared", cache_folder, *options)
    shared = accuracies(run_google("shared.yaml", *arguments, "--episodes_per_epoch=20"))
    assert 0.3 < shared["shared", 0] < 0.7, "two classes, nothing but chance"

    options = (*options, "--episodes_per_epoch=50", "--max_shots=4", "--words=told")
    metrics = run_google("vofp.yaml", swapped_corpus, tmp_path / "vofp", cache_folder, *options)
    accuracy = accuracies(metrics)
    assert accuracy["own", 1] > 0.9 and accuracy["own", 3] > 0.9
    for shots in (1, 3):
        assert accuracy["stranger", shots] < accuracy["own", shots] - 0.2
    assert accuracy["none", 0] < accuracy["own", 3] - 0.2
