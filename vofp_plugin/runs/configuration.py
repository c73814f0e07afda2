"""Configurations: HyperPyYAML files with bases and overrides, read without a silent mistake."""

import io
import re
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from hyperpyyaml import load_hyperpyyaml
from hyperpyyaml.core import _walk_tree_and_resolve, recursive_update
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.scanner import Scanner
from ruamel.yaml.tag import Tag
from yaml import safe_load

from vofp_plugin.runs.paths import PATHS, check_paths, expand_home

# SpeechBrain's run options that change what a training computes, be they keys of a YAML or options
# on the command line.
TRAINING_OPTIONS = (
    "precision",
    "auto_mix_prec",
    "bfloat16_mix_prec",
    "max_grad_norm",
    "skip_nonfinite_grads",
    "nonfinite_patience",
    "grad_accumulation_factor",
    "optimizer_step_limit",
)
INCLUDE = "!include:"
PRETRAINER = """\
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
pretrainer: !new:vofp_plugin.inference.pretrainer.FolderPretrainer
    loadables:
        model: !ref <model>
        label_encoder: !ref <label_encoder>
"""


class Source(NamedTuple):
    """Keys of a YAML file: those of its bases with its own in their place.

    Arguments
    ---------
    keys : dict
        Tree of ruamel's nodes, tags included.
    inherited : dict
        The keys of the bases alone.
    read : set of str
        Names that a `!ref` reads, in the file or in one of its bases.
    """

    keys: dict
    inherited: dict
    read: set


def load_yaml(yaml_file, overrides, read_keys):
    """Loads a HyperPyYAML file and refuses keys that nothing reads.

    The key `base` names a file, or a list of them, of which the file replaces keys, each as a
    whole. Overrides are merged: of a section they need only name what changes.

    Arguments
    ---------
    yaml_file : str or Path
    overrides : dict
        As `parse_overrides` gives them; they win over the file.
    read_keys : iterable of str
        Top-level keys that are read without a `!ref`.

    Returns
    -------
    dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no YAML, a key is unknown or read by nothing, or what should be a path is none.
    """
    source = read_yaml(yaml_file)
    check_keys(yaml_file, source, overrides, read_keys)
    tree = _overridden(yaml_file, source.keys, overrides)
    check_fragments(yaml_file, tree)
    return load_resolved(_resolve(tree))


def load_resolved(text):
    """Loads what `resolve_yaml` gave; refuses what should be a path and is none."""
    paths = {key: value for key, value in values_of(text).items() if key in PATHS}
    check_paths(safe_load(_dump(paths)))  # as HyperPyYAML will read them, by YAML 1.1
    return load_hyperpyyaml(text)


def parse_overrides(options):
    """Parses options of a command line, {key: YAML text of its value}.

    Raises
    ------
    ValueError
        If a value is no YAML, is empty, or would be cut off at what YAML takes as the start of a
        comment.

    Example
    -------
    >>> parse_overrides({"seed": "1", "main": "{channels: 16}"})
    {'seed': 1, 'main': {'channels': 16}}
    """
    empty = [key for key, value in options.items() if not value.strip()]
    if empty:
        raise ValueError(
            f"Got --{empty[0]} without a value on the command line; expected one, or null where "
            "none is meant. Was a variable of the shell empty?"
        )
    lines = [f"{key}: {value}" for key, value in options.items()]
    for line in lines:
        if re.search(r"^\w+: *[^'\"{\[\s].*\s#", line):
            raise ValueError(
                f"Got {line!r} on the command line, of which YAML takes what follows # as a "
                "comment: put the value in quotes that the shell leaves, as in "
                "--output_folder=\"'a #1'\"."
            )
    return _parse("\n".join(lines), "The command line")


def resolve_yaml(yaml_file, overrides):
    """Text of a HyperPyYAML file with its bases, overrides, references and fragments filled in."""
    return _resolve(_overridden(yaml_file, read_yaml(yaml_file).keys, overrides))


def pretrained_yaml(text):
    """YAML text for `from_hparams`: what inference needs of resolved text, and a pretrainer."""
    whole = _parse(text)
    for key in whole.keys() - {"front_end", "model", "modules", "interface"}:
        del whole[key]
    return f"{_dump(whole)}{PRETRAINER}"


def read_yaml(yaml_file, above=()):
    """Reads a YAML file and its bases as a `Source`; `above` are the files whose base it is."""
    path = Path(yaml_file)
    if path.resolve() in above:
        raise ValueError(
            f"{yaml_file} is its own base, directly or by way of others; name another."
        )
    if not path.is_file():
        raise FileNotFoundError(f"Found no YAML file {yaml_file}; give one of hparams/*.yaml.")
    own = _parse(path.read_text(encoding="utf-8"), yaml_file)
    _anchor_fragments(own, path.parent)
    bases = own.pop("base", [])
    above = (*above, path.resolve())
    sources = [
        read_yaml(path.parent / base, above)
        for base in ([bases] if isinstance(bases, str) else bases)
    ]
    read = references(own).union(*(source.read for source in sources))
    inherited = _merged(*(source.keys for source in sources))
    return Source(_merged(inherited, own), inherited, read)


def check_keys(yaml_file, source, overrides, read_keys):
    """Refuses top-level keys that are not in `read_keys` and that no `!ref` reads.

    A file may leave keys of its bases unread by replacing what read them; then they cannot be
    overridden.
    """
    read = {*read_keys, *references(source.keys), *(source.read - overrides.keys())}
    unread = [key for key in source.keys if key not in read and not key.startswith("__")]
    unknown = [key for key in unread if source.inherited and key not in source.inherited]
    if unknown:
        raise ValueError(
            f"{yaml_file} has keys that its base does not: {', '.join(unknown)}. Keys that "
            f"exist: {', '.join(source.inherited)}. A new one needs a !ref that reads it."
        )
    if unread:
        raise ValueError(
            f"{yaml_file} has keys that nothing reads: {', '.join(unread)}. Remove them or correct "
            "their spelling."
        )


def check_fragments(yaml_file, tree):
    """Refuses keys below an `!include` that the fragment does not have."""
    for section, node in tree.items():
        if not _tag(node).startswith(INCLUDE) or not isinstance(node, Mapping):
            continue
        file = unquote(_tag(node).removeprefix(INCLUDE))
        known = read_yaml(file).keys
        unknown = [key for key in node if key not in known]
        if unknown:
            raise ValueError(
                f"{section} in {yaml_file} or on the command line has keys that {file} does not: "
                f"{', '.join(unknown)}. Keys that exist: {', '.join(known)}."
            )


def references(tree):
    """Top-level names that the `!ref` and `!copy` in a tree of nodes read, as a set."""
    texts = (node.value for node in _nodes(tree) if _tag(node) in ("!ref", "!copy"))
    return {name for text in texts for name in re.findall(r"<(\w+)", text)}


def settings(text):
    """{top-level key: its value or section} of resolved YAML text, each in one line.

    What a section shares with another key is named, not repeated.

    Example
    -------
    >>> settings("seed: 0  # of all draws\\nelbo: !new:Elbo\\n  beta: 1.0\\n")
    {'seed': '0', 'elbo': '!new:Elbo beta: 1.0'}
    """
    tree = _parse(text)
    names = {id(node): key for key, node in tree.items() if isinstance(node, (Mapping, list))}
    return {key: _one_line(node, names) for key, node in tree.items()}


def values_of(text):
    """{top-level key: its value}, of resolved YAML text, to override another's with."""
    return dict(_parse(text))


def _one_line(node, names):
    def inner(child):
        if id(child) in names:
            return f"<{names[id(child)]}>"
        line = _one_line(child, names)
        return f"{{{line}}}" if isinstance(child, Mapping) else line

    if isinstance(node, Mapping):
        parts = [f"{key}: {inner(child)}" for key, child in node.items()]
    elif isinstance(node, list):
        parts = [f"[{', '.join(map(inner, node))}]"]
    else:
        parts = ["" if node is None else str(getattr(node, "value", node))]
    return " ".join(filter(None, [_tag(node), *parts]))


def _overridden(yaml_file, tree, overrides):
    """The tree with the overrides merged into it."""
    for option in TRAINING_OPTIONS:
        if option in overrides:
            tree.setdefault(option, None)
    _anchor_fragments(overrides, Path(yaml_file).parent)
    try:
        recursive_update(tree, overrides, must_match=True)
    except KeyError as error:
        raise ValueError(
            f"{error.args[0].partition(' in: ')[0]} in {yaml_file}. Keys that exist: "
            f"{', '.join(tree)}."
        ) from error
    except TypeError as error:
        raise ValueError(
            f"An override of {yaml_file} does not fit it; expected the keys of a section where "
            "there is a section, and a value elsewhere. What is a !ref or an !include without keys "
            f"can be changed where it points to. Got: {_one_line(overrides, {})}"
        ) from error
    expand_home(tree)
    return tree


def _merged(*trees):
    """One tree of several, of which later ones replace keys of earlier ones."""
    whole = _parse("{}")
    whole.fa.set_block_style()
    for tree in trees:
        whole.update(tree)
    return whole


def _anchor_fragments(tree, folder):
    """Makes the paths of all `!include`, which are relative to `folder`, whole."""
    for node in _nodes(tree):
        if _tag(node).startswith(INCLUDE):
            path = folder.resolve() / unquote(_tag(node).removeprefix(INCLUDE))
            node.yaml_set_ctag(Tag(suffix=f"{INCLUDE}{quote(str(path))}"))


def _nodes(node):
    yield node
    children = node.values() if isinstance(node, Mapping) else node
    for child in children if isinstance(node, (Mapping, list)) else ():
        yield from _nodes(child)


def _tag(node):
    return (node.tag.value if hasattr(node, "tag") else None) or ""


def _resolve(tree):
    """Text of a tree, in whose place references and fragments are filled in."""
    # As `resolve_references`, which parses text: that takes most of its time.
    _walk_tree_and_resolve("root", tree, tree, None)
    return _dump(tree)


def _yaml():
    yaml = YAML()
    yaml.Scanner = Scanner  # without comments, which would stay where their key is replaced
    return yaml


def _parse(text, place="The text"):
    try:
        tree = deepcopy(_parsed(text or "{}"))
    except YAMLError as error:
        raise ValueError(f"{place} or an override is no valid YAML: {error}") from error
    if not isinstance(tree, Mapping):
        raise ValueError(f"{place} is no valid YAML of the form `key: value`: got {tree!r}.")
    return tree


@lru_cache(maxsize=64)  # a run reads its fragments and its own settings several times
def _parsed(text):
    return _yaml().load(text)


def _dump(tree):
    stream = io.StringIO()
    _yaml().dump(tree, stream)
    return stream.getvalue()
