"""``vofp export``: one speaker's model in one file."""

from vofp_plugin.cli.models import add_model_to, add_profile_to, load_profile, load_spotter
from vofp_plugin.cli.paths import path_of


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "export",
        help="write a speaker's model, from audio to log-probabilities, for torch alone",
        epilog="example: vofp export pretrained/keywords --profile anna.json --output anna.pt2",
    )
    add_model_to(parser)
    add_profile_to(parser)
    parser.add_argument("--output", required=True, type=path_of, metavar="FILE")
    parser.set_defaults(run=_run)


def _run(arguments):
    from vofp_plugin.inference.export import export

    spotter = load_spotter(arguments)
    export(spotter, load_profile(arguments, spotter), arguments.output)
    print(f"Written to {arguments.output}")
