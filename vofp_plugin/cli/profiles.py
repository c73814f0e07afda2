"""``vofp profiles``: what a profile store holds."""

from pathlib import Path

from vofp_plugin.cli.paths import path_of


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "profiles",
        help="list, export or delete the profiles of a store",
        epilog="example: vofp profiles speakers.db export anna anna.json",
    )
    parser.add_argument("store", type=path_of, metavar="STORE", help="the file of a ProfileStore")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="print the names").set_defaults(run=_list)
    export = actions.add_parser("export", help="write a profile to a file")
    delete = actions.add_parser("delete", help="remove a profile from the disk")
    for action, run in ((export, _export), (delete, _delete)):
        action.add_argument("name", metavar="NAME")
        action.set_defaults(run=run)
    export.add_argument("file", type=path_of, metavar="FILE")


def _list(arguments):
    for name in _store(arguments).names():
        print(name)


def _export(arguments):
    _store(arguments).export(arguments.name, arguments.file)
    print(f"Written to {arguments.file}")


def _delete(arguments):
    _store(arguments).delete(arguments.name)
    print(f"Deleted {arguments.name}")


def _store(arguments):
    from vofp_plugin.inference.profile_store import ProfileStore

    if not Path(arguments.store).is_file():  # or it would be made
        raise FileNotFoundError(f"Found no profile store {arguments.store}; fix the path.")
    return ProfileStore(arguments.store)
