"""Checkpoints that are whole, and that say what to do when they cannot be loaded."""

import os
from pathlib import Path

import torch
from speechbrain.utils.checkpoints import DEFAULT_LOAD_HOOKS, Checkpointer, get_default_hook
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from vofp_plugin.utils.files import reason_of

PARTIAL = "partial-"  # begins the name of what is not whole yet, here and in `ownership`


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
        try:
            partial = super().save_checkpoint(*args, **kwargs)
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
                raise  # it comes from a device, not from the disk
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

    def find_checkpoint(self, *args, **kwargs):
        """Finds a checkpoint; arguments and result are those of SpeechBrain's.

        Raises
        ------
        ValueError
            If the file that tells of one is damaged.
        """
        try:
            return super().find_checkpoint(*args, **kwargs)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # a damaged file may fail in any way
            place = f"the CKPT.yaml of a checkpoint in {self.checkpoints_dir}"
            raise _damaged(place, error) from error

    def load_checkpoint(self, checkpoint):
        """Loads a checkpoint, and names the cause where that fails.

        Raises
        ------
        ValueError
            If a file is damaged.
        RuntimeError
            If it was made by another model; or as the device raises it.
        """
        try:
            super().load_checkpoint(checkpoint)
        except Exception as error:
            self._read_files(checkpoint)
            if not _is_misfit(error):
                raise  # neither the files nor the model: a device, memory, a disk
            raise RuntimeError(
                f"The checkpoint in {self.checkpoints_dir} does not fit the model "
                f"({reason_of(error)}): it was made by another one, or lacks a file. Give the "
                "settings of its run, or another --output_folder."
            ) from error

    def _read_files(self, checkpoint):
        """Reads all files of a checkpoint, and raises what the first that is damaged does."""
        for name, file in checkpoint.paramfiles.items():
            thing = self.recoverables.get(name)
            own_hook = self.custom_load_hooks.get(name)
            hook = own_hook or get_default_hook(thing, DEFAULT_LOAD_HOOKS)
            if hasattr(thing, "load_state_dict"):
                read_torch_file(file)
            elif hook is not None:
                _check_plain_file(file, hook, thing, checkpoint.meta["end-of-epoch"])

    def _new_checkpoint_dirpath(self):
        path = super()._new_checkpoint_dirpath()
        return path.with_name(PARTIAL + path.name)


def main_model_state(folder):
    """State dict of the main model in the last checkpoint of a run; see `part_state`."""
    return part_state(folder, "main_model")


def part_state(folder, part):
    """State dict of a part of the model in the last checkpoint of a run.

    Arguments
    ---------
    folder : str or Path
        Output folder of the run.
    part : str
        Such as "main_model" or "head".

    Returns
    -------
    dict of torch.Tensor

    Raises
    ------
    FileNotFoundError
        If the folder holds no checkpoint.
    OSError, ValueError
        As `read_state`.

    Example
    -------
    >>> from vofp_plugin.lobes.baselines.shared import SharedModel
    >>> folder, main_model = getfixture("tmp_path"), torch.nn.Linear(1, 1)
    >>> checkpointer = WholeCheckpointer(folder / "save", {"model": SharedModel(main_model)})
    >>> _ = checkpointer.save_checkpoint()
    >>> state = part_state(folder, "main_model")
    >>> bool(state["weight"] == main_model.weight)
    True
    """
    save = Path(folder) / "save"
    checkpoint = WholeCheckpointer(save).find_checkpoint() if save.is_dir() else None
    if checkpoint is None:
        raise FileNotFoundError(
            f"Found no trained main model in {folder}. Train it first, by the YAML that the folder "
            "is named after, with the same fold and seed; or give its --start_folder, or "
            "--start_folder=null to start from random weights."
        )
    state = read_state(checkpoint.path / "model.ckpt")
    prefix = f"{part}."
    return {name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)}


def read_state(file):
    """Reads the state dict in a file to the CPU, without unpickling anything else.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is damaged, or holds something else.

    Example
    -------
    >>> file = getfixture("tmp_path") / "model.ckpt"
    >>> torch.save(torch.nn.Linear(1, 1).state_dict(), file)
    >>> list(read_state(file))
    ['weight', 'bias']
    """
    state = read_torch_file(file)
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise ValueError(
            f"{file} holds {type(state).__name__}, not a state dict; expected {{name: tensor}}, as "
            "by torch.save(model.state_dict(), file)."
        )
    return state


def read_torch_file(file):
    """Reads what `torch.save` wrote to the CPU, as tensors and plain values alone."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise OSError(f"Cannot open {file} ({error}); is it there, and may you read it?") from error
    except Exception as error:  # a damaged file may fail in any way
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise  # as torch's own allocator says it
        raise _damaged(file, error) from error


def _is_misfit(error):
    """Whether a state is of another shape than what it is loaded into."""
    if isinstance(error, RuntimeError):
        text = str(error)  # torch tells alike of shapes and of a device that fails at a copy
        loading = "Error(s) in loading state_dict" in text and "While copying" not in text
        return loading or "missing a load path" in text
    return isinstance(error, (AttributeError, LookupError, TypeError, ValueError))


def _check_plain_file(file, hook, thing, end_of_epoch):
    """Loads a file of a form of its own, which fails for nothing but the file."""
    try:
        hook(thing, file, end_of_epoch)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file may fail in any way
        raise _damaged(file, error) from error


def _damaged(file, error):
    return ValueError(
        f"Cannot read {file} ({reason_of(error)}): it is damaged, or another program's. Restore "
        "it, train again, or give another folder."
    )
