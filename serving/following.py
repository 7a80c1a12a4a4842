"""Which version of a registered model is to be served now, asked again and again.

A local SQLite registry is read directly, in a millisecond. Any other one is asked by a process of its own that lives as
long as the service: MLflow takes seconds to import and more memory than a small model, and what it downloads does not
stand in the way of requests.
"""

from __future__ import annotations

import dataclasses
import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from features.errors import InputError
from serving.log import log_to_stderr
from serving.naming import Resolved, Unfetched
from serving.resolve import at_once, resolve

#: for how long a registry may think, downloads included
_SECONDS = 600.0


class Following:
    """Asks for a source again and again.

    Args:
        source: See `serving.resolve.resolve`.
        tracking_uri: See `serving.resolve.resolve`.
        seconds: For how long the registry may think, downloads included.
    """

    def __init__(self, source: str | Path, tracking_uri: str | None = None, seconds: float = _SECONDS) -> None:
        self._asked, self._seconds = (str(source), tracking_uri), seconds
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def __call__(self, held: str | None = None) -> Resolved:
        """The version that the source names now.

        Args:
            held: The id of a logged model that is not to be downloaded now: see `serving.resolve.resolve`.

        Raises:
            Unfetched: The version is named, and cannot be had.
            InputError: No such one, or the registry does not answer.
        """
        found = at_once(*self._asked)
        return found if found is not None else self._answer(held)

    def close(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None

    def _answer(self, held: str | None) -> Resolved:
        process = self._process
        if process is None or process.poll() is not None:
            self.close()
            process = self._start()
        assert process.stdin is not None  # a pipe
        try:
            process.stdin.write(f"{held or ''}\n")
            process.stdin.flush()
            answer = json.loads(self._lines.get(timeout=self._seconds))
        except (OSError, ValueError, queue.Empty) as error:
            self.close()
            raise InputError(f"the model registry could not be asked: {str(error) or 'no answer'}") from None
        if "named" in answer:
            raise Unfetched(answer["error"], _resolved(answer["named"]), answer["lasting"])
        if "error" in answer:
            raise InputError(answer["error"])
        return _resolved(answer)

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "serving.following", *(one for one in self._asked if one is not None)]
        self._process = process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lines = queue.Queue()
        threading.Thread(target=_read, args=(process.stdout, self._lines), name="following", daemon=True).start()
        return process


def _resolved(told: dict[str, Any]) -> Resolved:
    return Resolved(**{**told, "folder": Path(told["folder"])})


def _read(out: IO[str], lines: queue.Queue[str]) -> None:
    with out:
        for line in out:
            lines.put(line)
    lines.put("")  # it has ended: whoever waits need not wait for longer


def _answering(source: str, uri: str | None = None) -> None:
    """The process: an answer a line that it reads, which says what is held, until nobody writes any more."""
    out = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no answer
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = dataclasses.asdict(resolve(source, uri, held=line.strip() or None))
        except Unfetched as error:
            answer = {"error": str(error), "named": dataclasses.asdict(error.named), "lasting": error.lasting}
        except InputError as error:
            answer = {"error": str(error)}
        except Exception as error:
            answer = {"error": f"the model registry could not be asked: {' '.join(str(error).split())[:300]}"}
        print(json.dumps(answer, default=str), file=out, flush=True)


if __name__ == "__main__":
    log_to_stderr()
    _answering(*sys.argv[1:3])
