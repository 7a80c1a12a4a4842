"""Checkpoints of sharded models: a folder that any number of processes writes, and any other number reads.

The tensors are PyTorch's distributed checkpoint (each process writes its shards, and reads what its own shards need of
everybody's), beside `rest.pt` (Lightning's counters, callbacks and schedules) and `plan.json` (who held what). A folder
appears whole: it is written beside the one that it replaces, and then renamed.

PyTorch keeps the index of a distributed checkpoint as a pickle, so a folder is to be read only where it was written:
checkpoints are for going on with a run, and are not part of any artefact.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed._shard.sharded_tensor import ShardedTensor

from features.errors import InputError

_REST, _PLAN = "rest.pt", "plan.json"


def save(path: str | Path, state: dict[str, Any], rest: dict[str, Any], plan: str) -> None:
    """Writes a checkpoint, together with all other processes.

    Args:
        path: The folder; one that is there is replaced.
        state: Nested dictionaries of tensors, some of them sharded.
        rest: What else Lightning wants to keep; written by process 0.
        plan: The sharding plan, as JSON.
    """
    path = Path(path)
    part, old = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.old")
    first = not dist.is_initialized() or dist.get_rank() == 0
    if first:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    _together()
    dcp.save(state, checkpoint_id=str(part))
    if first:
        torch.save({**rest, "lr_schedulers": [_progress(one) for one in rest.get("lr_schedulers", [])]}, part / _REST)
        (part / _PLAN).write_text(plan)
        if path.exists():  # else a kill has left the old one alone, and it stays until the new one is there
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        part.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    _together()


def load(path: str | Path, state: dict[str, Any]) -> dict[str, Any]:
    """Reads a checkpoint into the tensors of `state`, together with all other processes.

    Returns:
        What else Lightning kept.

    Raises:
        InputError: The folder is damaged, or belongs to another model.
    """
    return _read(path, state, no_dist=False)


def read_plain(path: str | Path, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Reads whole weights on one process, without a process group: shards are put together.

    Args:
        path: A checkpoint of any number of processes.
        weights: By name, tensors of the right shapes to read into.

    Returns:
        What else Lightning kept.

    Raises:
        InputError: The folder is damaged, or belongs to another model.
    """
    return _read(path, {"state_dict": dict(weights)}, no_dist=True)


def _read(path: str | Path, state: dict[str, Any], no_dist: bool) -> dict[str, Any]:
    try:
        dcp.load(state, checkpoint_id=str(path), no_dist=no_dist)
        return torch.load(Path(path) / _REST, map_location="cpu", weights_only=True)
    except (
        dcp.api.CheckpointException, OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError
    ) as error:  # fmt: skip
        cause = " ".join(str(error).split())[:200]
        raise InputError(f"the checkpoint {path} is damaged or is of another model: {cause}") from error


def fill(sharded: Mapping[str, Any], whole: Mapping[str, Tensor]) -> None:
    """Copies whole weights into a model's, of sharded ones the parts that are here.

    Args:
        sharded: A sharded model's state dictionary.
        whole: Plain tensors, by the same names.

    Raises:
        InputError: A weight that is missing or of another shape.
    """
    for name, value in sharded.items():
        if name not in whole or tuple(whole[name].shape) != tuple(value.size()):
            found = tuple(whole[name].shape) if name in whole else "missing"
            raise InputError(f"the weight {name!r} to begin with is {found}, and the model's is {tuple(value.size())}")
        if isinstance(value, ShardedTensor):
            for shard in value.local_shards():
                place = zip(shard.metadata.shard_offsets, shard.metadata.shard_sizes, strict=True)
                part = whole[name][tuple(slice(start, start + size) for start, size in place)]
                shard.tensor.detach().copy_(part)
        else:
            value.detach().copy_(whole[name])


def found(path: Path) -> Path | None:
    """A checkpoint, be it a file or a folder, or the one that was being replaced when its run was killed."""
    old = path.with_name(f"{path.name}.old")
    return path if path.exists() else old if old.exists() else None


def remove(path: str | Path) -> None:
    """Removes a checkpoint."""
    shutil.rmtree(path, ignore_errors=True)


def _progress(schedule: dict[str, Any]) -> dict[str, Any]:
    """How far a schedule has come, and no rates: processes have different tables, and so different lists of them."""
    return {"last_epoch": schedule["last_epoch"], "_step_count": schedule["_step_count"], "lr_lambdas": []}


def _together() -> None:
    if dist.is_initialized():
        dist.barrier()
