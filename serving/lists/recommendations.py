"""What a candidate generator answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl


class _Lists:
    """Ranked lists of items, one for each of B users or items that were asked for."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    #: the field that says for whom or what the lists are, and what these are called
    _asked: ClassVar[tuple[str, str]]

    item_ids: list[list[str]] | list[list[int]]
    scores: list[list[float]]
    sources: list[str]
    titles: pl.Series | None
    rows: Sequence[Sequence[int] | np.ndarray]

    def __len__(self) -> int:
        return len(self.item_ids)

    def take(self, start: int, stop: int) -> Self:
        """What those from one place to before another get, as if they alone had been asked for."""
        part = slice(start, stop)
        lists = (one.name for one in dataclasses.fields(self) if one.name != "titles")
        return dataclasses.replace(self, **{name: getattr(self, name)[part] for name in lists})

    def titles_of(self, n: int) -> list[str | None]:
        """The titles of the n-th list; the ids where items have no text."""
        if self.titles is None:
            return [str(one) for one in self.item_ids[n]]
        return self.titles.gather(pl.Series(self.rows[n], dtype=pl.UInt32)).to_list()

    def _why(self, n: int) -> list[str]:
        """What people are told of why each item of the n-th list is in it."""
        return [""] * len(self.item_ids[n])

    def _frame(self, name: str, asked: Sequence[str | int | None]) -> pl.DataFrame:
        """One row an item of a list; the column `name` says for whom or what it is."""
        lengths = [len(one) for one in self.item_ids]
        frame = pl.DataFrame(
            {
                name: _id_column(asked),
                "item_id": self.item_ids,
                "score": pl.Series(self.scores, dtype=pl.List(pl.Float32)),
                "source": pl.Series(self.sources, dtype=pl.String),
                "rank": pl.Series([list(range(1, n + 1)) for n in lengths], dtype=pl.List(pl.Int64)),
            }
        )
        if self.titles is not None:
            titles = [self.titles_of(n) for n in range(len(self))]
            frame = frame.with_columns(pl.Series(self.titles.name, titles, dtype=pl.List(pl.String)))
        lists = [one for one, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
        frame = frame.filter(pl.Series(lengths, dtype=pl.Int64) > 0).explode(lists)
        return frame.select(name, "rank", "item_id", "score", "source", *lists[3:])

    def in_full(self) -> str:
        """All of it for people; `repr` is its beginning."""
        return self._picture(len(self), max(map(len, self.item_ids), default=0))

    def _picture(self, lists: int = 5, items: int = 10) -> str:
        """The first ten of the first five lists, for people."""
        lines, asked = [], getattr(self, self._asked[0])
        for n in range(min(len(self), lists)):
            lines.append(f"{'(no id)' if asked[n] is None else asked[n]} ({self.sources[n]})")
            told = zip(self.item_ids[n], self.titles_of(n), self.scores[n], self._why(n), strict=True)
            for item, title, score, why in list(told)[:items]:
                lines.append(f"    {score:.4f}  {item}" + ("" if self.titles is None else f"  {title}") + why)
            if len(self.item_ids[n]) > items:
                lines.append(f"    ... {len(self.item_ids[n]) - items} more")
        if len(self) > lists:
            lines.append(f"... {len(self) - lists} more {self._asked[1]}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Interest:
    """One of a user's interests, as an answer tells of it.

    Args:
        weight: Its share of the user, from 0 to 1.
        because: An item that says what it is, in the catalogue's own id type; None where nothing does.
        own: Whether the user has had that item; else users who are alike have.
    """

    weight: float
    because: str | int | None
    own: bool

    @property
    def who(self) -> str:
        """Who has had that item, as people are told."""
        return "you" if self.own else "people like you"

    def to_json(self) -> dict[str, Any]:
        """As an object, the id as a string."""
        return {
            "weight": self.weight,
            "because": None if self.because is None else str(self.because),
            "own": self.own,
        }


@dataclass(frozen=True)
class Recommendations(_Lists):
    """Ranked candidates of B users, best first.

    Args:
        user_ids: Whom they are for, as asked; None for users without an id. (B,)
        item_ids: In the catalogue's own id type; fewer than asked for only where no more pass. (B lists)
        scores: Inner products; where interests are merged by weight, the weight of the one that brought the item,
            divided by the item's place among those that it brought, counted from a half; probabilities where re-ranked;
            for popularity, how often training saw the item. (B lists)
        sources: What each list follows from: "user", "history" or "popularity"; see
            `serving.candidates.CandidateGenerator`. (B,)
        unknown_history_items: How many given history items the catalogue lacks; they were left out. (B,)
        titles: The items' texts, column and values, where the items have one.
        rows: Item rows of each list. (B lists)
        interests: Each user's interests, the heaviest first; none for a user who was answered without. (B lists)
        interest_of: Which of them brought each item, counted from 0. (B lists)

    Example:
        >>> Recommendations(["u1"], [["tea", "ink"]], [[0.5, 0.25]], ["user"], [0])
        u1 (user)
            0.5000  tea
            0.2500  ink
    """

    _asked = ("user_ids", "users")
    user_ids: list[str | int | None]
    item_ids: list[list[str]] | list[list[int]]
    scores: list[list[float]]
    sources: list[str]
    unknown_history_items: list[int]
    titles: pl.Series | None = field(default=None, repr=False, compare=False)
    rows: Sequence[Sequence[int] | np.ndarray] = field(default_factory=list, repr=False, compare=False)
    interests: list[list[Interest]] = field(default_factory=list, repr=False)
    interest_of: list[list[int]] = field(default_factory=list, repr=False)

    def to_frame(self) -> pl.DataFrame:
        """One row a candidate: user_id, rank from 1, item_id, score, source, and the title where items have one.

        Of several interests also the weight of the one that brought the item, the item `because` of which, and whether
        that is the user's `own`.
        """
        frame = self._frame("user_id", self.user_ids)
        if not self.interests:
            return frame
        weights, because, own = [], [], []
        for n, (mine, brought) in enumerate(zip(self.interests, self.interest_of, strict=True)):
            told = [mine[one] for one in brought] if mine else [None] * len(self.item_ids[n])
            weights += [None if one is None else one.weight for one in told]
            because += [None if one is None else one.because for one in told]
            own += [None if one is None else one.own for one in told]
        return frame.with_columns(
            pl.Series("weight", weights, dtype=pl.Float64),
            _id_column(because).alias("because"),
            pl.Series("own", own, dtype=pl.Boolean),
        )

    def _why(self, n: int) -> list[str]:
        if not self.interests or not self.interests[n]:
            return super()._why(n)
        mine = [self.interests[n][one] for one in self.interest_of[n]]
        return ["" if one.because is None else f"  (because {one.who} liked {one.because})" for one in mine]

    def to_json(self) -> list[dict[str, Any]]:
        """One object a user, ids as strings: the `candidates` of an HTTP answer."""
        lists: Sequence[Sequence[str | int]] = self.item_ids
        lines: list[dict[str, Any]] = [
            {
                "user_id": None if user is None else str(user),
                "source": source,
                "item_ids": [str(one) for one in items],
                "scores": scores,
                "unknown_history_items": unknown,
            }
            for user, source, items, scores, unknown in zip(
                self.user_ids, self.sources, lists, self.scores, self.unknown_history_items, strict=True
            )
        ]
        for line, interests, of_item in zip(lines, self.interests, self.interest_of, strict=bool(self.interests)):
            line |= {"interests": [one.to_json() for one in interests], "interest_of": of_item}
        return lines

    def __repr__(self) -> str:
        return self._picture() or "Recommendations for nobody"


@dataclass(frozen=True)
class SimilarItems(_Lists):
    """Items most like each of B items, best first.

    Args:
        asked: Which items, as asked. (B,)
        item_ids: In the catalogue's own id type; none for an item that the catalogue lacks. (B lists)
        scores: Cosines of the items' vectors. (B lists)
        sources: "item", or "unknown" where the catalogue lacks it. (B,)
        titles: The items' texts, column and values, where the items have one.
        rows: Item rows of each list. (B lists)

    Example:
        >>> SimilarItems(["tea", "?"], [["ink", "oil"], []], [[0.5, 0.25], []], ["item", "unknown"])
        tea (item)
            0.5000  ink
            0.2500  oil
        ? (unknown)
    """

    _asked = ("asked", "items")
    asked: list[str | int | None]
    item_ids: list[list[str]] | list[list[int]]
    scores: list[list[float]]
    sources: list[str]
    titles: pl.Series | None = field(default=None, repr=False, compare=False)
    rows: Sequence[Sequence[int] | np.ndarray] = field(default_factory=list, repr=False, compare=False)

    def to_frame(self) -> pl.DataFrame:
        """One row a similar item: asked, rank from 1, item_id, score, source, and the title where items have one."""
        return self._frame("asked", self.asked)

    def to_json(self) -> list[dict[str, Any]]:
        """One object an asked item, ids as strings: the `similar` of an HTTP answer."""
        lists: Sequence[Sequence[str | int]] = self.item_ids
        return [
            {
                "item_id": None if item is None else str(item),
                "source": source,
                "item_ids": [str(one) for one in items],
                "scores": scores,
            }
            for item, source, items, scores in zip(self.asked, self.sources, lists, self.scores, strict=True)
        ]

    def __repr__(self) -> str:
        return self._picture() or "Similar items of nothing"


def _id_column(ids: Sequence[str | int | None]) -> pl.Series:
    """Integers where all are and fit, else strings: what was asked may be of both kinds."""
    given = [one for one in ids if one is not None]
    if given and all(not isinstance(one, str) and -(2**63) <= one < 2**63 for one in given):
        return pl.Series([None if one is None else int(one) for one in ids], dtype=pl.Int64)
    return pl.Series([None if one is None else str(one) for one in ids], dtype=pl.String)
