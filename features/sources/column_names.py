"""Whose columns are called otherwise: which of them is probably which, and how to say so."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

#: what else a column of ids is called, as a part of its name
_CALLED = {
    "user_id": "user|customer|client|member|visitor|account|buyer|shopper|viewer|reader|uid",
    "item_id": "item|product|article|sku|asin|isbn|movie|film|book|song|track|video|offer|iid",
}


def how_to_map(table: str, ids: Sequence[str], there: Sequence[str], in_folder: bool = True) -> str:
    """The end of a sentence about a table that lacks a column of ids: where to say which it is.

    Args:
        table: What the table is called in schema.yaml.
        ids: Its columns of ids.
        there: The columns that it has.
        in_folder: Whether a schema.yaml beside it is read.

    Example:
        >>> how_to_map("interactions", ["user_id", "item_id"], ["customer", "sku", "bought_at"])
        'say in schema.yaml which it is: interactions: {columns: {user_id: customer, item_id: sku}}'
        >>> how_to_map("items", ["item_id"], ["name"], in_folder=False)
        'say in data.settings.schema which it is: {items: {columns: {item_id: COLUMN}}}'
    """
    lacking = [one for one in ids if one not in there]
    columns = ", ".join(f"{one}: {_probably(one, there)}" for one in lacking)
    example = f"{table}: {{columns: {{{columns}}}}}"
    if in_folder:
        return f"say in schema.yaml which it is: {example}"
    return f"say in data.settings.schema which it is: {{{example}}}"


def _probably(name: str, there: Sequence[str]) -> str:
    """The first column that is called so, and is no id of the other kind; a placeholder where none is."""
    found = (one for one in there if re.search(_CALLED.get(name, "^$"), one.lower()) and one not in _CALLED)
    column = next(found, "COLUMN")
    return column if re.fullmatch(r"[\w.-]+", column) else json.dumps(column, ensure_ascii=False)
