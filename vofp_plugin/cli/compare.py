"""``vofp compare``: trained systems over folds and seeds."""

from vofp_plugin.cli.paths import path_of


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "compare",
        help="compare trained systems over folds and seeds",
        description="Pair runs by speaker, print a table and write comparison.md, "
        "comparison.json and plots.",
        epilog="example: vofp compare results/shared/fold0_seed0 results/vofp/fold0_seed0 "
        "--output_folder=results/comparison",
    )
    parser.add_argument(
        "run_folders", nargs="+", type=path_of, metavar="RUN_FOLDER", help="with metrics.json"
    )
    parser.add_argument(
        "--output_folder", required=True, type=path_of, help="where to write the comparison"
    )
    parser.add_argument(
        "--reference",
        metavar="SYSTEM",
        help="what the other systems are compared with (default: that of the first run)",
    )
    parser.add_argument(
        "--record", type=path_of, metavar="CSV", help="also record the rows in this file"
    )
    parser.add_argument("--label", help="name of the recorded rows, replacing earlier ones")
    parser.set_defaults(run=_run)


def _run(arguments):
    from vofp_plugin.evaluation.reports import read_metrics, write_comparison
    from vofp_plugin.evaluation.tables import check_label, headline_table, record_rows

    if (arguments.record is None) != (arguments.label is None):
        raise ValueError("got one of --record and --label, expected both or none")
    if arguments.record is not None:
        check_label(arguments.label)
    runs = [read_metrics(folder) for folder in arguments.run_folders]
    reference = arguments.reference or runs[0]["system"]
    rows = write_comparison(runs, arguments.output_folder, reference)
    if arguments.record is not None:
        record_rows(arguments.record, arguments.label, rows)
    print(headline_table(rows))
    print(f"Written to {arguments.output_folder}/comparison.md")
