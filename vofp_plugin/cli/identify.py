"""``vofp identify``: who of some speakers is this?"""

import json
from pathlib import Path

from vofp_plugin.cli.models import add_far_to, add_model_to, add_only_me_to, load_claims
from vofp_plugin.cli.paths import path_of


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "identify",
        help="tell who of some speakers is heard in each recording, or nobody",
        epilog="example: vofp identify pretrained/verification query.wav "
        "--profiles anna.json bert.json",
    )
    add_model_to(parser)
    parser.add_argument("wavs", nargs="+", type=path_of, metavar="WAV")
    parser.add_argument(
        "--profiles",
        nargs="+",
        required=True,
        type=path_of,
        metavar="FILE",
        help="a speaker each, of the name of the file (after the recordings)",
    )
    add_only_me_to(parser)
    add_far_to(parser, "equal errors of both kinds")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")
    parser.set_defaults(run=_run)


def _run(arguments):
    model = load_claims(arguments)
    profiles = {Path(file).stem: model.load_profile(file) for file in arguments.profiles}
    if len(profiles) < len(arguments.profiles):
        raise ValueError("got two profiles of one name; expected another name of each file")
    width = max(map(len, arguments.wavs))
    for wav in arguments.wavs:
        name, score = model.identify(wav, profiles, arguments.far)
        if arguments.json:
            print(json.dumps({"wav": wav, "speaker": name, "score": score}))
        else:
            print(f"{wav:{width}}  {name or 'nobody'}  {score:.2f}")
