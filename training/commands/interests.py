"""`recsys interests`"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import InputError
from training.commands.options import data_arguments, data_of_model, json_argument, model_argument, say

if TYPE_CHECKING:
    from features.prepared import Prepared
    from recsys.interests import InterestsConfig, RetrieverKind
    from serving.bundles.manifest import Manifest
    from training.interests import InterestsMeasure, Trial

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
        help="what answers where a request names no other (default: smoothed if it finds more on validation than "
        "unimodal does, else that)",
    )
    for name, (kind, what) in _CHOSEN.items():
        parser.add_argument(f"--{name}", type=kind, metavar="N", help=f"{what} (default: chosen on validation)")
    parser.add_argument(
        "--order",
        choices=("user", "weight"),
        default="user",
        help="what orders the candidates: the user's own vector, or the interests' weights, so that the first ones are "
        "shared out in proportion, too (default: user)",
    )
    parser.add_argument("--register", metavar="NAME", help="make the bundle a new version of this registered model")
    data_arguments(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Chooses, writes, measures and prints."""
    from serving.bundles.bundle import Bundle, with_metrics
    from serving.bundles.in_place import replaced
    from serving.bundles.interests_writer import with_interests
    from training.as_bundle import declared_as
    from training.bundle_evaluation import evaluate_bundle, evaluate_reranked
    from training.evaluation import Evaluation
    from training.interests import InterestsMeasure
    from training.promotion import check_name
    from training.release import note_on_comparing

    if arguments.out is None and arguments.model.startswith("models:/"):
        raise InputError("--out names a folder for the bundle with interests: a registered version is never changed")
    check_name(arguments.register)
    folder, manifest, prepared = data_of_model(arguments)
    note_on_comparing(folder, prepared)  # refuses a bundle that nothing is left to measure with
    _check_same(prepared, manifest)
    bundle = Bundle.load(folder)
    prepared = declared_as(bundle, prepared)
    out = folder if arguments.out is None else arguments.out
    with replaced(out) as part:  # whatever happens before all is measured, the bundle that lies there stays
        measure = InterestsMeasure.of(bundle.model, Evaluation(prepared, "validation"), bundle.index)
        chosen, retriever, trials = _chosen(arguments, measure)
        with_interests(folder, chosen, retriever, part)
        figures = _served(part, prepared, measure)
        official = evaluate_bundle(part, prepared)
        with_metrics(part, official | (evaluate_reranked(part, prepared) if manifest.has_ranker else {}))
    version = None if arguments.register is None else _registered(arguments, out, chosen, figures)
    if arguments.json:
        told = {kind: {name: row[name] for name in FIGURES} for kind, row in figures.items()}
        facts = {"bundle": str(out), "retriever": retriever, "interests": chosen.to_json(), "trials": trials}
        facts |= {"dataset": prepared.dataset.name, "split_hash": prepared.split.sha256}
        facts |= {} if version is None else {"version": version}
        print(json.dumps({**facts, "figures": told}))
    else:
        print(_table(figures))
        print(
            "   of lists of 50: distance is the mean of 1 - cosine over pairs of items, distinct how many of a hundred "
            "clusters they are in"
        )
        print(f"written to {out}, which answers with {retriever!r} where a request names no other retriever")
        if version is not None:
            print(f"registered as version {version} of {arguments.register}, its challenger")
    return 0


def _registered(
    arguments: argparse.Namespace, bundle: Path, chosen: InterestsConfig, figures: dict[str, dict[str, float]]
) -> str:
    """A run of its own in MLflow, whose model is the bundle; the new version, which is the challenger."""
    from training.config import flat
    from training.promotion import challenge
    from training.tracking import TrackedRun

    with TrackedRun("interests", bundle.name, uri=arguments.tracking_uri) as tracked:
        tracked.parameters({"model": arguments.model, **flat(chosen.to_json(), "interests.")})
        for kind, row in figures.items():
            tracked.metrics({f"test/{kind}/{name}": row[name] for name in FIGURES})
        version = tracked.bundle(bundle, arguments.register)
        challenge(arguments.register, version, arguments.tracking_uri)
        return version


def _check_same(prepared: Prepared, manifest: Manifest) -> None:
    """Refuses data or a split that the bundle's model was not trained with: its validation is no validation then."""
    for what, mine, theirs in (
        ("data", prepared.dataset.sha256, manifest.data["sha256"]),
        ("split", prepared.split.sha256, manifest.split["sha256"]),
    ):
        if mine != theirs:
            raise InputError(
                f"the {what} is not what the bundle's model was trained with ({mine[:12]}, and {theirs[:12]} there); "
                "settings are chosen on the validation part of that"
            )


def _served(folder: Path, prepared: Prepared, measure: InterestsMeasure) -> dict[str, dict[str, float]]:
    """The test figures of what a bundle answers, by retriever."""
    import numpy as np

    from recsys.interests import KINDS
    from serving.candidates import CandidateGenerator
    from training.bundle_evaluation import served_lists
    from training.evaluation import Evaluation

    generator, evaluation = CandidateGenerator.load(folder), Evaluation(prepared)
    return {
        kind: measure.figures(
            np.concatenate(
                [served_lists(generator, evaluation, users, interests=kind).numpy() for users in evaluation.chunks()]
            ),
            of=evaluation,
        )
        for kind in KINDS
    }


def _chosen(arguments: argparse.Namespace, measure: InterestsMeasure) -> tuple[InterestsConfig, RetrieverKind, int]:
    """The settings that are given, and the best of the others; the retriever; and how many settings were tried."""
    from recsys.interests import ClustersConfig, InterestsConfig
    from training.interests import CHOSEN_BY, InterestsSpace, search

    given = {name: getattr(arguments, name) for name in _CHOSEN if getattr(arguments, name) is not None}
    space = InterestsSpace(**{name: (value,) for name, value in given.items()})
    clusters = ClustersConfig(**{name: given.pop(name) for name in ("clusters",) if name in given})
    start = InterestsConfig(**given, order=arguments.order, clusters=clusters)
    kind: RetrieverKind = "mixture" if arguments.retriever == "mixture" else "smoothed"
    best: Trial | None = None
    n = 0
    for trial in search(measure, kind, space, start, say=say):
        n += 1
        if best is None or trial.figures[CHOSEN_BY] > best.figures[CHOSEN_BY]:
            best = trial
    assert best is not None  # there is a first trial, whatever is given
    plain = measure.figures(measure.lists("unimodal", best.config))[CHOSEN_BY]
    say(f"chosen: {best.config}: {CHOSEN_BY} {best.figures[CHOSEN_BY]:.4f} on validation; unimodal {plain:.4f}")
    retriever = arguments.retriever
    if retriever is None:
        retriever = "smoothed" if best.figures[CHOSEN_BY] > plain else "unimodal"
    if plain > best.figures[CHOSEN_BY]:
        say("note: on validation a single query finds more than interests do; what they bring is variety")
    return best.config, retriever, n


def _table(figures: dict[str, dict[str, float]]) -> str:
    """Test figures, a line a retriever."""
    width = max(map(len, figures))
    lines = [" " * (width + 3) + "".join(f"{name.upper():>13}" for name in FIGURES)]
    lines += [f"   {name:<{width}}" + "".join(f"{row[one]:>13.4f}" for one in FIGURES) for name, row in figures.items()]
    return "\n".join(lines)
