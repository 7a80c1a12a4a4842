"""What takes long, beside the event loop: a few threads, a queue that ends, and requests that are answered together.

Nobody waits for company: a thread that is free takes at once whatever waits, and what comes meanwhile waits for the
next. So a quiet service answers one request at a time, and a busy one many, at the price of a few.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

#: users of requests that are answered together; more gain little, and would make others wait
TOGETHER = 64

#: how far a request is looked for that may go with the first
_LOOK = 256


class Busy(Exception):
    """More waits than is worth to wait for.

    Args:
        seconds: After which it is worth to ask again.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many requests wait; ask again in {seconds} s")
        self.seconds = seconds


class Late(Exception):
    """A request has waited for longer than anyone would."""


class Watch(Protocol):
    """Is told what happens; `serving.http.metrics` counts it."""

    def began(self, waited: Sequence[float], size: int) -> None:
        """Some requests are computed now, after so many seconds each, for so many users together."""

    def ended(self, seconds: float) -> None:
        """They have been computed."""

    def waiting(self, size: int) -> None:
        """So many users are waited for now."""


@dataclass(eq=False)
class _Asked:
    key: Hashable
    ask: Callable[[Sequence[Any]], Sequence[Any]]
    one: Any
    size: int
    answer: asyncio.Future[Any]
    since: float = field(default_factory=time.monotonic)
    begun: bool = False


class ComputeQueue:
    """Computes in threads what requests ask for. All its methods belong to the event loop.

    Args:
        threads: How many computations there are at a time; 0 takes the number of processors, more would only make all
            of them slower.
        most: Users of requests that wait at a time; whoever comes then is told to come again.
        seconds: How long a request waits at the most.
    """

    def __init__(self, threads: int = 0, most: int = 4096, seconds: float = 10.0) -> None:
        self._threads = self._free = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="ranking")
        self._most, self._seconds = most, seconds
        self._queue: deque[_Asked] = deque()
        self._waiting = 0
        self._pace = 0.0  # seconds of a thread for a user, lately
        self.watch: Watch | None = None

    async def alone(self, ask: Callable[[], Any], size: int = 1) -> Any:
        """The value of a function.

        Args:
            ask: Runs in a thread.
            size: How many users it is for.

        Raises:
            Busy: Too many wait already.
            Late: It has waited for too long, and was not begun.
        """
        return await self.together(object(), lambda _: [ask()], None, size)

    async def together(
        self, key: Hashable, ask: Callable[[Sequence[Any]], Sequence[Any]], one: Any, size: int = 1
    ) -> Any:
        """What a function of several requests makes of one.

        Args:
            key: Requests of the same one may be computed together.
            ask: Runs in a thread: requests in, as many answers out; an answer that is an exception is raised.
            one: The request.
            size: How many users it is for.

        Raises:
            Busy: Too many wait already.
            Late: It has waited for too long, and was not begun.
        """
        if self._waiting and self._waiting + size > self._most:  # what comes alone is never too much
            raise Busy(max(1, math.ceil(self._waiting * self._pace / self._threads)))
        asked = _Asked(key, ask, one, size, asyncio.get_running_loop().create_future())
        self._queue.append(asked)
        self._count(size)
        self._begin()
        # threads may be held for longer than anyone would wait
        late = asyncio.get_running_loop().call_later(self._seconds, self._give_up, asked)
        try:
            return await asked.answer
        finally:
            late.cancel()

    def close(self) -> None:
        """Ends when what has begun has ended."""
        self._pool.shutdown(cancel_futures=True)

    def _give_up(self, asked: _Asked) -> None:
        if not asked.begun and not asked.answer.done():
            asked.answer.set_exception(Late(f"the request has waited for {self._seconds:g} s"))

    def _count(self, size: int) -> None:
        self._waiting += size
        if self.watch is not None:
            self.watch.waiting(self._waiting)

    def _begin(self) -> None:
        while self._free and (together := self._next()):
            self._free -= 1
            now = time.monotonic()
            for one in together:
                one.begun = True
            if self.watch is not None:
                self.watch.began([now - one.since for one in together], sum(one.size for one in together))
            loop = asyncio.get_running_loop()
            loop.run_in_executor(self._pool, _computed, together).add_done_callback(partial(self._end, together, now))

    def _next(self) -> list[_Asked]:
        """The request that has waited for longest, and others that may go with it."""
        while self._queue:
            first = self._queue.popleft()
            self._count(-first.size)
            if not first.answer.done():  # else nobody waits for it any more
                break
        else:
            return []
        together, size, left = [first], first.size, []
        for _ in range(min(len(self._queue), _LOOK)):
            if size >= TOGETHER:
                break
            one = self._queue.popleft()
            if one.key == first.key and size + one.size <= TOGETHER and not one.answer.done():
                together.append(one)
                size += one.size
                self._count(-one.size)
            else:
                left.append(one)
        self._queue.extendleft(reversed(left))
        return together

    def _end(self, together: list[_Asked], began: float, done: asyncio.Future[list[Any]]) -> None:
        self._free += 1
        seconds = time.monotonic() - began
        pace = seconds / max(1, sum(one.size for one in together))
        self._pace = pace if not self._pace else 0.9 * self._pace + 0.1 * pace
        if self.watch is not None:
            self.watch.ended(seconds)
        failed = asyncio.CancelledError() if done.cancelled() else done.exception()
        answers = [failed] * len(together) if failed is not None else done.result()
        for one, answer in zip(together, answers, strict=True):
            if one.answer.done():
                continue
            if isinstance(answer, BaseException):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)
        self._begin()


def _computed(together: list[_Asked]) -> list[Any]:
    """The answers; requests of which one cannot be answered are computed one by one, so that no other one suffers."""
    ask = together[0].ask
    try:
        return list(ask([one.one for one in together]))
    except Exception as error:
        if len(together) == 1:
            return [error]
    return [_computed([one])[0] for one in together]
