"""Files of vectors beside the keys of what they are of: written whole or not at all, and mapped into memory."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from features.errors import InputError


def save_vectors(path: Path, keys: np.ndarray, vectors: np.ndarray) -> None:
    """Writes one file, in the format of safetensors.

    Args:
        path: Of the file.
        keys: Bytes, all of one length. (n,) S
        vectors: (n, V)

    Raises:
        OSError: It cannot be written.
    """
    codes = np.frombuffer(keys.tobytes(), np.uint8).reshape(len(keys), -1)
    write_whole(path, save({"keys": codes, "vectors": np.ascontiguousarray(vectors, np.float32)}))


def open_vectors(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A file's keys and its vectors, of which those parts are read that are looked at. (n,) S, (n, V) float32

    Raises:
        FileNotFoundError: There is none.
        InputError: One that cannot be read, or is damaged.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 1 << 16)))
        codes = _mapped(path, 8 + length, header["keys"], "U8", np.uint8)
        vectors = _mapped(path, 8 + length, header["vectors"], "F32", np.float32)
        if len(codes) != len(vectors):
            raise ValueError(f"{len(codes)} keys and {len(vectors)} vectors")
        return np.frombuffer(codes.tobytes(), f"S{codes.shape[1]}"), vectors
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it, and what it held is made again") from None


def write_whole(path: Path, content: bytes) -> None:
    """Beside, then renamed: a file is there whole, or not at all.

    A kill leaves a hidden one that ends in ".part".

    Raises:
        OSError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _mapped(path: Path, start: int, said: Mapping[str, Any], dtype: str, kind: type) -> np.ndarray:
    """One array of a file, mapped into memory.

    Args:
        path: The file.
        start: Where its arrays begin.
        said: What its header says of this one.
        dtype: What its type must be called there.
        kind: And here.
    """
    (begin, end), shape = said["data_offsets"], tuple(said["shape"])
    if said["dtype"] != dtype or len(shape) != 2 or end - begin != math.prod(shape) * np.dtype(kind).itemsize:
        raise ValueError(f"{said['dtype']} of the shape {shape} in {end - begin} bytes")
    return np.memmap(path, kind, "r", start + begin, shape)
