"""Candidates in process: `CandidateGenerator.load("models:/movies@champion").recommend(user_ids=["17"])`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.item_log import ItemLog
from recsys.interests import RetrieverKind
from serving.bundles.bundle import Bundle
from serving.lists.asked import attribute_frame, read_asked, with_seen
from serving.lists.filters import Ids, passing
from serving.lists.item_columns import ItemColumns, Kind, Where
from serving.lists.new_items import NewItems
from serving.lists.raw_ids import FieldError, RawIds, as_list
from serving.lists.recommendations import Recommendations, SimilarItems
from serving.lists.shelf import Shelf
from serving.lists.user_lists import UserLists
from serving.resolve import Resolved, resolve


class CandidateGenerator:
    """Ranks a bundle's items for users. Safe to share between threads.

    - A user whom training has seen is ranked for by id, attributes and history (source "user").
    - Any other user with at least one known item in the history is ranked for by that ("history").
    - Everyone else gets what is most popular, and the answer says so ("popularity").

    A sequential model knows no users, only histories: "history" is a given one, and "user" the one that the bundle has
    stored of a user. A user without either gets what is most popular, even if training has seen the user.

    A given history replaces the stored one, unless it has no known item; then it is as if it had not been given.
    Unknown items are dropped from histories and counted. What a user has seen is the stored and the given history.

    `allow`, `deny` and `where` say which items an answer may hold, for the whole request, whatever it follows from; a
    list is as long as was asked for wherever as many items pass.

    Items that have come since the model was built (`new_items.add`) are ranked with the others, by what the model makes
    of their attributes and texts; not for users who get what is most popular, and not where a ranker orders. A model
    does not read them in histories, but whoever has one in a given history is not recommended it.

    Args:
        bundle: What to rank with.
        resolved: Where it came from.
        log: Where new items are kept; for this process alone where not given.
    """

    def __init__(self, bundle: Bundle, resolved: Resolved | None = None, log: ItemLog | None = None) -> None:
        self.bundle = bundle
        self.resolved = resolved or Resolved(Path(), bundle.manifest.name, None, None)
        self.user_ids = RawIds(bundle.users)
        self.item_ids = RawIds(bundle.items, bundle.aliases)
        self._lists = UserLists(bundle)
        titles = None if bundle.title_column is None else bundle.item_table[bundle.title_column].cast(pl.String)
        columns = ItemColumns(bundle.schema.item, bundle.item_table)
        shelf = Shelf(bundle.index, self.item_ids, bundle.model.config.dim, titles, columns)
        self.new_items = NewItems(bundle, shelf, log)

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        tracking_uri: str | None = None,
        mmap: bool = False,
        hashes: bool = True,
        new_items: Path | str | None = None,
    ) -> CandidateGenerator:
        """Loads a bundle, and makes ready what a first request would wait for.

        Args:
            source: A folder, or "models:/NAME@ALIAS", "models:/NAME/VERSION" or "models:/NAME": see `serving.resolve`.
            tracking_uri: Where models are registered; MLFLOW_TRACKING_URI, else sqlite:///mlflow.db, where not given.
            mmap: Map the item index into memory, so that processes share its pages.
            hashes: Check the files' hashes, and not only their sizes.
            new_items: The file that keeps items which have come since the model was built: see `features.item_log`.

        Raises:
            InputError: No such model, a bundle that is damaged, or new items that cannot be read.
        """
        return cls.of(resolve(source, tracking_uri), mmap=mmap, hashes=hashes, new_items=new_items)

    @classmethod
    def of(
        cls,
        resolved: Resolved,
        *,
        mmap: bool = False,
        hashes: bool = True,
        new_items: Path | str | None = None,
        aside: bool = False,
    ) -> CandidateGenerator:
        """As `load`, for a source that is resolved already; texts may be read `aside`, by a process of its own."""
        log = None if new_items is None else ItemLog(new_items)
        with resolved.blamed():
            bundle = Bundle.load(resolved.folder, mmap=mmap, hashes=hashes)
        generator = cls(bundle.reading_aside(resolved.folder) if aside else bundle, resolved, log)
        generator.warm()
        return generator

    @property
    def identity(self) -> dict[str, str | None]:
        """Which model this is: name, registered version and build; it goes with every answer."""
        return {
            "name": self.resolved.name,
            "version": self.resolved.version,
            "build_id": self.bundle.manifest.build_id,
        }

    @property
    def columns(self) -> dict[str, Kind]:
        """What `where` can ask of: the items' declared columns, and what each holds."""
        return dict(self.new_items.shelf.columns.kinds)

    def __repr__(self) -> str:
        version = "" if self.resolved.version is None else f" version {self.resolved.version}"
        new = f", {len(self.new_items):,} new items" if len(self.new_items) else ""
        return (
            f"CandidateGenerator({self.resolved.name}{version}, build {self.bundle.manifest.build_id}: "
            f"{len(self.bundle.users):,} users, {len(self.bundle.items):,} items{new})"
        )

    def recommend(
        self,
        user_ids: Sequence[str | int | None] | pl.Series | np.ndarray | None = None,
        histories: Sequence[Sequence[str | int] | None] | None = None,
        k: int = 10,
        exclude_seen: bool | None = None,
        attributes: pl.DataFrame | Sequence[dict[str, Any] | None] | None = None,
        rerank: bool = False,
        rerank_depth: int = 100,
        history_times: Sequence[Sequence[int] | None] | None = None,
        asked_at: Sequence[int | None] | None = None,
        interests: RetrieverKind | None = None,
        seen: Sequence[Sequence[str | int]] | None = None,
        allow: Ids | None = None,
        deny: Ids | None = None,
        where: Where | None = None,
    ) -> Recommendations:
        """The k best items for each of B users.

        Args:
            user_ids: Raw ids; None for a user without one. (B,)
            histories: Raw item ids, oldest first; None where none is given. (B,)
            k: How many.
            exclude_seen: Leave out what the user knows already; as the bundle was measured, where not given.
            attributes: Columns of declared user attributes, for users whom the bundle does not know, or to replace
                what it knows of them; None where none are given. They refine a ranking, and make none by themselves.
                (B rows)
            rerank: Let the bundle's ranker order what the retriever found; scores are then its probabilities. Users who
                are answered by popularity get the same as without.
            rerank_depth: How many candidates the ranker chooses from, where k is not more.
            history_times: When each item of the histories came, in the unit of the training data, for models that read
                times; None where that is not told. (B,)
            asked_at: When each user asks; None for just after the latest item. (B,)
            interests: "mixture" asks for each of a user's interests by itself, "smoothed" also for what similar users
                are interested in, "unimodal" for the user as a whole; as the bundle says, where not given. Users who
                are answered by popularity get the same in any case.
            seen: Raw ids of items that each user knows besides; no history is made of them. (B lists)
            allow: Raw item ids: the lists hold no others.
            deny: Raw item ids: the lists hold none of these.
            where: By column of the items' declared ones (see `columns`) a value, a list of values of which an item has
                one at least, or {"min": a, "max": b} of numbers: the lists hold only items of which all that is true.

        Raises:
            FieldError: An argument that cannot be used; it says which and why. Unknown ids are no errors.
        """
        shelf = self.new_items.shelf  # one for the whole request
        k, depth = _number("k", k, len(shelf)), _number("rerank_depth", rerank_depth, len(self.bundle.items))
        if rerank and not self._lists.reranks:
            raise FieldError("this model has no ranker, so candidates cannot be re-ranked", "rerank")
        retriever = self._lists.retriever(interests)
        among = passing(shelf, allow, deny, where)
        asked = read_asked(self.bundle, self.user_ids, shelf, user_ids, histories, history_times, asked_at)
        asked = asked if seen is None else with_seen(asked, shelf, seen)
        removes = self.bundle.manifest.removes_seen if exclude_seen is None else bool(exclude_seen)
        frame, described = attribute_frame(self.bundle, attributes, len(asked))
        if described.any() and self.bundle.by_history_alone and not rerank:
            raise FieldError("this model ranks by histories alone, so attributes would change nothing", "attributes")
        depth = max(k, depth) if rerank else 0
        lists = self._lists.of(shelf, asked, frame, described, k, removes, depth, retriever, among)
        brought = [] if retriever == "unimodal" else lists.brought
        return Recommendations(
            user_ids=asked.user_ids,
            item_ids=shelf.ids_of_lists(lists.rows),
            scores=[one.tolist() for one in lists.scores],
            sources=lists.sources,
            unknown_history_items=asked.unknown.tolist(),
            titles=shelf.titles,
            rows=lists.rows,
            interests=[[] if one is None else one.told(shelf) for one in brought],
            interest_of=[[] if one is None else one.of_item.tolist() for one in brought],
        )

    def similar(
        self,
        item_ids: Ids,
        k: int = 10,
        allow: Ids | None = None,
        deny: Ids | None = None,
        where: Where | None = None,
    ) -> SimilarItems:
        """The k items most like each of B items: those whose vectors have the highest cosine with the item's own.

        Every vector of the index is compared, so that the answer is exact over what the bundle stores. How popular an
        item is, where the model says so by a bias, does not count.

        Args:
            item_ids: Raw ids. (B,)
            k: How many.
            allow: As of `recommend`; it says nothing of the asked items.
            deny: As of `recommend`.
            where: As of `recommend`.

        Raises:
            FieldError: An argument that cannot be used; it says which and why. Unknown ids are no errors.
        """
        shelf = self.new_items.shelf
        k, asked = _number("k", k, len(shelf)), as_list(item_ids, "item_ids")
        among, rows = passing(shelf, allow, deny, where), shelf.rows(asked, "item_ids")
        known = np.flatnonzero(rows >= 0)
        lists: list[np.ndarray] = [np.empty(0, np.int64)] * len(rows)
        scores: list[list[float]] = [[] for _ in rows]
        found = shelf.neighbours.of(rows[known], k, among)
        for place, mine, others in zip(known.tolist(), *found, strict=True):
            lists[place], scores[place] = others[others >= 0], mine[others >= 0].tolist()
        return SimilarItems(
            asked=asked,
            item_ids=shelf.ids_of_lists(lists),
            scores=scores,
            sources=["item" if row >= 0 else "unknown" for row in rows.tolist()],
            titles=shelf.titles,
            rows=lists,
        )

    def warm(self) -> None:
        """Makes what is made once, by asking for a known user and for a history: through the model and the index."""
        self.user_ids.warm()
        self.item_ids.warm()
        self.bundle.known.warm()
        self.new_items.shelf.columns.warm()
        first = self.item_ids.ids(np.zeros(min(1, len(self.bundle.items)), np.int64))
        self.recommend([*self.user_ids.ids(np.zeros(min(1, len(self.bundle.users)), np.int64)), None], [None, first])


def _number(name: str, number: object, most: int) -> int:
    """How many are asked for; all items at most, so that a huge number costs nothing."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
        raise FieldError(f"{name} is a whole number of at least 1, got {number!r}", name)
    return min(int(number), most)
