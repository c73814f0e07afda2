"""Paths: the options that name files and folders, as people type them."""

import os

NEEDED_PATHS = ("data_folder", "output_folder", "cache_folder")
# What a run reads and may find at another place when it goes on.
SOURCES = ("data_folder", "noise_folder", "start_folder", "start_checkpoint", "start_classes")
PATHS = (*NEEDED_PATHS, *SOURCES[1:], "test_annotation")


def expand_home(tree):
    """Puts the home folder in the place of `~` in all paths of a tree of YAML nodes.

    Example
    -------
    >>> tree = {"output_folder": "~/results", "seed": 0}
    >>> expand_home(tree)
    >>> tree["output_folder"] == os.path.expanduser("~/results")
    True
    """
    for key in tree.keys() & {*PATHS}:
        node = tree[key]
        if isinstance(node, str):
            tree[key] = os.path.expanduser(node)
        elif isinstance(getattr(node, "value", None), str):  # of a !ref
            node.value = os.path.expanduser(node.value)


def check_paths(values):
    """Refuses values that are no path, by the name of their option.

    Arguments
    ---------
    values : dict
        {key: value} as they will be read; keys that are no paths are passed over.

    Raises
    ------
    ValueError
        If a path is a number, empty, or null though it is needed.

    Example
    -------
    >>> check_paths({"data_folder": "./2024", "noise_folder": None})
    >>> check_paths({"data_folder": 2024})
    Traceback (most recent call last):
    ...
    ValueError: Got data_folder 2024; expected a path: give --data_folder=FOLDER. ...
    """
    for key in PATHS:
        value = values.get(key, "")
        if key not in values or (value is None and key not in NEEDED_PATHS):
            continue
        if not isinstance(value, str) or not value.strip() or value.startswith("~"):
            kind = "FOLDER" if key.endswith("_folder") else "FILE"
            raise ValueError(
                f"Got {key} {value!r}; expected a path: give --{key}={kind}. Before a name that "
                "YAML takes as a number, a date or a truth value, or that begins with ~ but is no "
                "home, put ./ as in ./2024."
            )
