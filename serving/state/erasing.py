"""Takes users out of an impression log."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from features.errors import InputError


def erase_impressions(folder: Path | str, user_ids: Sequence[str | int]) -> int:
    """Rewrites the files that hold impressions of some users without them, each in one step.

    A service that is writing the log has the impressions of its last seconds in memory: stop it before, or erase again.

    Args:
        folder: Of a `serving.state.impressions.ImpressionLog`.
        user_ids: Raw ids.

    Returns:
        How many impressions there were.

    Raises:
        InputError: There is no such folder, or a file that cannot be read or written.
    """
    folder, erased = Path(folder), 0
    if not folder.is_dir():
        raise InputError(f"there are no impressions at {folder}: not a folder")
    theirs = pl.col("user_id").is_in(list(map(str, user_ids)))
    for path in sorted(folder.glob("*/*.parquet")):
        part = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.part")
        try:
            n = pl.scan_parquet(path, glob=False).select(theirs.sum()).collect().item() or 0
            if n:
                left = pl.read_parquet(path, glob=False).filter(~theirs.fill_null(False))
                with part.open("wb") as file:
                    left.write_parquet(file)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            why = " ".join(str(error).split())[:200]
            raise InputError(f"the impressions {path} cannot be rewritten: {why}") from None
        finally:
            with suppress(OSError):
                part.unlink()
        erased += n
    return erased
