"""Several processes that answer at one port: forked before anything is loaded, and begun again when they die."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from types import FrameType

from features.errors import InputError
from serving.log import tell

#: what a process ends with that cannot start at all: there is no use in starting it again
UNUSABLE = 2

_PR_SET_PDEATHSIG = 1
#: a process that lived for so long did start; one that did not waits before it is tried again
_STARTED_SECONDS = 30.0
_LONGEST_WAIT = 30.0
#: so many that did not start, one after the other, and there is no use in trying again
_TRIES = 6


@dataclass(frozen=True)
class Worker:
    """What one of several processes is told.

    Args:
        first: Whether it is the first: what people are told, one of them tells.
        ready: To be called when it answers.
        folder: For what they tell each other; None of one that is alone.
    """

    first: bool = True
    ready: Callable[[], None] = lambda: None
    folder: Path | None = None


def run_workers(n: int, work: Callable[[Worker], int | None], end_seconds: float = 15.0) -> int:
    """Runs the same in n processes until this one is told to end, or none of them can start.

    Args:
        n: How many.
        work: Runs in each, and returns its exit status; raises InputError where it cannot start.
        end_seconds: How long they may take to end, once they are told; then they are killed.

    Returns:
        An exit status: 0 after SIGTERM, 130 after SIGINT; `UNUSABLE`, or 1, where none has ever answered and there is
        no use in trying on. Once one has, those that die are begun again for as long as it takes.
    """
    return _Workers(n, work, end_seconds).run()


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM is how a service is ended, whether or not it answers already, and no failure."""

    def end(number: int, frame: FrameType | None) -> None:
        tell("signal", signal=signal.Signals(number).name)
        sys.exit(0)

    if threading.current_thread() is not threading.main_thread():  # which alone has signals
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Workers:
    def __init__(self, n: int, work: Callable[[Worker], int | None], end_seconds: float) -> None:
        self._n, self._work, self._end_seconds = n, work, end_seconds
        self._alive: dict[int, float] = {}  # process -> when it began
        self._due: list[float] = []  # when those that are missing begin
        self._begun, self._failures, self._ends_by = 0, 0, 0.0
        self._signals: list[int] = []
        self._told = 0
        self._ready = mmap(-1, 1)  # which forks share

    def run(self) -> int:
        figures = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="recsys-figures-")
        before = {one: signal.signal(one, self._told_to_end) for one in (signal.SIGTERM, signal.SIGINT)}
        status = 0
        try:
            self._due = [0.0] * self._n
            while self._alive or (self._due and not self._ends_by):
                self._tell_signals()
                self._begin_due()
                ended = self._bury()
                hopeless = ended == UNUSABLE or self._failures >= _TRIES
                if hopeless and not self._ready[0] and not self._ends_by:
                    status = UNUSABLE if ended == UNUSABLE else 1
                    self._end()
                if self._ends_by and time.monotonic() > self._ends_by:
                    self._signal(signal.SIGKILL)
                time.sleep(0.05)
            self._tell_signals()
        finally:
            self._signal(signal.SIGKILL)
            for one, handler in before.items():
                signal.signal(one, handler)
            shutil.rmtree(figures, ignore_errors=True)
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        return status or (130 if self._signals[:1] == [signal.SIGINT] else 0)

    def _begin_due(self) -> None:
        now = time.monotonic()
        for one in [one for one in self._due if one <= now]:
            if self._ends_by:
                return
            self._due.remove(one)
            self._alive[self._fork()] = now

    def _fork(self) -> int:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process:
            self._begun += 1
            return process
        status, folder = 1, Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        try:
            for one in (signal.SIGTERM, signal.SIGINT):
                signal.signal(one, signal.SIG_DFL)
            # nobody is to answer at the port who cannot be told to end
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() == parent:
                status = self._work(Worker(self._begun == 0, self._is_ready, folder)) or 0
        except InputError as error:
            status = UNUSABLE
            if self._ready[0]:  # others answer
                tell("not_started", logging.ERROR, why=str(error))
            elif _is_first(folder / "refused"):  # what is wrong with one is wrong with all
                print(f"recsys serve: error: {error}", file=sys.stderr)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _is_ready(self) -> None:
        self._ready[0] = 1

    def _bury(self) -> int:
        """Takes note of those that have ended, and returns what the last of them ended with."""
        status = 0
        while self._alive:
            process, how = os.waitpid(-1, os.WNOHANG)
            if not process:
                break
            began = self._alive.pop(process, None)
            if began is None:
                continue
            _forget_figures(process)
            status = os.waitstatus_to_exitcode(how)
            if self._ends_by:
                continue
            lived = time.monotonic() - began
            self._failures = 0 if lived > _STARTED_SECONDS and status != UNUSABLE else self._failures + 1
            wait = min(0.25 * 2**self._failures, _LONGEST_WAIT) if self._failures else 0.0
            if self._ready[0] or status != UNUSABLE:
                tell("process_ended", logging.WARNING, process=process, status=status, another_in=wait)
            self._due.append(time.monotonic() + wait)
        return status

    def _told_to_end(self, number: int, frame: object) -> None:
        self._signals.append(number)
        self._end()

    def _tell_signals(self) -> None:
        """Into the log: not by the handler, because a signal may come amid the writing of another line."""
        for number in self._signals[self._told :]:
            tell("signal", signal=signal.Signals(number).name)
            self._told += 1

    def _end(self) -> None:
        """Tells all to end."""
        if not self._ends_by:
            self._ends_by = time.monotonic() + self._end_seconds
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        for process in self._alive:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue


def _is_first(file: Path) -> bool:
    """Whether nobody has come here before."""
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _forget_figures(process: int) -> None:
    """What a process that has ended has counted stays; what only the living have goes."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(process)
