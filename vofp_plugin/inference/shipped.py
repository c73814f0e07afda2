"""Shipped models: those that come with the package, by names that start with "pretrained/"."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
PREFIX = "pretrained/"
FOLDER, SAMPLES = PACKAGE / "pretrained", PACKAGE / "samples"


def shipped_models():
    """Names of all shipped models, as `from_hparams` takes them, sorted.

    Example
    -------
    >>> "pretrained/keywords" in shipped_models()
    True
    """
    return sorted(PREFIX + path.parent.name for path in FOLDER.glob("*/hyperparams.yaml"))


def model_folder(source):
    """Gives the folder of a model.

    Arguments
    ---------
    source : str or Path
        A folder, or the name of a shipped model.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If there is neither; SpeechBrain would look for it on a hub.
    ValueError
        If it is the folder around that of a model.
    """
    folder = Path(source)
    if str(source) in shipped_models() and not folder.is_dir():
        return PACKAGE / source
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Found no folder {source}; expected the folder `pretrained` of a finished run, or one "
            f"of {', '.join(shipped_models())}."
        )
    if (folder / "pretrained").is_dir():
        raise ValueError(f"Got the folder of a run; expected {folder / 'pretrained'}.")
    return folder


def card(name):
    """Text of the card of a shipped model: data, licence, command, figures and limits.

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    """
    if name not in shipped_models():
        raise FileNotFoundError(f"Found no {name}; expected one of {', '.join(shipped_models())}.")
    return (PACKAGE / name / "card.md").read_text(encoding="utf-8")
