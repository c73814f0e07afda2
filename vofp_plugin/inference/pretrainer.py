"""Pretrainer: reads the tensors of a model from its folder, whichever of two formats they have."""

from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from speechbrain.utils.checkpoints import torch_recovery
from speechbrain.utils.parameter_transfer import Pretrainer
from torch import nn


class FolderPretrainer(Pretrainer):
    """A SpeechBrain `Pretrainer` that takes NAME.safetensors where it is there, or NAME.ckpt.

    Tensors are all those of a module, or loading fails. Nothing is unpickled but tensors.

    Example
    -------
    >>> from safetensors.torch import save_file
    >>> folder, saved, loaded = getfixture("tmp_path"), nn.Linear(2, 1), nn.Linear(2, 1)
    >>> save_file(saved.state_dict(), folder / "model.safetensors")
    >>> pretrainer = FolderPretrainer(loadables={"model": loaded})
    >>> _ = pretrainer.collect_files(str(folder))
    >>> pretrainer.load_collected()
    >>> bool((loaded.weight == saved.weight).all())
    True
    """

    def collect_files(self, default_source=None, **options):
        """Finds the files in a folder; arguments are those of SpeechBrain's."""
        for name, loadable in self.loadables.items():
            if not isinstance(loadable, nn.Module):
                continue
            path = Path(default_source) / f"{name}.safetensors"
            # SpeechBrain's own hook would leave at random what is lacking.
            self.add_custom_hooks({name: partial(torch_recovery, end_of_epoch=True)})
            if path.is_file():
                self.add_paths({name: str(path)})
                self.add_custom_hooks({name: _load_safetensors})
        return super().collect_files(default_source, **options)


def _load_safetensors(module, path):
    module.load_state_dict(load_file(path))
