"""The queue of computations: what goes together, what is refused, and that nobody gets another one's answer."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.http.compute import TOGETHER, Busy, ComputeQueue, Late


class Gate:
    """A computation that waits until it is let go on, and remembers what was asked together."""

    def __init__(self):
        self.open, self.seen = threading.Event(), []

    def __call__(self, asked):
        self.seen.append(list(asked))
        assert self.open.wait(10)
        return [one * 10 for one in asked]


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")


def test_what_waits_is_answered_together_and_each_gets_its_own():
    async def scene():
        queue, gate = ComputeQueue(threads=1), Gate()
        first = asyncio.create_task(queue.together("a", gate, 1))
        await until(lambda: gate.seen)
        others = [asyncio.create_task(queue.together("a", gate, n)) for n in range(2, 6)]
        apart = asyncio.create_task(queue.together("b", gate, 7))
        late = asyncio.create_task(queue.together("a", gate, 8))
        await asyncio.sleep(0.05)
        gate.open.set()
        assert await asyncio.gather(first, *others, apart, late) == [10, 20, 30, 40, 50, 70, 80]
        # nobody waited for company, and what asks otherwise did not go along
        assert gate.seen == [[1], [2, 3, 4, 5, 8], [7]]
        queue.close()

    asyncio.run(scene())


def test_no_more_users_than_are_worth_it_go_together():
    async def scene():
        queue, gate = ComputeQueue(threads=1), Gate()
        tasks = [asyncio.create_task(queue.together("a", gate, 1))]
        await until(lambda: gate.seen)
        tasks += [asyncio.create_task(queue.together("a", gate, n, size=TOGETHER // 2)) for n in range(2, 6)]
        await asyncio.sleep(0.05)
        gate.open.set()
        await asyncio.gather(*tasks)
        assert gate.seen == [[1], [2, 3], [4, 5]]
        queue.close()

    asyncio.run(scene())


def test_one_that_cannot_be_answered_does_not_harm_the_others():
    def ask(asked):
        if any(one < 0 for one in asked):
            raise ValueError("below zero")
        return [one + 1 for one in asked]

    async def scene():
        queue, gate = ComputeQueue(threads=1), Gate()
        holding = asyncio.create_task(queue.together("other", gate, 0))
        await until(lambda: gate.seen)
        tasks = [asyncio.create_task(queue.together("a", ask, n)) for n in (1, -1, 2)]
        await asyncio.sleep(0.05)
        gate.open.set()
        await holding
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert found[0] == 2 and isinstance(found[1], ValueError) and found[2] == 3
        queue.close()

    asyncio.run(scene())


def test_what_is_too_much_is_told_to_come_again():
    async def scene():
        queue, gate = ComputeQueue(threads=1, most=3), Gate()
        running = asyncio.create_task(queue.together("a", gate, 1, size=100))  # alone, it is never too much
        await until(lambda: gate.seen)
        waiting = asyncio.create_task(queue.together("a", gate, 2, size=3))
        await asyncio.sleep(0.02)
        with pytest.raises(Busy) as refused:
            await queue.together("a", gate, 3)
        assert refused.value.seconds >= 1
        gate.open.set()
        assert await asyncio.gather(running, waiting) == [10, 20]
        assert await queue.together("a", gate, 3) == 30
        queue.close()

    asyncio.run(scene())


def test_who_has_waited_for_too_long_is_not_begun():
    async def scene():
        queue, gate = ComputeQueue(threads=1, seconds=0.05), Gate()
        running = asyncio.create_task(queue.together("a", gate, 1))
        await until(lambda: gate.seen)
        waiting = asyncio.create_task(queue.together("b", gate, 2))
        await asyncio.sleep(0.15)
        gate.open.set()
        assert await running == 10
        with pytest.raises(Late):
            await waiting
        assert gate.seen == [[1]]
        queue.close()

    asyncio.run(scene())


def test_who_has_gone_is_not_computed_for():
    async def scene():
        queue, gate = ComputeQueue(threads=1), Gate()
        running = asyncio.create_task(queue.together("a", gate, 1))
        await until(lambda: gate.seen)
        gone = asyncio.create_task(queue.together("a", gate, 2))
        stays = asyncio.create_task(queue.together("a", gate, 3))
        await asyncio.sleep(0.02)
        gone.cancel()
        await asyncio.sleep(0.02)
        gate.open.set()
        assert await asyncio.gather(running, stays) == [10, 30]
        assert gate.seen == [[1], [3]]
        queue.close()

    asyncio.run(scene())


@settings(max_examples=30, deadline=None)
@given(
    asked=st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 50), st.integers(1, 40)), max_size=60),
    threads=st.integers(1, 3),
)
def test_everybody_gets_the_answer_to_what_was_asked(asked, threads):
    def ask_of(key):
        def ask(together):
            if any(one < 0 for one in together):
                raise ValueError(key)
            return [(key, one) for one in together]

        return ask

    async def scene():
        queue = ComputeQueue(threads=threads)
        told = await asyncio.gather(
            *(queue.together(key, ask_of(key), one, size) for key, one, size in asked), return_exceptions=True
        )
        for (key, one, _), answer in zip(asked, told, strict=True):
            assert isinstance(answer, ValueError) if one < 0 else answer == (key, one)
        queue.close()

    asyncio.run(scene())
