"""The ``vofp`` command."""

import argparse
import os
import sys


def main(argv=None):
    """Run a subcommand.

    Arguments
    ---------
    argv : list of str
        Command line without the program's name; that of the process if None.

    Returns
    -------
    int
        Exit status: 0, or 1 after a message on stderr.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (OSError, ValueError) as error:
        print(f"vofp {arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="vofp", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser(
        "compare",
        help="compare trained systems over folds and seeds",
        description="Pair runs by speaker, print a table and write comparison.md, "
        "comparison.json and plots.",
    )
    compare.add_argument(
        "run_folders", nargs="+", type=_path, metavar="RUN_FOLDER", help="with metrics.json"
    )
    compare.add_argument(
        "--output_folder", required=True, type=_path, help="where to write the comparison"
    )
    compare.add_argument(
        "--reference",
        metavar="SYSTEM",
        help="what the other systems are compared with (default: that of the first run)",
    )
    compare.add_argument(
        "--record", type=_path, metavar="CSV", help="also record the rows in this file"
    )
    compare.add_argument("--label", help="name of the recorded rows, replacing earlier ones")
    compare.set_defaults(run=_compare)
    return parser


def _path(text):
    """A path as people type it: `~` is their home, and nothing is no path."""
    if not text.strip():
        raise argparse.ArgumentTypeError("got an empty text, expected a path")
    return os.path.expanduser(text)


def _compare(arguments):
    from vofp_plugin.evaluation.reports import read_metrics, write_comparison
    from vofp_plugin.evaluation.tables import headline_table, record_rows

    if (arguments.record is None) != (arguments.label is None):
        raise ValueError("got one of --record and --label, expected both or none")
    runs = [read_metrics(folder) for folder in arguments.run_folders]
    reference = arguments.reference or runs[0]["system"]
    rows = write_comparison(runs, arguments.output_folder, reference)
    if arguments.record is not None:
        record_rows(arguments.record, arguments.label, rows)
    print(headline_table(rows))
    print(f"Written to {arguments.output_folder}/comparison.md")


if __name__ == "__main__":
    sys.exit(main())
