"""`recsys match predict`"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from training.commands.options import json_argument, model_argument, say
from training.commands.record_options import judging, read_given_pairs, record_arguments
from training.commands.written_tables import check_out, written_in_one_step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
    record_arguments(parser, "those to be judged; where there is a column label, how right that was is said")
    parser.add_argument(
        "--precision",
        type=float,
        metavar="SHARE",
        help="call a pair the same where the validation pairs had this precision (default: where their F1 was best)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="where to, .csv or .parquet: left_id, right_id, probability, log_odds, same",
    )
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judges pairs, and writes what is said of them."""
    check_out(arguments)

    from serving.matching.matcher import Matcher

    matcher = Matcher.load(arguments.model, tracking_uri=arguments.tracking_uri)
    if arguments.precision is not None:  # what cannot be had is told before anything is read
        chosen = matcher.decision(arguments.precision)
        say(
            f"from log-odds {chosen.threshold:.3f} on: of the validation pairs {chosen.called:,} are called the same "
            f"so, {chosen.precision:.1%} of them rightly, which finds {chosen.recall:.1%} of those that are"
        )
        if chosen.least_precision < arguments.precision:
            say(
                f"note: {chosen.called:,} pairs show no more than a precision of {chosen.least_precision:.1%} (with a "
                "confidence of 95%); more of them in the validation part would"
            )
    pairs = read_given_pairs(arguments, matcher.manifest.attributes)
    began = time.perf_counter()
    with judging(len(pairs)) as progress:
        scores = matcher.score(pairs, arguments.precision, progress)
    figures: dict[str, Any] = {
        "pairs": len(pairs),
        "same": int(scores.same.sum()),
        "threshold": scores.threshold,
        "seconds": time.perf_counter() - began,
        "model": matcher.identity,
    }
    if pairs.labels is not None and len(pairs):
        from recsys.matching.thresholds import decide

        decision = decide(scores.log_odds, pairs.labels, scores.threshold)
        figures |= {name: getattr(decision, name) for name in ("precision", "recall", "f1")}
    written_in_one_step(pairs.frame().hstack(scores.frame()), arguments.out)
    if arguments.json:
        print(json.dumps({**figures, "out": str(arguments.out)}))
        return 0
    right = "".join(f"  {name} {figures[name]:.4f}" for name in ("precision", "recall", "f1") if name in figures)
    print(
        f"{figures['same']:,} of {len(pairs):,} pairs are the same (from a probability of "
        f"{scores.least_probability:.4f} on){right}  {figures['seconds']:.1f} s  {arguments.out}"
    )
    return 0
