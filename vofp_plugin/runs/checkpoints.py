"""Checkpoints that are whole, and that say what to do when they cannot be loaded."""

import os
import shutil
from pathlib import Path

import torch
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from vofp_plugin.utils.files import reason_of

PARTIAL = "partial-"


class WholeCheckpointer(Checkpointer):
    """SpeechBrain's Checkpointer for runs that may be killed at any moment.

    A checkpoint gets its name, by which recovery finds it, once all of its files are written.

    Arguments
    ---------
    *args, **kwargs
        As for `speechbrain.utils.checkpoints.Checkpointer`.

    Example
    -------
    >>> import torch
    >>> model = torch.nn.Linear(1, 1)
    >>> checkpointer = WholeCheckpointer(getfixture("tmp_path"), {"model": model})
    >>> checkpointer.save_checkpoint().path == checkpointer.find_checkpoint().path
    True
    """

    def save_checkpoint(self, *args, **kwargs):
        """Saves a checkpoint; arguments and result are those of SpeechBrain's."""
        if if_main_process():
            for left in self.checkpoints_dir.glob(f"{PARTIAL}*"):  # by a run that was killed
                shutil.rmtree(left)
        try:
            partial = super().save_checkpoint(*args, **kwargs)
        except (OSError, RuntimeError) as error:  # torch's writer raises the latter
            raise OSError(
                f"Cannot write a checkpoint to {self.checkpoints_dir} ({reason_of(error)}); is "
                "there space on the disk? Start the run again, which goes on from the last whole "
                "checkpoint."
            ) from error
        whole = None
        if if_main_process():
            path = partial.path.with_name(partial.path.name.removeprefix(PARTIAL))
            os.replace(partial.path, path)
            files = {name: path / file.name for name, file in partial.paramfiles.items()}
            whole = partial._replace(path=path, paramfiles=files)
        ddp_barrier()  # other processes must see what this one sees
        return whole

    def recover_if_possible(self, *args, **kwargs):
        """Loads a checkpoint, if there is one; arguments and result are those of SpeechBrain's.

        Raises
        ------
        RuntimeError
            If it cannot be loaded.
        """
        try:
            return super().recover_if_possible(*args, **kwargs)
        except Exception as error:  # a damaged file may fail in any way
            raise RuntimeError(
                f"Cannot load the checkpoint in {self.checkpoints_dir} ({reason_of(error)}). It "
                "was made by another model or is damaged. Give another --output_folder, or delete "
                f"{self.checkpoints_dir.parent} to train anew."
            ) from error

    def _new_checkpoint_dirpath(self):
        path = super()._new_checkpoint_dirpath()
        return path.with_name(PARTIAL + path.name)


def main_model_state(folder):
    """State dict of the main model in the last checkpoint of a run.

    Arguments
    ---------
    folder : str or Path
        Output folder of the run.

    Returns
    -------
    dict of torch.Tensor

    Raises
    ------
    FileNotFoundError
        If the folder holds no checkpoint.
    ValueError
        If the checkpoint is damaged.

    Example
    -------
    >>> from vofp_plugin.lobes.baselines.shared import SharedModel
    >>> folder, main_model = getfixture("tmp_path"), torch.nn.Linear(1, 1)
    >>> checkpointer = WholeCheckpointer(folder / "save", {"model": SharedModel(main_model)})
    >>> _ = checkpointer.save_checkpoint()
    >>> state = main_model_state(folder)
    >>> bool(state["weight"] == main_model.weight)
    True
    """
    save = Path(folder) / "save"
    checkpoint = Checkpointer(save).find_checkpoint() if save.is_dir() else None
    if checkpoint is None:
        raise FileNotFoundError(
            f"Found no trained main model in {folder}. Train it first, by the YAML that the folder "
            "is named after, with the same fold and seed; or give its --start_folder, or "
            "--start_folder=null to start from random weights."
        )
    try:
        state = torch.load(checkpoint.paramfiles["model"], map_location="cpu", weights_only=True)
        prefix = "main_model."
        return {
            name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)
        }
    except Exception as error:  # a damaged file may fail in any way
        raise ValueError(
            f"Cannot read the main model in {folder} ({reason_of(error)}). It is damaged: train it "
            "again, or give another folder."
        ) from error
