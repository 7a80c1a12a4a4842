"""Golden requests: a few questions that lie in a bundle, with what it answered where it was made.

Whoever loads the bundle asks again. Another answer means that this machine, or what is installed on it, computes
something else than what was measured, and then the bundle should not be served from here.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import InputError
from serving.bundles.bundle import Bundle
from serving.bundles.manifest import GOLDEN, Manifest
from serving.bundles.sealed import BundleError
from serving.candidates import CandidateGenerator
from serving.lists.raw_ids import FieldError
from serving.lists.recommendations import Recommendations

#: items whose scores are this close may change places, and scores may differ by so much; of larger ones, by this share
TOLERANCE = 1e-4

#: how many are asked for
_K = 10
#: users that are asked for by id, and by a history
_USERS, _HISTORIES = 4, 3
#: the end of a history that is given
_LONGEST = 20
#: how long after the latest item somebody comes back, in whatever unit
_LATER = 3600


def write_golden(folder: Path | str) -> Path:
    """Asks a bundle, and writes questions and answers into it; its manifest lists them, and the build id is a new one.

    Args:
        folder: A bundle that nobody uses yet.

    Returns:
        The file.
    """
    folder = Path(folder)
    generator = CandidateGenerator(Bundle.load(folder, hashes=False))
    told = {"k": _K, "asked": [{"request": one, "answer": _asked(generator, one, _K)} for one in _requests(generator)]}
    part = folder / (GOLDEN + ".part")
    part.write_text(json.dumps(told, indent=1), encoding="utf-8")
    os.replace(part, folder / GOLDEN)
    manifest = Manifest.read(folder)
    manifest.sealed(folder, kept=[name for name in manifest.files if name != GOLDEN]).write(folder)
    return folder / GOLDEN


def replay(generator: CandidateGenerator) -> list[str]:
    """Asks again, and compares.

    The same items are expected in the same order, save swaps of items whose scores are within `TOLERANCE`; items that
    have come since the bundle was built are left out.

    Args:
        generator: Of a bundle from a folder. One without golden requests, as earlier versions made them, differs in
            nothing: `Manifest.has_golden` says whether there are any.

    Returns:
        A sentence for each list that is another one, or each request that is refused now.

    Raises:
        BundleError: The golden requests cannot be read.
    """
    bundle = generator.bundle
    if not bundle.manifest.has_golden:
        return []
    with generator.resolved.blamed():
        k, asked = _kept(generator.resolved.folder)
    plain = CandidateGenerator(bundle, generator.resolved) if len(generator.new_items) else generator
    found = []
    for number, (request, answer) in enumerate(asked):
        try:
            now = _asked(plain, request, k)
        except InputError as error:
            found.append(f"golden request {number} is refused: {error}")
            continue
        for user, lists in enumerate(zip(_lists(answer), _lists(now), strict=True)):
            difference = _difference(*lists)
            if difference is not None:
                found.append(f"golden request {number}, user {user}: {difference}")
    return found


def _kept(folder: Path) -> tuple[int, list[tuple[dict[str, Any], dict[str, list[Any]]]]]:
    """How many items a bundle's golden requests ask for, and each with its answer."""
    try:
        told = json.loads((folder / GOLDEN).read_text(encoding="utf-8"))
        return told["k"], [(one["request"], one["answer"]) for one in told["asked"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{GOLDEN} cannot be read: {error}") from error


def _requests(generator: CandidateGenerator) -> list[dict[str, Any]]:
    """Users that are known and one that is not, and histories that come with the request; and all that, re-ranked."""
    bundle = generator.bundle
    known = bundle.known
    lengths = known.lengths_of(np.arange(len(known)))
    by_id = _spread(np.flatnonzero(known.trained & (lengths > 0)), _USERS)
    if not len(by_id):
        by_id = _spread(np.arange(len(known)), _USERS)
    requests: list[dict[str, Any]] = [{"user_ids": [*generator.user_ids.ids(by_id), _stranger(generator)]}]
    rows = _spread(np.flatnonzero(lengths > 0)[1:], _HISTORIES)  # others than by id, where there are enough
    histories = known.histories(rows).last(_LONGEST)
    if len(rows):
        lists = [generator.item_ids.ids(histories.row(n)) for n in range(len(rows))]
        given: dict[str, Any] = {"histories": lists}
        if histories.times is not None:
            ends = histories.offsets
            times = [histories.times[ends[n] : ends[n + 1]].tolist() for n in range(len(rows))]
            given["history_times"] = times
            if bundle.reads_asking_time:
                given["asked_at"] = [one[-1] + _LATER for one in times]
        requests.append(given)
    if bundle.ranker is not None:
        requests += [{**one, "rerank": True} for one in requests]
    return requests


def _asked(generator: CandidateGenerator, request: dict[str, Any], k: int) -> dict[str, list[Any]]:
    """What is answered, as JSON can say it."""
    try:
        answer: Recommendations = generator.recommend(**request, k=k)
    except TypeError as error:
        raise FieldError(f"{GOLDEN} asks for what there is not: {error}") from error
    # six digits: the last ones are the machine's, and the build id should not follow from them
    scores = [[float(f"{one:.6g}") for one in scores] for scores in answer.scores]
    return {"item_ids": answer.item_ids, "scores": scores, "sources": answer.sources}


def _lists(answer: dict[str, list[Any]]) -> list[tuple[list[str | int], list[float], str]]:
    """Items, scores and source of each user."""
    return list(zip(answer["item_ids"], answer["scores"], answer["sources"], strict=True))


def _difference(
    then: tuple[list[str | int], list[float], str], now: tuple[list[str | int], list[float], str]
) -> str | None:
    """What a list has that the other has not, in a few words; None where nothing is different that matters."""
    (items, scores, source), (found, got, answered_by) = then, now
    if answered_by != source:
        return f"answered by {answered_by}, and by {source} where the bundle was made"
    if len(found) != len(items):
        return f"{len(found)} items, and {len(items)} where the bundle was made"
    score_of = dict(zip(items, scores, strict=True))
    for place, (item, score) in enumerate(zip(found, got, strict=True)):
        # one that was not in the list stood behind its end, and is as good as the last one at most
        expected = score_of.get(item, scores[-1])
        if not _close(score, scores[place]) or not _close(score, expected):
            was = f"{items[place]} ({scores[place]:.6g})"
            return f"place {place + 1} is {item} ({score:.6g}), and was {was} where the bundle was made"
    return None


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * max(1.0, abs(other))


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """Some of the rows, from all over. (n,) -> (at most `most`,)"""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _stranger(generator: CandidateGenerator) -> str | int:
    """An id that nobody has."""
    ids = generator.user_ids
    tried: str | int = -1 if ids.integers else "nobody"
    while ids.rows([tried], "user_ids")[0] >= 0:
        tried = tried - 1 if isinstance(tried, int) else f"{tried}?"
    return tried
