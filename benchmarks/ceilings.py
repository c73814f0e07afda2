"""Ceilings: how near the main model is to what this machine can do at most (roofline)."""

import torch
from interleaved import interleaved
from subjects import SUBJECTS
from torch import nn

from vofp_plugin.utils.profiling import count_multiply_adds

SIDE = 512  # of square matrices, whose product is bound by arithmetic
STREAM = 16_000_000  # numbers, far more than any cache holds


@torch.no_grad()
def ceilings(seconds=3.0):
    """Time of each subject's batch relative to what both ceilings allow, {subject: (ratio, bound)}.

    The bound is the larger of multiply-adds at the highest rate and bytes at the highest bandwidth,
    of parameters and of what every layer reads and gives; both are measured in the same rounds.
    """
    x, kernel = torch.randn(1, SIDE, 1, SIDE), torch.randn(SIDE, SIDE, 1, 1)
    source, target = torch.randn(STREAM), torch.empty(STREAM)
    models = {name: (s.make().eval(), s.batch()) for name, s in SUBJECTS.items()}
    candidates = {
        "arithmetic": lambda: nn.functional.conv2d(x, kernel),
        "bandwidth": lambda: target.copy_(source),
    }
    for name, (model, batch) in models.items():
        candidates[name] = lambda model=model, batch=batch: model(*batch)
    ms = {name: ratio.ms for name, ratio in interleaved(candidates, seconds).items()}
    rate, bandwidth = SIDE**3 / ms["arithmetic"], 8 * STREAM / ms["bandwidth"]
    found = {"arithmetic, GFLOP/s": 2 * rate / 1e6, "bandwidth, GB/s": bandwidth / 1e6}
    for name, (model, batch) in models.items():
        arithmetic = len(batch[0]) * count_multiply_adds(model, batch[0]) / rate
        memory = _bytes(model, batch) / bandwidth
        found[f"{name}, time / bound"] = ms[name] / max(arithmetic, memory)
    return found


def _bytes(model, batch):
    """Bytes of the parameters, and of what every layer reads and gives."""
    moved = [4 * sum(p.numel() for p in model.parameters())]

    def count(layer, inputs, output):
        moved.append(4 * (inputs[0].numel() + output.numel()))

    layers = [m for m in model.modules() if not list(m.children())]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    model(*batch)
    for hook in hooks:
        hook.remove()
    return sum(moved)
