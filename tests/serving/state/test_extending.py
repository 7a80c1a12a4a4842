"""Histories of requests: what the bundle has stored, and what has come since, beside a slow reference."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.schema import FeatureSchema
from features.time_units import UNITS
from serving.bundles.known_users import KnownUsers
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.lists.raw_ids import FieldError
from serving.state.asking_time import now_of
from serving.state.events import Event, StoreError, Trail
from serving.state.extending import Extended, extended


class Memory:
    """Stands for a store: a list."""

    def __init__(self, events=(), away=None):
        self.events, self.away = list(events), away

    def since(self, user_ids, time=None):
        if self.away is not None:
            raise StoreError(self.away)
        return [
            sorted((e for e in self.events if e.user_id == str(one)), key=lambda e: e.timestamp) for one in user_ids
        ]

    def trails(self, user_ids, types=None):
        found = [[one for one in mine if types is None or one.type in types] for mine in self.since(user_ids)]
        return [Trail([e.item_id for e in mine], np.array([e.timestamp for e in mine], np.int64)) for mine in found]


@pytest.fixture(scope="module", params=["request", "events"])
def timed(request, tiny, tmp_path_factory):
    """A bundle that reads times."""
    plain = tiny.make_dataset()
    features = tuple(
        dataclasses.replace(one, timed=True) if one.kind == "sequence" else one for one in plain.schema.user
    )
    dataset = dataclasses.replace(plain, schema=FeatureSchema(features, plain.schema.item))
    prepared = tiny.prepared_of(dataset, "leave-one-out")
    model = tiny.model_for(prepared, family="sequential", backbone="hstu", times=request.param)
    return CandidateGenerator.load(write_bundle(tmp_path_factory.mktemp("timed") / "bundle", model, prepared))


def stored(generator, user):
    row = generator.user_ids.rows([user])
    mine = generator.bundle.known.histories(row)
    return generator.item_ids.ids(mine.values), generator.bundle.known.until(row)[0], mine.times


@pytest.mark.parametrize("split", ["random", "leave-one-out", "time", "sessions", "cold-items"])
def test_when_each_history_ends_is_known_whether_times_are_declared_or_not(tiny, split):
    plain, settings = tiny.make_dataset(), {"history": "before"} if split == "cold-items" else {}
    features = tuple(
        dataclasses.replace(one, timed=True) if one.kind == "sequence" else one for one in tiny.schema.user
    )
    timed = dataclasses.replace(plain, schema=FeatureSchema(features, tiny.schema.item))
    times = tiny.prepared_of(timed, split, **settings).test_histories
    expected = [times.times[times.offsets[n] : times.offsets[n + 1]].max(initial=-1) for n in range(len(times))]
    ends = tiny.prepared_of(plain, split, **settings).test_histories_end()
    assert ends.fill_null(-1).to_list() == expected


def test_the_bundle_says_when_each_history_ends(any_generator, timed, strings):
    ends = strings.test_histories_end().to_list()
    assert any_generator.bundle.known.until(np.arange(-1, 40)) == [None, *ends]
    assert any_generator.bundle.known.latest == max(one for one in ends if one is not None)
    for user in ["u000", "u017", "u039"]:
        _, until, times = stored(timed, user)
        assert until == (times[-1] if len(times) else None)


def test_posted_items_come_after_the_stored_ones_and_are_not_recommended_again(any_generator):
    items, until, _ = stored(any_generator, "u003")
    new = [one for one in any_generator.recommend(["u003"], k=60).item_ids[0]][:2]
    store = Memory([Event("u003", one, until + n + 1) for n, one in enumerate(new)])
    more = extended(any_generator, store, ["u003", "u004", None])
    assert more == Extended([[*items, *new], None, None], None, [new, [], []])
    answer = any_generator.recommend(["u003", "u004", None], more.histories, k=60, seen=more.seen)
    before = any_generator.recommend(["u003", "u004", None], k=60)
    assert set(before.item_ids[0]) - set(answer.item_ids[0]) == set(new)
    assert answer.item_ids[1:] == before.item_ids[1:]
    assert answer.unknown_history_items == [0, 0, 0]
    by_hand = any_generator.recommend(["u003"], [[*items, *new]], k=60)
    assert answer.item_ids[0] == by_hand.item_ids[0]
    assert answer.scores[0] == pytest.approx(by_hand.scores[0], abs=1e-5)
    assert answer.scores[0] != before.scores[0][: len(answer.scores[0])]


def test_a_stranger_is_answered_by_what_was_posted(any_generator):
    store = Memory([Event("stranger", "sku-004", -5), Event("stranger", "not-an-item", 3)])
    more = extended(any_generator, store, ["stranger"])
    assert more == Extended([["sku-004"]], None, [["sku-004"]])
    answer = any_generator.recommend(["stranger"], more.histories, seen=more.seen)
    assert answer.to_json() == any_generator.recommend(["stranger"], [["sku-004"]]).to_json()
    assert answer.sources == ["history"]
    nothing = extended(any_generator, Memory([Event("stranger", "not-an-item", 3)]), ["stranger"])
    assert nothing == Extended(None, None, [[]])


def test_a_given_history_wins_and_posted_items_are_seen_even_so(any_generator):
    _, until, _ = stored(any_generator, "u003")
    posted = any_generator.recommend(["u003"], [["sku-004"]], k=1).item_ids[0][0]
    store = Memory([Event("u003", posted, until + 1)])
    more = extended(any_generator, store, ["u003"], [["sku-004"]])
    assert more == Extended([["sku-004"]], None, [[posted]])
    answer = any_generator.recommend(["u003"], more.histories, k=60, seen=more.seen)
    given = any_generator.recommend(["u003"], [["sku-004"]], k=60)
    assert [one for one in given.item_ids[0] if one != posted] == answer.item_ids[0]
    kept = any_generator.recommend(["u003"], more.histories, k=60, seen=more.seen, exclude_seen=False)
    assert posted in kept.item_ids[0]


@pytest.mark.parametrize("given", [[], ["nothing", "?"]])
def test_a_given_history_of_unknown_items_is_as_none(any_generator, given):
    items, until, _ = stored(any_generator, "u003")
    store = Memory([Event("u003", "sku-050", until + 1)])
    more = extended(any_generator, store, ["u003"], [given])
    assert more.histories == [[*given, *items, "sku-050"]]
    answer = any_generator.recommend(["u003"], more.histories, seen=more.seen)
    assert answer.unknown_history_items == [len(given)]
    assert answer.item_ids == any_generator.recommend(["u003"], [[*items, "sku-050"]]).item_ids


def test_a_bundle_that_was_built_of_the_events_is_not_extended_by_them(any_generator):
    """The events are the interactions that the bundle has stored, posted when they happened."""
    log = any_generator.bundle.known
    for user in ["u003", "u017"]:
        items, until, _ = stored(any_generator, user)
        held = [Event(user, one, until - len(items) + n + 1) for n, one in enumerate(items)]
        assert extended(any_generator, Memory(held), [user]).histories is None
        late = Event(user, items[0], until + 1)
        assert extended(any_generator, Memory([*held, late]), [user]).histories == [[*items, items[0]]]
    assert log.latest is not None


def test_bundles_of_before_go_by_the_cutoff(generator):
    known = generator.bundle.known
    histories = pl.read_parquet(generator.resolved.folder / "histories.parquet")
    old = KnownUsers(known.encoder, known.attributes, histories["item_ids"], known.trained, known.items)
    older = CandidateGenerator(dataclasses.replace(generator.bundle, known=old))
    cutoff = generator.bundle.manifest.data["cutoff"]
    items, _, _ = stored(generator, "u003")
    assert old.until(np.array([3])) == [None] and old.latest is None
    absent = next(one for one in ("sku-000", "sku-001", "sku-057", "sku-058") if one not in items)
    for when, item, taken in (
        (cutoff - 1, absent, False),
        (cutoff, items[0], False),
        (cutoff, absent, True),
        (cutoff + 1, items[0], True),
    ):
        more = extended(older, Memory([Event("u003", item, when)]), ["u003"])
        assert more.histories == ([[*items, item]] if taken else None)
        assert more.seen == [[item]]


def test_models_that_read_times_are_told_those_of_events(timed):
    items, until, times = stored(timed, "u003")
    store = Memory(
        [Event("u003", "sku-001", until), Event("u003", items[-1], until), Event("u003", items[0], until + 9)]
    )
    asked = ["u003", "u004", "u005"]
    more = extended(timed, store, asked, [None, ["sku-002"], ["sku-003"]], [None, [5], None])
    last = [*([] if items[-1] == "sku-001" else ["sku-001"]), items[0]]
    assert more.histories == [[*items, *last], ["sku-002"], ["sku-003"]]
    assert more.history_times == [[*times.tolist(), *[until, until + 9][-len(last) :]], [5], None]
    answer = timed.recommend(asked, more.histories, history_times=more.history_times, seen=more.seen)
    assert answer.unknown_history_items == [0, 0, 0]
    unknown = extended(timed, store, ["u003"], [["?"]])
    assert unknown.history_times[0][:2] == [times[0]] * 2
    timed.recommend(["u003"], unknown.histories, history_times=unknown.history_times)


def test_integers_and_their_strings_are_one_user_and_one_item(integer_generator, tiny):
    for user in (2**53 + 1, str(2**53 + 1)):
        items, until, _ = stored(integer_generator, user)
        store = Memory([Event(2**53 + 1, 1001, until + 1), Event(2**53 + 1, "1002", until + 2)])
        more = extended(integer_generator, store, [user])
        assert more.histories == [[*items, "1001", "1002"]]
        answer = integer_generator.recommend([user], more.histories, k=60, seen=more.seen)
        assert not {1001, 1002} & set(answer.item_ids[0])
    assert extended(integer_generator, store, ["0" + str(2**53 + 1)]) == Extended(None, None)


def test_new_items_that_were_posted_are_not_recommended_again(telling, told):
    telling.new_items.add(told.new)
    _, until, _ = stored(telling, "u003")
    assert "soap" in telling.recommend(["u003"], k=63).item_ids[0]
    more = extended(telling, Memory([Event("u003", "soap", until + 1)]), ["u003"])
    assert more == Extended(None, None, [["soap"]])
    answer = telling.recommend(["u003"], k=63, seen=more.seen)
    assert "soap" not in answer.item_ids[0] and "ink" in answer.item_ids[0]
    assert answer.sources == ["user"] and answer.unknown_history_items == [0]
    popular = telling.recommend(["stranger"], k=63, seen=[["sku-000"]])
    assert "sku-000" not in popular.item_ids[0]


def test_without_the_store_the_answer_is_the_bundle_s(any_generator):
    more = extended(any_generator, Memory(away="it does not answer"), ["u003"], [["sku-004"]])
    assert more == Extended([["sku-004"]], None, None, "it does not answer")
    assert extended(any_generator, None, ["u003"]) == Extended(None, None)
    assert extended(any_generator, Memory(away="nobody is asked for"), None, [["sku-004"]]).away is None
    assert extended(any_generator, Memory(away="nobody is asked for"), [None]).away is None


def test_only_events_of_some_types_count_where_that_is_said(any_generator):
    _, until, _ = stored(any_generator, "u003")
    kinds = ["view", None, "buy"]
    store = Memory([Event("u003", f"sku-00{n}", until + n + 1, kind) for n, kind in enumerate(kinds)])
    for types, expected in ((None, [0, 1, 2]), ({"buy"}, [2]), ({None, "view"}, [0, 1]), ((), [])):
        more = extended(any_generator, store, ["u003"], types=types)
        assert (more.seen or [[]])[0] == [f"sku-00{n}" for n in expected]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"user_ids": ["u003"], "histories": []}, "histories"),
        ({"user_ids": ["u003"], "histories": "u"}, "histories"),
        ({"user_ids": ["u003"], "histories": [5]}, "histories"),
        ({"user_ids": ["u003"], "histories": [[5]]}, "histories"),
        ({"user_ids": ["u004", 3]}, "user_ids"),
        ({"user_ids": "u003"}, "user_ids"),
        ({"user_ids": ["u003"], "history_times": [[1]]}, "history_times"),
        ({"user_ids": ["u003"], "histories": [None], "history_times": [[1]]}, "history_times"),
        ({"user_ids": ["u003"], "histories": [["sku-001"]], "history_times": []}, "history_times"),
    ],
)
def test_what_is_wrong_with_a_request_stays_wrong(any_generator, timed, arguments, field):
    for generator in (any_generator, timed):
        store = Memory([Event("u003", "sku-001", 10**6), Event("3", "sku-001", 10**6)])
        with pytest.raises(FieldError) as refused:
            histories = arguments.get("histories")
            more = extended(generator, store, arguments["user_ids"], histories, arguments.get("history_times"))
            told = {"history_times": more.history_times} if more.history_times is not None else {}
            generator.recommend(arguments["user_ids"], more.histories, seen=more.seen, **told)
        assert refused.value.field[0] == field


def test_what_users_know_besides_is_as_many_lists_as_users(generator):
    with pytest.raises(FieldError, match="there are 1 users and 2 lists of seen items"):
        generator.recommend(["u003"], seen=[[], []])
    with pytest.raises(FieldError, match=r"seen\[0\] is a str, not a list"):
        generator.recommend(["u003"], seen=["sku-001"])


def slowly(generator, events, user, history, when):
    """The history and its times by loops over what was said."""
    items, until, times = stored(generator, user)
    known = set(generator.item_ids.ids(np.arange(len(generator.bundle.items))))
    mine = sorted((e for e in events if e.user_id == user), key=lambda e: e.timestamp)
    seen = [e.item_id for e in mine if e.item_id in known]
    if user is None or (history and any(one in known for one in history)):
        return history, when, seen
    new, ages = [], None if times is None else dict(zip(range(len(items)), times.tolist(), strict=True))
    for e in mine:
        if e.item_id not in known:
            continue
        if items and e.timestamp < until:
            continue
        if items and e.timestamp == until:
            here = [one for n, one in enumerate(items) if ages is None or ages[n] == until]
            if e.item_id in here:
                continue
        new.append(e)
    if not new:
        return history, when, seen
    made = [*(history or []), *items, *(e.item_id for e in new)]
    return made, made and [*(times.tolist() if times is not None else []), *(e.timestamp for e in new)], seen


ITEM = st.sampled_from(["sku-000", "sku-001", "sku-002", "sku-004", "sku-010", "sku-059", "nothing", "?"])
USER = st.sampled_from(["u000", "u003", "u017", "u039", "stranger"])
NEAR = st.integers(900, 1200) | st.integers(-3, 2000)


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(st.tuples(USER, ITEM, NEAR, st.booleans()), max_size=25),
    asked=st.lists(st.tuples(st.none() | USER, st.none() | st.lists(ITEM, max_size=3)), min_size=1, max_size=5),
)
def test_extended_histories_are_those_of_a_slow_reference(generator, timed, events, asked):
    for one in (generator, timed):
        made = []
        for user, item, when, at_the_end in events:
            until = stored(one, user)[1]
            made.append(Event(user, item, until if at_the_end and until is not None else when))
        users, histories = [user for user, _ in asked], [history for _, history in asked]
        more = extended(one, Memory(made), users, histories)
        assert more.away is None
        expected = [slowly(one, made, user, history, None) if user else (history, None, []) for user, history in asked]
        assert (more.histories or histories) == [history for history, _, _ in expected]
        assert (more.seen or [[] for _ in users]) == [seen for _, _, seen in expected]
        if one.bundle.known.timed:
            for n, (history, times, _) in enumerate(expected):
                found = None if more.history_times is None else more.history_times[n]
                if times is None:
                    assert found is None
                else:
                    assert found[len(history) - len(times) :] == times and found == sorted(found)
        one.recommend(
            users,
            more.histories,
            k=3,
            seen=more.seen,
            **({"history_times": more.history_times} if one is timed else {}),
        )


def test_now_is_told_as_the_data_counts(generator):
    assert now_of(generator.bundle) == generator.bundle.known.latest + 1
    for unit, n in UNITS.items():
        manifest = dataclasses.replace(generator.bundle.manifest, data={"cutoff": 1_400_000_000 * n})
        now = now_of(dataclasses.replace(generator.bundle, manifest=manifest))
        assert abs(now / n - time.time()) < 5, unit
