"""Requests for candidates, of which those that ask alike are answered together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from serving.http.compute import ComputeQueue
from serving.http.requests import TOLD, CandidateRequest

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.candidates import CandidateGenerator
    from serving.lists.recommendations import Recommendations
    from serving.state.online_state import OnlineState

#: fields that say who asks; the others say how, and have to be the same for requests to be answered together
_WHO = ("user_ids", "histories")

#: a request that has one of these is answered alone: they are rare, and long or of its users each
_OWN = ("attributes", "history_times", "asked_at", "allow", "deny", "where")


async def answered(
    queue: ComputeQueue, generator: CandidateGenerator, online: OnlineState, body: CandidateRequest
) -> Recommendations:
    """The lists of one request.

    Args:
        queue: Where they are computed.
        generator: Which answers.
        online: What extends histories.
        body: The request.
    """
    how = {name: getattr(body, name) for name in type(body).model_fields if name not in (*_WHO, *TOLD)}
    if any(how.get(name) is not None for name in _OWN):
        ask = partial(online.recommend, generator, body.user_ids, body.histories, **how)
        return await queue.alone(ask, _size(body))
    if body.user_ids is None and body.histories is None:  # which recommend refuses, and company would hide
        return await queue.alone(partial(online.recommend, generator, None, None, **how))
    how = {name: one for name, one in how.items() if name not in _OWN}
    key = (id(generator), *how.values())
    return await queue.together(key, partial(_together, generator, online, how), body, _size(body))


def _together(
    generator: CandidateGenerator, online: OnlineState, how: dict[str, Any], bodies: Sequence[CandidateRequest]
) -> list[Recommendations]:
    """The lists of requests that ask in the same way, each its own."""
    if len(bodies) == 1:
        return [online.recommend(generator, bodies[0].user_ids, bodies[0].histories, **how)]
    ids: list[Any] = []
    histories: list[Any] = []
    ends = [0]
    for one in bodies:
        n = _size(one)
        mine = (one.user_ids or [None] * n, one.histories or [None] * n)
        if len(mine[0]) != len(mine[1]):
            raise ValueError("each is refused by itself, with a sentence about its own fields")
        ids += mine[0]
        histories += mine[1]
        ends.append(len(ids))
    given = None if all(one is None for one in histories) else histories
    found = online.recommend(generator, ids, given, **how)
    return [found.take(start, stop) for start, stop in pairwise(ends)]


def _size(body: CandidateRequest) -> int:
    return len(body.user_ids if body.user_ids is not None else body.histories or ())
