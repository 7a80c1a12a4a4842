"""Ranked lists for the users of a request: by what the model knows of them, else by popularity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recsys.interests import KINDS, Mixtures, RetrieverKind
from recsys.row_set import RowSet
from serving.bundles.bundle import Bundle
from serving.lists.asked import Asked
from serving.lists.popular import Popular
from serving.lists.raw_ids import FieldError
from serving.lists.recommendations import Interest
from serving.lists.reranking import Reranker
from serving.lists.shelf import Shelf
from serving.lists.user_vectors import user_features, user_vectors

#: users that are encoded and searched for at a time
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Brought:
    """Which of a user's interests brought each item of the list.

    Args:
        weights: Of the interests, the heaviest first. (S,)
        examples: An item row that says what each is; -1 for none. (S,)
        own: Whether the user has had that item. (S,)
        of_item: The interest of each item, from 0. (K,)
    """

    weights: np.ndarray
    examples: np.ndarray
    own: np.ndarray
    of_item: np.ndarray

    def told(self, shelf: Shelf) -> list[Interest]:
        """The interests, as answers tell of them."""
        examples = shelf.ids_of(np.maximum(self.examples, 0))
        return [
            Interest(weight, None if row < 0 else example, own)
            for weight, row, example, own in zip(
                self.weights.tolist(), self.examples.tolist(), examples, self.own.tolist(), strict=True
            )
        ]


class Lists(NamedTuple):
    """Of B users, what each list follows from, its item rows and scores, best first, and what brought them. (B,) each

    Lists that no interests were asked for have nothing that brought them.
    """

    sources: list[str]
    rows: list[np.ndarray]
    scores: list[np.ndarray]
    brought: list[Brought | None]


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
        interests = bundle.interests
        self._knn_embed = None if interests is None else interests.retrievers(bundle.index, bundle.known)

    @property
    def reranks(self) -> bool:
        """Whether there is a ranker to order what the retriever found."""
        return self._reranker is not None

    def retriever(self, interests: RetrieverKind | None) -> RetrieverKind:
        """The retriever that a request asks for; the bundle's own where it names none.

        Raises:
            FieldError: There is no such retriever, or the bundle cannot answer by it.
        """
        if interests is None:
            return self._bundle.manifest.retriever
        if interests not in KINDS:
            raise FieldError(f"interests is one of {', '.join(KINDS)}, got {interests!r}", "interests")
        if interests != "unimodal" and self._bundle.interests is None:
            without = "this model was stored without interests, which `recsys interests` chooses and adds"
            raise FieldError(without, "interests")
        return interests

    def of(
        self,
        shelf: Shelf,
        asked: Asked,
        frame: pl.DataFrame | None,
        described: np.ndarray,
        k: int,
        exclude_seen: bool,
        depth: int,
        retriever: RetrieverKind = "unimodal",
        among: RowSet | None = None,
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
            retriever: Which; others than "unimodal" of a bundle with interests only.
            among: The only item rows that any list may hold; all of the shelf where not given.
        """
        lists = Lists([], [], [], [])
        all_of: tuple[list[Any], ...] = lists
        for start in range(0, len(asked), _CHUNK):
            users = slice(start, start + _CHUNK)
            said = None if frame is None else frame[users]
            part = asked.part(start, start + _CHUNK)
            some: tuple[list[Any], ...] = self._of(
                shelf, part, said, described[users], k, exclude_seen, depth, retriever, among
            )
            for whole, more in zip(all_of, some, strict=True):
                whole.extend(more)
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
        retriever: RetrieverKind,
        among: RowSet | None,
    ) -> Lists:
        """As `of`, for as many users as are ranked for at a time."""
        sources = self._sources(asked, retriever)
        personal = np.flatnonzero(sources != "popularity")
        features = user_features(self._bundle, asked, personal, frame, described)
        vectors = user_vectors(self._bundle, features, len(personal))
        if retriever != "unimodal" and all(feature.kind == "id" for feature in self._bundle.schema.user):
            # the model knows users by their ids alone; of a stranger only the items of the history say anything
            vectors[~asked.trained[personal]] = 0
        # a vector without direction would rank by row number, and one that is too long by nothing at all
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        usable = lengths * max(shelf.max_norm, 1.0) < np.finfo(np.float32).max
        usable &= (lengths > 0) | ((retriever != "unimodal") & (asked.histories.lengths[personal] > 0))
        users = personal[usable]
        sources[personal[~usable]] = "popularity"
        exclude = asked.seen if exclude_seen else None
        skip = None if exclude is None else exclude.rows(users)

        rows: list[np.ndarray] = [np.empty(0, np.int64)] * len(asked)
        scores: list[np.ndarray] = [np.empty(0, np.float32)] * len(asked)
        brought: list[Brought | None] = [None] * len(asked)
        reranker = self._reranker if depth > 0 else None
        # a ranker knows the catalogue alone
        search = partial(shelf.search if reranker is None else shelf.of_catalogue, among=among)
        width, mixtures, retrieved = k if reranker is None else depth, None, None
        if retriever == "unimodal":
            found_scores, found = search(vectors[usable], width, skip)
        else:
            own, themselves = asked.histories.rows(users), asked.rows[users]
            assert self._knn_embed is not None  # see `retriever`
            mixtures = self._knn_embed.mixtures(retriever, own, vectors[usable], themselves)
            sources[users[np.diff(mixtures.offsets) == 0]] = "popularity"  # whose items' vectors are zeros
            retrieved = self._knn_embed.candidates(mixtures, vectors[usable], width, skip, search, shelf.vectors_of)
            found_scores, found = retrieved.scores, retrieved.rows
        if reranker is not None:
            candidates = np.full((len(personal), depth), -1)
            candidates[usable] = found
            found_scores, found = (one[usable] for one in reranker.best(features, candidates, k))
        lengths = (found >= 0).sum(axis=1).tolist()
        for n, user in enumerate(users.tolist()):
            rows[user], scores[user] = found[n, : lengths[n]], found_scores[n, : lengths[n]]
            if mixtures is not None and retrieved is not None and sources[user] != "popularity":
                brought[user] = _brought(mixtures, n, retrieved.rows[n], retrieved.components[n], rows[user])
        others, popular = np.flatnonzero(sources == "popularity").tolist(), self._popular
        if among is not None and others:
            popular = popular.only(among.part(0, len(self._bundle.items)))
        for user in others:
            rows[user], scores[user] = popular.best(k, None if exclude is None else exclude.row(user))
        return Lists(sources.tolist(), rows, scores, brought)

    def _sources(self, asked: Asked, retriever: RetrieverKind) -> np.ndarray:
        """What each user's list can follow from. (B,) objects"""
        reads_history = self._bundle.schema.history is not None or retriever != "unimodal"
        has_history = (asked.histories.lengths > 0) & reads_history
        known = has_history & ~asked.given if self._bundle.by_history_alone else asked.trained
        return np.where(known, "user", np.where(has_history, "history", "popularity")).astype(object)


def _brought(mixtures: Mixtures, user: int, found: np.ndarray, components: np.ndarray, listed: np.ndarray) -> Brought:
    """What brought the items of one user's list, which may stand in another order than they were found in.

    Args:
        mixtures: Of all users.
        user: Which.
        found: The user's candidates; -1 for none. (W,)
        components: Which of the components brought each. (W,)
        listed: Some of the candidates. (K,)
    """
    mine = slice(mixtures.offsets[user], mixtures.offsets[user + 1])
    order = np.argsort(found, kind="stable")
    of_item = components[order[np.searchsorted(found, listed, sorter=order)]] - mine.start
    return Brought(mixtures.weights[mine], mixtures.examples[mine], mixtures.own[mine], of_item)
