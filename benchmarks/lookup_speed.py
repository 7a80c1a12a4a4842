"""How fast look-ups train, and how fast ids are hashed: this project's path beside what one would write without it.

One step is forward, backward and the update of one table of a million rows of width 64, which 26 features share in a
batch of 4,096 with bags of 1 or 10 ids. All cases of one bag length answer the same bags with the same table rows, and
get the same gradient:

- *ours*: from jagged vocabulary rows to a vector a feature, in training mode: ids taken for unknown, addresses, batch
  assembly, TorchRec's fused kernel under `training.sharding`'s strategy, and the features' vectors side by side.
- *raw-torchrec*: the same kernel in a DistributedModelParallel of its own, given KeyedJaggedTensors ready made.
- *sparse-adagrad*, *sparse-sgd*: `nn.EmbeddingBag(sparse=True)` with torch's optimisers, given table rows ready made.

Rounds run every case once, one after the other, so that whatever else the machine does hits all alike; a ratio is the
median over rounds of the ratio within a round, and `sd` is the deviation over rounds. Milliseconds are medians.

Hashing is measured on one long column. `wall` uses all threads; `a core` is per second of processor time, which other
programs on the machine disturb less.

On a CUDA device the same code runs there; the device's name is in the settings of each row.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from one_table import raw, strategy_for
from report import Report, arguments
from torch import Tensor, nn
from torchrec import KeyedJaggedTensor

from features.batches import Jagged
from features.hashing import hashed_rows, mix64, salt_of
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan, Embeddings, FeatureLookup
from training import processes

OPTIMISERS = ("rowwise-adagrad", "adagrad", "sgd")


@dataclass(frozen=True)
class Size:
    """Of the comparison.

    Args:
        rows: R
        width: Width of a row.
        features: How many features share the table.
        batch: B
        ids: Vocabularies have from a tenth of so many ids to all of them.
        rounds: How often each case runs.
        keys: How many ids are hashed.
    """

    rows: int = 1_000_000
    width: int = 64
    features: int = 26
    batch: int = 4_096
    ids: int = 1_000_000
    rounds: int = 15
    keys: int = 8_000_000


QUICK = Size(rows=20_000, width=16, features=4, batch=256, ids=2_000, rounds=3, keys=400_000)


class Sides(nn.Module):
    """This project's look-ups, and the features side by side, as a ranker's next layer wants them. (B, F * E)"""

    def __init__(self, size: Size, names: list[str], vocabularies: dict[str, Vocabulary]) -> None:
        super().__init__()
        plan = EmbeddingPlan("multiplexed", size.width, lookups=1, budget=f"{size.rows * size.width * 4}B")
        lookups = [FeatureLookup(name, name, "sum") for name in names]
        self.embeddings = Embeddings(plan, lookups, vocabularies, backend="sharded")

    def forward(self, sparse: dict[str, Jagged]) -> Tensor:
        return self.embeddings.joined(sparse)


def main() -> None:
    """Measures, prints and writes."""
    options: argparse.Namespace = arguments(__doc__).parse_args()
    size = QUICK if options.quick else Size()
    report = Report("lookup_speed", quick=options.quick)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    names = [f"f{n}" for n in range(size.features)]
    counts = np.geomspace(size.ids / 10, size.ids, size.features).astype(int)
    vocabularies = {
        name: Vocabulary(name, pl.Series(rng.integers(0, 2**40, count).cumsum()))
        for name, count in zip(names, counts, strict=True)
    }
    hash_speed(report, size, next(reversed(vocabularies.values())), device)
    ours = {one: strategy_for(Sides(size, names, vocabularies), one, size.batch, device).model for one in OPTIMISERS}
    theirs = {one: raw(size.rows, size.width, names, one, device) for one in OPTIMISERS}
    for length in (1, 10):
        measure(report, size, length, vocabularies, ours, theirs, device)
    report.finish(options.out)
    processes.leave()


def measure(
    report: Report,
    size: Size,
    length: int,
    vocabularies: dict[str, Vocabulary],
    ours: dict[str, nn.Module],
    theirs: dict[str, nn.Module],
    device: torch.device,
) -> None:
    """All cases of one bag length, in rounds."""
    names = list(vocabularies)
    lengths = torch.full((size.batch,), length, device=device)
    batches = [
        {
            name: Jagged(torch.randint(len(ids), (size.batch * length,), device=device), lengths)
            for name, ids in vocabularies.items()
        }
        for _ in range(4)
    ]
    some = next(iter(ours.values()))
    embeddings = next(one for one in some.modules() if isinstance(one, Embeddings))
    # what the others are given: the same rows, ready made
    rows = [torch.cat([embeddings.addresses(name, one.values)[0] for name, one in batch.items()]) for batch in batches]
    offsets = torch.arange(0, len(rows[0]), length, device=device)
    gradient = torch.randn(size.batch, size.features * size.width, device=device) * 1e-3
    by_bag = gradient.view(size.batch, size.features, size.width).transpose(0, 1).reshape(-1, size.width)

    cases: dict[str, Callable[[int], None]] = {}
    for name in OPTIMISERS:
        cases[f"ours/{name}"] = lambda n, model=ours[name]: model(batches[n]).backward(gradient)
    for name in OPTIMISERS:
        cases[f"raw-torchrec/{name}"] = lambda n, model=theirs[name]: model(
            KeyedJaggedTensor(names, rows[n], lengths=lengths.repeat(len(names)))
        ).backward(gradient)
    for name, optimiser in (("sparse-adagrad", torch.optim.Adagrad), ("sparse-sgd", torch.optim.SGD)):
        bag = nn.EmbeddingBag(size.rows, size.width, mode="sum", sparse=True, device=device)
        cases[name] = sparse_step(bag, optimiser(bag.parameters(), lr=0.01), rows, offsets, by_bag)

    times: dict[str, list[float]] = {case: [] for case in cases}
    for n in range(-1, size.rounds):  # the first round warms up
        for case, step in cases.items():
            seconds = timed(lambda step=step, n=n: step(n % len(batches)), device)
            if n >= 0:
                times[case].append(seconds)
    settings = {"bag": length, "batch": size.batch, "rows": size.rows, "width": size.width, "features": size.features}
    settings |= {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    settings |= {"threads": torch.get_num_threads()}
    for case, seconds in times.items():
        add(report, f"bag{length}/{case}", "milliseconds", [1e3 * one for one in seconds], settings)
    for name in OPTIMISERS:
        against = {"raw-torchrec": f"raw-torchrec/{name}", "sparse-adagrad": "sparse-adagrad"}
        if name == "sgd":
            against["sparse-sgd"] = "sparse-sgd"
        for other, case in against.items():
            ratios = [theirs / ours for theirs, ours in zip(times[case], times[f"ours/{name}"], strict=True)]
            add(report, f"bag{length}/ours/{name}", f"times as fast as {other}", ratios, settings)


def sparse_step(
    bag: nn.EmbeddingBag, optimiser: torch.optim.Optimizer, rows: list[Tensor], offsets: Tensor, gradient: Tensor
) -> Callable[[int], None]:
    def step(n: int) -> None:
        optimiser.zero_grad(set_to_none=True)
        bag(rows[n], offsets).backward(gradient)
        optimiser.step()

    return step


def hash_speed(report: Report, size: Size, vocabulary: Vocabulary, device: torch.device) -> None:
    """Million look-ups a second, of keys hashed, and of addresses that were hashed before."""
    salt = salt_of("item_id", 0)
    keys = torch.randint(-(2**63), 2**63 - 1, (size.keys,), device=device)
    addresses = hashed_rows(torch.tensor(vocabulary.keys).to(device), salt, size.rows)
    at = torch.randint(len(vocabulary), (size.keys,), device=device)
    cases = {
        "hash/mix64": lambda: mix64(keys, salt),
        "hash/mix64+bucket": lambda: hashed_rows(keys, salt, size.rows),
        "hash/addresses": lambda: addresses.index_select(0, at),
    }
    settings = {"keys": size.keys, "device": device.type, "threads": torch.get_num_threads()}
    wall: dict[str, list[float]] = {case: [] for case in cases}
    core: dict[str, list[float]] = {case: [] for case in cases}
    for n in range(-1, size.rounds):
        for case, run in cases.items():
            began = time.process_time()
            seconds = timed(run, device)
            if n >= 0:
                wall[case].append(size.keys / seconds / 1e6)
                core[case].append(size.keys / max(1e-9, time.process_time() - began) / 1e6)
    for case in cases:
        add(report, case, "million a second, wall", wall[case], settings)
        if device.type == "cpu":
            add(report, case, "million a second, a core", core[case], settings)


def timed(step: Callable[[], object], device: torch.device) -> float:
    """Seconds that a step takes."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def add(report: Report, case: str, metric: str, values: list[float], settings: dict) -> None:
    report.add(case, metric, statistics.median(values), statistics.stdev(values), n=len(values), settings=settings)


if __name__ == "__main__":
    main()
