"""`recsys interests`"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.options import data_arguments, data_of_model, json_argument, model_argument, say

if TYPE_CHECKING:
    from features.prepared import Prepared
    from recsys.interests import InterestsConfig, RetrieverKind
    from serving.manifest import Manifest
    from training.interests import InterestsMeasure

#: what a table shows of each retriever
FIGURES = ("recall@10", "recall@20", "recall@50", "hr@10", "ndcg@10", "distance", "distinct", "coverage@50")

#: the settings that an argument gives, or validation chooses
_CHOSEN = {
    "clusters": (int, "into how many clusters the items are put"),
    "mixing": (float, "the similar users' share of a mixture, from 0 to 1"),
    "neighbours": (int, "how many similar users there are"),
    "components": (int, "how many of a user's interests ask"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the bundle with interests goes (default: a folder is changed)"
    )
    parser.add_argument(
        "--retriever",
        choices=("unimodal", "mixture", "smoothed"),
        default="smoothed",
        help="what answers where a request names no other (default: %(default)s)",
    )
    for name, (kind, what) in _CHOSEN.items():
        parser.add_argument(f"--{name}", type=kind, metavar="N", help=f"{what} (default: chosen on validation)")
    data_arguments(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Chooses, writes, measures and prints."""
    from serving.bundle import Bundle, with_metrics
    from serving.interests_writer import with_interests
    from training.as_bundle import declared_as
    from training.bundle_evaluation import evaluate_bundle
    from training.evaluation import Evaluation
    from training.interests import InterestsMeasure
    from training.release import note_on_comparing

    if arguments.out is None and arguments.model.startswith("models:/"):
        raise InputError("--out names a folder for the bundle with interests: a registered version is never changed")
    folder, manifest, prepared = data_of_model(arguments)
    if note := note_on_comparing(folder, prepared):
        print(f"recsys interests: note: {note}", file=sys.stderr)
    _check_same(prepared, manifest)
    bundle = Bundle.load(folder)
    prepared = declared_as(bundle, prepared)
    chosen, trials = _chosen(arguments, InterestsMeasure.of(bundle.model, Evaluation(prepared, "validation")))
    out = with_interests(folder, chosen, arguments.retriever, arguments.out)
    with_metrics(out, evaluate_bundle(out, prepared))
    measure = InterestsMeasure.of(bundle.model, Evaluation(prepared))
    kinds: tuple[RetrieverKind, ...] = ("unimodal", "mixture", "smoothed")
    figures = {kind: measure.figures(measure.lists(kind, chosen)) for kind in kinds}
    if arguments.json:
        told = {kind: {name: row[name] for name in FIGURES} for kind, row in figures.items()}
        facts = {"bundle": str(out), "retriever": arguments.retriever, "interests": chosen.to_json(), "trials": trials}
        facts |= {"dataset": prepared.dataset.name, "split_hash": prepared.split.sha256}
        print(json.dumps({**facts, "figures": told}))
    else:
        print(_table(figures, chosen))
        print(f"written to {out}, which answers with {arguments.retriever!r} where a request names no other retriever")
    return 0


def _check_same(prepared: Prepared, manifest: Manifest) -> None:
    """Refuses data whose users or items are not those of the bundle."""
    for name, mine in (("user_id", prepared.users), ("item_id", prepared.items)):
        if mine.sha256 != manifest.vocabularies[name]:
            raise InputError(
                f"the data has other values of {name} than the bundle; name the data that its model was trained on"
            )


def _chosen(arguments: argparse.Namespace, measure: InterestsMeasure) -> tuple[InterestsConfig, int]:
    """The settings that are given, and the best of the others; and how many were tried."""
    from recsys.interests import ClustersConfig, InterestsConfig
    from training.interests import CHOSEN_BY, InterestsSpace, search

    given = {name: getattr(arguments, name) for name in _CHOSEN if getattr(arguments, name) is not None}
    space = InterestsSpace(**{name: (value,) for name, value in given.items()})
    clusters = ClustersConfig(**{name: given.pop(name) for name in ("clusters",) if name in given})
    start = InterestsConfig(**given, clusters=clusters)
    kind = "mixture" if arguments.retriever == "mixture" else "smoothed"
    best, n = None, 0
    for trial in search(measure, kind, space, start, say=say):
        n += 1
        if best is None or trial.figures[CHOSEN_BY] > best.figures[CHOSEN_BY]:
            best = trial
    plain = measure.figures(measure.lists("unimodal", best.config))[CHOSEN_BY]
    say(f"chosen: {best.config}: {CHOSEN_BY} {best.figures[CHOSEN_BY]:.4f} on validation; unimodal {plain:.4f}")
    if arguments.retriever != "unimodal" and plain > best.figures[CHOSEN_BY]:
        say(f"note: on validation a single query finds more than {kind!r}; what interests bring is variety")
    return best.config, n


def _table(figures: dict[str, dict[str, float]], chosen: Any) -> str:
    """Test figures, a line a retriever."""
    width = max(map(len, figures))
    lines = [" " * (width + 3) + "".join(f"{name.upper():>13}" for name in FIGURES)]
    lines += [f"   {name:<{width}}" + "".join(f"{row[one]:>13.4f}" for one in FIGURES) for name, row in figures.items()]
    return "\n".join(lines)
