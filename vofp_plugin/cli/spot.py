"""``vofp spot``: the words of recordings."""

import json

from vofp_plugin.cli.models import (
    add_far_to,
    add_model_to,
    add_profile_to,
    load_profile,
    load_spotter,
)
from vofp_plugin.cli.paths import path_of


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "spot",
        help="tell the word of each recording",
        epilog="example: vofp spot pretrained/keywords query.wav --profile anna.json",
    )
    add_model_to(parser)
    parser.add_argument("wavs", nargs="+", type=path_of, metavar="WAV", help="a word each")
    add_profile_to(parser)
    add_far_to(parser, "of keywords the best word, of a target speaker equal errors")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")
    parser.set_defaults(run=_run)


def _run(arguments):
    spotter = load_spotter(arguments)
    profile = load_profile(arguments, spotter)
    width = max(map(len, arguments.wavs))
    for wav in arguments.wavs:
        _, score, _, (word,) = spotter.classify_file(wav, profile, arguments.far)
        probability = score.exp().item()
        if arguments.json:
            print(json.dumps({"wav": wav, "word": word, "probability": probability}))
        else:
            print(f"{wav:{width}}  {word}  {probability:.3f}")
