"""Configurations: HyperPyYAML files with overrides, read without a silent mistake."""

import re
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAMLError


def load_yaml(yaml_file, overrides, read_keys):
    """Loads a HyperPyYAML file and refuses keys that nothing reads.

    A file with the key `base` holds overrides of the file that it names.

    Arguments
    ---------
    yaml_file : str or Path
    overrides : str
        YAML text; wins over the file.
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
        If it is no YAML, or a key is unknown or read by nothing.
    """
    text = resolve_yaml(yaml_file, overrides)
    main_file, overrides = follow_base(yaml_file, overrides)
    check_keys(main_file, read_keys)
    hparams = load_hyperpyyaml(text)
    check_fragments(main_file, overrides, hparams)
    return hparams


def resolve_yaml(yaml_file, overrides):
    """Text of a HyperPyYAML file with its overrides, references and fragments filled in."""
    yaml_file, overrides = follow_base(yaml_file, overrides)
    text = Path(yaml_file).read_text(encoding="utf-8")
    with open(yaml_file, encoding="utf-8") as stream:
        try:
            return resolve_references(stream, overrides, overrides_must_match=True).getvalue()
        except KeyError as error:
            raise ValueError(
                f"{error.args[0].partition(' in: ')[0]} in {yaml_file}. Keys that exist: "
                f"{', '.join(_keys(text))}."
            ) from error
        except YAMLError as error:
            raise ValueError(f"{yaml_file} or an override is no valid YAML: {error}") from error


def follow_base(yaml_file, overrides):
    """The file at the end of the chain of `base` keys, and all overrides of it, the last wins."""
    if not Path(yaml_file).is_file():
        raise FileNotFoundError(f"Found no YAML file {yaml_file}; give one of hparams/*.yaml.")
    text = Path(yaml_file).read_text(encoding="utf-8")
    base = re.match(r"(?:\s*#.*\n)*\s*base:\s*(\S+)\n", text)
    if base:
        return follow_base(
            Path(yaml_file).parent / base.group(1), f"{text[base.end() :]}\n{overrides}"
        )
    return yaml_file, "\n".join(_blocks(overrides).values())


def check_keys(yaml_file, read_keys):
    """Refuses top-level keys that are not in `read_keys` and that no `!ref` reads."""
    text = Path(yaml_file).read_text(encoding="utf-8")
    read = {*read_keys, *re.findall(r"<(\w+)", text)}
    unread = [key for key in _keys(text) if key not in read and not key.startswith("__")]
    if unread:
        raise ValueError(
            f"{yaml_file} has keys that nothing reads: {', '.join(unread)}. Remove them or correct "
            "their spelling."
        )


def check_fragments(yaml_file, overrides, hparams):
    """Refuses overrides of a fragment's keys that the fragment does not have."""
    text = Path(yaml_file).read_text(encoding="utf-8")
    includes = r"^(\w+): *!include:(\S+)"
    fragments = re.findall(includes, f"{text}\n{overrides}", flags=re.MULTILINE)
    for section, file in dict(fragments).items():
        known = _keys((Path(yaml_file).parent / file).read_text(encoding="utf-8"))
        unknown = [key for key in hparams[section] if key not in known]
        if unknown:
            raise ValueError(
                f"{section} in {yaml_file} or on the command line has keys that {file} does not: "
                f"{', '.join(unknown)}. Keys that exist: {', '.join(known)}."
            )


def _keys(text):
    return re.findall(r"^(\w+):", text, flags=re.MULTILINE)


def _blocks(text):
    """{top-level key: its YAML text}; of a key that is repeated, the last."""
    blocks = {}
    for block in re.split(r"\n(?=\w)", f"\n{text or ''}"):
        if block.strip():
            blocks[block.strip().partition(":")[0]] = block.strip("\n")
    return blocks


def plain_values(text):
    """{top-level key: value} of YAML text, for values of one line."""
    return dict(re.findall(r"^([a-z]\w*): *([^#\n]+?) *(?:#.*)?$", text, flags=re.MULTILINE))
