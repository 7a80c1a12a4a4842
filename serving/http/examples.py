"""Examples of requests that work with the model that is served: they name its own ids and columns."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.lists.item_columns import ItemColumns

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.candidates import CandidateGenerator

#: by the name of a body's shape
Examples = dict[str, list[dict[str, Any]]]

#: what is said of an item in an example, and of how many one is chosen
_MOST_SAID = 4
_LOOKED_AT = 100


def recommender_examples(generator: CandidateGenerator) -> Examples:
    """Bodies for the routes of a recommender.

    Those that change something name nobody who is known, so that whoever tries one does no harm.
    """
    from serving.portrait import examples

    users, popular = examples(generator, 2)
    items = [one.item_id for one in popular]
    somebody = {"user_ids": users[:1]} if users else {"histories": [items[:1]]}
    shelf = generator.new_items.shelf
    filters: dict[str, Any] = {"where": where} if (where := _where(shelf.columns)) else {}
    filters["deny"] = items[:1]
    one = {"user_id": users[0]} if users else {"history": items[:1]}
    stranger, new = _unknown(generator.user_ids.rows), _unknown(shelf.rows)
    return {
        "CandidateRequest": [
            *([{"user_ids": users, "k": 10}] if users else []),
            {"histories": [items], "k": 5},
            {
                "user_ids": [*users[:1], None],
                "histories": [*[None for _ in users[:1]], items[:1]],
                "exclude_seen": False,
            },
            {**somebody, **filters},
        ],
        "SimilarRequest": [{"item_ids": items, "k": 5}, {"item_ids": items[-1:], **filters}],
        "InvocationRequest": [
            {"dataframe_records": [one], "params": {"k": 5}},
            {"dataframe_split": {"columns": ["user_id", "history"], "data": [[stranger, items]]}},
            {"dataframe_records": [one], "params": filters},
        ],
        "EventsRequest": [
            {"events": [{"user_id": stranger, "item_id": items[0], "type": "view", "event_id": "c41f"}]},
            {"events": [{"user_id": stranger, "item_id": item} for item in items]},
        ],
        "EraseRequest": [{"user_ids": [stranger]}],
        "NewItemsRequest": [{"items": [{"item_id": new, "attributes": _said(generator)}]}],
        "GoneItemsRequest": [{"item_ids": [new]}],
    }


def record_examples(attributes: list[str]) -> Examples:
    """Bodies for the routes of matchers and of entities, whose records are told by some attributes."""
    left, right = {attributes[0]: "rose soap, 100 g"}, {attributes[0]: "soap (rose) 100g"}
    return {
        "MatchRequest": [{"pairs": [{"left": left, "right": right}]}],
        "ExplainRequest": [{"left": left, "right": right}],
        "FindRequest": [{"records": [left], "n": 3}],
    }


def _where(columns: ItemColumns) -> dict[str, Any]:
    """Something to ask of the first column in which anything is said."""
    for name in columns.kinds:
        if (something := columns.something(name)) is not None:
            return {name: something}
    return {}


def _unknown(rows: Callable[[list[str]], np.ndarray]) -> str:
    """An id that nothing has, which looks like one of integers and of strings alike.

    Args:
        rows: Of ids, below zero for those that nothing has.
    """
    return next(str(n) for n in count(1) if rows([str(n)])[0] < 0)


def _said(generator: CandidateGenerator) -> dict[str, Any]:
    """What is said of the popular item of which most is said."""
    table = generator.bundle.item_table
    columns = [name for name in generator.new_items.columns if name in table.columns]
    if not columns:
        return {}
    popular = np.argsort(-generator.bundle.item_counts, kind="stable")[:_LOOKED_AT]
    rows = table.select(columns)[popular].iter_rows(named=True)
    plain = [
        {name: one for name, one in said.items() if one != "" and isinstance(one, str | int | float)} for said in rows
    ]
    return dict(list(max(plain, key=len, default={}).items())[:_MOST_SAID])
