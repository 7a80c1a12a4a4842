"""How fast pairs are judged, beside a plain loop over transformers in batches of 32.

All read the same words with the same weights, in fp32 but for "together, auto", which has the precision that a
matcher is served with on this machine, and is served "with overlap": trees over what records share besides. "fixed
padding" pads every batch to the most that is read (256 tokens), "padded to the batch" to its own longest. "apart" is
a matcher that reads each record by itself. Log-odds are compared for pairs that neither has to cut. The last rows
judge few pairs of the same tables and a million, each in a process of its own with trees and a language model of
random weights that is small, for the memory: what the process holds at its peak.
"""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from matching_cases import read, tiny_encoder
from report import Report, arguments

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.ditto import DittoMatcher, compared, log_odds
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.pair_reader import PairReader
from recsys.matching.siamese import make_matcher
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import load_encoder, precision_of
from training.matching.conclusion import second_opinion

#: turns of each, one after the other
TURNS = 3
BATCH = 32
MILLION = 1_000_000


def main() -> None:
    """Measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--data", default="abt-buy", help="a data set of matching.py (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=MILLION, help="of the last row (default: %(default)s)")
    options = parser.parse_args()
    report = Report("matching_speed", quick=options.quick)
    data = read("generated" if options.quick else options.data, options.data_root)
    pairs = data.test.take(np.arange(min(len(data.test), 48 if options.quick else len(data.test))))
    config = DittoConfig(max_tokens=64 if options.quick else 0)
    torch.manual_seed(0)
    encoder = load_encoder(dataclasses.replace(config.encoder, precision="fp32"))
    matcher = make_matcher(config, encoder).eval()
    reader = PairReader(config, pairs.left.attributes, encoder)
    apart = dataclasses.replace(config, reads="apart")
    siamese = make_matcher(apart, encoder).eval()
    served = copy.deepcopy(matcher)
    served.encoder.model.to(precision_of(config.encoder))
    whole = copy.deepcopy(served)
    whole.overlap = second_opinion(reader, data.train)
    ways = {
        "fixed padding": lambda: plain_loop(matcher, reader, pairs, "max_length"),
        "padded to the batch": lambda: plain_loop(matcher, reader, pairs, "longest"),
        "together": lambda: log_odds(matcher, reader, pairs),
        "together, auto": lambda: log_odds(served, reader, pairs),
        "together, auto, with overlap": lambda: log_odds(whole, reader, pairs),
        "apart": lambda: log_odds(siamese, PairReader(apart, pairs.left.attributes, encoder), pairs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, np.ndarray] = {}
    for _ in range(1 if options.quick else TURNS):
        for name, way in ways.items():
            began = time.perf_counter()
            found[name] = way()
            seconds[name].append(time.perf_counter() - began)
    case = "generated" if options.quick else options.data
    for name, times in seconds.items():
        rates = [len(pairs) / one for one in times]
        report.add_runs(f"{case}/{name}", "pairs_per_second", rates, times)
    for name in ("together", "together, auto", "together, auto, with overlap", "apart"):
        for other in ("fixed padding", "padded to the batch"):
            ratio = statistics.median(a / b for a, b in zip(seconds[other], seconds[name], strict=True))
            report.add(f"{case}/{name}", f"times {other}", ratio, n=len(seconds[name]))
    uncut = lengths(matcher, pairs) <= reader.max_tokens
    precisions = {"together": "fp32", "together, auto": str(precision_of(config.encoder)).removeprefix("torch.")}
    for name, precision in precisions.items():
        apart_by = np.abs(found[name] - found["fixed padding"])[uncut].max()
        facts = {"pairs": int(uncut.sum()), "cut": int((~uncut).sum()), "precision": precision}
        report.add(f"{case}/{name}", "largest difference in log-odds", apart_by, settings=facts)
    report.finish(options.out)  # the million takes longest
    many(report, case, options.data_root, 2_000 if options.quick else options.pairs)
    report.finish(options.out)


@torch.inference_mode()
def plain_loop(matcher: DittoMatcher, reader: PairReader, pairs: RecordPairs, padding: str) -> np.ndarray:
    """What a loop over batches says that tokenises texts of two records, and pads them as it is told."""
    encoder, tokenizer = matcher.encoder, matcher.encoder.tokenizer
    found = []
    for start in range(0, len(pairs), BATCH):
        rows = slice(start, start + BATCH)
        told = tokenizer(
            *_sides(pairs, rows),
            padding=padding,
            truncation="longest_first",
            max_length=reader.max_tokens,
            return_tensors="pt",
        )
        states = encoder.model(**told.to(encoder.model.device)).last_hidden_state
        second = told["token_type_ids"]
        means = [_mean(states, some) for some in (told["attention_mask"] - second, second)]
        vectors = torch.cat([states[:, 0], compared(*means)], dim=1)
        found.append(matcher.judge(vectors).cpu().numpy())
    return np.concatenate(found)


def lengths(matcher: DittoMatcher, pairs: RecordPairs) -> np.ndarray:
    """How many tokens pairs have before any is cut. (m,)"""
    told = matcher.encoder.tokenizer(*_sides(pairs, slice(None)), verbose=False)["input_ids"]
    return np.array([len(one) for one in told])


def many(report: Report, case: str, data_root: Path | None, n: int) -> None:
    """The memory that so many pairs take, beside what a hundredth of them takes."""
    context = multiprocessing.get_context("spawn")  # a process's peak never falls
    for size in (n // 100, n):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            peak, seconds = pool.submit(peak_of, case, data_root, size).result()
        report.add(f"{case}/{size} pairs", "peak_gb", peak, seconds=seconds, settings={"pairs": size})


def peak_of(case: str, data_root: Path | None, size: int) -> tuple[float, float]:
    """What a process holds at its peak that judges so many drawn pairs, in GB, and how long that takes."""
    data = read(case, data_root)
    pairs = data.test
    with tempfile.TemporaryDirectory() as folder:
        config = DittoConfig(TextEncoderConfig(tiny_encoder(Path(folder)), pooling="cls"), max_tokens=64)
        encoder = load_encoder(config.encoder)
    matcher, reader = make_matcher(config, encoder).eval(), PairReader(config, pairs.left.attributes, encoder)
    matcher.overlap = second_opinion(reader, data.train.take(np.arange(min(2_000, len(data.train)))))
    random = np.random.default_rng(0)
    rows = [random.integers(len(one), size=size) for one in (pairs.left, pairs.right)]
    began = time.perf_counter()
    log_odds(matcher, reader, RecordPairs(pairs.left, pairs.right, *rows))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, time.perf_counter() - began


def _sides(pairs: RecordPairs, rows: slice) -> list[list[str]]:
    """The texts of both records of some pairs."""
    return [
        [_text(side.values.row(row, named=True)) for row in some[rows].tolist()]
        for side, some in ((pairs.left, pairs.left_rows), (pairs.right, pairs.right_rows))
    ]


def _text(record: dict[str, str]) -> str:
    return " ".join(f"COL {name.replace('_', ' ')} VAL {value}" for name, value in record.items())


def _mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"matching_speed.py: {error}") from None
