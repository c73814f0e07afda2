"""``vofp listen``: the words of a stream, or when a speaker speaks, as lines of JSON."""

import json
import sys
from pathlib import Path

from vofp_plugin.cli.models import (
    add_far_to,
    add_model_to,
    add_only_me_to,
    add_profile_to,
    ask_voice,
    load_model,
    load_profile,
)
from vofp_plugin.cli.paths import path_of

CHUNK = 0.1  # s


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "listen",
        help="tell the words of a stream, or when the speaker speaks, as lines of JSON",
        epilog="example: arecord -q -t raw -f S16_LE -r 16000 | vofp listen "
        "pretrained/keywords - --profile anna.json",
    )
    add_model_to(parser)
    parser.add_argument(
        "stream",
        type=path_of,
        metavar="STREAM",
        help="audio file; - for raw 16-bit mono from stdin; `microphone` (extra of that name)",
    )
    add_profile_to(parser)
    add_only_me_to(parser)
    add_far_to(parser, "the model's own threshold")
    parser.add_argument(
        "--threshold", type=float, help="probability from which on a word is told, in place of that"
    )
    parser.add_argument("--speaker", metavar="NAME", help="told in every line")
    for name, kind, default, told in (
        ("hop", float, 0.1, "from window to window, in s"),
        ("smoothing", int, 3, "windows of which the mean is taken"),
        ("refractory", float, 1.0, "pause after a word, in s"),
        ("patience", float, 10.0, "time without sound after which a stream has stalled, in s"),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{told} (%(default)s)")
    parser.add_argument("--ignored", nargs="*", default=[], metavar="WORD", help="words not told")
    parser.set_defaults(run=_run)


def _run(arguments):
    from vofp_plugin.inference.personal_vad import PersonalVAD
    from vofp_plugin.inference.streaming import StreamingSpotter

    model = load_model(arguments)
    if isinstance(model, PersonalVAD):
        _tell_speech(arguments, model)
        return
    spotter, profile = _spotter_and_profile(arguments, model)
    listener = StreamingSpotter(
        spotter,
        profile,
        arguments.speaker,
        hop=arguments.hop,
        threshold=_threshold(arguments, spotter),
        smoothing=arguments.smoothing,
        refractory=arguments.refractory,
        ignored=arguments.ignored,
    )
    for event in listener.listen(_chunks(arguments, spotter)):
        print(event.to_json(), flush=True)


def _tell_speech(arguments, vad):
    """Prints the stretches of a recording in which the enrolled speaker speaks."""
    if arguments.stream in ("-", "microphone"):
        raise ValueError(f"got the stream {arguments.stream} for a PersonalVAD; give an audio file")
    if arguments.profile is None:
        raise ValueError("got no --profile; give that of the speaker who is listened for")
    given = {} if arguments.threshold is None else {"threshold": arguments.threshold}
    for start, end in vad.segments(arguments.stream, load_profile(arguments, vad), **given):
        times = {"start": round(start, 2), "end": round(end, 2)}
        print(json.dumps({**times, "speaker": arguments.speaker}), flush=True)


def _spotter_and_profile(arguments, spotter):
    """What answers, and with which profile; a personal keyword has the name of its file."""
    from vofp_plugin.inference.enrolled_words import EnrolledWords
    from vofp_plugin.inference.keyword_spotter import KeywordSpotter
    from vofp_plugin.inference.personal_keyword_spotter import PersonalKeywordSpotter

    if not isinstance(spotter, KeywordSpotter | PersonalKeywordSpotter):
        raise TypeError(f"got a {type(spotter).__name__} to listen for words; take a spotter")
    if arguments.only_me:
        ask_voice(spotter)
    profile = load_profile(arguments, spotter)
    if not isinstance(spotter, PersonalKeywordSpotter):
        return spotter, profile
    if profile is None:
        raise ValueError("got no --profile; a personal keyword is known by its profile alone")
    words = {Path(arguments.profile).stem: profile}
    return EnrolledWords(spotter, words, arguments.far), None


def _threshold(arguments, spotter):
    """That of --threshold, or of --far, which is in the scores of enrolled words already."""
    from vofp_plugin.inference.keyword_spotter import KeywordSpotter

    if arguments.threshold is None and isinstance(spotter, KeywordSpotter):
        return spotter.probability_at(arguments.far)
    return arguments.threshold


def _chunks(arguments, spotter):
    """The stream that was asked for."""
    from vofp_plugin.dataio.audio import check_length, load_audio
    from vofp_plugin.inference.sources import microphone, patient

    rate = spotter.hparams.front_end.sample_rate
    if arguments.stream == "microphone":
        return patient(microphone(rate, CHUNK), arguments.patience)
    if arguments.stream == "-":
        raw = _raw_chunks(sys.stdin.buffer, round(CHUNK * rate))
        return patient(raw, arguments.patience)
    wav = load_audio(arguments.stream, rate)
    check_length(wav, arguments.stream, rate)
    return wav.split(round(CHUNK * rate))


def _raw_chunks(stream, size):
    """Chunks of raw 16-bit mono samples; half a sample at the end is left out."""
    import numpy as np

    while data := stream.read(2 * size):
        yield np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype("float32") / 32768
