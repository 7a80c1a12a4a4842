"""Which process holds which part of which table: TorchRec's planner, told the memory that there really is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torchrec import EmbeddingBagCollection, EmbeddingCollection
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints, Topology
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import PlannerError
from torchrec.distributed.types import ShardingPlan

from features.errors import InputError
from training.optimisers import COLUMNS_APART, TableOptimiser

#: what is left to everything else: dense weights, activations, batches
_RESERVED = 0.15

_ANY = ("table_wise", "row_wise", "table_row_wise", "column_wise", "table_column_wise")


def sharders() -> list:
    """Of both kinds of collection."""
    return [EmbeddingBagCollectionSharder(), EmbeddingCollectionSharder()]


def collections(module: nn.Module) -> list[EmbeddingBagCollection | EmbeddingCollection]:
    """All of TorchRec's collections inside a module that is not sharded yet."""
    return [one for one in module.modules() if type(one) in (EmbeddingBagCollection, EmbeddingCollection)]


def make_plan(
    module: nn.Module, optimiser: TableOptimiser, sharding: str, topology: Topology, batch_size: int
) -> ShardingPlan:
    """Plans where tables go, always with the fused kernel.

    Left alone, the planner gives small tables to every process with a dense kernel, and drops the fused optimiser for
    them without a word; so that choice is not offered.

    Args:
        module: Whatever holds TorchRec collections.
        optimiser: Of the tables.
        sharding: "auto", or one of TorchRec's sharding types for all tables.
        topology: The devices and their memory: see `topology_here`.
        batch_size: Rows of a batch in one process, for the estimate of time.

    Raises:
        InputError: The tables do not fit, or the device cannot shard them so.
    """
    types = [one for one in _ANY if "column" not in one or optimiser not in COLUMNS_APART]
    if sharding != "auto":
        types = [sharding]
        if "column" in sharding and optimiser in COLUMNS_APART:
            warnings.warn(
                f"{optimiser} on {sharding} shards keeps one sum of squares for each shard of a row, and not one for "
                "the row: another algorithm, whose state loads only under the same plan; adagrad and sgd are exact",
                stacklevel=2,
            )
    tables = [
        config
        for one in collections(module)
        for config in (
            one.embedding_bag_configs() if isinstance(one, EmbeddingBagCollection) else one.embedding_configs()
        )
    ]
    planner = EmbeddingShardingPlanner(
        topology=topology,
        batch_size=batch_size,
        storage_reservation=FixedPercentageStorageReservation(_RESERVED),
        constraints={
            config.name: ParameterConstraints(
                sharding_types=types, compute_kernels=["fused"], min_partition=min(config.embedding_dim, 4)
            )
            for config in tables
        },
        debug=False,
    )
    try:
        if topology.world_size > 1 and dist.is_initialized():
            return planner.collective_plan(module, sharders(), dist.group.WORLD)
        return planner.plan(module, sharders())
    except (PlannerError, RuntimeError) as error:  # the latter where a device offers no such sharding at all
        weights = sum(config.num_embeddings * config.embedding_dim * 4 for config in tables)
        device = topology.devices[0].storage
        raise InputError(
            f"the tables ({weights / 1e9:.1f} GB of weights, and the state of {optimiser}) cannot be sharded as "
            f"{sharding!r} over {topology.world_size} {topology.compute_device} process(es) with "
            f"{max(device.hbm, device.ddr) / 1e9:.1f} GB each ({_first_line(error)}); on CPUs, pooled tables cannot be "
            "row_wise"
        ) from error


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def topology_here(device: torch.device, world: int, local_world: int) -> Topology:
    """The processes of this run, with the memory that is free now."""
    hbm = int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None
    return Topology(
        world_size=world,
        local_world_size=local_world,
        compute_device=device.type,
        hbm_cap=hbm,
        ddr_cap=free_memory() // local_world,
    )


def free_memory() -> int:
    """Bytes that this machine, or the container we are in, can still give."""
    facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(facts["MemAvailable"].split()[0]) * 1024
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        statistics = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
        kept = int(used.read_text()) - int(statistics.get("inactive_file", 0))  # a cache of files gives way
        free = min(free, max(0, int(limit.read_text()) - kept))
    return free


def described(plan: ShardingPlan) -> list[dict[str, Any]]:
    """A plan as plain data, a line a table: its sharding type, kernel, and for each shard rank, rows and columns."""
    lines = []
    for module, tables in plan.plan.items():
        for table, how in tables.items():
            shards = [] if how.sharding_spec is None else how.sharding_spec.shards
            lines.append(
                {
                    "table": table,
                    "module": module,
                    "sharding": how.sharding_type,
                    "kernel": how.compute_kernel,
                    "shards": [
                        {"rank": one.placement.rank(), "from": list(one.shard_offsets), "size": list(one.shard_sizes)}
                        for one in shards
                    ],
                }
            )
    return lines


def told(lines: list[dict[str, Any]]) -> str:
    """A described plan for people."""
    out = []
    for line in lines:
        shards = []
        for one in line["shards"]:
            rows, columns = one["size"]
            shards.append(f"rank {one['rank']}: {rows:,} x {columns} ({rows * columns * 4 / 1e6:,.1f} MB)")
        out.append(f"table {line['table']}: {line['sharding']}, {line['kernel']} kernel; {'; '.join(shards)}")
    return "\n".join(out)
