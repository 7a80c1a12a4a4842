"""Which row each raw id has. One vocabulary a feature; rows count from 0, none is reserved, and -1 is "unknown"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl

from features.digest import sha256_of
from features.errors import InputError
from features.hashing import id_keys
from features.id_index import IdIndex
from features.ids import as_ids, canonical_ids

_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The known ids of one feature, each with its row.

    Args:
        name: The feature.
        ids: Distinct, Int64 or String; the place is the row. (V,)

    Example:
        >>> items = Vocabulary.fit("item_id", pl.Series(["tea", "ink", None, "tea"]))
        >>> items.ids.to_list(), items.rows(["tea", "jam"]).tolist()
        (['ink', 'tea'], [1, -1])
    """

    name: str
    ids: pl.Series

    @classmethod
    def fit(cls, name: str, *columns: pl.Series) -> Vocabulary:
        """The distinct ids of the given columns, sorted; nulls are no ids.

        Raises:
            InputError: Columns of which some hold integers and some strings, or two strings with the same 64-bit key.
        """
        parts = [canonical_ids(column, name) for column in columns]
        parts = [part for part in parts if len(part) > part.null_count()]
        kinds = {part.dtype for part in parts}
        if len(kinds) > 1:
            raise InputError(f"the ids {name!r} are integers in one table and strings in another")
        distinct = [_distinct(part.drop_nulls()) for part in parts]
        if not distinct:
            return cls(name, pl.Series(name, [], dtype=pl.String))
        ids = distinct[0] if len(distinct) == 1 else _distinct(pl.concat(distinct, rechunk=True))
        vocabulary = cls(name, ids.alias(name))
        if ids.dtype == pl.String:
            vocabulary._refuse_equal_keys()
        return vocabulary

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        some = ", ".join(map(repr, self.ids.head(3).to_list()))
        return (
            f"Vocabulary({self.name!r}, {len(self):,} {self.ids.dtype} ids: {some}{', ...' if len(self) > 3 else ''})"
        )

    @cached_property
    def keys(self) -> np.ndarray:
        """The 64-bit key of each id, see `features.hashing.id_keys`. (V,) int64"""
        return id_keys(self.ids)

    @cached_property
    def sha256(self) -> str:
        """Of the ids in row order, in hexadecimal."""
        return sha256_of(self.name, self.ids)

    def rows(self, ids: pl.Series | np.ndarray | Sequence[int | str]) -> np.ndarray:
        """The row of each id, -1 for those that are unknown or null.

        Args:
            ids: A column, an array or a list; "17" is not 17. (n,)

        Returns:
            (n,) int64

        Raises:
            InputError: Strings asked of a vocabulary of integers, or the other way round, or floats.
        """
        ids = as_ids(ids, self.name)
        if not len(self) or ids.null_count() == len(ids):
            return np.full(len(ids), -1, dtype=np.int64)
        if ids.dtype != self.ids.dtype:
            known, given = ("integers", "strings") if ids.dtype == pl.String else ("strings", "integers")
            raise InputError(
                f"the ids {self.name!r} are {known}, and {given} were given, such as {ids.drop_nulls()[0]!r}"
            )
        found = np.empty(len(ids), dtype=np.int64)
        for start in range(0, len(ids), _CHUNK):
            chunk = ids.slice(start, _CHUNK)
            positions = self._positions(chunk)
            if chunk.null_count():
                positions[chunk.is_null().to_numpy()] = -1
            found[start : start + len(chunk)] = positions
        return found

    def ids_of(self, rows: np.ndarray | Sequence[int]) -> pl.Series:
        """The id of each row, null for -1.

        Raises:
            InputError: A row that is not of this vocabulary.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= -1 and rows.max() < len(self)):
            raise InputError(f"the vocabulary of {self.name!r} has rows 0 to {len(self) - 1}, not all of those given")
        at = pl.Series(rows)
        return self.ids.gather(at.set(at == -1, None).cast(pl.UInt64))

    def _positions(self, ids: pl.Series) -> np.ndarray:
        """(n,) -> (n,); where `ids` is null, anything."""
        if ids.dtype == pl.Int64:
            return self._index.positions(ids.fill_null(0).to_numpy())
        found = self._index.positions(_string_hashes(ids, self._seed))
        # equal hashes are no proof that the strings are equal
        same = (self.ids.gather(np.maximum(found, 0)) == ids).fill_null(False).to_numpy()
        return np.where(same, found, -1)

    @cached_property
    def _index(self) -> IdIndex:
        return IdIndex(_string_hashes(self.ids, self._seed) if self.ids.dtype == pl.String else self.ids.to_numpy())

    @cached_property
    def _seed(self) -> int:
        """Of the hashes that strings are looked up by: the first with which no two of ours have the same."""
        return next(seed for seed in count() if self.ids.hash(seed=seed).n_unique() == len(self))

    def _refuse_equal_keys(self) -> None:
        order = np.argsort(self.keys)
        same = np.flatnonzero(np.diff(self.keys[order]) == 0)
        if len(same):
            one, other = self.ids[int(order[same[0]])], self.ids[int(order[same[0] + 1])]
            raise InputError(f"the ids {one!r} and {other!r} of {self.name!r} have the same 64-bit hash; rename one")


def save_vocabularies(path: Path | str, vocabularies: Sequence[Vocabulary]) -> None:
    """Writes vocabularies as one parquet: columns feature, row, integer, string (the one that is not it is null).

    An empty vocabulary has no row here; it comes back missing.
    """
    frames = [
        pl.DataFrame(
            {
                "feature": pl.repeat(one.name, len(one), dtype=pl.String, eager=True),
                "row": np.arange(len(one), dtype=np.int64),
                "integer": one.ids
                if one.ids.dtype == pl.Int64
                else pl.repeat(None, len(one), dtype=pl.Int64, eager=True),
                "string": one.ids
                if one.ids.dtype == pl.String
                else pl.repeat(None, len(one), dtype=pl.String, eager=True),
            }
        )
        for one in vocabularies
    ]
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    pl.concat(frames).write_parquet(partial)
    partial.replace(path)


def load_vocabularies(path: Path | str) -> dict[str, Vocabulary]:
    """The inverse of `save_vocabularies`, by feature name.

    Raises:
        InputError: A file that is missing, damaged, or not such a table.
    """
    try:
        table = pl.read_parquet(path, columns=["feature", "row", "integer", "string"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"the vocabularies {path} cannot be read: {str(error).splitlines()[0]}") from error
    out = {}
    for (name,), rows in table.group_by("feature", maintain_order=True):
        if not (rows["row"].to_numpy() == np.arange(rows.height)).all():
            raise InputError(f"the vocabulary of {name!r} in {path} has rows out of order")
        ids = rows["string"] if rows["string"].null_count() == 0 else rows["integer"]
        if ids.null_count():
            raise InputError(f"the vocabulary of {name!r} in {path} mixes integers and strings")
        out[name] = Vocabulary(name, ids.alias(name))
    return out


def _distinct(ids: pl.Series) -> pl.Series:
    """Distinct values, sorted. (n,) without nulls -> (V,)"""
    if ids.dtype == pl.Int64:
        values = ids.to_numpy()
        low, high = int(values.min()), int(values.max())
        if high - low < 4 * len(values) + 1024:  # ids that lie close together: tick them off
            there = np.zeros(high - low + 1, dtype=bool)
            for start in range(0, len(values), _CHUNK):
                there[values[start : start + _CHUNK] - low] = True
            return pl.Series(np.flatnonzero(there) + low)
    if len(ids) > 2 * _CHUNK:  # first within chunks: their hash tables are small and stay in the cache
        ids = pl.concat([ids.slice(start, _CHUNK).unique() for start in range(0, len(ids), _CHUNK)])
    return ids.unique().sort()


def _string_hashes(ids: pl.Series, seed: int) -> np.ndarray:
    """For look-ups within this process only, and checked there: polars' hash differs between its versions."""
    return ids.hash(seed=seed).to_numpy().view(np.int64)
