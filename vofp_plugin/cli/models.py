"""What subcommands that ask a model share: its folder, and the profile of a speaker."""

from vofp_plugin.cli.paths import path_of


def add_model_to(parser):
    """Adds the argument MODEL_FOLDER to argparse's."""
    parser.add_argument(
        "model_folder", type=path_of, metavar="MODEL_FOLDER", help="`pretrained` of a finished run"
    )


def add_profile_to(parser):
    """Adds the option --profile to argparse's."""
    parser.add_argument(
        "--profile", type=path_of, metavar="FILE", help="of the speaker (default: everybody)"
    )


def load_spotter(arguments):
    """Gives the `KeywordSpotter` of the model folder."""
    from vofp_plugin.inference.keyword_spotter import KeywordSpotter

    return KeywordSpotter.from_hparams(arguments.model_folder)


def load_profile(arguments, spotter):
    """Gives the `Profile` of --profile, or None."""
    return None if arguments.profile is None else spotter.load_profile(arguments.profile)
