"""Why each item is in a list: what brought it, or what of a history is most like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from serving.lists.recommendations import Interest, Recommendations
from serving.lists.shelf import Shelf

#: of a title: some catalogues call a page of text that
MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Named:
    """An item as people read of it.

    Args:
        item_id: As JSON has it.
        title: None where items have none.
    """

    item_id: str
    title: str | None

    def __str__(self) -> str:
        return f"“{self.item_id if self.title is None else self.title}”"


@dataclass(frozen=True)
class Standing:
    """An interest of a user, and the item that it is told by, if any."""

    weight: float
    because: Named | None
    own: bool


@dataclass(frozen=True)
class Reason:
    """Why a candidate is in a list.

    Args:
        kind: What the reason is: an interest that brought it; the item of the history that is most like it; that the
            history holds it; what the model knows of the user, where nothing else can be said; that it is popular.
        sentence: For people.
        item: Which the sentence names, if any.
        cosine: Of the vectors of the two items.
        interest: Which of the user's interests, from 0.
    """

    kind: Literal["interest", "history", "seen", "user", "popularity"]
    sentence: str
    item: Named | None = None
    cosine: float | None = None
    interest: int | None = None


def named(shelf: Shelf, rows: np.ndarray) -> list[Named]:
    """Items by their rows. (n,) -> n items"""
    titles = [None] * len(rows) if shelf.titles is None else shelf.titles.gather(rows).to_list()
    return [Named(str(one), short(title)) for one, title in zip(shelf.ids_of(rows), titles, strict=True)]


def short(title: str | None) -> str | None:
    """A title that can be shown."""
    return title if title is None or len(title) <= MOST_CHARACTERS else title[: MOST_CHARACTERS - 1] + "…"


def standing(shelf: Shelf, one: Interest) -> Standing:
    """An interest with the name of its item."""
    row = -1 if one.because is None else int(shelf.rows([one.because], "because")[0])
    return Standing(one.weight, None if row < 0 else named(shelf, np.array([row]))[0], one.own)


def reasons(shelf: Shelf, found: Recommendations, met: np.ndarray) -> list[Reason]:
    """Why each item of one user's list is in it.

    Args:
        shelf: The items.
        found: The list.
        met: Item rows of the history that it follows from, oldest first. (L,)
    """
    if found.sources[0] == "popularity":
        return [Reason("popularity", f"Popular: training saw it {_times(score)}.") for score in found.scores[0]]
    if found.interests and found.interests[0]:
        told = [standing(shelf, one) for one in found.interests[0]]
        return [_by_interest(told[one], one) for one in found.interest_of[0]]
    # ids, and not the answer's own rows: items may have come and gone since
    rows = shelf.rows(found.item_ids[0], "item_ids")
    nearest, cosines = most_like(shelf, rows, met)
    items = iter(named(shelf, nearest[nearest >= 0]))
    mine, why = set(met.tolist()), []
    for row, like, cosine in zip(rows.tolist(), nearest.tolist(), cosines.tolist(), strict=True):
        item = next(items) if like >= 0 else None
        if row in mine:
            why.append(Reason("seen", "It is in the history already."))
        elif item is None:
            why.append(Reason("user", "Near what the model knows of this user."))
        else:
            sentence = f"Of the history, {item} is most like it (cosine {cosine:.2f})."
            why.append(Reason("history", sentence, item, cosine))
    return why


def most_like(shelf: Shelf, rows: np.ndarray, met: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a history the item whose vector has the highest cosine with each of some items, of equal ones the latest.

    Args:
        shelf: The items.
        rows: Item rows; -1 for none. (K,)
        met: Item rows of the history, oldest first. (L,)

    Returns:
        Item rows, -1 where nothing can be compared, and cosines. (K,) int64, (K,) float64
    """
    nearest, cosines = np.full(len(rows), -1), np.full(len(rows), np.nan)
    latest = met[::-1]
    latest = latest[np.sort(np.unique(latest, return_index=True)[1])]
    units = _units(shelf, latest)
    latest, units = latest[np.isfinite(units).all(axis=1)], units[np.isfinite(units).all(axis=1)]
    asked = _units(shelf, np.maximum(rows, 0))
    asked[rows < 0] = np.nan
    usable = np.isfinite(asked).all(axis=1)
    if len(latest) and usable.any():
        # rounded: items of one vector are equal, whichever way their products were summed
        likeness = np.round(asked[usable] @ units.T, 9)  # (K', L')
        best = likeness.argmax(axis=1)
        nearest[usable], cosines[usable] = latest[best], likeness[np.arange(len(best)), best]
    return nearest, cosines


def _units(shelf: Shelf, rows: np.ndarray) -> np.ndarray:
    """The vectors of items, of length 1; nan for those that point nowhere. (n,) -> (n, D) float64"""
    vectors = shelf.vectors_of(rows)[:, : shelf.width].astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, np.nan)


def _by_interest(one: Standing, place: int) -> Reason:
    share = f"{one.weight:.0%} of this user"
    if one.because is None:
        return Reason("interest", f"Brought by interest {place + 1}, {share}.", interest=place)
    whose = "the interest" if one.own else "similar users' interest"
    sentence = f"Brought by {whose} around {one.because}, {share}."
    return Reason("interest", sentence, one.because, interest=place)


def _times(score: float) -> str:
    return "once" if score == 1 else f"{score:,.0f} times"
