"""One hop of a stream on one thread, as a share of the time that it lasts."""

import time

import torch

from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.inference.streaming import StreamingSpotter

HOP = 0.1  # s


def streaming_hop(duration=5.0, model="pretrained/keywords"):
    """CPU time of a hop relative to its length, features included, {what: number}."""
    spotter = KeywordSpotter.from_hparams(model)
    listener = StreamingSpotter(spotter, hop=HOP)
    noise = 0.1 * torch.randn(round(duration * listener.rate))
    start = time.process_time()
    windows = sum(1 for _ in listener.heard(noise.split(listener.hop)))
    share = (time.process_time() - start) / windows / HOP
    return {f"hop of {1000 * HOP:.0f} ms, share of real time": share}
