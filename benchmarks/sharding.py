"""Sharded training: the losses of one process on two, checkpoints that any number of them reads, and a plan.

On generated data (100,000 interactions), gloo on CPU, the same first weights and global batches; losses are those of
the whole batch. Cases: "losses/PLAN" is the largest relative difference over 50 steps between two processes and one,
for plans by table, by column (exact Adagrad and SGD) and by row (a sequence model: pooled tables are not cut by rows on
CPUs); "resumed/2->1" and so on that of 25 further steps from a checkpoint against an undisturbed run, which lost
optimiser state would make a thousand times larger; "resumed/2->plain" the largest difference of item vectors between
plain models, as serving bundles hold them; "lost-process" how long the other process needs to end with its message once
one is killed; "step/N-processes" the median milliseconds of a step, with one thread a process.

"plan/..." is one row space of a billion rows of width 64 (256 GB) under row-wise Adagrad, read by 26 features of 10
values, over 16 GPUs of 80 GB in two machines, each with 4,096 rows of a batch: what the fullest GPU holds by TorchRec's
planner, and what a GPU sends in a step: row numbers (8 bytes each) forward, and vectors both ways. Cut by rows, every
GPU has partial sums for everybody's batch; as 16 back-end tables with the look-ups round robin, only the vectors of its
own look-ups.
"""

from __future__ import annotations

import itertools
import json
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from report import Report, arguments
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig
from torchrec.distributed.planner import Topology

sys.path.insert(0, str(Path(__file__).parent / "workers"))
from sharded_run import ran, start

from training.sharding_plan import described, make_plan

PLANS = (
    "in-batch-rowwise-adagrad",
    "mixed-two-tables",
    "full-softmax-adagrad-columns",
    "full-softmax-sgd-columns",
    "next-item",
)
SAVED = "mixed-two-tables"
LARGER = (
    "data.settings.interactions=100000",
    "data.settings.users=3001",  # in batches of 601: four, and one of 597 that two processes divide unevenly
    "model.dim=64",
    "model.embeddings.width=64",
    "examples.batch_size=601",
)


def main() -> None:
    """Runs the processes, compares, prints and writes."""
    options = arguments(__doc__).parse_args()
    report = Report("sharding", quick=options.quick)
    logging.getLogger("torchrec").setLevel(logging.ERROR)
    rows = 1_000_000 if options.quick else 1_000_000_000
    plan(report, "auto", rows)
    plan(report, "row_wise", rows)
    plan(report, "table_wise", rows, tables=16)
    if not options.quick:
        with tempfile.TemporaryDirectory() as folder:
            compare(report, Path(folder))
    report.finish(options.out)


def compare(report: Report, folder: Path) -> None:
    """One process and two, and each with the other's checkpoints."""
    (folder / "settings.json").write_text(json.dumps(LARGER))
    ran(2, folder, *PLANS, f"save:{SAVED}@two")
    ran(1, folder, *PLANS, f"save:{SAVED}@one", f"resume:{SAVED}@two")
    ran(2, folder, f"resume:{SAVED}@one")

    def found(step: str, world: int) -> dict:
        return json.loads((folder / f"{step}-{world}.json").read_text())

    for case in PLANS:
        one, two = (found(case, world) for world in (1, 2))
        kinds = sorted({line["sharding"] for line in two["plan"]})
        report.add(
            f"losses/{case}",
            "largest relative difference",
            _apart(two["losses"], one["losses"]),
            settings={"sharding": ", ".join(kinds), "steps": len(one["losses"]), "last loss": one["losses"][-1]},
        )
    whole = found(SAVED, 1)
    half = len(whole["losses"]) // 2
    for written, read in (("two", 1), ("one", 2)):
        resumed = found(f"resume:{SAVED}@{written}", read)
        report.add(
            f"resumed/{ {'one': 1, 'two': 2}[written] }->{read}",
            "largest relative difference",
            _apart(resumed["losses"], whole["losses"][half:]),
            settings={"steps": half},
        )
    vectors = [torch.tensor(found(SAVED, world)["items"]) for world in (1, 2)]
    report.add("resumed/2->plain", "largest difference of an item vector", float((vectors[0] - vectors[1]).abs().max()))
    for world in (1, 2):
        times = found("in-batch-rowwise-adagrad", world)["times"]
        steps = [(after - before) * 1000 for before, after in itertools.pairwise(times)]
        report.add(
            f"step/{world}-processes", "milliseconds", statistics.median(steps), n=len(steps), settings={"threads": 1}
        )

    first, second = start(2, folder, "in-batch-rowwise-adagrad@dies", DIE_AT="1:28")
    second.communicate(timeout=300)
    began = time.perf_counter()
    told, _ = first.communicate(timeout=300)
    assert "lost another process of this run" in told, told
    report.add("lost-process", "seconds until the other ends", time.perf_counter() - began)


def plan(report: Report, sharding: str, rows: int, tables: int = 1) -> None:
    """The planner's plan for one large row space, as so many back-end tables."""
    width, features, values, batch, gpus, local = 64, 26, 10, 4096, 16, 8
    module = torch.nn.Module()
    module.tables = EmbeddingBagCollection(
        device=torch.device("meta"),
        tables=[
            EmbeddingBagConfig(
                name=f"unified_{n}",
                num_embeddings=rows // tables,
                embedding_dim=width,
                feature_names=[f"f{feature}" for feature in range(n, features, tables)],
            )
            for n in range(tables)
        ],
    )
    topology = Topology(world_size=gpus, local_world_size=local, compute_device="cuda", hbm_cap=80 * 10**9)
    lines = described(make_plan(module, "rowwise-adagrad", sharding, topology, batch))
    held = [0] * gpus
    for shard in (one for line in lines for one in line["shards"]):
        height, columns = shard["size"]
        held[shard["rank"]] += height * columns * 4 + height * 4  # the weights, and Adagrad's number a row
    kind = lines[0]["sharding"]
    case = f"plan/{tables}-tables-{kind}" if tables > 1 else f"plan/{kind}"
    settings = {"rows": rows, "width": width, "sharding": kind, "asked for": sharding, "gpus": gpus}
    report.add(case, "GB on the fullest GPU", max(held) / 1e9, settings=settings)
    report.add(case, "MB of row numbers sent", batch * features * values * 8 * (gpus - 1) / gpus / 1e6)
    vectors = batch * features * width * 4 / 1e6  # MB that one GPU's rows of the batch need
    sent = {
        "row_wise": vectors * (gpus - 1),
        "table_row_wise": vectors * gpus * (local - 1) / local + vectors * gpus / local / 2,
        "table_wise": vectors * (gpus - 1) / gpus * -(-features // tables) * tables / features,
    }[kind]
    report.add(case, "MB of vectors sent, each way", sent)


def _apart(mine: list[float], theirs: list[float]) -> float:
    a, b = torch.tensor(mine), torch.tensor(theirs)
    assert len(a) == len(b), f"{len(a)} and {len(b)} steps"
    return float(((a - b).abs() / b.abs().clamp(min=1e-6)).max())


if __name__ == "__main__":
    main()
