"""What ranking the whole catalogue costs, once users and items have vectors.

- *ml-1m/evaluation*: all measures of the leave-one-out test of 6,040 users over 3,416 items, seen items removed, by
  `training.evaluation`, from vectors that are there (random ones: their values change nothing here). "encoding" is what
  an untrained model of the default size takes for them, beside it.
- *million-items*: the best 50 of a million items for 10,000 users, and with a target each also its exact rank. A matrix
  of users x items would be 40 GB; "memory_gb" is how far the process's largest resident size is above what it was
  before, the result included.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from report import Report, arguments
from sequence_data import load
from torch import Tensor

from features import sources
from features.batches import Jagged
from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.splits import leave_one_out
from recsys.retrievers import encode_catalogue, encode_histories, make_retriever
from recsys.sequential import SequentialConfig
from recsys.top_k import dot_product, top_k
from training.evaluation import Evaluation, evaluate

DIM = 64


def main() -> None:
    """Ranks, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often the test set is ranked")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report = Report("full_ranking", quick=options.quick)
    if options.quick:
        many(report, users=100, items=20_000)
        whole_test(report, "generated", sources.load("generated", interactions=1000), rounds=1)
    else:
        if options.data_root is None:
            raise SystemExit("full_ranking.py: --data-root FOLDER is needed (a folder that holds sequences)")
        many(report, users=10_000, items=1_000_000)  # first, while the process is small
        whole_test(report, "ml-1m", load("ml-1m", options.data_root), options.rounds)
    report.finish(options.out)


def many(report: Report, users: int, items: int) -> None:
    """The best items of a large catalogue for many users, with and without targets."""
    random = torch.Generator().manual_seed(0)
    queries, vectors = (torch.randn(n, DIM, generator=random) for n in (users, items))
    targets = Jagged(torch.randint(items, (users,), generator=random), torch.ones(users, dtype=torch.int64))
    seen = Jagged(torch.randint(items, (users * 100,), generator=random), torch.full((users,), 100))
    settings = {"users": users, "items": items, "d": DIM, "k": 50, "threads": torch.get_num_threads()}
    top_k(queries[:10], vectors[:1000], 50)  # what a first use of the libraries takes is theirs
    for case, asked in (("top-50", None), ("top-50-and-ranks", targets)):
        before = resident_bytes()
        seconds, _ = timed(lambda asked=asked: top_k(queries, vectors, 50, seen, asked))
        report.add(f"million-items/{case}", "seconds", seconds, settings=settings)
        grown = (peak_bytes() - before) / 1e9
        report.add(f"million-items/{case}", "memory_gb", grown, settings={"matrix_gb": users * items * 4 / 1e9})


def whole_test(report: Report, name: str, dataset: Dataset, rounds: int) -> None:
    """Every measure of the leave-one-out test."""
    prepared = Prepared.of(dataset, leave_one_out(dataset))
    evaluation = Evaluation(prepared)
    model = make_retriever(
        SequentialConfig(), prepared.dataset.schema, prepared.vocabularies, prepared.item_table
    ).eval()

    def encode() -> tuple[Tensor, Tensor]:
        users = [
            encode_histories(model, prepared.user_features(chunk, evaluation.histories.rows(chunk)))
            for chunk in evaluation.chunks()
        ]
        return torch.cat(users), encode_catalogue(model, prepared.item_table)

    encoding, (queries, vectors) = timed(encode)
    row_of = np.full(len(prepared.users), -1)
    row_of[evaluation.users] = np.arange(len(evaluation.users))

    def ranked() -> dict[str, float]:
        return evaluate(evaluation, lambda users: dot_product(queries[torch.from_numpy(row_of[users])], vectors))

    seconds = [timed(ranked)[0] for _ in range(rounds)]
    spread = statistics.stdev(seconds) if rounds > 1 else None
    settings = {"users": len(evaluation.users), "items": len(prepared.items), "threads": torch.get_num_threads()}
    report.add(f"{name}/evaluation", "seconds", statistics.median(seconds), spread, rounds, settings=settings)
    report.add(f"{name}/encoding", "seconds", encoding, settings=settings)


def timed(function: Callable) -> tuple[float, object]:
    """Seconds, and what the function gave."""
    began = time.perf_counter()
    given = function()
    return time.perf_counter() - began, given


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"full_ranking.py: {error}") from None
