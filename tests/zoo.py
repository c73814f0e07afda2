"""Small models of others, each called as `model(feats, lens)`: what injection is checked on.

`python tests/zoo.py` writes the table of `docs/injection.md`.
"""

import re
from pathlib import Path

import torch
import torchaudio
from speechbrain.lobes.models.conv_tasnet import MaskNet
from speechbrain.lobes.models.CRDNN import CRDNN
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
from speechbrain.lobes.models.ResNet import ResNet
from speechbrain.lobes.models.transformer.Branchformer import BranchformerEncoder
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from speechbrain.lobes.models.Xvector import Xvector
from speechbrain.nnet.attention import RelPosEncXL
from speechbrain.nnet.RNN import GRU, LSTM, LiGRU
from torch import nn

from vofp_plugin.nnet.check import check_injection
from vofp_plugin.nnet.injection import inject_, unfit_layers, weight_specs

FEATURES, FRAMES = 8, 40
TABLE = Path(__file__).parents[1] / "docs" / "injection.md"


class Called(nn.Module):
    """A model of others and how it is called; its layers are those of `model`."""

    def __init__(self, model, call):
        super().__init__()
        self.model, self.call = model, call

    def forward(self, feats, lens):
        return self.call(self.model, feats, lens)


class WithPositions(nn.Module):
    """SpeechBrain's encoders with the relative positions that they need."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.positions = encoder, RelPosEncXL(FEATURES)

    def forward(self, feats):
        return self.encoder(feats, pos_embs=self.positions(feats))[0]


def frames(feats, lens):
    return (lens * feats.shape[1]).round().int()


def crdnn(rnn_class, **options):
    model = CRDNN(
        input_shape=[None, None, FEATURES],
        cnn_blocks=1,
        cnn_channels=[4],
        rnn_class=rnn_class,
        rnn_layers=2,
        rnn_neurons=6,
        dnn_blocks=1,
        dnn_neurons=6,
        **options,
    )
    return Called(model, lambda model, feats, lens: model(feats))


def with_lens(model):
    return Called(model, lambda model, feats, lens: model(feats, lens))


def x_vector():
    return with_lens(Xvector(tdnn_channels=[6] * 5, lin_neurons=5, in_channels=FEATURES))


def ecapa_tdnn():
    model = ECAPA_TDNN(
        FEATURES,
        lin_neurons=5,
        channels=[8] * 4 + [12],
        attention_channels=4,
        res2net_scale=2,
        se_channels=4,
    )
    return with_lens(model)


def resnet():
    return with_lens(ResNet(FEATURES, channels=[4] * 4, block_sizes=[1] * 4, lin_neurons=5))


def sb_transformer():
    model = TransformerEncoder(2, 2, 12, d_model=FEATURES)
    return Called(model, lambda model, feats, lens: model(feats)[0])


def sb_conformer():
    model = WithPositions(ConformerEncoder(2, FEATURES, 12, 2, kernel_size=5))
    return Called(model, lambda model, feats, lens: model(feats))


def branchformer():
    model = WithPositions(BranchformerEncoder(2, FEATURES, 2, kernel_size=5, csgu_linear_units=12))
    return Called(model, lambda model, feats, lens: model(feats))


def conv_tasnet():
    model = MaskNet(FEATURES, 6, 8, 3, 2, 2, 2)
    # It takes (B, filters, T) and gives the masks of several talkers first.
    return Called(model, lambda model, feats, lens: model(feats.transpose(1, 2)).transpose(0, 1))


def ta_conformer():
    model = torchaudio.models.Conformer(FEATURES, 2, 12, 2, 5)
    return Called(model, lambda model, feats, lens: model(feats, frames(feats, lens))[0])


def emformer():
    model = torchaudio.models.Emformer(FEATURES, 2, 12, 2, segment_length=10)
    return Called(model, lambda model, feats, lens: model(feats, frames(feats, lens))[0])


def wav2letter():
    model = torchaudio.models.Wav2Letter(5, "mfcc", FEATURES)
    for index, layer in enumerate(model.acoustic_model):
        if isinstance(layer, nn.Conv1d):  # a fiftieth as wide: the widths cannot be given
            model.acoustic_model[index] = nn.Conv1d(
                max(layer.in_channels // 50, 5) if index else FEATURES,
                max(layer.out_channels // 50, 5),
                layer.kernel_size,
                layer.stride,
                layer.padding,
            )
    return Called(model, lambda model, feats, lens: model(feats.transpose(1, 2)))


def deep_speech():
    return Called(
        torchaudio.models.DeepSpeech(FEATURES, 6, n_class=5),
        lambda model, feats, lens: model(feats.unsqueeze(1)),
    )


def wav2vec2():
    model = torchaudio.models.wav2vec2_model(
        "layer_norm", [(6, 10, 5), (6, 3, 2)], True, 8, 0.0, 4, 2, 2, 2, 0.0, 12, 0.0, 0.0, True,
        0.0, 5,
    )  # fmt: skip
    return Called(model, lambda model, feats, lens: model(feats.flatten(1))[0])


def torch_encoder(batch_first):
    layer = nn.TransformerEncoderLayer(FEATURES, 2, 12, batch_first=batch_first)
    model = nn.TransformerEncoder(layer, 2, nn.LayerNorm(FEATURES), enable_nested_tensor=False)
    if batch_first:
        return Called(model, lambda model, feats, lens: model(feats))
    return Called(model, lambda model, feats, lens: model(feats.transpose(0, 1)).transpose(0, 1))


def torch_decoder(batch_first):
    layer = nn.TransformerDecoderLayer(FEATURES, 2, 12, batch_first=batch_first)
    model = nn.TransformerDecoder(layer, 2, nn.LayerNorm(FEATURES))
    if batch_first:
        return Called(model, lambda model, feats, lens: model(feats[:, :9], feats))

    def call(model, feats, lens):
        feats = feats.transpose(0, 1)
        return model(feats[:9], feats).transpose(0, 1)

    return Called(model, call)


MODELS = {
    "SpeechBrain Xvector": x_vector,
    "SpeechBrain ECAPA_TDNN": ecapa_tdnn,
    "SpeechBrain ResNet": resnet,
    "SpeechBrain CRDNN, LiGRU both ways": lambda: crdnn(LiGRU, rnn_bidirectional=True),
    "SpeechBrain CRDNN, LiGRU one way": lambda: crdnn(LiGRU, rnn_bidirectional=False),
    "SpeechBrain CRDNN, LSTM": lambda: crdnn(LSTM),
    "SpeechBrain CRDNN, GRU": lambda: crdnn(GRU),
    "SpeechBrain Transformer encoder": sb_transformer,
    "SpeechBrain Conformer encoder": sb_conformer,
    "SpeechBrain Branchformer encoder": branchformer,
    "SpeechBrain ConvTasNet": conv_tasnet,
    "torchaudio Conformer": ta_conformer,
    "torchaudio Emformer": emformer,
    "torchaudio Wav2Letter": wav2letter,
    "torchaudio DeepSpeech": deep_speech,
    "torchaudio wav2vec2": wav2vec2,
    "torch TransformerEncoder, (B, T, C)": lambda: torch_encoder(True),
    "torch TransformerEncoder, (T, B, C)": lambda: torch_encoder(False),
    "torch TransformerDecoder, (B, T, C)": lambda: torch_decoder(True),
    "torch TransformerDecoder, (T, B, C)": lambda: torch_decoder(False),
}


def batch(num_items):
    """Features and lengths of items of which some are shorter."""
    return torch.randn(num_items, FRAMES, FEATURES), torch.tensor([0.5, 1.0, 0.8])[
        torch.arange(num_items) % 3
    ]


def make_injected(name):
    """A model of `MODELS` with every layer injected that can be, and why others are not."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    refused = unfit_layers(model)
    inject_(model, ["*"], skip=True)
    refused.update(check_injection(model, *batch(4), skip=True))
    return model, refused


def row(name):
    """The line of the table on a model."""
    model, refused = make_injected(name)
    injected = dict.fromkeys(key.rpartition(".")[0] for key in weight_specs(model))
    elsewhere = [n for n in injected if model.get_submodule(n).batch_dim != 0]
    reasons = {}
    for layer, why in refused.items():
        reasons.setdefault(why, []).append(layer)
    why_not = "; ".join(f"{_grouped(layers)}: {why}" for why, layers in reasons.items())
    cells = (name, f"{len(injected)}", _grouped(elsewhere) or "none", why_not or "none")
    return f"| {' | '.join(cells)} |"


def _grouped(layers):
    """Names of layers, with `*` for numbers, each once."""
    names = (re.sub(r"(?<![^._])\d+", "*", name.removeprefix("model.")) for name in layers)
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))


def table():
    """The table of `docs/injection.md`."""
    head = [
        "| Model | Layers injected | Of these with the batch in dimension 1 | Layers refused |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *map(row, MODELS)]) + "\n"


def write_table():
    text = TABLE.read_text()
    TABLE.write_text(text[: text.index("| Model |")] + table())


if __name__ == "__main__":
    write_table()
