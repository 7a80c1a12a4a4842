"""Attention over jagged histories: groups of similar length, against one padded matrix and against a row at a time.

Why `recsys.layers.padded` does what it does. Batches of 32 and of 128 windows of at most 200 items, with the lengths of
real data sets; a figure is the processor time of forward and backward of one attention layer for an epoch, in seconds
of one thread, and "padding" the share of the padded places that hold nothing. torch's own nested tensors have no kernel
for this on CPUs (2.13: "No viable backend for scaled_dot_product_attention was found"), and are left out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from report import Report, arguments
from sequence_data import load

from features.errors import InputError
from features.prepared import Prepared
from features.splits import make_split
from recsys.layers import padded
from recsys.layers.attention import CausalAttention, PointwiseAttention
from recsys.layers.padded import PaddedGroups

DIM, HEADS, LONGEST = 64, 2, 200
DATA = ("ml-1m", "amazon-beauty")
BATCHES = (32, 128)
REPEATS = 3


def main() -> None:
    """Measures, prints and writes."""
    options = arguments(__doc__).parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("jagged_attention.py: --data-root FOLDER is needed (a folder that holds the data sets)")
    torch.set_num_threads(1)
    report = Report("jagged_attention", quick=options.quick)
    if options.quick:
        compare(report, "random", np.random.default_rng(0).integers(1, 30, 64), 32)
    else:
        for data in DATA:
            dataset = load(data, options.data_root)
            prepared = Prepared.of(dataset, make_split("leave-one-out", dataset))
            lengths = np.minimum(prepared.train.lengths - 1, LONGEST)
            for batch in BATCHES:
                compare(report, data, lengths[lengths > 0], batch)
    report.finish(options.out)


def compare(report: Report, data: str, lengths: np.ndarray, batch: int) -> None:
    """The three ways, for both kinds of attention."""
    shuffled = torch.from_numpy(np.random.default_rng(0).permutation(lengths).astype(np.int64))
    batches = shuffled[: len(shuffled) // batch * batch].view(-1, batch)
    sample = batches[:: max(1, len(batches) // 8)]
    ways = {"groups": PaddedGroups.of, "one-matrix": one_matrix, "row-by-row": row_by_row}
    for name, layer in {
        "softmax": CausalAttention(DIM, HEADS),
        "pointwise": PointwiseAttention(DIM, HEADS, LONGEST),
    }.items():
        for way, of in ways.items():
            seconds = [timed(layer, sample, of) * len(batches) / len(sample) for _ in range(REPEATS)]
            places = sum(len(of(one).gather) for one in sample)
            settings = {"padding": round(1 - int(sample.sum()) / places, 3), "min": round(min(seconds), 2)}
            case = f"{data}/batch-{batch}/{name}/{way}"
            spread = statistics.stdev(seconds)
            report.add(case, "seconds_per_epoch", statistics.median(seconds), spread, REPEATS, settings=settings)


def timed(layer: torch.nn.Module, sample: torch.Tensor, of: Callable[[torch.Tensor], PaddedGroups]) -> float:
    """Processor seconds of forward and backward over all batches of a sample."""
    inputs = [torch.randn(int(lengths.sum()), DIM, requires_grad=True) for lengths in sample]
    began = time.process_time()
    for values, lengths in zip(inputs, sample, strict=True):
        layer(values, of(lengths)).sum().backward()
    return time.process_time() - began


def one_matrix(lengths: torch.Tensor) -> PaddedGroups:
    """All rows padded to the longest."""
    return grouped(lengths, lambda ordered: [0, len(ordered)])


def row_by_row(lengths: torch.Tensor) -> PaddedGroups:
    """Each row alone, without padding."""
    return grouped(lengths, lambda ordered: list(range(len(ordered) + 1)))


def grouped(lengths: torch.Tensor, bounds: Callable[[np.ndarray], list[int]]) -> PaddedGroups:
    """Groups by another rule than the product's."""
    usual = padded._bounds
    padded._bounds = bounds
    try:
        return PaddedGroups.of(lengths)
    finally:
        padded._bounds = usual


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"jagged_attention.py: {error}") from None
