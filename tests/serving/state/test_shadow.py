"""A challenger beside the champion: what differs is counted, and nothing else changes."""

from __future__ import annotations

import threading

import pytest

from features.errors import InputError
from serving.state.shadow import Shadow


def ask(generator, shadow, **arguments):
    answer = generator.recommend(**arguments)
    return answer, shadow.offer(arguments, answer)


def test_overlaps_are_those_of_the_lists(generator, sequential):
    shadow, sums, users = Shadow(sequential, share=1, at=(1, 5, 20)), {1: [], 5: [], 20: []}, 0
    for k in (3, 5, 30):
        arguments = {"user_ids": ["u001", "u003", "stranger"], "k": k}
        answer, taken = ask(generator, shadow, **arguments)
        assert taken
        for mine, theirs in zip(answer.item_ids, sequential.recommend(**arguments).item_ids, strict=True):
            users += 1
            for at, shares in sums.items():
                if k >= at:
                    shares.append(len(set(mine[:at]) & set(theirs[:at])) / at)
    assert shadow.close()
    figures = shadow.figures
    assert (figures.asked, figures.users, figures.dropped, figures.failed) == (3, users, 0, 0)
    assert figures.overlap == {at: pytest.approx(sum(some) / len(some)) for at, some in sums.items()}
    assert 0 < figures.overlap[20] < 1 and figures.seconds > 0


def test_a_model_overlaps_with_itself(generator):
    shadow = Shadow(generator, share=1)
    assert shadow.figures.overlap == {} and shadow.figures.seconds is None
    ask(generator, shadow, user_ids=["u001"], histories=[["sku-001"]], k=10)
    shadow.close()
    assert shadow.figures.overlap == {1: 1, 5: 1, 10: 1}
    assert not ask(generator, shadow, user_ids=["u001"])[1]  # it is closed


def test_a_share_of_requests_is_asked(generator):
    for share, least, most in ((0, 0, 0), (0.3, 200, 400), (1, 1000, 1000)):
        shadow = Shadow(generator, share=share, most=10**6, seed=1)
        shadow._queue._work = lambda job: None
        answer = generator.recommend(["u001"])
        assert least <= sum(shadow.offer({}, answer) for _ in range(1000)) <= most
        shadow.close()


def test_a_challenger_that_cannot_answer_or_is_slow_harms_nobody(generator, integer_generator):
    shadow, told = Shadow(integer_generator, share=1), []
    shadow.failed = told.append
    answer, _ = ask(generator, shadow, user_ids=["u001"], histories=[["sku-001"]], rerank=False)
    asked = threading.Event()
    shadow.offer({"user_ids": ["1"], "rerank": True}, answer)
    shadow.close()
    assert shadow.figures.failed == 1 and "no ranker" in shadow.figures.problem
    assert told == [shadow.figures.problem]
    assert (shadow.figures.asked, shadow.figures.overlap) == (1, {1: 0, 5: 0, 10: 0})

    go_on = threading.Event()

    class Slow:
        def recommend(self, **arguments):
            asked.set()
            assert go_on.wait(30)
            return generator.recommend(**arguments)

    shadow = Shadow(Slow(), share=1, most=2)
    ask(generator, shadow, user_ids=["u001"])
    assert asked.wait(30)
    assert [ask(generator, shadow, user_ids=["u001"])[1] for _ in range(3)] == [True, False, False]
    go_on.set()
    shadow.close()
    assert (shadow.figures.asked, shadow.figures.dropped) == (2, 2)


def test_what_is_no_share_and_no_length_is_refused(generator):
    with pytest.raises(InputError, match=r"a shadow's share of requests is from 0 to 1, got 1\.5"):
        Shadow(generator, share=1.5)
    for at in ((), (0, 5)):
        with pytest.raises(InputError, match="lists are compared at lengths of 1 and more"):
            Shadow(generator, at=at)
