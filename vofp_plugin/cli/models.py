"""``vofp models``, and what subcommands that ask a model share: its folder, and a profile."""

from vofp_plugin.cli.paths import path_of


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "models",
        help="list the models that come with the package",
        epilog="example: vofp models pretrained/keywords",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="print the card of this one")
    parser.set_defaults(run=_run)


def add_model_to(parser):
    """Adds the argument MODEL to argparse's."""
    parser.add_argument(
        "model_folder",
        type=path_of,
        metavar="MODEL",
        help="one of `vofp models`, or the folder `pretrained` of a finished run",
    )


def add_profile_to(parser):
    """Adds the option --profile to argparse's."""
    parser.add_argument(
        "--profile", type=path_of, metavar="FILE", help="of the speaker (default: everybody)"
    )


def add_far_to(parser, default):
    """Adds the option --far to argparse's; `default` says what holds without it."""
    parser.add_argument(
        "--far",
        type=float,
        help="share of false claims accepted, 0.001, 0.01 or 0.05, by which the threshold of the "
        f"model is chosen (default: {default})",
    )


def add_only_me_to(parser):
    """Adds the option --only_me to argparse's."""
    parser.add_argument(
        "--only_me",
        action="store_true",
        help="of personal keywords: only by the voice that enrolled the word",
    )


def load_model(arguments):
    """Gives the model of the model folder, of whichever inference class it is."""
    from vofp_plugin.inference.interfaces import PersonalizedInterface

    return PersonalizedInterface.from_hparams(arguments.model_folder)


def load_spotter(arguments):
    """Gives the `KeywordSpotter` of the model folder."""
    from vofp_plugin.inference.keyword_spotter import KeywordSpotter

    return KeywordSpotter.from_hparams(arguments.model_folder)


def load_claims(arguments):
    """Gives the `ClaimInterface` of the model folder."""
    from vofp_plugin.inference.claims import ClaimInterface

    model = ClaimInterface.from_hparams(arguments.model_folder)
    if arguments.only_me:
        ask_voice(model)
    return model


def ask_voice(model):
    """Has a `PersonalKeywordSpotter` accept the voice alone that enrolled a word."""
    if not hasattr(model, "only_me"):
        raise ValueError(
            f"got --only_me for a {type(model).__name__}; expected a model of personal keywords"
        )
    model.only_me = True


def load_profile(arguments, spotter):
    """Gives the `Profile` of --profile, or None."""
    return None if arguments.profile is None else spotter.load_profile(arguments.profile)


def _run(arguments):
    from vofp_plugin.inference.shipped import card, shipped_models

    if arguments.name is not None:
        print(card(arguments.name))
        return
    for name in shipped_models():
        print(f"{name}: {_first_sentence(card(name))}")


def _first_sentence(text):
    """Of the first paragraph below the title of a card."""
    return text.splitlines()[2].partition(". ")[0] + "."
