"""Embeddings on disk by what was embedded: what is unchanged is never encoded twice.

A folder for each encoder, named by a hash of all that its vectors depend on, and in it files of vectors beside the
hashes of the texts they are of. A file is written whole or not at all, and never changed: a kill loses what had not
been added yet, several processes may add at once, and readers map the files into memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from features.errors import InputError

#: a text is told by so many bytes of its hash: among ten billion texts, two alike are a chance in 10^18
_KEY = 16

#: files of fewer vectors than `_LARGE` are put together when there are more than this
_FILES = 64
_LARGE = 1 << 16


class EmbeddingStore:
    """The vectors of one encoder.

    Args:
        folder: Of the store; made where it does not exist.
        encoder: All that a vector depends on besides its text, as JSON. All its vectors have one width V.

    Raises:
        InputError: A file of the store that is damaged, or of vectors of another width than the others.

    Example:
        >>> import tempfile
        >>> store = EmbeddingStore(tempfile.mkdtemp(), {"model": "tiny"})
        >>> keys = keys_of(["tea", "ink"])
        >>> store.add(keys, np.array([[1, 2], [3, 4]], dtype=np.float32))
        >>> store.known(keys_of(["ink", "soap"])).tolist(), store.take(keys[1:]).tolist()
        ([True, False], [[3.0, 4.0]])
    """

    def __init__(self, folder: Path | str, encoder: Mapping[str, Any]) -> None:
        said = json.dumps(encoder, sort_keys=True, ensure_ascii=False)
        self.folder = Path(folder) / hashlib.sha256(said.encode()).hexdigest()[:_KEY]
        self.size = 0  # V, once there is a vector
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / "encoder.json", json.dumps(encoder, indent=1, ensure_ascii=False).encode())
        self._files: dict[str, np.ndarray] = {}  # mapped vectors by file name
        self._keys = np.empty(0, f"S{_KEY}")  # ascending
        self._file_of = np.empty(0, np.int32)
        self._row_of = np.empty(0, np.int64)
        self._stale = True

    def __len__(self) -> int:
        self._look()
        return len(self._keys)

    def _look(self) -> None:
        if self._stale:
            self.refresh()

    def refresh(self) -> None:
        """Looks for what other processes have added."""
        self._stale = False
        self._keys, self._files = self._keys[:0], {}
        keys, files, rows = [], [], []
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                of_file, vectors = self._opened(path)
            except FileNotFoundError:  # put together with others in the meantime
                return self.refresh()
            keys.append(of_file)
            files.append(np.full(len(of_file), len(self._files), np.int32))
            rows.append(np.arange(len(of_file)))
            self._files[path.name] = vectors
        if keys:
            self._keys, first = np.unique(np.concatenate(keys), return_index=True)
            self._file_of, self._row_of = np.concatenate(files)[first], np.concatenate(rows)[first]

    def known(self, keys: np.ndarray) -> np.ndarray:
        """Which texts have a vector. (n,) -> (n,) bool"""
        return self._places(keys) >= 0

    def take(self, keys: np.ndarray) -> np.ndarray:
        """The vectors of texts that have one. (n,) -> (n, V) float32

        Raises:
            KeyError: One that has none.
        """
        places = self._places(keys)
        if (places < 0).any():
            raise KeyError(f"{int((places < 0).sum())} of {len(keys)} texts have no vector in the store")
        found = np.empty((len(keys), self.size), np.float32)
        files, rows = self._file_of[places], self._row_of[places]
        for n, vectors in enumerate(self._files.values()):
            here = np.flatnonzero(files == n)
            found[here] = vectors[rows[here]]
        return found

    def add(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Keeps vectors: on disk when it returns.

        Args:
            keys: Of the texts. (n,)
            vectors: (n, V) float32
        """
        if len(vectors) != len(keys):
            raise ValueError(f"{len(keys)} texts and {len(vectors)} vectors")
        self._put(keys, vectors)
        self._stale = True  # many chunks are added before anything is asked for

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Waits until no other process encodes for this store: what it adds need not be encoded again."""
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed, or the process is killed
            self._stale = True
            yield

    def compact(self) -> None:
        """Puts small files together where there are many; what they hold stays the same."""
        self._look()
        small = [n for n, vectors in enumerate(self._files.values()) if len(vectors) < _LARGE]
        if len(small) <= _FILES:
            return
        keys = self._keys[np.isin(self._file_of, small)]
        for start in range(0, len(keys), _LARGE):
            some = keys[start : start + _LARGE]
            self._put(some, self.take(some))
        names = list(self._files)
        for n in small:
            (self.folder / names[n]).unlink(missing_ok=True)
        self.refresh()

    def _put(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        hashes = np.frombuffer(keys.astype(f"S{_KEY}").tobytes(), np.uint8).reshape(-1, _KEY)
        content = save({"keys": hashes, "vectors": np.ascontiguousarray(vectors, np.float32)})
        _write(self.folder / f"{uuid.uuid4().hex}.safetensors", content)

    def _opened(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """A file's keys, (n,), and its vectors, mapped into memory. (n, V)"""
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, 1 << 16)))
            parts = []
            for name, kind in (("keys", np.uint8), ("vectors", np.float32)):
                start, end = header[name]["data_offsets"]
                rows, columns = header[name]["shape"]
                wanted = _KEY if name == "keys" else self.size or columns
                if end - start != rows * columns * kind().itemsize or columns != wanted:
                    raise ValueError(f"{name} of the shape {(rows, columns)}")
                parts.append(np.memmap(path, kind, "r", 8 + length + start, (rows, columns)))
            self.size = parts[1].shape[1]
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error}); delete it, and what it held is encoded again") from None
        return np.frombuffer(parts[0].tobytes(), f"S{_KEY}"), parts[1]

    def _places(self, keys: np.ndarray) -> np.ndarray:
        """Where each key stands among the known ones; -1 for none. (n,) -> (n,)"""
        self._look()
        if not len(self._keys):
            return np.full(len(keys), -1)
        places = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return np.where(self._keys[places] == keys, places, -1)


def keys_of(texts: Sequence[str]) -> np.ndarray:
    """What each text is told by. (n,) -> (n,) bytes

    A hash whose last byte is not 0: numpy drops zeros at the end of bytes.
    """
    return np.array(
        [hashlib.blake2b(one.encode(), digest_size=_KEY - 1).digest() + b"\x01" for one in texts], f"S{_KEY}"
    )


def _write(path: Path, content: bytes) -> None:
    """Beside, then renamed: a file is there whole, or not at all."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
