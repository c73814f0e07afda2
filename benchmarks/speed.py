"""Cost of personalization, as ratios measured in the same run.

> python benchmarks/speed.py
> python benchmarks/speed.py --layers=all --steps=30  # the fine-tuning to compare with

One thread, CPU time of this process, the fastest of several rounds in which all candidates take
turns, so that a busy machine slows them alike. Ratios within 8 % of each other are noise.
"""

import argparse
import time

import torch
from torch import nn

from vofp_plugin.lobes.baselines.fine_tuned import FineTunedModel
from vofp_plugin.lobes.embeddings import ActivationEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.personalized import PersonalizedModel
from vofp_plugin.nnet.injection import inject_, injected, weight_specs

ROUNDS = 30
SPEAKERS = 32  # weight sets in a batch, one item each
SHOTS = 5  # enrollment utterances
TARGETS = {"*.norm": "channel", "classifier": "full"}
CODE_SIZE = 16
TUNED = {
    "all": ["*"],
    "norms": ["*.norm"],
    "classifier": ["classifier"],
    "injected": list(TARGETS),
}

# name: (layer, input of one item)
LAYERS = {
    "Linear 192, T = 100": (nn.Linear(192, 192), (100, 192)),
    "Conv1d 64, kernel 3, T = 100": (nn.Conv1d(64, 64, 3, padding=1), (64, 100)),
    "Conv1d 64, depthwise, kernel 9": (nn.Conv1d(64, 64, 9, padding=4, groups=64), (64, 100)),
    "Conv2d 32, kernel 3, 20 x 50": (nn.Conv2d(32, 32, 3, padding=1), (32, 20, 50)),
    "Conv2d 48, kernel 1, 1 x 50": (nn.Conv2d(48, 48, 1), (48, 1, 50)),
    "BatchNorm2d 48, 1 x 50": (nn.BatchNorm2d(48), (48, 1, 50)),
    "LayerNorm 192, T = 100": (nn.LayerNorm(192), (100, 192)),
}


def fastest(candidates):
    """CPU seconds of each candidate's fastest round, {name: seconds}."""
    seconds = dict.fromkeys(candidates, float("inf"))
    for _ in range(ROUNDS):
        for name, run in candidates.items():
            start = time.process_time()
            run()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def layer_ratio(layer, item_shape):
    """Time with a weight set for each item, relative to the same layer shared by all."""
    model = nn.Sequential(layer).eval()
    x = torch.randn(SPEAKERS, *item_shape)
    inject_(model, ["0"])
    weights = {name: torch.randn(SPEAKERS, *shape) for name, shape in weight_specs(model).items()}

    def personalized():
        with injected(model, weights):
            model(x)

    seconds = fastest({"shared": lambda: model(x), "personalized": personalized})
    return seconds["personalized"] / seconds["shared"]


def personalized_model():
    """The default personalized keyword spotter."""
    main_model = DSCNN(num_classes=12)
    encoder = EnrollmentEncoder(ActivationEmbedding(main_model), None, CODE_SIZE, "bayesian")
    hyper_personalizer = HyperPersonalizer(main_model, TARGETS, code_size=CODE_SIZE)
    return PersonalizedModel(main_model, encoder, hyper_personalizer).eval()


def model_ratios():
    """Ratios of the default personalized keyword spotter to one pass of its shared model."""
    model = personalized_model()
    enrollment = Enrollment(torch.randn(SPEAKERS, SHOTS, 101, 40), torch.ones(SPEAKERS, SHOTS))
    queries, clip = torch.randn(SPEAKERS, 101, 40), torch.randn(1, 101, 40)
    weights = model.personalize(enrollment)
    one = Enrollment(*(part[:1] for part in enrollment[:2]))
    merged = model.merge(model.personalize(one))
    plain = DSCNN(num_classes=12).eval()
    batch = fastest(
        {"shared": lambda: plain(queries), "own": lambda: model(queries, weights=weights)}
    )
    single = fastest(
        {
            "shared": lambda: plain(clip),
            "merged": lambda: merged(clip),
            "enroll": lambda: model.personalize(one),
            "merge": lambda: model.merge(model.personalize(one)),
        }
    )
    return {
        f"{SPEAKERS} queries of {SPEAKERS} speakers in a batch": batch["own"] / batch["shared"],
        "one query, merged": single["merged"] / single["shared"],
        f"enrolling {SHOTS} utterances, once": single["enroll"] / single["shared"],
        f"enrolling {SHOTS} utterances and merging, once": single["merge"] / single["shared"],
    }


def fine_tuning_ratio(layers, steps):
    """Time of gradient steps on a speaker's enrollment, relative to personalizing by it."""
    tuned = FineTunedModel(DSCNN(num_classes=12), TUNED, [0.001], [steps]).eval()
    tuned.setting = {"layers": layers, "lr": 0.001, "steps": steps}
    model = personalized_model()
    feats, lens = torch.randn(1, SHOTS, 101, 40), torch.ones(1, SHOTS)
    labels = torch.arange(SHOTS).unsqueeze(0)
    seconds = fastest(
        {
            "personalized": lambda: model.personalize(Enrollment(feats, lens)),
            "tuned": lambda: tuned.personalize(Enrollment(feats, lens, labels)),
        }
    )
    return seconds["tuned"] / seconds["personalized"]


@torch.no_grad()
def main(layers="injected", steps=10):
    """Prints the ratios as a table."""
    torch.set_num_threads(1)
    ratios = {name: layer_ratio(*layer) for name, layer in LAYERS.items()} | model_ratios()
    print("| Cost | Relative to | Ratio |\n| --- | --- | ---: |")
    for name, ratio in ratios.items():
        print(f"| {name} | shared | {ratio:.2f} |")
    name = f"fine-tuning on {SHOTS} utterances ({layers}, {steps} steps)"
    print(f"| {name} | enrolling {SHOTS} | {fine_tuning_ratio(layers, steps):.1f} |")


def parse_arguments():
    """Reads which fine-tuning to measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", default="injected", choices=TUNED, help="what is fine-tuned")
    parser.add_argument("--steps", type=int, default=10, help="gradient steps")
    return parser.parse_args()


if __name__ == "__main__":
    main(**vars(parse_arguments()))
