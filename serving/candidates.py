"""Candidates in process: `CandidateGenerator.load("models:/movies@champion").recommend(user_ids=["17"])`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.item_log import ItemLog
from recsys.similar import Neighbours
from serving.asked import Asked, attribute_frame, read_asked
from serving.bundle import Bundle
from serving.new_items import NewItems, Shelf
from serving.popular import Popular
from serving.raw_ids import FieldError, RawIds, as_list
from serving.recommendations import Recommendations, SimilarItems
from serving.reranking import Reranker
from serving.resolve import Resolved, resolve
from serving.user_vectors import user_features, user_vectors

#: users that are encoded and searched for at a time
_CHUNK = 4096


class CandidateGenerator:
    """Ranks a bundle's items for users. Safe to share between threads.

    - A user whom training has seen is ranked for by id, attributes and history (source "user").
    - Any other user with at least one known item in the history is ranked for by that ("history").
    - Everyone else gets what is most popular, and the answer says so ("popularity").

    A sequential model knows no users, only histories: "history" is a given one, and "user" the one that the bundle has
    stored of a user. A user without either gets what is most popular, even if training has seen the user.

    A given history replaces the stored one, unless it has no known item; then it is as if it had not been given.
    Unknown items are dropped from histories and counted. What a user has seen is the stored and the given history.

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
        self.item_ids = RawIds(bundle.items)
        self._popular = Popular(bundle.item_counts)
        ranker = bundle.ranker
        self._reranker = None if ranker is None else Reranker(ranker, bundle.encoded_items())
        titles = None if bundle.title_column is None else bundle.item_table[bundle.title_column].cast(pl.String)
        self.new_items = NewItems(bundle, self.item_ids, titles, log)
        self.keeps_new_items = log is not None

    @cached_property
    def _neighbours(self) -> Neighbours:
        return Neighbours(self.bundle.index, self.bundle.model.config.dim)

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
        cls, resolved: Resolved, *, mmap: bool = False, hashes: bool = True, new_items: Path | str | None = None
    ) -> CandidateGenerator:
        """As `load`, for a source that is resolved already."""
        log = None if new_items is None else ItemLog(new_items)
        generator = cls(Bundle.load(resolved.folder, mmap=mmap, hashes=hashes), resolved, log)
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

    def __repr__(self) -> str:
        version = "" if self.resolved.version is None else f" version {self.resolved.version}"
        return (
            f"CandidateGenerator({self.resolved.name}{version}, build {self.bundle.manifest.build_id}: "
            f"{len(self.bundle.users):,} users, {len(self.bundle.items):,} items)"
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

        Raises:
            FieldError: An argument that cannot be used; it says which and why. Unknown ids are no errors.
        """
        k, depth = self._number("k", k), self._number("rerank_depth", rerank_depth)
        if rerank and self._reranker is None:
            raise FieldError("this model has no ranker, so candidates cannot be re-ranked", "rerank")
        asked = read_asked(self.bundle, self.user_ids, self.item_ids, user_ids, histories, history_times, asked_at)
        removes = self.bundle.manifest.removes_seen if exclude_seen is None else bool(exclude_seen)
        frame, described = attribute_frame(self.bundle, attributes, len(asked))
        if described.any() and self.bundle.by_history_alone and not rerank:
            raise FieldError("this model ranks by histories alone, so attributes would change nothing", "attributes")
        shelf = self.new_items.shelf  # one for the whole request
        met = shelf.met(histories, len(asked))
        parts = [
            self._ranked(
                asked.part(start, start + _CHUNK),
                shelf,
                met[start : start + _CHUNK],
                None if frame is None else frame[start : start + _CHUNK],
                described[start : start + _CHUNK],
                k,
                removes,
                max(k, depth) if rerank else 0,
            )
            for start in range(0, len(asked), _CHUNK)
        ]
        lists = [one for _, rows, _ in parts for one in rows]
        return Recommendations(
            user_ids=asked.user_ids,
            item_ids=self._ids_of(lists, shelf),
            scores=[one.tolist() for _, _, scores in parts for one in scores],
            sources=[one for sources, _, _ in parts for one in sources],
            unknown_history_items=asked.unknown.tolist(),
            titles=shelf.titles,
            rows=lists,
        )

    def similar(self, item_ids: Sequence[str | int] | pl.Series | np.ndarray, k: int = 10) -> SimilarItems:
        """The k items most like each of B items: those whose vectors have the highest cosine with the item's own.

        Every vector of the index is compared, so that the answer is exact over what the bundle stores. How popular an
        item is, where the model says so by a bias, does not count.

        Args:
            item_ids: Raw ids. (B,)
            k: How many.

        Raises:
            FieldError: An argument that cannot be used; it says which and why. Unknown ids are no errors.
        """
        k, asked = self._number("k", k), as_list(item_ids, "item_ids")
        rows = self.item_ids.rows(asked, "item_ids")
        known = np.flatnonzero(rows >= 0)
        lists: list[np.ndarray] = [np.empty(0, np.int64)] * len(rows)
        scores: list[list[float]] = [[] for _ in rows]
        found = self._neighbours.of(rows[known], k)
        for place, mine, others in zip(known.tolist(), *found, strict=True):
            lists[place], scores[place] = others[others >= 0], mine[others >= 0].tolist()
        return SimilarItems(
            asked=asked,
            item_ids=self._ids_of(lists),
            scores=scores,
            sources=["item" if row >= 0 else "unknown" for row in rows.tolist()],
            titles=self.new_items.shelf.titles,
            rows=lists,
        )

    def _number(self, name: str, number: object) -> int:
        """How many are asked for; all items at most, so that a huge number costs nothing."""
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise FieldError(f"{name} is a whole number of at least 1, got {number!r}", name)
        return min(int(number), len(self.bundle.items))

    def _ids_of(self, lists: list[np.ndarray], shelf: Shelf | None = None) -> list[list[str]] | list[list[int]]:
        """Raw ids of lists of item rows; those of new items come after the catalogue's."""
        rows, n = np.concatenate([*lists, np.empty(0, np.int64)]), len(self.bundle.items)
        ids = self.item_ids.ids(np.minimum(rows, n - 1))
        for place in np.flatnonzero(rows >= n).tolist():
            ids[place] = shelf.ids[rows[place] - n]
        return [ids[start:end] for start, end in pairwise(np.cumsum([0, *map(len, lists)]).tolist())]

    def _sources(self, asked: Asked) -> np.ndarray:
        """What each user's list can follow from. (B,) objects"""
        has_history = (asked.histories.lengths > 0) & (self.bundle.schema.history is not None)
        known = has_history & ~asked.given if self.bundle.by_history_alone else asked.trained
        return np.where(known, "user", np.where(has_history, "history", "popularity")).astype(object)

    def _ranked(
        self,
        asked: Asked,
        shelf: Shelf,
        met: list[set[int]],
        frame: pl.DataFrame | None,
        described: np.ndarray,
        k: int,
        exclude_seen: bool,
        depth: int,
    ) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
        """Sources, item rows and scores of some of the users; re-ranked from `depth` candidates unless that is 0."""
        sources = self._sources(asked)
        personal = np.flatnonzero(sources != "popularity")
        features = user_features(self.bundle, asked, personal, frame, described)
        vectors = user_vectors(self.bundle, features, len(personal))
        # a vector without direction would rank by row number, and one that is too long by nothing at all
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        usable = (lengths > 0) & (lengths * max(self.bundle.index.max_norm, 1.0) < np.finfo(np.float32).max)
        users = personal[usable]
        sources[personal[~usable]] = "popularity"
        exclude = asked.seen if exclude_seen else None

        rows: list[np.ndarray] = [np.empty(0, np.int64)] * len(asked)
        scores: list[np.ndarray] = [np.empty(0, np.float32)] * len(asked)
        skip = None if exclude is None else exclude.rows(users)
        found_scores, found = self.bundle.index.search(vectors[usable], max(k, depth), skip)
        if depth and self._reranker is not None:
            candidates = np.full((len(personal), depth), -1)
            candidates[usable] = found
            found_scores, found = (one[usable] for one in self._reranker.best(features, candidates, k))
        elif len(shelf):
            left_out = [met[user] if exclude_seen else set() for user in users.tolist()]
            more = vectors[usable], found_scores, found, k, len(self.bundle.items), left_out
            found_scores, found = shelf.merged(*more)
        lengths = (found >= 0).sum(axis=1).tolist()
        for n, user in enumerate(users.tolist()):
            rows[user], scores[user] = found[n, : lengths[n]], found_scores[n, : lengths[n]]
        for user in np.flatnonzero(sources == "popularity").tolist():
            rows[user], scores[user] = self._popular.best(k, None if exclude is None else exclude.row(user))
        return sources.tolist(), rows, scores

    def warm(self) -> None:
        """Makes what is made once, by asking for a known user and for a history: through the model and the index."""
        self.user_ids.warm()
        self.item_ids.warm()
        self.bundle.known.warm()
        first = self.item_ids.ids(np.zeros(min(1, len(self.bundle.items)), np.int64))
        self.recommend([*self.user_ids.ids(np.zeros(min(1, len(self.bundle.users)), np.int64)), None], [None, first])
