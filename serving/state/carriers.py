"""Which bundles still carry a user: what training has learned of somebody stays in it until the next build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from serving.bundles.manifest import MATCHER
from serving.bundles.sealed import BundleError, read_manifest

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.candidates import CandidateGenerator


@dataclass(frozen=True)
class Carried:
    """A user in a bundle.

    Args:
        user_id: Raw id.
        history_items: How many items of the user's it has stored.
        trained: Whether training has seen the user, so that the weights may say something of them.
    """

    user_id: str
    history_items: int
    trained: bool


def carried_in(generator: CandidateGenerator, user_ids: Sequence[str | int]) -> list[Carried]:
    """Those of some users whom a loaded bundle knows.

    Raises:
        FieldError: An id of a type that the catalogue's ids are not.
    """
    known, users = generator.bundle.known, list(dict.fromkeys(user_ids))
    rows = generator.user_ids.rows(users, "user_ids")
    return [
        Carried(str(user), int(known.lengths_of(np.array([row]))[0]), bool(known.trained[row]))
        for user, row in zip(users, rows.tolist(), strict=True)
        if row >= 0
    ]


def carried_by(folder: Path | str, user_ids: Sequence[str | int]) -> list[Carried]:
    """Those of some users whom a bundle's vocabulary knows; nothing is loaded but what says so.

    Args:
        folder: Of a bundle.
        user_ids: Raw ids; 17 and "17" are one.

    Raises:
        BundleError: No bundle, or one that cannot be read.
    """
    folder = Path(folder)
    if read_manifest(folder).get("kind") == MATCHER:
        return []  # records, and no users
    wanted = pl.Series("user_id", list(dict.fromkeys(map(str, user_ids))), dtype=pl.String)
    try:
        histories = pl.scan_parquet(folder / "histories.parquet", glob=False)
        ids = pl.col("user_id").cast(pl.String)
        mine = histories.filter(ids.is_in(wanted.implode()))
        found = mine.select(ids, pl.col("item_ids").list.len(), "trained").collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        why = " ".join(str(error).split())[:200]
        raise BundleError(f"{folder}: the users cannot be read: {why}") from None
    return [Carried(*row) for row in wanted.to_frame().join(found, on="user_id", maintain_order="left").iter_rows()]
