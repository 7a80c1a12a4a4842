"""A language model in a process of its own: it takes seconds to load and all of a processor to read, and nobody waits.

The service begins without it, and answers while it reads; it is begun when the first text is to be read, and ends with
whoever asked for it.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import IO

import polars as pl

from features.errors import InputError
from serving.log import log_to_stderr

#: what a message says: vectors by way of the store, vectors without it, an answer, a refusal
_KEPT, _PLAIN, _ANSWER, _REFUSAL = b"k", b"p", b"a", b"r"
_HEAD = struct.Struct("!cQ")


class EncoderProcess:
    """Reads texts for a bundle. Safe to share between threads; one reads after the other.

    Args:
        folder: The bundle's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def vectors(self, items: pl.DataFrame, kept: bool) -> pl.Series:
        """The vectors of what is told of items, null where nothing is.

        Args:
            items: One row an item. (n rows)
            kept: Asks the store first, and keeps them there.

        Raises:
            InputError: The language model is not here, or is another than the bundle's; or its process has died.
        """
        sent = io.BytesIO()
        items.write_ipc(sent)
        with self._lock:
            process = self._process
            if process is None or process.poll() is not None:
                process = self._begin()
            assert process.stdin is not None and process.stdout is not None  # pipes
            try:
                _write(process.stdin, _KEPT if kept else _PLAIN, sent.getvalue())
                kind, answer = _read(process.stdout)
            except (OSError, EOFError):
                process.kill()
                process.wait()  # its pipes close before it has ended, and who asks next must not find it alive
                raise InputError("the process that reads texts has died; ask again") from None
        if kind == _REFUSAL:
            raise InputError(answer.decode())
        return pl.read_ipc(io.BytesIO(answer)).to_series()

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "serving.encoding", str(self._folder)]
        self._process = process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        weakref.finalize(self, _end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()


def _write(pipe: IO[bytes], kind: bytes, content: bytes) -> None:
    pipe.write(_HEAD.pack(kind, len(content)) + content)
    pipe.flush()


def _read(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    """A message.

    Raises:
        EOFError: The other side has gone.
    """
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError
    kind, length = _HEAD.unpack(head)
    content = pipe.read(length)
    if len(content) < length:
        raise EOFError
    return kind, content


def _reading(folder: Path) -> None:
    """The process: an answer a message, until nobody asks any more."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    with contextlib.suppress(OSError):
        os.nice(10)  # those who wait for lists come first

    from serving.bundles.item_texts import BundleText

    text: BundleText | None = None
    with contextlib.suppress(EOFError):
        while True:
            kind, content = _read(asked)
            try:
                text = text or BundleText.read(folder)
                items = pl.read_ipc(io.BytesIO(content))
                found = text.kept_vectors(items) if kind == _KEPT else text.vectors(items)
                out = io.BytesIO()
                found.to_frame().write_ipc(out)
                _write(answers, _ANSWER, out.getvalue())
            except Exception as error:
                _write(answers, _REFUSAL, " ".join(str(error).split())[:1000].encode() or b"texts cannot be read")


if __name__ == "__main__":
    log_to_stderr()
    _reading(Path(sys.argv[1]))
