"""``vofp enroll``: the profile of a speaker from recordings."""

from vofp_plugin.cli.models import add_model_to, load_model
from vofp_plugin.cli.paths import path_of


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "enroll",
        help="make the profile of a speaker from recordings",
        epilog="example: vofp enroll pretrained/keywords anna_1.wav anna_2.wav --output anna.json",
    )
    add_model_to(parser)
    parser.add_argument("wavs", nargs="+", type=path_of, metavar="WAV", help="a word each")
    parser.add_argument(
        "--output", required=True, type=path_of, metavar="FILE", help="the profile, JSON"
    )
    parser.add_argument(
        "--words", nargs="+", help="the word of each, for a model that is told (after the others)"
    )
    parser.set_defaults(run=_run)


def _run(arguments):
    profile = load_model(arguments).enroll(arguments.wavs, arguments.words)
    score, reason = profile.quality
    if not profile.num_used:
        raise ValueError(f"{reason}; wrote no profile: record the utterances again.")
    profile.save(arguments.output)
    used = f"{profile.num_used} of {len(profile.qualities)} recordings used"
    print(f"{arguments.output}: {used}, quality {score:.2f}{reason and f' ({reason})'}")
