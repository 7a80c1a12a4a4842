"""How fast texts become vectors: this project's encoder beside sentence-transformers' `encode`, of the same model.

The texts are those of Amazon Beauty's items. Both encode all of them in turns, in this process, with the same threads:
sentence-transformers by its defaults, ours as `recsys train` does, with a store that is empty at first. Then the store
is asked for the same items again, and for items of which one in a hundred has another title. "cosine" is the smallest
between the two encoders' vectors of a text.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from report import Report, arguments
from sequence_data import load
from text_cases import sentences, text_config

from features.errors import InputError
from recsys.text_encoders.folders import folder_of
from recsys.text_encoders.items import item_vectors
from recsys.text_encoders.loading import load_encoder

ROUNDS = 3


def main() -> None:
    """Encodes, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often the two take turns")
    parser.add_argument("--texts", type=int, default=0, help="how many texts; 0 for all")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("encode_speed.py: --data-root FOLDER is needed (a folder that holds amazon-beauty)")
    report = Report("encode_speed", quick=options.quick)
    data = "generated" if options.quick else "amazon-beauty"
    items = load(data, options.data_root).items
    items = items.head(64) if options.quick else items.head(options.texts or items.height)
    compare(report, data, items, 1 if options.quick else options.rounds)
    report.finish(options.out)


def compare(report: Report, data: str, items: pl.DataFrame, rounds: int) -> None:
    """Both encoders on the same texts."""
    with tempfile.TemporaryDirectory() as folder:
        config = text_config(data, Path(folder) / "0")
        encoder = load_encoder(config.encoder)
        texts = sentences(items, config, encoder)
        theirs = peer(config.encoder.model)
        facts = {
            "texts": len(texts),
            "tokens": int(np.mean([len(one) for one in encoder.tokens(texts)])),
            "threads": torch.get_num_threads(),
            "precision": str(encoder.model.dtype).removeprefix("torch."),
        }
        rates: dict[str, list[float]] = {}
        for turn in range(rounds):
            mine, spent = timed(lambda: encoder.encode(texts))
            rates.setdefault("ours", []).append(len(texts) / spent)
            if theirs is not None:
                other, spent = timed(lambda: theirs(texts))
                rates.setdefault("sentence-transformers", []).append(len(texts) / spent)
            print(
                f"turn {turn + 1}: " + ", ".join(f"{name} {one[-1]:.0f}/s" for name, one in rates.items()), flush=True
            )
        for name, values in rates.items():
            report.add_runs(f"{data}/{name}", "texts_per_second", values, settings=facts)
        if theirs is not None:
            ratios = [a / b for a, b in zip(rates["ours"], rates["sentence-transformers"], strict=True)]
            report.add(f"{data}/ours", "times_faster", statistics.median(ratios), n=len(ratios))
            report.add(f"{data}/ours", "cosine", float((mine * other).sum(axis=1).min()))
        with_store(report, data, items, folder)


def with_store(report: Report, data: str, items: pl.DataFrame, folder: str) -> None:
    """What a store saves: of the same items, and of items of which one in a hundred has changed."""
    config = text_config(data, Path(folder) / "store")
    changed = items.with_columns(
        title=pl.when(pl.int_range(pl.len()) % 100 == 0).then(pl.lit("new ") + pl.col("title")).otherwise("title")
    )
    whole = None
    for name, asked in (("store-empty", items), ("store-unchanged", items), ("store-1-percent-changed", changed)):
        found, spent = timed(lambda asked=asked: item_vectors(asked, config))
        whole = whole or spent
        settings = {"encoded": found.encoded, "stored": found.stored, "share_of_first": round(spent / whole, 5)}
        report.add(f"{data}/{name}", "seconds", spent, settings=settings)


def peer(model: str) -> Callable[[list[str]], np.ndarray] | None:
    """sentence-transformers' `encode` with its defaults; None where it is not installed."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        print("sentence-transformers is not installed, so only ours is measured", flush=True)
        return None
    loaded = SentenceTransformer(str(folder_of(model)), device="cpu")
    return lambda texts: loaded.encode(texts, show_progress_bar=False)


def timed(work: Callable) -> tuple:
    """What some work gives, and how many seconds it took."""
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"encode_speed.py: {error}") from None
