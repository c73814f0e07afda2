"""``vofp export``: one speaker's model in one file, or what enrolls on the device in two."""

import logging
import warnings

from vofp_plugin.cli.models import add_model_to, add_profile_to, load_model, load_profile
from vofp_plugin.cli.paths import path_of


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "export",
        help="write a speaker's model, from audio to scores, for torch or onnxruntime alone",
        epilog="example: vofp export pretrained/keywords --profile anna.json --format onnx "
        "--output anna.onnx",
    )
    add_model_to(parser)
    add_profile_to(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="torch",
        help="a program of torch.export; ONNX; ONNX with weights of 8 bits; or, for every speaker, "
        "a folder with enroll.onnx and answer.onnx (%(default)s)",
    )
    parser.add_argument("--output", required=True, type=path_of, metavar="PATH")
    parser.set_defaults(run=_run)


def _run(arguments):
    if arguments.format == "onnx-pair" and arguments.profile is not None:
        raise ValueError("got --profile for onnx-pair, which enrolls any speaker; leave it out")
    spotter = load_model(arguments)
    profile = load_profile(arguments, spotter)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of torch about itself
        FORMATS[arguments.format](spotter, profile, arguments.output)
    print(f"Written to {arguments.output}")


def _torch(spotter, profile, path):
    from vofp_plugin.inference.export import export

    export(spotter, profile, path)


def _onnx(spotter, profile, path):
    from vofp_plugin.inference.onnx_export import export_onnx

    export_onnx(spotter, profile, path)


def _onnx_int8(spotter, profile, path):
    from vofp_plugin.inference.onnx_export import round_to_8_bits

    _onnx(spotter, profile, path)
    round_to_8_bits(path, path)


def _onnx_pair(spotter, _, folder):
    from vofp_plugin.inference.onnx_export import export_onnx_pair

    export_onnx_pair(spotter, folder)


FORMATS = {"torch": _torch, "onnx": _onnx, "onnx-int8": _onnx_int8, "onnx-pair": _onnx_pair}
