"""One user as people look at one: the history, the interests, the candidates, and why each of them is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.interests import RetrieverKind
from serving.candidates import CandidateGenerator
from serving.lists.asked import read_asked
from serving.lists.item_search import items_with
from serving.lists.reasons import Named, Reason, Standing, named, reasons, short, standing
from serving.state.events import EventStore
from serving.state.extending import extended

#: of a history so many are named, the latest
MOST_NAMED = 50


@dataclass(frozen=True)
class Candidate:
    """One of a list, which is best first."""

    item: Named
    score: float
    why: Reason


@dataclass(frozen=True)
class Portrait:
    """What can be seen of one user.

    Args:
        known: Whether the catalogue of users has the id.
        source: What the list follows from: "user", "history" or "popularity".
        unknown: Given items that the model does not read, and that were left out.
        length: Of the history.
        history: Its last items, oldest first.
        interests: The heaviest first; none where the model was stored without.
        candidates: Best first.
    """

    known: bool
    source: str
    unknown: int
    length: int
    history: list[Named]
    interests: list[Standing]
    candidates: list[Candidate]


def portrait(
    generator: CandidateGenerator,
    user_id: str | None = None,
    history: Sequence[str] | None = None,
    k: int = 20,
    interests: RetrieverKind | None = None,
    events: EventStore | None = None,
) -> Portrait:
    """What a user is recommended, from what, and why.

    Args:
        generator: Which answers.
        user_id: Raw; none for somebody who has only a history.
        history: Raw item ids, oldest first, which stand for what is stored of the user.
        k: How many candidates.
        interests: See `CandidateGenerator.recommend`, whose list it is.
        events: What users have done since the model was built, which extends their histories.

    Raises:
        FieldError: An argument that cannot be used.
    """
    given = None if history is None else [list(history)]
    more = extended(generator, events, [user_id], given)
    told: dict[str, Any] = {"seen": more.seen, "history_times": more.history_times}
    found = generator.recommend([user_id], more.histories, k, interests=interests, **told)
    shelf = generator.new_items.shelf
    asked = read_asked(generator.bundle, generator.user_ids, shelf, [user_id], more.histories, more.history_times)
    met = asked.histories.row(0)
    titles = [None] * len(found.item_ids[0]) if found.titles is None else found.titles_of(0)
    mixed = found
    if generator.bundle.interests is not None and not (found.interests and found.interests[0]):
        mixed = generator.recommend([user_id], more.histories, 1, interests="mixture", **told)
    return Portrait(
        known=user_id is not None and int(generator.user_ids.rows([user_id], "user_id")[0]) >= 0,
        source=found.sources[0],
        unknown=found.unknown_history_items[0],
        length=len(met),
        history=named(shelf, met[-MOST_NAMED:]),
        interests=[standing(shelf, one) for one in (mixed.interests[0] if mixed.interests else [])],
        candidates=[
            Candidate(Named(str(item), short(title)), score, why)
            for item, title, score, why in zip(
                found.item_ids[0], titles, found.scores[0], reasons(shelf, found, met), strict=True
            )
        ],
    )


def search(generator: CandidateGenerator, text: str, n: int) -> list[Named]:
    """Items whose title or id holds a text: see `serving.lists.item_search`."""
    shelf = generator.new_items.shelf
    return named(shelf, items_with(text, shelf, generator.bundle.item_counts, n))


def examples(generator: CandidateGenerator, n: int) -> tuple[list[str], list[Named]]:
    """Users and items to begin with: known users from the first to the last, and what is most popular. (n,) each"""
    bundle, shelf = generator.bundle, generator.new_items.shelf
    users = np.flatnonzero(bundle.known.trained)
    users = np.unique(users[np.linspace(0, len(users) - 1, n).astype(np.int64)]) if len(users) else users
    items = np.argsort(-bundle.item_counts, kind="stable")[:n]
    return generator.user_ids.strings(users), named(shelf, items)
