"""``vofp verify``: is this the enrolled speaker?"""

import json

from vofp_plugin.cli.models import add_far_to, add_model_to, add_only_me_to, load_claims
from vofp_plugin.cli.paths import path_of


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "verify",
        help="tell of each recording whether it is of the speaker of a profile",
        epilog="example: vofp verify pretrained/verification query.wav "
        "--profile anna.json --far 0.01",
    )
    add_model_to(parser)
    parser.add_argument("wavs", nargs="+", type=path_of, metavar="WAV")
    parser.add_argument("--profile", required=True, type=path_of, metavar="FILE")
    add_only_me_to(parser)
    add_far_to(parser, "equal errors of both kinds")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")
    parser.set_defaults(run=_run)


def _run(arguments):
    verifier = load_claims(arguments)
    profile = verifier.load_profile(arguments.profile)
    width = max(map(len, arguments.wavs))
    for wav in arguments.wavs:
        score, accepted = verifier.verify(wav, profile, arguments.far)
        if arguments.json:
            print(json.dumps({"wav": wav, "accepted": accepted, "score": score}))
        else:
            print(f"{wav:{width}}  {'accepted' if accepted else 'rejected'}  {score:.2f}")
