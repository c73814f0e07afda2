"""Configurations: HyperPyYAML files with overrides, read without a silent mistake."""

import io
import re
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML, YAMLError

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
BASE = re.compile(
    r"""(?:\s*(?:\#.*|---)\n)*\s*base:[ \t]*["']?([^\s"'\#]+)["']?[ \t]*(?:\#.*)?(?:\n|$)"""
)
PRETRAINER = """\
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        model: !ref <model>
        label_encoder: !ref <label_encoder>
    custom_hooks:  # SpeechBrain's own would leave at random what is lacking
        model: !name:speechbrain.utils.checkpoints.torch_recovery
            end_of_epoch: True
"""


def load_yaml(yaml_file, overrides, read_keys):
    """Loads a HyperPyYAML file and refuses keys that nothing reads.

    A file with the key `base` holds keys that replace those of the file that it names, each as a
    whole. Overrides are merged: of a section they need only name what changes.

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
    check_keys(yaml_file, overrides, read_keys)
    hparams = load_hyperpyyaml(resolve_yaml(yaml_file, overrides))
    check_fragments(yaml_file, overrides, hparams)
    return hparams


def check_overrides(overrides):
    """Refuses values that YAML would cut off at what it takes as the start of a comment."""
    cut = re.search(r"^\w+: *[^'\"{\[\s].*\s#.*$", overrides, flags=re.MULTILINE)
    if cut:
        raise ValueError(
            f"Got {cut.group()!r} on the command line, of which YAML takes what follows # as a "
            "comment: put the value in quotes that the shell leaves, as in "
            "--output_folder=\"'a #1'\"."
        )


def resolve_yaml(yaml_file, overrides):
    """Text of a HyperPyYAML file with its base, overrides, references and fragments filled in."""
    main_file, text = read_yaml(yaml_file)
    blocks = blocks_of(overrides)
    added = [key for key in TRAINING_OPTIONS if key in blocks and key not in _keys(text)]
    stream = io.StringIO("\n".join([text, *(blocks.pop(key) for key in added), ""]))
    stream.name = str(main_file)  # where fragments are looked up from
    overrides = "\n".join(blocks.values())
    try:
        return resolve_references(stream, overrides, overrides_must_match=True).getvalue()
    except KeyError as error:
        raise ValueError(
            f"{error.args[0].partition(' in: ')[0]} in {yaml_file}. Keys that exist: "
            f"{', '.join(_keys(text))}."
        ) from error
    except YAMLError as error:
        raise ValueError(f"{yaml_file} or an override is no valid YAML: {error}") from error
    except ValueError as error:
        if "structure" not in str(error):
            raise
        raise ValueError(  # HyperPyYAML's is a tuple, which does not say what to do
            f"An override of {yaml_file} does not fit it; expected the keys of a section where "
            "there is a section, and a value elsewhere. What is a !ref or an !include without keys "
            f"can be changed where it points to. Got: {' '.join(overrides.split())}"
        ) from error


def pretrained_yaml(text):
    """YAML text for `from_hparams`: what inference needs of resolved text, and a pretrainer."""
    yaml = YAML()
    whole = yaml.load(text)
    needed = yaml.map()
    needed.update({key: whole[key] for key in ("front_end", "model", "modules")})
    stream = io.StringIO()
    yaml.dump(needed, stream)
    plain = re.sub(r"\n\s*#[^\n]*", "", stream.getvalue())  # comments of the keys left out
    return f"{plain}{PRETRAINER}"


def read_yaml(yaml_file, above=()):
    """The file at the end of the chain of `base` keys, and its text with the keys replaced."""
    if Path(yaml_file).resolve() in above:
        raise ValueError(
            f"{yaml_file} is its own base, directly or by way of others; name another."
        )
    if not Path(yaml_file).is_file():
        raise FileNotFoundError(f"Found no YAML file {yaml_file}; give one of hparams/*.yaml.")
    text = Path(yaml_file).read_text(encoding="utf-8")
    base = BASE.match(text)
    if not base:
        return yaml_file, text
    above = (*above, Path(yaml_file).resolve())
    main_file, main_text = read_yaml(Path(yaml_file).parent / base.group(1), above)
    old, new = blocks_of(main_text), blocks_of(text[base.end() :])
    unknown = [key for key in new if key not in old]
    if unknown:
        raise ValueError(
            f"{yaml_file} has keys that {base.group(1)} does not: {', '.join(unknown)}. Keys that "
            f"exist: {', '.join(old)}."
        )
    return main_file, "\n".join([*(old | new).values(), ""])


def check_keys(yaml_file, overrides, read_keys):
    """Refuses top-level keys that are not in `read_keys` and that no `!ref` reads.

    A file with `base` may leave keys of the base unread by replacing what read them; then they
    cannot be overridden.
    """
    main_file, text = read_yaml(yaml_file)
    read = {*read_keys, *_references(text)}
    read |= _references(Path(main_file).read_text(encoding="utf-8")) - blocks_of(overrides).keys()
    unread = [key for key in _keys(text) if key not in read and not key.startswith("__")]
    if unread:
        raise ValueError(
            f"{yaml_file} has keys that nothing reads: {', '.join(unread)}. Remove them or correct "
            "their spelling."
        )


def check_fragments(yaml_file, overrides, hparams):
    """Refuses overrides of a fragment's keys that the fragment does not have."""
    main_file, text = read_yaml(yaml_file)
    includes = r"^(\w+): *!include:(\S+)"
    fragments = re.findall(includes, f"{text}\n{overrides}", flags=re.MULTILINE)
    for section, file in dict(fragments).items():
        known = _keys((Path(main_file).parent / file).read_text(encoding="utf-8"))
        unknown = [key for key in hparams[section] if key not in known]
        if unknown:
            raise ValueError(
                f"{section} in {yaml_file} or on the command line has keys that {file} does not: "
                f"{', '.join(unknown)}. Keys that exist: {', '.join(known)}."
            )


def _references(text):
    return set(re.findall(r"<(\w+)", text))


def _keys(text):
    return re.findall(r"^([^\s#:-][^:\n]*?)\s*:", text, flags=re.MULTILINE)


def blocks_of(text):
    """{top-level key: its YAML text}; of a key that is repeated, the last."""
    blocks = {}
    for block in re.split(r"\n(?=\w)", f"\n{text or ''}"):
        if block.strip() and not block.lstrip().startswith("#"):  # the comment above all keys
            blocks[block.strip().partition(":")[0]] = block.strip("\n")
    return blocks


def settings(text):
    """{top-level key: its value or section} of resolved YAML text, each in one line.

    Example
    -------
    >>> settings("seed: 0  # of all draws\\nelbo: &id003 !new:Elbo\\n  beta: 1.0\\n")
    {'seed': '0', 'elbo': '!new:Elbo beta: 1.0'}
    """
    quoted = r"'(?:[^'\n]|'')*'|\"[^\"\n]*\""  # there a # is no comment
    dropped = rf"({quoted})|[&*]id\d+\b|(?:^|\s)#[^\n]*"  # nor are anchors of interest
    plain = re.sub(dropped, lambda match: match[1] or "", text, flags=re.MULTILINE)
    blocks = blocks_of(plain).items()
    return {key: " ".join(block.partition(":")[2].split()) for key, block in blocks}
