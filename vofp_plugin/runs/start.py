"""Start: the trained main model from which a run sets out, and the classes that it knows."""

import hashlib
from pathlib import Path

import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.utils.checkpoints import Checkpointer

from vofp_plugin.dataio.manifests import read_manifest, speakers_of
from vofp_plugin.lobes.personalized import PersonalizedModel
from vofp_plugin.runs.checkpoints import main_model_state, part_state, read_state
from vofp_plugin.runs.run_folder import (
    CLASS_FILE,
    check_content,
    has_checkpoint,
    load_classes,
)

LABEL_ENCODER = "label_encoder.txt"  # as SpeechBrain's recipes name it


class RunStart:
    """The main model of a finished run of this plugin, by `start_folder`.

    Arguments
    ---------
    folder : str or Path
        Output folder of the run.
    """

    option = "start_folder"
    remedy = "It is another one: give the --start_folder of a run with a main model of the same "
    remedy += "settings."

    def __init__(self, folder):
        self.place = Path(folder)

    def is_there(self):
        """Says whether the main model can still be read."""
        return has_checkpoint(self.place)

    def state(self, main_model):
        """Reads the state dict."""
        return main_model_state(self.place)

    def head_state(self, head):
        """Reads what a detection head of the run has in common with `head`."""
        state = part_state(self.place, "head")
        return {name: x for name, x in state.items() if name in head.state_dict()}

    def check(self, hparams, manifests, classes):
        """Refuses an unfinished run, other classes, and a main model that knows speakers asked."""
        if not (self.place / "metrics.json").is_file():
            raise ValueError(
                f"The run in {self.place} has not ended; start it again, which resumes it, and "
                "wait for its metrics.json."
            )
        known_classes = load_classes(self.place / CLASS_FILE)
        if known_classes.lab2ind != classes.lab2ind:
            raise ValueError(
                f"The main model in {self.place} knows the classes "
                f"{', '.join(known_classes.lab2ind)}; expected {', '.join(classes.lab2ind)}: give "
                "the --start_folder of a run on the same classes."
            )
        trained = read_manifest(self.place / "manifests" / "train.csv", hparams["data_folder"])
        known = speakers_of(trained.values())
        asked = speakers_of(manifests["valid"] + manifests["test"])
        if known & asked:
            raise ValueError(
                f"The main model in {self.place} was trained on {len(known & asked)} speakers that "
                f"are to be asked, such as {min(known & asked)}; give the --start_folder of the "
                "same fold."
            )


class CheckpointStart:
    """A main model trained elsewhere, by `start_checkpoint`. Whom it heard is not known.

    Arguments
    ---------
    path : str or Path
        A state dict of the main model, or a folder of SpeechBrain's with one for each part of it,
        such as embedding_model.ckpt and classifier.ckpt: a checkpoint, a folder of checkpoints of
        which the last is taken, or the output folder of a recipe.

    Example
    -------
    >>> main_model = torch.nn.ModuleDict({"classifier": torch.nn.Linear(1, 2)})
    >>> folder = getfixture("tmp_path")
    >>> torch.save(main_model.classifier.state_dict(), folder / "classifier.ckpt")
    >>> list(CheckpointStart(folder).state(main_model))
    ['classifier.weight', 'classifier.bias']
    """

    option = "start_checkpoint"
    remedy = "Describe it by `main` in the YAML as it was trained, or give another "
    remedy += "--start_checkpoint."

    def __init__(self, path):
        self.place = Path(path)

    def is_there(self):
        """Says whether the main model can still be read."""
        return self.place.exists()

    def state(self, main_model):
        """Reads the state dict; of a folder, that of all parts which have a file in it."""
        if self.place.is_file():
            return read_state(self.place)
        folder = self._folder()
        files = {name: folder / f"{name}.ckpt" for name, _ in main_model.named_children()}
        state = {
            f"{name}.{key}": x
            for name, file in files.items()
            if file.is_file()
            for key, x in read_state(file).items()
        }
        if not state:
            raise FileNotFoundError(
                f"Found no main model in {folder}: expected one file at least of "
                f"{', '.join(file.name for file in files.values())}, the parts of `main`."
            )
        return state

    def classes(self, path=None):
        """Reads the class list in its own order, from `path` or from beside the main model."""
        if path is not None:
            return read_class_list(path)
        folder = self.place.parent if self.place.is_file() else self._folder()
        for place in (folder, folder.parent):
            if (place / LABEL_ENCODER).is_file():
                return read_class_list(place / LABEL_ENCODER)
        raise FileNotFoundError(
            f"Found no {LABEL_ENCODER} in {folder} or above it; give --start_classes, a file with "
            "the classes of the main model in their order, one on each line."
        )

    def check(self, hparams, manifests, classes):
        """Checks nothing beyond the classes, which were checked where they were read."""

    def _folder(self):
        """Folder of the last checkpoint in the place or in its folder `save`; or the place."""
        if not self.place.is_dir():
            raise FileNotFoundError(
                f"Found no {self.place}; give the --start_checkpoint of a trained main model, a "
                "file or a folder."
            )
        for folder in (self.place, self.place / "save"):
            if any(folder.glob("CKPT*/CKPT.yaml")):
                return Checkpointer(folder).find_checkpoint().path
        return self.place


def start_of(hparams):
    """The start that a YAML names, a `RunStart` or a `CheckpointStart`, or None."""
    folder, checkpoint = hparams.get("start_folder"), hparams.get("start_checkpoint")
    if folder is not None and checkpoint is not None:
        raise ValueError(
            f"Got the start_folder {folder} and the start_checkpoint {checkpoint}; expected one: "
            "set the other to null."
        )
    if checkpoint is not None:
        return CheckpointStart(checkpoint)
    return None if folder is None else RunStart(folder)


def start_classes(hparams):
    """Class list of a main model trained elsewhere, whose order is kept; None of any other."""
    start = start_of(hparams)
    if isinstance(start, CheckpointStart):
        return start.classes(hparams.get("start_classes"))
    if hparams.get("start_classes") is not None:
        raise ValueError(
            f"Got start_classes {hparams['start_classes']} without a start_checkpoint, whose "
            "classes they are: give both or none."
        )
    return None


def read_class_list(path):
    """Reads a file with one class on each line, or SpeechBrain's label_encoder.txt.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no class list, names a class twice, or leaves an index out.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Found no class list {path}; give another --start_classes.")
    text = path.read_text(encoding="utf-8")
    if CategoricalEncoder.VALUE_SEPARATOR in text:
        encoder = load_classes(path)
        names = [encoder.ind2lab.get(index) for index in range(len(encoder.lab2ind))]
    else:
        names = text.split("\n")[: None if text[-1:] not in ("\n", "") else -1]
    names = [name.strip() if isinstance(name, str) else name for name in names]
    if not names or len(set(names)) < len(names) or not all(names):
        raise ValueError(
            f"Got the classes {names} in {path}; expected each once, one on each line, with "
            "nothing between."
        )
    encoder = CategoricalEncoder()
    encoder.expect_len(len(names))
    encoder.update_from_iterable(names)
    return encoder


def start_main_model(hparams, manifests, classes):
    """Gives the main model the weights of its start, which must not know the speakers asked."""
    model, start = hparams["modules"]["model"], start_of(hparams)
    parameters = list(model.main_model.parameters())  # none, where the front end is the encoder
    learns = any(parameter.requires_grad for parameter in parameters)
    if start is None:
        if parameters and (not learns or hparams["epoch_counter"].limit < 1):
            raise ValueError(
                "Got no start_folder for a main model that is not trained: give the --start_folder "
                "or the --start_checkpoint of a trained one, or --num_epochs, and "
                "--freeze_main_model=False where it is so."
            )
        return
    goes_on = has_checkpoint(hparams["output_folder"])
    if goes_on and not start.is_there():
        return
    state = start.state(model.main_model)
    check_content(hparams["output_folder"], start.option, state_digest(state))
    if goes_on:
        return
    start.check(hparams, manifests, classes)
    _check_fit(model.main_model.state_dict(), state, start)
    model.main_model.load_state_dict(state)
    if hasattr(model, "head") and isinstance(start, RunStart):
        model.head.load_state_dict(start.head_state(model.head), strict=False)
    if isinstance(model, PersonalizedModel):
        model.hyper_personalizer.main_model_changed(model.main_model)


def state_digest(state):
    """Digest of the names and values of a state dict.

    Example
    -------
    >>> x = torch.ones(2)
    >>> state_digest({"x": x}) == state_digest({"x": x.clone()}) != state_digest({"x": 2 * x})
    True
    """
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:  # extra state of a module, such as the count of a normalization
            inner = state_digest(value) if isinstance(value, dict) else repr(value)
            digest.update(f"{name} {inner}".encode())
    return digest.hexdigest()


def _check_fit(expected, got, start):
    """Refuses a state dict that lacks tensors of a main model, or has others."""
    problems = [f"it lacks {name}" for name in expected if name not in got]
    problems += [f"it has {name}, which `main` does not" for name in got if name not in expected]
    problems += [
        f"its {name} has the shape {tuple(got[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if isinstance(tensor, torch.Tensor) and name in got and got[name].shape != tensor.shape
    ]
    if problems:
        more = f", and {len(problems) - 3} more like these" if len(problems) > 3 else ""
        raise ValueError(
            f"Cannot start from the main model in {start.place} ({'; '.join(problems[:3])}{more}). "
            + start.remedy
        )
