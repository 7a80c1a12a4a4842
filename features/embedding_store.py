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
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import InputError
from features.vector_files import open_vectors, save_vectors, write_whole

#: a text is told by so many bytes, of which all but one are its hash: among ten billion texts, two alike are a chance
#: of one in 10^16
_KEY = 16

#: files of vectors of fewer bytes than `_LARGE` are put together when there are more than this
_FILES = 64
_LARGE = 1 << 26

#: seconds after which a file that is not written to its end is what a kill has left
_ABANDONED = 3600


class EmbeddingStore:
    """The vectors of one encoder.

    Args:
        folder: Of the store; made where it does not exist.
        encoder: All that a vector depends on besides its text, as JSON. All its vectors have one width V.

    Raises:
        InputError: A folder that cannot be written, or, whenever the store is looked at, a file of it that is damaged.

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
        self.folder = Path(folder) / hashlib.sha256(said.encode()).hexdigest()[:16]
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "encoder.json").exists():  # for whoever wonders what this folder is
                write_whole(self.folder / "encoder.json", json.dumps(encoder, indent=1, ensure_ascii=False).encode())
        self.size = 0  # V, once there is a vector
        self._files: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # keys and mapped vectors by file name
        self._keys = np.empty(0, f"S{_KEY}")  # of all files, ascending
        self._file_of = np.empty(0, np.int64)
        self._row_of = np.empty(0, np.int64)
        self._stale = True

    def __len__(self) -> int:
        self._look()
        return len(self._keys)

    def _look(self) -> None:
        if self._stale:
            self.refresh()

    def refresh(self) -> None:
        """Looks for what other processes have added; files that are known are not read again."""
        files = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                files[path.name] = self._files.get(path.name) or self._opened(path)
            except FileNotFoundError:  # put together with others in the meantime
                return self.refresh()
        self._stale = False
        if list(files) == list(self._files):
            return
        self._files = files
        if not files:
            self._keys = self._keys[:0]
            return
        lengths = [len(keys) for keys, _ in files.values()]
        self._keys, first = np.unique(np.concatenate([keys for keys, _ in files.values()]), return_index=True)
        self._file_of = np.repeat(np.arange(len(files)), lengths)[first]
        self._row_of = np.concatenate([np.arange(one) for one in lengths])[first]

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
        order = np.lexsort((rows, files))  # each file is read once, from its front to its back
        bounds = np.searchsorted(files[order], np.arange(len(self._files) + 1))
        for n, (_, vectors) in enumerate(self._files.values()):
            here = order[bounds[n] : bounds[n + 1]]
            found[here] = vectors[rows[here]]
        return found

    def add(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Keeps vectors: on disk when it returns.

        Args:
            keys: Of the texts. (n,)
            vectors: (n, V) float32

        Raises:
            ValueError: Not a vector for each text, or vectors of another width than those that are there.
            InputError: Vectors of numbers that are not finite, or a folder that cannot be written.
        """
        if vectors.ndim != 2 or len(vectors) != len(keys):
            raise ValueError(f"{len(keys)} texts, and vectors of the shape {vectors.shape}")
        if not len(keys):
            return
        if not self.size:
            self.refresh()
        if vectors.shape[1] != (self.size or vectors.shape[1]):
            raise ValueError(f"vectors of {vectors.shape[1]} numbers, and those of the store have {self.size}")
        if not np.isfinite(vectors).all():  # kept, they would never be made again
            raise InputError("the text encoder gives numbers that are not finite; text.encoder.precision=fp32 may help")
        self._put(keys, vectors)
        self.size = vectors.shape[1]
        self._stale = True  # many chunks are added before anything is asked for

    @contextlib.contextmanager
    def alone(self, wait: bool = True) -> Iterator[None]:
        """Waits until no other process encodes for this store: what it adds need not be encoded again.

        Args:
            wait: Else there is an error where one does.

        Raises:
            InputError: Another process encodes and is not waited for, or a folder that cannot be written.
        """
        with contextlib.ExitStack() as stack:
            with self._writing():
                file = stack.enter_context((self.folder / "lock").open("w"))
                # let go when the file is closed, or the process is killed
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._sweep()
            self._stale = True
            yield

    def compact(self) -> None:
        """Puts small files together where there are many; what they hold stays the same."""
        self._look()
        most = max(1, _LARGE // (4 * max(1, self.size)))  # vectors of a file
        small = [n for n, (keys, _) in enumerate(self._files.values()) if len(keys) < most]
        if len(small) <= _FILES:
            return
        keys = self._keys[np.isin(self._file_of, small)]
        for start in range(0, len(keys), most):
            some = keys[start : start + most]
            self._put(some, self.take(some))
        names = list(self._files)
        for n in small:  # who has them open keeps them
            (self.folder / names[n]).unlink(missing_ok=True)
        self.refresh()

    def _put(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        with self._writing():
            save_vectors(self.folder / f"{uuid.uuid4().hex}.safetensors", keys.astype(f"S{_KEY}"), vectors)

    def _sweep(self) -> None:
        """Takes away what kills have left."""
        for part in self.folder.glob(".*.part"):
            with contextlib.suppress(FileNotFoundError):  # written to its end in the meantime
                if time.time() - part.stat().st_mtime > _ABANDONED:
                    part.unlink()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or error
            raise InputError(f"the store {self.folder} cannot be written: {why}; text.store names another") from None

    def _opened(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """A file's keys, (n,), and its vectors, mapped into memory. (n, V)"""
        keys, vectors = open_vectors(path)
        if keys.itemsize != _KEY or vectors.shape[1] != (self.size or vectors.shape[1]):
            raise InputError(
                f"{path} holds {vectors.shape[1]} numbers for each key of {keys.itemsize} bytes, and the store "
                f"{self.size} for each of {_KEY}; delete it, and what it held is made again"
            )
        self.size = vectors.shape[1]
        return keys, vectors

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
    hashes = [hashlib.blake2b(one.encode(), digest_size=_KEY - 1).digest() + b"\x01" for one in texts]
    return np.array(hashes, f"S{_KEY}")
