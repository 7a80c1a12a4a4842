"""The runs that `interests.py` compares: vectors that are trained once and kept, ComiRec, and item-kNN."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from interests_cases import CASES, prepared_of
from kept_runs import remembered

from recsys.baselines import ItemKNN, ItemKNNConfig
from recsys.index import ItemIndex
from recsys.interests import InterestsConfig, Mixtures, retrieve
from recsys.top_k import Scorer
from training.comirec import ComiRecTrainConfig, InterestScores
from training.comirec import fit as fit_comirec
from training.config import load_config
from training.evaluation import Evaluation
from training.interests import CHOSEN_BY, InterestsMeasure, user_vectors
from training.two_tower_fit import fit

#: length of all lists
K = 50

#: of a split, and of ComiRec's lists, how they are merged
PARTS = ("validation", "test")
MERGED = ("highest score", "equal shares")


def vectors_of(data_root: str, runs: Path, case: str, trial: str, seed: int) -> dict[str, float]:
    """Trains, keeps the vectors, and says what a single query finds on validation."""

    def made() -> dict[str, float]:
        prepared = prepared_of(data_root, case)
        config = load_config(settings=[*CASES[case].settings, *trial.split()], seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            model = fit(config, prepared, Path(folder), progress=False).model
        parts = {part: Evaluation(prepared, part) for part in PARTS}
        of = InterestsMeasure.of(model, parts["validation"])
        arrays = {"items": of.items, "validation": of.users, "test": user_vectors(model, parts["test"])}
        np.savez(_vectors_path(runs, case, trial, seed), width=of.width, **arrays)
        return {"validation": of.figures(of.lists("unimodal", InterestsConfig()))[CHOSEN_BY]}

    runs.mkdir(parents=True, exist_ok=True)
    return remembered(runs, [case, CASES[case].settings, trial, seed], made)


def measured(data_root: str, runs: Path, case: str, trial: str, seed: int, part: str) -> InterestsMeasure:
    """What can be asked of vectors that were kept."""
    with np.load(_vectors_path(runs, case, trial, seed)) as kept:
        vectors = kept["items"], kept[part], int(kept["width"])
    return InterestsMeasure(Evaluation(prepared_of(data_root, case), part), *vectors)


def comirec(data_root: str, runs: Path, case: str, trial: str, seed: int, vectors: str) -> dict[str, Any]:
    """ComiRec's figures, its lists merged in the way that validation likes better; diversity by the others' vectors."""
    found = comirec_lists(data_root, runs, case, trial, seed)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for part in PARTS:
        of = measured(data_root, runs, case, vectors, 0, part)
        figures[part] = {way: of.figures(found[f"{part}: {way}"]) for way in MERGED}
    merged = max(figures["validation"], key=lambda way: figures["validation"][way][CHOSEN_BY])
    return {
        "validation": figures["validation"][merged][CHOSEN_BY],
        "test": figures["test"][merged],
        "merged": merged,
    }


def comirec_lists(data_root: str, runs: Path, case: str, trial: str, seed: int) -> dict[str, np.ndarray]:
    """Trains it, once for all cases of a data set, and keeps its lists, by "part: way of merging"."""
    settings = [*CASES[case].comirec, *trial.split()]
    path = _path(runs, [CASES[case].data, "comirec", " ".join(settings), seed])
    if not path.exists():
        prepared = prepared_of(data_root, case, "histories")
        config = load_config(settings=settings, kind=ComiRecTrainConfig, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            model = fit_comirec(config, prepared, Path(folder), progress=False).model
        found = {f"{part}: {way}": lists(model, Evaluation(prepared, part), way) for part in PARTS for way in MERGED}
        np.savez(path, **found)
    with np.load(path) as kept:
        return dict(kept)


def lists(model: Any, of: Evaluation, way: str) -> np.ndarray:
    """What ComiRec finds for the users who are asked for. (B, K)"""
    if way == "highest score":
        return ranked(of, InterestScores(model, of.histories).scorer)
    found, index = [], ItemIndex.build(model.items.weight.detach().numpy())
    for users in of.chunks():
        mixtures = Mixtures.equal(model.interests(of.histories.take(users)).detach().numpy())
        found.append(retrieve(mixtures, index.search, K, of.seen.rows(users)).rows)
    return np.concatenate(found)


def ranked(of: Evaluation, scorer_of: Callable[[np.ndarray], Scorer]) -> np.ndarray:
    """What a full ranking finds for the users who are asked for. (B, K)"""
    found = [of.rank(users, scorer_of(users))[0].rows.numpy() for users in of.chunks()]
    return np.concatenate(found)[:, :K]


def item_knn(
    data_root: str, runs: Path, case: str, neighbours: int, shrinkage: float, part: str, vectors: str
) -> dict[str, float]:
    """Its figures."""

    def made() -> dict[str, float]:
        of = measured(data_root, runs, case, vectors, 0, part)
        prepared = of.evaluation.prepared
        fitted = ItemKNN(ItemKNNConfig(neighbours, shrinkage)).fit(prepared.train, len(prepared.items))
        return of.figures(ranked(of.evaluation, lambda users: fitted.scorer(of.histories.rows(users))))

    return remembered(runs, [case, "item-knn", neighbours, shrinkage, part, vectors], made)


def _vectors_path(runs: Path, case: str, trial: str, seed: int) -> Path:
    return _path(runs, [case, CASES[case].settings, trial, seed])


def _path(runs: Path, key: list) -> Path:
    return runs / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.npz"
