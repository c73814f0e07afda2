"""The ``vofp`` command: one file of this folder for each subcommand."""

import argparse
import sys

from vofp_plugin.cli import (
    compare,
    demo,
    doctor,
    enroll,
    export,
    identify,
    listen,
    models,
    page,
    profiles,
    spot,
    verify,
)

COMMANDS = (
    demo,
    models,
    enroll,
    spot,
    verify,
    identify,
    listen,
    page,
    profiles,
    export,
    compare,
    doctor,
)


def main(argv=None):
    """Run a subcommand.

    Arguments
    ---------
    argv : list of str
        Command line without the program's name; that of the process if None.

    Returns
    -------
    int
        Exit status: 0, 1 after a message on stderr, or 130 where Ctrl+C ended it.
    """
    parser = argparse.ArgumentParser(
        prog="vofp",
        description="Answers fitted to a speaker: words, who speaks, and personal keywords.",
        epilog="Start with `vofp demo`. `vofp COMMAND --help` ends with an example.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except (OSError, ValueError, TypeError, ImportError) as error:
        return _refuse(arguments, error)
    except KeyError as error:  # whose own text is quoted
        return _refuse(arguments, error.args[0])
    except KeyboardInterrupt:
        return 130
    return 0


def _refuse(arguments, error):
    print(f"vofp {arguments.command}: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
