"""``vofp demo``: two real speakers enroll, ask, and are heard in a stream."""

import os
import shlex
import sys
import time
from pathlib import Path

from vofp_plugin.cli.paths import path_of

RATE = 16000  # Hz
SECONDS = 60  # of the stream
SPEAKERS = "anna", "bert"
ASKED = "anna_left", "anna_right", "bert_left", "bert_right", "other_word"
READ_AT = 12.0  # s, in the stream, where somebody reads
SAID_AT = {"anna_left": 3.0, "bert_left": 7.0, "other_word": 24.0, "bert_right": 30.0}
SAID_AT |= {"anna_right": 36.0, "bert_down": 43.0, "anna_down": 48.0, "anna_one": 54.0}
CLIPS = {"bert_down": "bert_enroll_1", "anna_down": "anna_enroll_1", "anna_one": "anna_enroll_3"}
HOP = 0.25  # s, from window to window
FAR = 0.01  # of the operating point at which the stream is heard


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "demo",
        help="enroll, ask and listen with recordings that come with the package",
        epilog="example: vofp demo --output_folder=demo",
    )
    parser.add_argument(
        "--output_folder", default="demo", type=path_of, help="of what it writes (%(default)s)"
    )
    parser.set_defaults(run=_run)


def _run(arguments):
    from vofp_plugin.evaluation.plots import plot_stream, save_figure
    from vofp_plugin.inference.keyword_spotter import KeywordSpotter
    from vofp_plugin.inference.shipped import shipped_models

    begin, folder = time.monotonic(), Path(arguments.output_folder)
    model = "pretrained/target-speaker-keywords"
    model = model if model in shipped_models() else "pretrained/keywords"
    spotter = KeywordSpotter.from_hparams(model)
    profiles = {name: _enroll(spotter, name, folder) for name in SPEAKERS}
    print(f"\nWhat {model} answers, with the probability:\n")
    print(_table(spotter, profiles))
    stream = _write_stream(spotter, folder / "stream.flac")
    print(f"\nA stream of {SECONDS} s: {_said()}.\nWhat is heard of whom is told:\n")
    asked = {**{f"{name} enrolled": name for name in SPEAKERS}, "none enrolled": None}
    curves = {
        label: _listen(spotter, profiles.get(name), name, stream) for label, name in asked.items()
    }
    said = {name: (start, start + 1) for name, start in SAID_AT.items()}
    figure = plot_stream(stream.numpy(), RATE, said, curves, HOP)
    save_figure(figure, folder / "demo.png")
    print(f"\nPicture: {folder / 'demo.png'}. The demo took {time.monotonic() - begin:.0f} s.")
    print("Next, and then with recordings of your own:\n")
    print("\n".join(_next_commands(model, folder)))


def _enroll(spotter, name, folder):
    """Profile of three clips, kept in the folder."""
    from vofp_plugin.inference.shipped import SAMPLES

    profile = spotter.enroll(sorted(SAMPLES.glob(f"{name}_enroll_*.flac")))
    profile.save(folder / f"{name}.json")
    print(
        f"Enrolled {name}: {profile.num_used} clips used, quality {profile.quality.score:.2f}, "
        f"{len(profile.to_bytes())} bytes without audio in {folder / f'{name}.json'}"
    )
    return profile


def _table(spotter, profiles):
    """Answers to each clip with each profile and with none."""
    from vofp_plugin.inference.shipped import SAMPLES

    heads = [*(f"{name} enrolled" for name in profiles), "none enrolled"]
    lines = ["".join(f"{head:18}" for head in ["clip", *heads])]
    paths = [SAMPLES / f"{clip}.flac" for clip in ASKED]
    columns = [_answers(spotter, paths, profile) for profile in [*profiles.values(), None]]
    for clip, *answers in zip(ASKED, *columns, strict=True):
        lines.append("".join(f"{cell:18}" for cell in [clip, *answers]))
    return "\n".join(lines)


def _answers(spotter, paths, profile):
    _, scores, _, words = spotter.classify_batch(paths, profiles=profile)
    return [f"{word} {score.exp():.2f}" for word, score in zip(words, scores, strict=True)]


def _write_stream(spotter, path):
    """The stream (L,) of clips in faint noise, also as a file."""
    import soundfile
    import torch

    from vofp_plugin.inference.shipped import SAMPLES
    from vofp_plugin.utils.files import whole_file

    stream = 0.0005 * torch.randn(SECONDS * RATE, generator=torch.Generator().manual_seed(0))
    for clip, start in {**SAID_AT, "reading": READ_AT}.items():
        wav = spotter.load_audio(SAMPLES / f"{CLIPS.get(clip, clip)}.flac")
        stream[round(start * RATE) :][: len(wav)] += wav
    with whole_file(path) as partial:
        soundfile.write(partial, stream.numpy(), RATE, format="FLAC")
    return stream


def _said():
    """Who says what in the stream, and when."""
    said = [
        f"{clip.replace('_', ' says ')} at {start:g} s"
        for clip, start in SAID_AT.items()
        if clip != "other_word"
    ]
    others = f"others speak at {READ_AT:g} and {SAID_AT['other_word']:g} s"
    return ", ".join([*said, others])


def _listen(spotter, profile, speaker, stream):
    """Prints the events of the stream; gives the probability of the best word in every window."""
    from vofp_plugin.inference.streaming import StreamingSpotter

    threshold = spotter.probability_at(FAR)
    listener = StreamingSpotter(
        spotter, profile, speaker, hop=HOP, threshold=threshold, smoothing=2
    )
    heard = list(listener.heard([stream]))
    for event in listener.events(heard):
        print(event.to_json())
    return [window.probabilities.max().item() for window in heard]


def _next_commands(model, folder):
    from vofp_plugin.inference.shipped import SAMPLES

    vofp, profile = _shortest(sys.argv[0]), folder / "you.json"
    clips = [_shortest(SAMPLES / f"bert_enroll_{number}.flac") for number in (1, 2, 3)]
    return [
        f"{vofp} enroll {model} {' '.join(clips)} --output {profile}",
        f"{vofp} spot {model} {_shortest(SAMPLES / 'bert_left.flac')} --profile {profile}",
        f"{vofp} listen {model} {folder / 'stream.flac'} --profile {profile}",
    ]


def _shortest(path):
    """A path as it is shortest to type here, in quotes where a shell needs them."""
    return shlex.quote(min(os.path.relpath(path), str(path), key=len))
