"""Candidates in process: `CandidateGenerator.load("models:/movies@champion").recommend(user_ids=["17"])`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from features.batches import FeatureBatch, Jagged, JaggedArray
from serving.asked import Asked, attribute_frame, read_asked
from serving.bundle import Bundle
from serving.raw_ids import FieldError, RawIds
from serving.recommendations import Recommendations
from serving.reranking import Reranker
from serving.resolve import Resolved, resolve

#: users that are encoded and searched for at a time
_CHUNK = 4096


class CandidateGenerator:
    """Ranks a bundle's items for users. Safe to share between threads.

    - A user whom training has seen is ranked for by id, attributes and history (source "user").
    - Any other user with at least one known item in the history is ranked for by that ("history").
    - Everyone else gets what is most popular, and the answer says so ("popularity").

    A given history replaces the stored one, unless it has no known item; then it is as if it had not been given.
    Unknown items are dropped from histories and counted. What a user has seen is the stored and the given history.

    Args:
        bundle: What to rank with.
        resolved: Where it came from.
    """

    def __init__(self, bundle: Bundle, resolved: Resolved | None = None) -> None:
        self.bundle = bundle
        self.resolved = resolved or Resolved(Path(), bundle.manifest.name, None, None)
        self.user_ids = RawIds(bundle.users)
        self.item_ids = RawIds(bundle.items)
        # most interactions first; of equals, the smaller row
        self._by_popularity = np.argsort(-bundle.item_counts, kind="stable")
        self._history = None if bundle.schema.history is None else bundle.schema.history.name
        ranker = bundle.ranker
        self._reranker = None if ranker is None else Reranker(ranker, bundle.encoded_items())
        self._titles = None if bundle.title_column is None else bundle.item_table[bundle.title_column].cast(pl.String)

    @classmethod
    def load(
        cls, source: str | Path, *, tracking_uri: str | None = None, mmap: bool = False, hashes: bool = True
    ) -> CandidateGenerator:
        """Loads a bundle, and makes ready what a first request would wait for.

        Args:
            source: A folder, or "models:/NAME@ALIAS", "models:/NAME/VERSION" or "models:/NAME": see `serving.resolve`.
            tracking_uri: Where models are registered; MLFLOW_TRACKING_URI, else sqlite:///mlflow.db, where not given.
            mmap: Map the item index into memory, so that processes share its pages.
            hashes: Check the files' hashes, and not only their sizes.

        Raises:
            InputError: No such model, or a bundle that is damaged.
        """
        return cls.of(resolve(source, tracking_uri), mmap=mmap, hashes=hashes)

    @classmethod
    def of(cls, resolved: Resolved, *, mmap: bool = False, hashes: bool = True) -> CandidateGenerator:
        """As `load`, for a source that is resolved already."""
        generator = cls(Bundle.load(resolved.folder, mmap=mmap, hashes=hashes), resolved)
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
        exclude_seen: bool = True,
        attributes: pl.DataFrame | Sequence[dict[str, Any] | None] | None = None,
        rerank: bool = False,
        rerank_depth: int = 100,
    ) -> Recommendations:
        """The k best items for each of B users.

        Args:
            user_ids: Raw ids; None for a user without one. (B,)
            histories: Raw item ids, oldest first; None where none is given. (B,)
            k: How many.
            exclude_seen: Leave out what the user knows already.
            attributes: Columns of declared user attributes, for users whom the bundle does not know, or to replace
                what it knows of them; None where none are given. They refine a ranking, and make none by themselves.
                (B rows)
            rerank: Let the bundle's ranker order what the retriever found; scores are then its probabilities. Users who
                are answered by popularity get the same as without.
            rerank_depth: How many candidates the ranker chooses from, where k is not more.

        Raises:
            FieldError: An argument that cannot be used; it says which and why. Unknown ids are no errors.
        """
        for name, number in (("k", k), ("rerank_depth", rerank_depth)):
            if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
                raise FieldError(f"{name} is a whole number of at least 1, got {number!r}", name)
        if rerank and self._reranker is None:
            raise FieldError("this model has no ranker, so candidates cannot be re-ranked", "rerank")
        asked = read_asked(self.bundle, self.user_ids, self.item_ids, user_ids, histories)
        frame, described = attribute_frame(self.bundle, attributes, len(asked))
        depth = max(int(k), int(rerank_depth)) if rerank else 0
        parts = [
            self._ranked(asked.part(start, start + _CHUNK), frame, described, start, int(k), bool(exclude_seen), depth)
            for start in range(0, len(asked), _CHUNK)
        ]
        lists = [one for _, rows, _ in parts for one in rows]
        flat = np.concatenate([*lists, np.empty(0, np.int64)])
        ids, ends = self.item_ids.ids(flat), np.cumsum([0, *map(len, lists)]).tolist()
        return Recommendations(
            user_ids=asked.user_ids,
            item_ids=[ids[start:end] for start, end in pairwise(ends)],
            scores=[one.tolist() for _, _, scores in parts for one in scores],
            sources=[one for sources, _, _ in parts for one in sources],
            unknown_history_items=asked.unknown.tolist(),
            titles=self._titles,
            rows=lists,
        )

    def _ranked(
        self,
        asked: Asked,
        frame: pl.DataFrame | None,
        described: np.ndarray,
        start: int,
        k: int,
        exclude_seen: bool,
        depth: int,
    ) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
        """Sources, item rows and scores of some of the users; re-ranked from `depth` candidates unless that is 0."""
        trained = asked.trained
        by_history = ~trained & (asked.histories.lengths > 0) & (self._history is not None)
        personal = np.flatnonzero(trained | by_history)
        features = self._features(asked, personal, frame, described, start)
        vectors = np.zeros((len(personal), self.bundle.model.dim), dtype=np.float32)
        with torch.inference_mode():
            for members, batch in features:
                vectors[members] = self.bundle.model.encode_users(batch).numpy()
        # a vector without direction would rank by row number, and one that is too long by nothing at all
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        usable = (lengths > 0) & (lengths * max(self.bundle.index.max_norm, 1.0) < np.finfo(np.float32).max)
        users = personal[usable]
        sources = np.full(len(asked), "popularity", dtype=object)
        sources[users] = np.where(trained[users], "user", "history")
        exclude = asked.seen if exclude_seen else None

        rows: list[np.ndarray] = [np.empty(0, np.int64)] * len(asked)
        scores: list[np.ndarray] = [np.empty(0, np.float32)] * len(asked)
        skip = None if exclude is None else exclude.rows(users)
        found_scores, found = self.bundle.index.search(vectors[usable], max(k, depth), skip)
        if depth and self._reranker is not None:
            candidates = np.full((len(personal), depth), -1)
            candidates[usable] = found
            found_scores, found = (one[usable] for one in self._reranker.best(features, candidates, k))
        lengths = (found >= 0).sum(axis=1).tolist()
        for n, user in enumerate(users.tolist()):
            rows[user], scores[user] = found[n, : lengths[n]], found_scores[n, : lengths[n]]
        for user in np.flatnonzero(sources == "popularity").tolist():
            rows[user] = self._popular(k, None if exclude is None else exclude.row(user))
            scores[user] = self.bundle.item_counts[rows[user]].astype(np.float32)
        return sources.tolist(), rows, scores

    def _features(
        self, asked: Asked, users: np.ndarray, frame: pl.DataFrame | None, described: np.ndarray, start: int
    ) -> list[tuple[np.ndarray, FeatureBatch]]:
        """Features of the given places of `asked`, in two batches at most, with the places in `users` of their rows."""
        stored = (asked.rows[users] >= 0) & ~described[start + users]
        batches = []
        for members, known in ((np.flatnonzero(stored), True), (np.flatnonzero(~stored), False)):
            if not len(members):
                continue
            chosen = users[members]
            if known:
                batch = self.bundle.known.features(asked.rows[chosen])
            else:
                said = pl.DataFrame({"": np.zeros(len(chosen), np.int8)}) if frame is None else frame[start + chosen]
                batch = self._described(asked, chosen, said)
            if self._history is not None:
                history = self._recent(asked.histories).rows(chosen)
                batch.sparse[self._history] = Jagged(
                    torch.from_numpy(history.values), torch.from_numpy(history.lengths)
                )
            batches.append((members, batch))
        return batches

    def _described(self, asked: Asked, users: np.ndarray, frame: pl.DataFrame) -> FeatureBatch:
        """Features of users from what the request says of them, or of users of whom nothing is said."""
        table = self.bundle.known.encoder.encode(frame)
        batch = table.take(np.arange(len(users)))
        rows = torch.from_numpy(np.where(asked.trained[users], asked.rows[users], -1))
        for feature in self.bundle.schema.user:
            if feature.kind == "id":
                batch.sparse[feature.name] = Jagged(rows, torch.ones(len(users), dtype=torch.int64))
        return batch

    def _recent(self, histories: JaggedArray) -> JaggedArray:
        """The end of each history, as long as the declared feature takes."""
        return histories.last(self.bundle.schema.history.max_length) if self.bundle.schema.history else histories

    def _popular(self, k: int, seen: np.ndarray | None) -> np.ndarray:
        """The k most popular item rows that are not among the seen ones. (k,)."""
        if seen is None or not len(seen):
            return self._by_popularity[:k]
        first = self._by_popularity[: k + len(seen)]
        return first[~np.isin(first, seen)][:k]

    def warm(self) -> None:
        """Makes what is made once, by asking for a known user and for a history: through the model and the index."""
        self.user_ids.warm()
        self.item_ids.warm()
        self.bundle.known.warm()
        first = self.item_ids.ids(np.zeros(min(1, len(self.bundle.items)), np.int64))
        self.recommend([*self.user_ids.ids(np.zeros(min(1, len(self.bundle.users)), np.int64)), None], [None, first])
