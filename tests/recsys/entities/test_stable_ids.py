"""Ids of entities: inherited by largest overlap, never given twice, and retired ones lead somewhere."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.entity_map import EntityMap
from features.errors import InputError
from recsys.entities.stable_ids import updated


def clustered(labels: list[int | None], names: list[str] | None = None) -> pl.DataFrame:
    """A record a label; None where the record is not there."""
    names = names or [f"r{n:02d}" for n in range(len(labels))]
    there = [(name, label) for name, label in zip(names, labels, strict=True) if label is not None]
    told = {
        "source": ["s"] * len(there),
        "record_id": [name for name, _ in there],
        "cluster": [one for _, one in there],
    }
    return pl.DataFrame(told, schema={"source": pl.String, "record_id": pl.String, "cluster": pl.Int64})


def ids(entities: EntityMap) -> list[int]:
    return entities.members["entity_id"].to_list()


def test_largest_overlap_inherits() -> None:
    one = updated(EntityMap(), clustered([0, 0, 0, 1, 1]))
    assert ids(one) == [1, 1, 1, 2, 2] and one.version == 1
    two = updated(one, clustered([7, 7, 7, 7, 7]))
    assert ids(two) == [1] * 5 and two.redirects.rows() == [(2, 1)]
    assert two.current(pl.Series([1, 2, 3])).to_list() == [1, 1, None]
    three = updated(two, clustered([7, 7, 8, 8, 8]))
    assert ids(three) == [3, 3, 1, 1, 1]  # the larger part keeps the id, and 2 is never given again
    assert three.log.filter(pl.col("version") == 3).select("event", "entity_id", "other_id", "records").rows() == [
        ("new", 3, None, None),
        ("split", 1, 3, 2),
    ]


def test_redirects_lead_on() -> None:
    entities = updated(EntityMap(), clustered([0, 1, 2]))
    entities = updated(entities, clustered([0, 0, 2]))
    entities = updated(entities, clustered([0, 0, 0]))
    assert entities.current(pl.Series([1, 2, 3])).to_list() == [1, 1, 1]
    gone = updated(entities, clustered([None, None, None]))
    assert gone.current(pl.Series([1, 2, 3])).to_list() == [None] * 3
    assert gone.log.filter(pl.col("version") == gone.version)["event"].to_list() == ["gone"]
    assert ids(updated(gone, clustered([0, 1, 2]))) == [4, 5, 6]


def test_ids_of_records_that_come_back_lead_to_them() -> None:
    entities = updated(EntityMap(), clustered([0, 0, 1, 2]))
    entities = updated(entities, clustered([0, 0, 0, 2]))  # 2 becomes 1
    left = updated(entities, clustered([None, None, None, 2]))
    assert left.current(pl.Series([1, 2, 3])).to_list() == [None, None, 3]
    assert left.departed.select("record_id", "entity_id").rows() == [("r00", 1), ("r01", 1), ("r02", 1)]
    some = updated(left, clustered([None, 5, None, 2]))  # one is enough to know where the others would be
    assert ids(some) == [4, 3] and some.current(pl.Series([1, 2, 3])).to_list() == [4, 4, 3]
    assert some.log.filter(pl.col("version") == some.version).select("event", "entity_id", "other_id").rows() == [
        ("back", 4, 1),
        ("new", 4, None),
    ]
    every = updated(some, clustered([6, 5, 6, 2]))  # the id has a place by now
    assert every.current(pl.Series([1, 2])).to_list() == [4, 4] and not every.departed.height
    again = updated(updated(every, clustered([6, None, 6, 2])), clustered([6, 7, 6, 2]))
    assert again.current(pl.Series([1, 2, 4])).to_list() == ids(again)[1:2] * 3
    joined = updated(left, clustered([2, 2, 8, 2]))  # what most of its records are now
    assert joined.current(pl.Series([1, 2, 3])).to_list() == [3, 3, 3]


def test_a_record_that_leaves_others_and_comes_back_finds_its_entity() -> None:
    one = updated(EntityMap(), clustered([0, 0, 1]))
    back = updated(updated(one, clustered([0, None, 1])), clustered([0, 0, 1]))
    assert ids(back) == ids(one) and not back.redirects.height


def test_nothing_new_is_no_new_version() -> None:
    one = updated(EntityMap(), clustered([0, 0, 1]))
    assert updated(one, clustered([5, 5, 3])) is one


def test_a_record_that_is_there_twice_is_named() -> None:
    with pytest.raises(InputError, match="the record 'a' of s is there twice"):
        updated(EntityMap(), clustered([0, 1], ["a", "a"]))


STATES = st.lists(st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=8, max_size=8), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(STATES)
def test_ids_mean_what_they_meant(states: list[list[int | None]]) -> None:
    entities, given_ever, named = EntityMap(), set(), {}
    for labels in states:
        before, entities = entities, updated(entities, clustered(labels))
        now = set(ids(entities))
        fresh = now - set(ids(before))
        assert not fresh & given_ever  # never given twice
        assert all(one < entities.next_id for one in now)
        given_ever |= fresh
        # the partition is that of the clusters
        there = [one for one in labels if one is not None]
        assert len({*zip(ids(entities), there, strict=True)}) == len(now) == len(set(there))
        # an id stays with records that it had
        old = dict(zip(before.members["record_id"], before.members["entity_id"], strict=True))
        for name in now & set(ids(before)):
            members = entities.members.filter(pl.col("entity_id") == name)["record_id"]
            assert any(old.get(record) == name for record in members)
        named |= dict.fromkeys(given_ever)
        current = entities.current(pl.Series(sorted(given_ever), dtype=pl.Int64))
        assert all(one is None or one in now for one in current.to_list())
        assert current.null_count() == 0 or len(there) < len(labels)  # whatever comes back is led to
        assert not set(entities.departed["record_id"]) & set(entities.members["record_id"])
        retired = dict(entities.redirects.iter_rows())
        assert set(retired) == given_ever - now
        events = entities.log.filter(pl.col("version") == entities.version)
        if entities is not before:
            gone = set(ids(before)) - now
            assert gone == set(events.filter(pl.col("event") == "merge")["other_id"]) | set(
                events.filter(pl.col("event") == "gone")["entity_id"]
            )


def test_many_entities_are_quick_to_update() -> None:
    n = 20_000
    names = [f"{one:06d}" for one in range(n)]
    one = updated(EntityMap(), clustered((np.arange(n) // 2).tolist(), names))
    two = updated(one, clustered((np.arange(n) // 4).tolist(), names))
    assert len(two) == n // 4 and two.redirects.height == n // 4
