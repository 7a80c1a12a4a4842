"""A hash of what a table says: the same for the same content, however it is laid out in memory or in files."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

_CHUNK = 1 << 17


def sha256_of(*parts: object) -> str:
    """SHA-256 of series, frames, arrays, bytes and strings, in hexadecimal.

    Example:
        >>> frame = pl.DataFrame({"id": ["a", None], "x": [1, 2]})
        >>> sha256_of(frame) == sha256_of(pl.concat([frame[:1], frame[1:]], rechunk=False))
        True
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pl.DataFrame):
            for column in part.columns:
                _add(digest, column)
                _add(digest, part[column])
        else:
            _add(digest, part)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, part: object) -> None:
    if isinstance(part, pl.Series):
        digest.update(f"{_type(part.dtype)} {len(part)}\n".encode())
        for start in range(0, len(part), _CHUNK):  # chunks, for the memory that the conversions need
            _add_values(digest, part.slice(start, _CHUNK))
    elif isinstance(part, np.ndarray):
        digest.update(f"{part.dtype.str} {part.shape}\n".encode())
        digest.update(np.ascontiguousarray(part).data if part.size else b"")
    else:
        encoded = part if isinstance(part, bytes) else str(part).encode()
        digest.update(f"{len(encoded)}\n".encode() + encoded)


def _type(dtype: pl.DataType) -> str:
    """Strings are strings, whichever way they are held."""
    return "String" if isinstance(dtype, pl.Categorical | pl.Enum) else str(dtype)


def _add_values(digest: hashlib._Hash, values: pl.Series) -> None:
    if values.null_count():
        digest.update(b"nulls" + np.packbits(values.is_null().to_numpy()).tobytes())
        values = values.drop_nulls()
    dtype = values.dtype
    if isinstance(dtype, pl.List | pl.Array):
        values = values.arr.to_list() if isinstance(dtype, pl.Array) else values
        digest.update(values.list.len().to_numpy().tobytes())
        _add_values(digest, values.explode(empty_as_null=False))
        return
    if dtype.is_temporal():
        values = values.to_physical()
    elif not dtype.is_numeric():
        values = values.cast(pl.String)
        digest.update(values.str.len_bytes().to_numpy().tobytes())
        digest.update((values.str.join("").item() or "").encode())
        return
    digest.update(np.ascontiguousarray(values.to_numpy()).tobytes())
