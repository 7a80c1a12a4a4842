"""Requests that let some items through: their lists are those of all items with the others struck out."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys import index_kinds
from recsys.embeddings import EmbeddingPlan
from recsys.index import IndexConfig
from recsys.interests import ClustersConfig, InterestsConfig
from recsys.ranking import Ranker, RankerConfig
from serving.bundles.interests_writer import with_interests
from serving.bundles.ranker_reader import ranker_inputs
from serving.bundles.ranker_writer import with_ranker
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.lists.raw_ids import FieldError
from training.cli import main

#: known, of a history, of both, of nothing
USERS = ["u003", None, "u021", "u039", "stranger"]
HISTORIES = [None, ["sku-004", "soap"], ["sku-010", "nothing"], None, []]

IDS = st.integers(0, 62).map("sku-{:03d}".format) | st.sampled_from(["soap", "ink", "a-cup", "nothing", ""])
LISTS = st.none() | st.lists(IDS, max_size=50)
WHERE = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "genres": st.sampled_from(["a", ["b", "c"], [], "nowhere"]),
        "maker": st.sampled_from(["Ada", ["Ada", "Bo"]]),
        "weight": st.sampled_from([{"min": 4.5}, {"max": 6}, {"min": 4, "max": 7.5}]),
    },
)


def passes(said, item, allow, deny, where):
    """One item, by what is said of it."""
    if (allow is not None and item not in allow) or (deny is not None and item in deny):
        return False
    one = said[item]
    for name, wanted in (where or {}).items():
        if name == "weight":
            weight = one.get("weight")
            if weight is None or not wanted.get("min", -1e9) <= weight <= wanted.get("max", 1e9):
                return False
        else:
            held = (one.get(name) or "").split("|") if name == "genres" else [one.get(name)]
            if not set(wanted if isinstance(wanted, list) else [wanted]) & set(held):
                return False
    return True


@pytest.fixture
def said(told):
    table = told.prepared.dataset.items
    return {one["item_id"]: one for one in table.iter_rows(named=True)} | dict(told.new)


@pytest.fixture
def whole(any_telling, told):
    """With new items; and what it answers to everybody when nothing is struck out."""
    any_telling.new_items.add(told.new)
    lists = {seen: any_telling.recommend(USERS, HISTORIES, k=99, exclude_seen=not seen) for seen in (True, False)}
    return any_telling, lists, any_telling.similar(["sku-004", "soap", "nothing"], k=99)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(allow=LISTS, deny=LISTS, where=WHERE, keep=st.booleans(), k=st.integers(1, 70), compared=st.booleans())
def test_lists_are_the_whole_ones_with_the_others_struck_out(whole, said, allow, deny, where, keep, k, compared):
    generator, lists, similar = whole
    filters = {"allow": allow, "deny": deny, "where": where}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_kinds, "_FEW", 4096 if compared else 0)
        answer = generator.recommend(USERS, HISTORIES, k=k, exclude_seen=not keep, **filters)
        near = generator.similar(["sku-004", "soap", "nothing"], k=k, **filters)
    for found, everything in ((answer, lists[keep]), (near, similar)):
        assert found.sources == everything.sources
        for n, items in enumerate(everything.item_ids):
            left = [at for at, item in enumerate(items) if passes(said, item, **filters)][:k]
            assert found.item_ids[n] == [items[at] for at in left]
            assert found.scores[n] == pytest.approx([everything.scores[n][at] for at in left], abs=1e-6)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
@pytest.mark.parametrize("few", [0, 4096])
def test_approximate_indexes_hold_nothing_else_and_fill_lists(tmp_path, told, said, kind, few, monkeypatch):
    monkeypatch.setattr(index_kinds, "_FEW", few)
    config = IndexConfig(kind, probes=1, ef_search=1)
    model = told.models["two-tower"]
    generator = CandidateGenerator.load(write_bundle(tmp_path / "b", model, told.prepared, config))
    everybody = told.prepared.users.ids.to_list()
    whole = generator.recommend(everybody, k=99)
    for filters in (
        {"where": {"genres": "a"}},
        {"where": {"maker": ["Ada", "Bo"], "weight": {"min": 4}}, "deny": ["sku-003"]},
        {"allow": [f"sku-{n:03d}" for n in range(0, 60, 3)], "where": {"weight": {"max": 6}}},
        {"deny": [f"sku-{n:03d}" for n in range(5)]},
    ):
        answer = generator.recommend(everybody, k=12, **filters)
        for n, items in enumerate(whole.item_ids):
            left = [one for one in items if passes(said, one, **{"allow": None, "deny": None, "where": None} | filters)]
            assert len(set(answer.item_ids[n])) == len(answer.item_ids[n]) == min(12, len(left))
            assert set(answer.item_ids[n]) <= set(left)


@pytest.mark.parametrize("kind", ["mixture", "smoothed"])
def test_interests_keep_to_filters_and_fill_lists(told, said, tmp_path, word_encoder, kind):
    config = InterestsConfig(components=3, neighbours=4, mixing=0.4, clusters=ClustersConfig(clusters=6))
    generator = CandidateGenerator.load(with_interests(told.folders["two-tower"], config, out=tmp_path / "bundle"))
    generator.new_items.add(told.new)
    everybody = told.prepared.users.ids.to_list()
    whole = generator.recommend(everybody, k=99, interests=kind)
    for filters in ({"where": {"genres": "a"}}, {"allow": ["sku-001", "soap", "sku-033"]}, {"allow": []}):
        answer = generator.recommend(everybody, k=15, interests=kind, **filters)
        assert answer.sources == whole.sources
        for n, items in enumerate(whole.item_ids):
            left = [one for one in items if passes(said, one, **{"allow": None, "deny": None, "where": None} | filters)]
            assert len(set(answer.item_ids[n])) == len(answer.item_ids[n]) == min(15, len(left))
            assert set(answer.item_ids[n]) <= set(left)


def test_a_ranker_orders_what_passes(strings, string_folder, tmp_path):
    inputs = ranker_inputs(strings.dataset.schema, strings.vocabularies, strings.items)
    plan = EmbeddingPlan(kind="collisionless", width=4, initial_range=1.0)
    ranker = Ranker(RankerConfig(hidden=(8,), embeddings=plan), *inputs).eval()
    generator = CandidateGenerator.load(with_ranker(string_folder, ranker, inputs[1], tmp_path / "ranked"))
    whole = generator.recommend(["u003", "u009"], k=60, rerank=True)
    genres = dict(strings.dataset.items.select("item_id", "genres").iter_rows())
    answer = generator.recommend(["u003", "u009"], k=9, rerank=True, rerank_depth=60, where={"genres": "b"})
    for n, items in enumerate(whole.item_ids):
        assert answer.item_ids[n] == [one for one in items if "b" in genres[one].split("|")][:9]


def test_filters_that_strike_nothing_out_change_nothing(any_generator):
    plain = any_generator.recommend(["u003", None], k=9)
    assert any_generator.recommend(["u003", None], k=9, deny=["nothing", ""], where={}) == plain
    everything = [f"sku-{n:03d}" for n in range(60)]
    assert any_generator.recommend(["u003", None], k=9, allow=np.array(everything)) == plain
    assert any_generator.similar(["sku-004"], allow=pl.Series(everything)) == any_generator.similar(["sku-004"])


def test_of_nothing_that_is_known_lists_are_empty_and_say_what_they_follow_from(any_generator):
    answer = any_generator.recommend(["u003", "stranger", None], [None, ["sku-001"], None], allow=["nothing"])
    assert answer.item_ids == answer.scores == [[], [], []]
    assert answer.sources == ["user", "history", "popularity"]
    near = any_generator.similar(["sku-001", "nothing"], allow=[])
    assert (near.item_ids, near.sources) == ([[], []], ["item", "unknown"])


def test_integer_ids_and_aliases_are_understood(integer_generator, tiny):
    wanted = [2**53 + 1, "17", "-9223372036854775808", "017", 10**30]
    answer = integer_generator.recommend([0], k=60, exclude_seen=False, allow=wanted)
    assert sorted(answer.item_ids[0]) == [-(2**63), 17, 2**53 + 1]
    aliases = pl.DataFrame({"alias": ["old", "b:7"], "item_id": [17, 1000]})
    generator = CandidateGenerator(dataclasses.replace(integer_generator.bundle, aliases=aliases))
    answer = generator.recommend([0], k=60, exclude_seen=False, allow=["old", "b:7", 0], deny=["b:7"])
    assert sorted(answer.item_ids[0]) == [0, 17]


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"allow": "sku-001"}, "allow is a str, not a list"),
        ({"deny": ["sku-001", 17]}, r"deny\[1\] is the integer 17; the ids 'item_id' are strings"),
        ({"where": {"colour": "red"}}, "where has 'colour'; the columns that items have are: genres"),
        ({"where": {"genres": [3]}}, "where.genres has the integer 3, and the column holds strings"),
        ({"where": "genres"}, "where is a str, not columns and values"),
    ],
)
def test_filters_that_cannot_be_used_are_named(generator, filters, words):
    with pytest.raises(FieldError, match=words):
        generator.recommend(["u003"], **filters)
    with pytest.raises(FieldError, match=words):
        generator.similar(["sku-001"], **filters)


def test_what_can_be_asked_for_is_told(telling):
    assert telling.columns == {"genres": "strings", "maker": "strings", "weight": "numbers"}


def test_a_new_item_that_is_said_anew_passes_by_what_is_said_now(telling):
    telling.new_items.add([("soap", {"title": "Soap", "maker": "Ada"})])
    assert telling.recommend(["u003"], allow=["soap"], where={"maker": "Ada"}).item_ids == [["soap"]]
    telling.new_items.add([("soap", {"title": "Soap", "maker": "Dee"})])
    assert telling.recommend(["u003"], allow=["soap"], where={"maker": "Ada"}).item_ids == [[]]
    # a value that the model has never seen can be asked for all the same
    assert telling.recommend(["u003"], where={"maker": "Dee"}).item_ids == [["soap"]]


def test_on_the_command_line_they_are_the_same(told, tmp_path, capsys):
    folder, ids = str(told.folders["two-tower"]), tmp_path / "ids.txt"
    ids.write_text("sku-003\n\n sku-010 \nnothing\n")
    generator = CandidateGenerator.load(folder)
    where = {"genres": ["a", "b"], "weight": {"min": 2.5, "max": 9.0}}
    told_where = ["--where", "genres=a", "--where", "genres=b", "--where", "weight=2.5..9"]
    for verb, filters, expected in (
        (
            ["recommend", "--user", "u003"],
            ["--deny", str(ids), *told_where],
            {"deny": ["sku-003", "sku-010"], "where": where},
        ),
        (["recommend", "--user", "u003"], ["--allow", "sku-003, sku-010"], {"allow": ["sku-003", "sku-010"]}),
        (["similar", "--item", "sku-004"], ["--allow", str(ids)], {"allow": ["sku-003", "sku-010"]}),
        (["similar", "--item", "sku-004"], ["--where", "weight=5.."], {"where": {"weight": {"min": 5}}}),
        (["similar", "--item", "sku-004"], ["--where", "weight=..5"], {"where": {"weight": {"max": 5}}}),
    ):
        assert main([*verb, "--model", folder, "--json", *filters]) == 0
        ask = generator.recommend if verb[0] == "recommend" else generator.similar
        assert json.loads(capsys.readouterr().out) == ask([verb[2]], **expected).to_json()
    assert main(["similar", "--item", "sku-004", "--model", folder, "--deny", f"{ids}.old"]) == 0
    assert f"--deny: {ids}.old is neither a file nor an item" in capsys.readouterr().err
    for wrong, words in (
        ("genres", "--where takes COLUMN=VALUE, got 'genres'"),
        ("weight=heavy", "weight holds numbers, so write 5..20"),
        ("colour=red", "where has 'colour'; the columns that items have are: genres, maker, weight"),
    ):
        assert main(["similar", "--item", "sku-004", "--model", folder, "--where", wrong]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
