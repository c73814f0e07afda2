"""``vofp doctor``: does this installation work?"""

import math
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

RATE = 16000  # Hz


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "doctor",
        help="print versions, and try audio and a tiny model",
        epilog="example: vofp doctor",
    )
    parser.set_defaults(run=_run)


def _run(arguments):
    import torch

    print(f"python {platform.python_version()} on {platform.machine()}")
    for package in ("vofp_plugin", "speechbrain", "torch", "torchaudio", "soundfile"):
        print(f"{package} {version(package)}")
    print(f"CUDA: {torch.cuda.device_count()} devices")
    _check("audio is written and read", _audio_error(), 1e-3)
    _check("a tiny model enrolls and answers", _answer_error(), 1e-4)


def _check(what, error, highest):
    if not error <= highest:
        raise ValueError(f"{what}: off by {error:g}, expected at most {highest:g}; install anew.")
    print(f"{what}: ok")


def _audio_error():
    """How far a sound is from what was written, as read again."""
    import soundfile

    from vofp_plugin.dataio.audio import load_audio

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "syllable.wav"
        soundfile.write(path, _syllable().numpy(), RATE)
        return (load_audio(path) - _syllable()).abs().max().item()


def _answer_error():
    """How far a personalized model is from the plain one with the same weights."""
    import torch
    from speechbrain.lobes.features import Fbank

    from vofp_plugin import personalize
    from vofp_plugin.dataio.front_end import FrontEnd
    from vofp_plugin.lobes.models.ds_cnn import DSCNN

    front_end, wavs = FrontEnd(Fbank(n_mels=40)), [_syllable(120.0), _syllable(125.0)]
    personalized = personalize(DSCNN(num_classes=2, channels=8, num_blocks=1), front_end)
    profile = personalized.enroll(wavs)
    if profile.num_used != len(wavs):
        raise ValueError(f"A tiny model refused speech ({profile.quality.reason}); install anew.")
    plain, clips = personalized.merge(profile), torch.stack(wavs)
    answer = personalized.answer(clips, profiles=profile)
    return (plain(front_end(clips)) - answer).abs().max().item()


def _syllable(pitch=120.0):
    """A vowel of a second between silences, (RATE,)."""
    import torch

    time = torch.arange(RATE) / RATE
    harmonics = torch.arange(1, int(4000 / pitch))[:, None]
    gains = sum(1 / (1 + ((pitch * harmonics - f) / 120) ** 2) for f in (500, 1500, 2500))
    glide = pitch * (1 + 0.1 * (time - 0.5)) * time
    vowel = (gains * torch.cos(2 * math.pi * harmonics * glide)).sum(0)
    envelope = torch.sin(math.pi * ((time - 0.25) / 0.5).clamp(0, 1)) ** 2
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    return 0.3 * vowel / vowel.abs().max() * envelope + 0.0005 * noise
