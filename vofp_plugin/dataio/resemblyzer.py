"""A speaker encoder of others, as a front end: Resemblyzer's, whose weights are in its package."""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torchaudio.transforms import MelSpectrogram

LEVEL = -30.0  # dB of full scale, to which its authors bring speech
STEP = 77  # frames from one window to the next, 1.3 windows a second
WINDOW = 160  # frames


class ResemblyzerEmbedding(nn.Module):
    """Waveforms to the embeddings of Resemblyzer, as a `compute_features` of a front end.

    It hears windows of 1.6 s and averages them. Silence is not cut out, which its authors do.

    Raises
    ------
    ImportError
        If the package is not there; it is the extra `peers`.

    Source
    ------
    github.com/resemble-ai/Resemblyzer; Wan, Wang, Papir, Lopez Moreno. Generalized end-to-end loss
    for speaker verification. ICASSP 2018.
    """

    embedding_size = 256

    def __init__(self):
        super().__init__()
        spec = find_spec("resemblyzer")
        if spec is None:
            raise ImportError(
                "Found no package resemblyzer; install it by pip install 'vofp_plugin[peers]'."
            )
        weights = Path(spec.submodule_search_locations[0]) / "pretrained.pt"
        state = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]
        self.mel = MelSpectrogram(
            n_fft=400, hop_length=160, n_mels=40, norm="slaney", mel_scale="slaney",
            pad_mode="constant",
        )  # fmt: skip
        self.lstm = nn.LSTM(40, self.embedding_size, num_layers=3, batch_first=True)
        self.linear = nn.Linear(self.embedding_size, self.embedding_size)
        for part, name in ((self.lstm, "lstm."), (self.linear, "linear.")):
            part.load_state_dict(
                {key.removeprefix(name): x for key, x in state.items() if key.startswith(name)}
            )
        self.requires_grad_(False).eval()

    def forward(self, wavs):
        """Maps waveforms (B, L) of 16 kHz to embeddings (B, 1, 256) of length 1."""
        level = wavs.square().mean(dim=1, keepdim=True).clamp(min=1e-10)
        mels = self.mel(wavs * (10 ** (LEVEL / 10) / level).sqrt()).transpose(1, 2)
        missing = -(mels.shape[1] - WINDOW) % STEP if mels.shape[1] > WINDOW else 0
        mels = nn.functional.pad(mels, (0, 0, 0, max(missing, WINDOW - mels.shape[1])))
        windows = mels.unfold(1, WINDOW, STEP).transpose(2, 3)  # (B, windows, 160, 40)
        _, (hidden, _) = self.lstm(windows.flatten(0, 1))
        heard = nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)
        mean = heard.unflatten(0, windows.shape[:2]).mean(dim=1)
        return nn.functional.normalize(mean, dim=1).unsqueeze(1)
