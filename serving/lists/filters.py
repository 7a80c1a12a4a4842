"""What a request lets through: one set of items for all whom it asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from recsys.row_set import RowSet
from serving.lists.item_columns import Where
from serving.lists.raw_ids import as_list
from serving.lists.shelf import Shelf

Ids = Sequence[str | int] | pl.Series | np.ndarray


def passing(shelf: Shelf, allow: Ids | None, deny: Ids | None, where: Where | None) -> RowSet | None:
    """The rows of the items that pass every filter; none where all do.

    Args:
        shelf: What there is.
        allow: Raw ids, or aliases: no other item passes. (n,)
        deny: Raw ids, or aliases: none of these passes. (n,)
        where: Values by column; see `serving.lists.item_columns`.

    Raises:
        FieldError: A list that is none, an id of a type that the catalogue's are not, a column that is not declared, or
            a value that it cannot hold. Ids that nothing has are no errors.
    """
    if allow is None and deny is None and where is None:
        return None
    marks = np.ones(len(shelf), dtype=bool) if where is None else shelf.marks(where)
    if allow is not None:
        marks &= RowSet.of_rows(_rows(shelf, allow, "allow"), len(shelf)).marks
    if deny is not None:
        marks[_rows(shelf, deny, "deny")] = False
    found = RowSet(marks)
    return None if len(found) == len(shelf) else found


def _rows(shelf: Shelf, ids: Ids, field: str) -> np.ndarray:
    """Of those that there are. (n,)"""
    rows = shelf.rows(as_list(ids, field), field)
    return rows[rows >= 0]
