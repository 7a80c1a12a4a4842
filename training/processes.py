"""The processes of one run: which part of the work is whose, and what they tell each other.

With one process all of this is free: nothing is sent, and nothing is computed otherwise.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from features.errors import InputError

#: how long a process waits for the others before it gives up
PATIENCE = timedelta(minutes=10)

#: what gloo and NCCL say when somebody is gone
_LOST = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting", "communicator was aborted")


def launched() -> tuple[int, int]:
    """How many processes the launcher (torchrun) started: on all machines together, and on this one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    return world, int(os.environ.get("LOCAL_WORLD_SIZE", world))


def is_first() -> bool:
    """Whether this is the process that writes files and talks; also before the processes have met."""
    return int(os.environ.get("RANK", "0")) == 0


def leave() -> None:
    """Ends this process's part in the group that training joined it to."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


@contextlib.contextmanager
def telling_of_lost_ones() -> Iterator[None]:
    """Says in one sentence that another process of the run ended or is silent.

    Raises:
        InputError: In place of what the communication library raises.
    """
    try:
        yield
    except RuntimeError as error:
        if launched()[0] > 1 and any(sign in str(error) for sign in _LOST):
            raise InputError(
                f"process {os.environ.get('RANK')} lost another process of this run, which ended or was silent for "
                f"{PATIENCE} ({' '.join(str(error).split())[:120]}); start the run again with --resume to go on from "
                "its last checkpoint"
            ) from error
        raise


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def my_part(n: int) -> slice:
    """This process's part of n rows. Parts are contiguous and differ by one row at most; some may be empty.

    All processes take as many steps as each other, whatever the data: what is divided is each batch, the last and
    short one too, and never the epoch.
    """
    return slice(rank() * n // world_size(), (rank() + 1) * n // world_size())


def weight(n: int | Tensor, device: torch.device) -> float | Tensor:
    """What a mean over n local values must be multiplied with, so that its mean over processes is the mean over all.

    Of several means, `n` is a tensor of as many numbers.
    """
    if world_size() == 1:
        return 1.0
    total = torch.as_tensor(n, dtype=torch.float32, device=device).clone()
    dist.all_reduce(total)
    return n * world_size() / total.clamp(min=1)


def gathered(values: Tensor) -> Tensor:
    """The values of all processes, those of process 0 first, however many each has. (T,) -> (sum of T,)"""
    return gathered_from(values)[0]


def gathered_from(values: Tensor) -> tuple[Tensor, int]:
    """As `gathered`, and where this process's values begin among them. (T,) -> (sum of T,), and a place"""
    if world_size() == 1:
        return values, 0
    counts = [torch.zeros(1, dtype=torch.int64, device=values.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(values)], device=values.device))
    sizes = torch.cat(counts).tolist()
    most = max(sizes)
    padded = torch.cat([values, values.new_zeros(most - len(values))])
    found = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(found, padded)
    return torch.cat([one[:size] for one, size in zip(found, sizes, strict=True)]), sum(sizes[: rank()])


class _GatherVectors(torch.autograd.Function):
    """All processes' rows; backward, the gradients that all processes have for this one's rows, summed."""

    @staticmethod
    def forward(ctx, part: Tensor) -> Tensor:
        found = [torch.empty_like(part) for _ in range(world_size())]
        dist.all_gather(found, part.contiguous())
        return torch.cat(found)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]


def gathered_vectors(part: Tensor) -> Tensor:
    """The vectors of all processes, with their gradients; each process has equally many. (M, D) -> (world x M, D)"""
    return part if world_size() == 1 else _GatherVectors.apply(part)


def gathered_rows(part: Tensor) -> Tensor:
    """As `gathered_vectors`, however many each process has: in the order of processes. (M, D) -> (sum of M, D)"""
    if world_size() == 1:
        return part
    sizes = gathered_objects(len(part))
    padded = torch.cat([part, part.new_zeros(max(sizes) - len(part), part.shape[1])])
    found = gathered_vectors(padded).split(max(sizes)) if max(sizes) else [part] * len(sizes)
    return torch.cat([one[:size] for one, size in zip(found, sizes, strict=True)])


def gathered_objects(one: Any) -> list[Any]:
    """What all processes have, that of process 0 first; for small things."""
    if world_size() == 1:
        return [one]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, one)
    return found


def most(number: int) -> int:
    """The largest number that any process has."""
    return max(gathered_objects(number))
