"""An item index as two files: FAISS's own, and beside it what FAISS does not say of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch  # noqa: F401  before faiss: see index_kinds

import faiss  # isort: skip

from features.errors import InputError

T = TypeVar("T")


def write_index(path: Path | str, index: Any, facts: dict[str, Any]) -> None:
    """Writes an index to `path` and facts to `path` + ".json"; what was there before stays until both are written."""
    path = Path(path)
    beside = path.with_name(path.name + ".json")
    faiss.write_index(index, str(path) + ".part")
    Path(str(beside) + ".part").write_text(json.dumps(facts, indent=1))
    os.replace(str(beside) + ".part", beside)
    os.replace(str(path) + ".part", path)


def read_index(path: Path | str, mmap: bool, made: Callable[[Any, dict[str, Any]], T]) -> T:
    """Reads what `write_index` wrote.

    Args:
        path: The index.
        mmap: Map the file into memory instead of reading it, so that processes share its pages.
        made: What index and facts become.

    Raises:
        InputError: A file that is missing, or is not an index.
    """
    path = Path(path)
    try:
        facts = json.loads(path.with_name(path.name + ".json").read_text())
        # IO_FLAG_MMAP is ignored for flat and HNSW indexes, without a word; this one is not
        return made(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mmap else 0), facts)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
        raise InputError(f"{path.name} cannot be read as an index: {reason}") from error
