"""A queue of work that a thread does in the background, and that no answer waits for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class BackgroundQueue:
    """Hands jobs to a thread of its own; what does not fit into its queue is dropped and counted, never waited for.

    Args:
        name: Of the thread.
        work: Does a job. What it raises is counted, and ends nothing.
        most: How much may wait.
        pause: Called after each job, when as many seconds are over as it last asked for, and with True at the end.

    Example:
        >>> done = []
        >>> queue = BackgroundQueue("adding", done.append, most=10)
        >>> queue.offer("one"), queue.close()
        (True, True)
        >>> done
        ['one']
    """

    def __init__(
        self, name: str, work: Callable[[Any], None], most: int, pause: Callable[[bool], float | None] | None = None
    ) -> None:
        self._work, self._most, self._pause = work, most, pause
        self._jobs: deque[tuple[Any, int]] = deque()
        self._waiting, self._ending = 0, False
        self._changed = threading.Condition()
        #: how much has not been taken, and how many jobs have failed
        self.dropped, self.failed = 0, 0
        #: told why, after each job that has failed
        self.after_failure: Callable[[str], None] = lambda problem: None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, job: Any, size: int = 1) -> bool:
        """Hands over a job.

        Args:
            job: What `work` is given.
            size: How much of the queue it takes.

        Returns:
            Whether it was taken.
        """
        with self._changed:
            if self._ending or self._waiting + size > self._most:
                self.dropped += size
                return False
            self._jobs.append((job, size))
            self._waiting += size
            self._changed.notify()
            return True

    def close(self, timeout: float = 10.0) -> bool:
        """Does what is left, and takes nothing more.

        Returns:
            Whether all was done in time.
        """
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        due: float | None = None
        while True:
            with self._changed:
                while not self._jobs and not self._ending and (due is None or time.monotonic() < due):
                    self._changed.wait(None if due is None else max(0.0, due - time.monotonic()))
                job, size = self._jobs.popleft() if self._jobs else (None, 0)
                ending = self._ending and not size
            due = None
            try:
                if size:
                    self._work(job)
                if self._pause is not None and (wait := self._pause(ending)) is not None:
                    due = time.monotonic() + wait
            except Exception as error:  # a thread that ended would drop everything from here on
                self.failed += 1
                with suppress(Exception):
                    self.after_failure(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            with self._changed:  # what is being worked on has its place in the queue until it is done
                self._waiting -= size
            if ending:
                return
