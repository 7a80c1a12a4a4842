"""Search for the items whose vectors have the largest inner product with a user's: FAISS behind one class.

What a search answers is defined without reference to FAISS: scores are inner products rounded to float32, larger
first, and items of equal score stand in the order of their rows. With the exact index that is the whole catalogue's
ranking, and it does not change with the batch that a user happens to be searched in. FAISS alone promises neither:
its sums differ in the last bits between small and large batches, and of tied items it keeps any.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from features.batches import JaggedArray
from features.errors import InputError
from recsys.index_files import read_index, write_index
from recsys.index_kinds import (
    IndexConfig,
    checked_vectors,
    empty_index,
    reads_each,
    search_settings,
    stored_vectors,
)
from recsys.index_recall import measured_recall
from recsys.precision import FP16_MOST, Precision
from recsys.rescoring import best_of, by_size, inner_products, rows_of, without
from recsys.row_set import RowSet
from recsys.stored_vectors import BLOCK, StoredVectors

#: how many more candidates than asked for are scored again, so that last-bit differences cannot decide who is in
_MARGIN = 16

__all__ = ["IndexConfig", "ItemIndex"]


class ItemIndex:
    """The item vectors of a catalogue, searchable; item rows are the ids. Safe to search from many threads.

    Quantised vectors stay so in memory, and are what a ranking is made of: scores are their inner products, and the
    exact index is exact over them.

    Args:
        index: A FAISS index of inner products over rows 0..N-1.
        config: How it was built and is searched.
        recall: Share of the exact top `config.recall_at` of the vectors as they were given that the index finds.
        max_norm: Length of the longest item vector.
        precision: Of the stored vectors.

    Example:
        >>> index = ItemIndex.build(np.eye(4, dtype=np.float32))
        >>> scores, rows = index.search(np.array([[0.1, 0.9, 0.5, 0.0]], dtype=np.float32), k=2)
        >>> rows.tolist(), index.recall
        ([[1, 2]], 1.0)
    """

    def __init__(
        self, index: Any, config: IndexConfig, recall: float, max_norm: float, precision: Precision = "fp32"
    ) -> None:
        self._index = index
        self.config = config
        self.recall = recall
        self.max_norm = max_norm
        self.precision = precision
        self._stored = StoredVectors(index, stored_vectors(index, config, precision))

    def __len__(self) -> int:
        return self._index.ntotal

    def __repr__(self) -> str:
        precision = "" if self.precision == "fp32" else f" {self.precision}"
        return f"ItemIndex({self.config.kind}, {len(self)} items x {self.dim}{precision}, recall {self.recall:.4f})"

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        return self._index.d

    @classmethod
    def build(
        cls,
        vectors: np.ndarray,
        config: IndexConfig | None = None,
        queries: np.ndarray | None = None,
        precision: Precision = "fp32",
    ) -> ItemIndex:
        """Indexes the vectors of a catalogue, and measures recall against exact search.

        Args:
            vectors: (N, D) float32
            config: How.
            queries: User vectors to measure recall with; without them, a sample of the item vectors, which are not
                spread as users are, so that the figure is only a hint. (B, D)
            precision: Of the stored vectors: "fp32", "fp16", or "int8": each column in 255 steps of its range.

        Raises:
            InputError: Vectors of another shape, not finite, or too large for the precision.
        """
        config = config or IndexConfig()
        vectors = checked_vectors(vectors, "item vectors", None)
        if not len(vectors):
            raise InputError("an index needs at least one item vector, got 0")
        if precision == "fp16" and np.abs(vectors).max() > FP16_MOST:
            raise InputError(f"item vectors hold {np.abs(vectors).max():g}, and fp16 holds at most {FP16_MOST:g}")
        index = empty_index(vectors, config, precision)
        index.add(vectors)
        built = cls(index, config, 1.0, 0.0, precision)
        built.max_norm = max(
            float(np.linalg.norm(built.stored(start), axis=1).max()) for start in range(0, len(built), BLOCK)
        )
        if config.kind != "exact" or precision != "fp32":
            queries = vectors if queries is None else checked_vectors(queries, "query vectors", built.dim)
            built.recall = measured_recall(built.search, vectors, queries, config)
        return built

    def search(
        self,
        queries: np.ndarray,
        k: int,
        exclude: JaggedArray | None = None,
        effort: float = 1.0,
        among: RowSet | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of each query.

        Args:
            queries: (B, D) float32
            k: How many; may be more than there are.
            exclude: Item rows that each query's answer leaves out. (B rows)
            effort: How widely to look, as a share of what the settings say; an exact search is always whole.
            among: The only item rows that any answer may hold; all where not given. (of N rows)

        Returns:
            Scores (B, k) float32 and item rows (B, k) int64, best first; -inf and -1 where no item is left.

        Raises:
            InputError: Queries of another shape, or not finite, a negative k, or rows that are not this index's.
        """
        queries = checked_vectors(queries, "query vectors", self.dim)
        if k < 0:
            raise InputError(f"k is 0 or more, got {k}")
        if among is not None and among.size != len(self):
            raise InputError(f"an answer's items are some of {among.size}, and the index has {len(self)}")
        if exclude is not None:
            if len(exclude) != len(queries):
                raise InputError(f"{len(exclude)} rows of items to exclude for {len(queries)} queries")
            if len(exclude.values) and not 0 <= exclude.values.min() <= exclude.values.max() < len(self):
                raise InputError(f"item rows to exclude lie between 0 and {len(self) - 1}")
            if among is not None:
                exclude = exclude.only(among.holds(exclude.values))
            if self.config.kind != "exact":
                exclude = exclude.distinct()  # what is left is counted
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        width = min(k, len(self) if among is None else len(among))
        if not width:
            return scores, rows
        for members in by_size(np.zeros(len(queries)) if exclude is None else exclude.lengths):
            skip = rows_of(exclude, members)
            scores[members, :width], rows[members, :width] = self._search(queries[members], width, skip, among, effort)
        return scores, rows

    def _search(
        self,
        queries: np.ndarray,
        width: int,
        skip: JaggedArray | None,
        among: RowSet | None,
        effort: float = 1.0,
        everywhere: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `search`, for queries that exclude about equally many."""
        most = int(skip.lengths.max()) if skip is not None else 0
        there = len(self) if among is None else len(among)
        fetch = min(width + most + _MARGIN, there)
        each = reads_each(self._index, self.config, len(queries), fetch, effort, among, self._stored.plain, everywhere)
        if each:
            found = self._stored.nearest(queries, fetch, among)
        else:
            settings = search_settings(self._index, self.config, fetch, effort, among, everywhere)
            found = self._index.search(queries, fetch, params=settings)[1]
        candidates = without(found, skip)[:, : width + _MARGIN]
        settled = inner_products(self.vectors_of, queries, candidates)
        scores, rows = best_of(settled, candidates, width)
        if each or self.config.kind == "exact":
            # FAISS sums in float32, so that an item which is no candidate may score this much more than the last one
            others = (candidates[:, -1] >= 0) & (candidates.shape[1] < there)
            doubtful = others & (scores[:, -1] <= settled.min(axis=1) + self._slack(queries))
            for n in np.flatnonzero(doubtful).tolist():
                query, left_out = queries[n : n + 1], None if skip is None else skip.row(n)
                near = self._stored.within(query[0], width, 2 * float(self._slack(query)[0]), left_out, among)[None]
                scores[n], rows[n] = best_of(inner_products(self.vectors_of, query, near), near, width)
        elif not everywhere:
            # lists that were not read, or a part of the graph without a way to it
            left = there - (skip.lengths if skip is not None else 0)
            again = np.flatnonzero((rows >= 0).sum(axis=1) < np.minimum(width, left))
            if len(again):
                theirs = rows_of(skip, again)
                scores[again], rows[again] = self._search(queries[again], width, theirs, among, everywhere=True)
        return scores, rows

    def _slack(self, queries: np.ndarray) -> np.ndarray:
        """What a float32 inner product is off by at most, twice over. (B, D) -> (B,)."""
        # decoding a vector rounds each of its numbers, too
        terms = self.dim + 2 if self.precision == "fp32" else 2 * self.dim + 32
        return terms * 2.0**-23 * np.linalg.norm(queries, axis=1) * self.max_norm

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """The stored vectors of item rows. (M,) -> (M, D)"""
        return self._stored.of(rows)

    def stored(self, start: int, count: int = BLOCK) -> np.ndarray:
        """The stored vectors from one row on, some at a time; not for writing. (M, D)"""
        return self._stored.after(start, count)

    def save(self, path: Path | str) -> None:
        """Writes the index to `path`, and its settings and measured recall to `path` + ".json"."""
        facts = {
            "config": dataclasses.asdict(self.config),
            "precision": self.precision,
            "recall": self.recall,
            "max_norm": self.max_norm,
        }
        write_index(path, self._index, facts)

    @classmethod
    def load(cls, path: Path | str, mmap: bool = False) -> ItemIndex:
        """Reads what `save` wrote.

        Args:
            path: The index.
            mmap: Map the file into memory instead of reading it, so that processes share its pages.

        Raises:
            InputError: A file that is missing, or is not an index.
        """

        def made(index: Any, facts: dict[str, Any]) -> ItemIndex:
            config, recall, max_norm = IndexConfig(**facts["config"]), float(facts["recall"]), float(facts["max_norm"])
            return cls(index, config, recall, max_norm, facts["precision"])

        return read_index(path, mmap, made)
