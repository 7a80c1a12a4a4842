"""Requests for candidates, of which those that ask alike are answered together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from serving.http.compute import ComputeQueue
from serving.http.requests import CandidateRequest

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.candidates import CandidateGenerator
    from serving.lists.recommendations import Recommendations

#: fields that say who asks; the others say how, and have to be the same for requests to be answered together
_WHO = ("user_ids", "histories")

#: fields of which requests that have them are answered alone: rare, and of one request's users each
_OWN = ("attributes", "history_times", "asked_at", "allow", "deny", "where")


async def answered(queue: ComputeQueue, generator: CandidateGenerator, body: CandidateRequest) -> Recommendations:
    """The lists of one request.

    Args:
        queue: Where they are computed.
        generator: Which answers.
        body: The request.
    """
    how = {name: getattr(body, name) for name in type(body).model_fields if name not in _WHO}
    size = len(body.user_ids if body.user_ids is not None else body.histories or ())
    if any(how.get(name) is not None for name in _OWN):
        return await queue.alone(partial(generator.recommend, body.user_ids, body.histories, **how), size)
    how = {name: one for name, one in how.items() if name not in _OWN}
    key = (id(generator), *how.values())
    return await queue.together(key, partial(_together, generator, how), body, size)


def _together(
    generator: CandidateGenerator, how: dict[str, Any], bodies: Sequence[CandidateRequest]
) -> list[Recommendations]:
    """The lists of requests that ask in the same way, each its own."""
    if len(bodies) == 1:
        return [generator.recommend(bodies[0].user_ids, bodies[0].histories, **how)]
    ids, histories, ends = [], [], [0]
    for one in bodies:
        n = len(one.user_ids if one.user_ids is not None else one.histories or ())
        mine = (one.user_ids or [None] * n, one.histories or [None] * n)
        if len(mine[0]) != len(mine[1]):
            raise ValueError("each is refused by itself, with a sentence about its own fields")
        ids += mine[0]
        histories += mine[1]
        ends.append(ends[-1] + n)
    given = None if all(one is None for one in histories) else histories
    found = generator.recommend(ids, given, **how)
    return [found.take(start, stop) for start, stop in itertools.pairwise(ends)]
