"""Ranked lists for the users of a request: by what the model knows of them, else by popularity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from serving.asked import Asked
from serving.bundle import Bundle
from serving.popular import Popular
from serving.reranking import Reranker
from serving.shelf import Shelf
from serving.user_vectors import user_features, user_vectors

#: users that are encoded and searched for at a time
_CHUNK = 4096


class Lists(NamedTuple):
    """Of B users, what each list follows from, and its item rows and scores, best first. (B,) each"""

    sources: list[str]
    rows: list[np.ndarray]
    scores: list[np.ndarray]


class UserLists:
    """Makes lists. Safe to share between threads.

    Args:
        bundle: What to rank with.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._popular = Popular(bundle.item_counts)
        ranker = bundle.ranker
        self._reranker = None if ranker is None else Reranker(ranker, bundle.encoded_items())

    @property
    def reranks(self) -> bool:
        """Whether there is a ranker to order what the retriever found."""
        return self._reranker is not None

    def of(
        self,
        shelf: Shelf,
        asked: Asked,
        frame: pl.DataFrame | None,
        described: np.ndarray,
        k: int,
        exclude_seen: bool,
        depth: int,
    ) -> Lists:
        """The k best items of each of B users.

        Args:
            shelf: What can be recommended.
            asked: The users.
            frame: What the request says of them, if anything. (B rows)
            described: Of which of them it says something. (B,)
            k: How many.
            exclude_seen: Leave out what they know already.
            depth: How many items of the catalogue the ranker chooses from; 0 where none does.
        """
        lists = Lists([], [], [])
        for start in range(0, len(asked), _CHUNK):
            users = slice(start, start + _CHUNK)
            said = None if frame is None else frame[users]
            some = self._of(shelf, asked.part(start, start + _CHUNK), said, described[users], k, exclude_seen, depth)
            for whole, part in zip(lists, some, strict=True):
                whole.extend(part)
        return lists

    def _of(
        self,
        shelf: Shelf,
        asked: Asked,
        frame: pl.DataFrame | None,
        described: np.ndarray,
        k: int,
        exclude_seen: bool,
        depth: int,
    ) -> Lists:
        """As `of`, for as many users as are ranked for at a time."""
        sources = self._sources(asked)
        personal = np.flatnonzero(sources != "popularity")
        features = user_features(self._bundle, asked, personal, frame, described)
        vectors = user_vectors(self._bundle, features, len(personal))
        # a vector without direction would rank by row number, and one that is too long by nothing at all
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        usable = (lengths > 0) & (lengths * max(shelf.max_norm, 1.0) < np.finfo(np.float32).max)
        users = personal[usable]
        sources[personal[~usable]] = "popularity"
        exclude = asked.seen if exclude_seen else None
        skip = None if exclude is None else exclude.rows(users)

        rows: list[np.ndarray] = [np.empty(0, np.int64)] * len(asked)
        scores: list[np.ndarray] = [np.empty(0, np.float32)] * len(asked)
        if depth and self._reranker is not None:  # which knows the catalogue alone
            found = shelf.of_catalogue(vectors[usable], depth, skip)[1]
            candidates = np.full((len(personal), depth), -1)
            candidates[usable] = found
            found_scores, found = (one[usable] for one in self._reranker.best(features, candidates, k))
        else:
            found_scores, found = shelf.search(vectors[usable], k, skip)
        lengths = (found >= 0).sum(axis=1).tolist()
        for n, user in enumerate(users.tolist()):
            rows[user], scores[user] = found[n, : lengths[n]], found_scores[n, : lengths[n]]
        for user in np.flatnonzero(sources == "popularity").tolist():
            rows[user], scores[user] = self._popular.best(k, None if exclude is None else exclude.row(user))
        return Lists(sources.tolist(), rows, scores)

    def _sources(self, asked: Asked) -> np.ndarray:
        """What each user's list can follow from. (B,) objects"""
        has_history = (asked.histories.lengths > 0) & (self._bundle.schema.history is not None)
        known = has_history & ~asked.given if self._bundle.by_history_alone else asked.trained
        return np.where(known, "user", np.where(has_history, "history", "popularity")).astype(object)
