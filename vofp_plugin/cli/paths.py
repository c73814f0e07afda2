"""Paths as people type them on a command line."""

import argparse
import os


def path_of(text):
    """Gives the path of a text: `~` is the home, and an empty text is refused."""
    if not text.strip():
        raise argparse.ArgumentTypeError("got an empty text, expected a path")
    return os.path.expanduser(text)
