"""How fast pairs are judged, beside a plain loop over transformers that pads every batch to the longest it takes.

Both read the same words with the same weights, in batches of 32 by the loop, as tutorials write it. Records that are
told in words of which a model reads each once, pairs of like length together, and no padding beyond that are what is
different. "apart" is a matcher that reads each record by itself. The last row judges a million pairs of the same
tables, with a matcher of random weights that is small, for the memory: what the process holds at its peak, before and
after.
"""

from __future__ import annotations

import dataclasses
import resource
import statistics
import time
from typing import Any

import numpy as np
import torch
from matching_cases import read
from report import Report, arguments

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.ditto import DittoMatcher, log_odds
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.pair_reader import PairReader
from recsys.matching.siamese import make_matcher
from recsys.text_encoders.loading import load_encoder

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
    ways = {
        "plain loop": lambda: plain_loop(matcher, reader, pairs),
        "together": lambda: log_odds(matcher, reader, pairs),
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
    for name in ("together", "apart"):
        ratio = statistics.median(a / b for a, b in zip(seconds["plain loop"], seconds[name], strict=True))
        report.add(f"{case}/{name}", "times the plain loop", ratio, n=len(seconds[name]))
    report.add(
        f"{case}/together", "largest difference in log-odds", np.abs(found["together"] - found["plain loop"]).max()
    )
    many(report, case, pairs, 2_000 if options.quick else options.pairs)
    report.finish(options.out)


@torch.inference_mode()
def plain_loop(matcher: DittoMatcher, reader: PairReader, pairs: RecordPairs) -> np.ndarray:
    """What a loop over batches says that tokenises texts of two records, and pads them all to one length."""
    encoder, tokenizer = matcher.encoder, matcher.encoder.tokenizer
    found = []
    for start in range(0, len(pairs), BATCH):
        rows = slice(start, start + BATCH)
        sides = [
            [_text(side.values.row(row, named=True)) for row in some[rows].tolist()]
            for side, some in ((pairs.left, pairs.left_rows), (pairs.right, pairs.right_rows))
        ]
        told = tokenizer(
            *sides, padding="max_length", truncation="longest_first", max_length=reader.max_tokens, return_tensors="pt"
        )
        states = encoder.model(**told.to(encoder.model.device)).last_hidden_state
        vectors = states[:, 0] if encoder.pooling == "cls" else _mean(states, told["attention_mask"])
        found.append(matcher.judge(vectors).cpu().numpy())
    return np.concatenate(found)


def many(report: Report, case: str, pairs: RecordPairs, n: int) -> None:
    """The memory that so many pairs take, beside what few of them take, by a model whose own share is small."""
    config = DittoConfig(reads="apart")
    encoder = load_encoder(dataclasses.replace(config.encoder, precision="fp32"))
    matcher, reader = make_matcher(config, encoder).eval(), PairReader(config, pairs.left.attributes, encoder)
    random = np.random.default_rng(0)
    peaks: list[float] = []
    for size in (len(pairs), n):
        rows = [random.integers(len(one), size=size) for one in (pairs.left, pairs.right)]
        began = time.perf_counter()
        log_odds(matcher, reader, RecordPairs(pairs.left, pairs.right, *rows))
        taken = time.perf_counter() - began
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
        settings: dict[str, Any] = {"pairs": size}
        report.add(f"{case}/{size} pairs", "peak_gb", peaks[-1], seconds=taken, settings=settings)


def _text(record: dict[str, str]) -> str:
    return " ".join(f"COL {name.replace('_', ' ')} VAL {value}" for name, value in record.items())


def _mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"matching_speed.py: {error}") from None
