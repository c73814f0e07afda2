"""What cannot be loaded is told by its cause; damaged are files alone."""

import pytest
import torch
from speechbrain.utils.epoch_loop import EpochCounter

from vofp_plugin.lobes.baselines.shared import SharedModel
from vofp_plugin.runs.checkpoints import WholeCheckpointer, main_model_state, read_state


class Failing(torch.nn.Linear):
    """A layer whose state cannot be loaded, for a reason of its own."""

    def __init__(self, error):
        super().__init__(2, 2)
        self.error = error

    def load_state_dict(self, *args, **kwargs):
        raise self.error


def checkpointer_of(folder, model, **others):
    return WholeCheckpointer(folder / "save", {"model": model, **others})


@pytest.fixture
def saved(tmp_path):
    """Folder with a checkpoint of a layer, its optimizer and a counter."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    parts = {"optimizer": optimizer, "counter": EpochCounter(2)}
    checkpointer_of(tmp_path, layer, **parts).save_checkpoint()
    return tmp_path


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("No CUDA GPUs are available"),
        RuntimeError("Error(s) in loading state_dict for Linear: While copying: CUDA error"),
        AssertionError("Torch not compiled with CUDA enabled"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError("Unable to allocate 2 GiB"),
        KeyboardInterrupt(),
        OSError("No space left on device"),
    ],
)
def test_what_is_not_of_the_files_stays_as_it_is(saved, error):
    with pytest.raises(type(error)) as told:
        checkpointer_of(saved, Failing(error)).recover_if_possible()
    assert told.value is error


def misfits():
    other = torch.nn.Linear(3, 2)
    yield "another size", {"model": other}
    yield "another layer", {"model": torch.nn.Sequential(torch.nn.Linear(2, 2))}
    yield "another part", {"model": torch.nn.Linear(2, 2), "schedule": EpochCounter(2)}
    two = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    two_groups = torch.optim.Adam([{"params": [one]} for one in two])
    yield "another optimizer", {"model": torch.nn.Linear(2, 2), "optimizer": two_groups}


@pytest.mark.parametrize("parts", [pytest.param(parts, id=name) for name, parts in misfits()])
def test_another_model_is_told(saved, parts):
    with pytest.raises(RuntimeError, match="does not fit the model .* another one") as told:
        checkpointer_of(saved, **parts).recover_if_possible()
    assert "damaged" not in str(told.value)


@pytest.mark.parametrize("file", ["model.ckpt", "optimizer.ckpt", "counter.ckpt", "CKPT.yaml"])
@pytest.mark.parametrize("damage", [b"", b"\x80\x02garbage", "half", "zeros"])
def test_damaged_file_is_named(saved, file, damage):
    (path,) = saved.glob(f"save/CKPT*/{file}")
    whole = path.read_bytes()
    if damage == "half":
        damage = whole[: len(whole) // 2]
    path.write_bytes(bytes(len(whole)) if damage == "zeros" else damage)
    layer = torch.nn.Linear(2, 2)
    parts = {"optimizer": torch.optim.Adam(layer.parameters()), "counter": EpochCounter(2)}
    checkpointer = checkpointer_of(saved, layer, **parts)
    with pytest.raises(ValueError, match=f"Cannot read .*{file}.*damaged"):
        checkpointer.recover_if_possible()


def test_file_that_is_gone_or_closed_is_not_called_damaged(saved, monkeypatch):
    (path,) = saved.glob("save/CKPT*/model.ckpt")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="Permission") as told:
        patch.setattr(torch, "load", refuse)
        checkpointer_of(saved, torch.nn.Linear(2, 2)).recover_if_possible()
    assert "damaged" not in str(told.value)
    path.unlink()
    with pytest.raises(RuntimeError, match="does not fit the model .* or lacks a file"):
        checkpointer_of(saved, torch.nn.Linear(2, 2)).recover_if_possible()
    with pytest.raises(OSError, match="Cannot open .*model.ckpt .*is it there"):
        main_model_state(saved)


@pytest.mark.parametrize("message", ["DefaultCPUAllocator: can't allocate memory", None])
def test_main_model_without_memory(tmp_path, monkeypatch, message):
    checkpointer_of(tmp_path, SharedModel(torch.nn.Linear(1, 1))).save_checkpoint()
    error = RuntimeError(message) if message else MemoryError()

    def load(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(type(error)) as told:
        main_model_state(tmp_path)
    assert told.value is error


def test_state_of_another_kind(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="list.pt holds list, not a state dict"):
        read_state(tmp_path / "list.pt")


def test_device_that_fails_while_saving_is_no_full_disk(tmp_path, monkeypatch):
    checkpointer = checkpointer_of(tmp_path, torch.nn.Linear(1, 1))

    def fail(*args, **kwargs):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="^CUDA error"):
        patch.setattr(torch, "save", fail)
        checkpointer.save_checkpoint()
