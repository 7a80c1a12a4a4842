"""Lists against brute force, who is answered from what, and arguments that cannot be used."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import Jagged
from features.dataset import Dataset
from features.errors import InputError
from features.schema import Categorical, FeatureSchema, Id, Sequence
from recsys.index import IndexConfig
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.lists.raw_ids import FieldError


def brute_force(prepared, model, user, history=None, attributes=None, seen=(), k=10):
    """One user's list, made from the training side's tables: scores of the whole catalogue, sorted.

    Args:
        user: A row, or None for somebody unknown.
        history: Item rows; the split's test history where None.
    """
    history = prepared.test_histories.row(user) if history is None else np.asarray(history, dtype=np.int64)
    if user is not None and attributes is None:
        batch = prepared.user_table.take(np.array([user]))
    else:
        frame = pl.DataFrame(attributes or {"": [0]})
        batch = prepared.user_encoder.encode(frame).take(np.array([0]))
        known = user is not None and prepared.train.lengths[user] > 0
        batch.sparse["user_id"] = Jagged(torch.tensor([user if known else -1]), torch.tensor([1]))
    batch.sparse["history"] = Jagged(torch.from_numpy(history), torch.tensor([len(history)]))
    with torch.inference_mode():
        vector = model.encode_users(batch).numpy().astype(np.float64)
        items = model.encode_items(prepared.item_table.take(np.arange(len(prepared.items)))).numpy().astype(np.float64)
    scores = (items @ vector[0]).astype(np.float32)
    scores[np.asarray(list(seen), dtype=np.int64)] = -np.inf
    order = np.argsort(-scores, kind="stable")[:k]
    order = order[scores[order] > -np.inf]
    # one user's vector differs in its last bits from the same user's in a batch, and the scores with it
    return prepared.items.ids_of(order).to_list(), pytest.approx(scores[order].tolist(), abs=1e-5)


@pytest.mark.parametrize(("split", "integers"), [("random", True), ("leave-one-out", False)])
@pytest.mark.parametrize(
    "config",
    [
        {"similarity": "dot"},
        {"similarity": "cosine"},
        {"family": "sequential"},
        {"family": "sequential", "backbone": "hstu", "items": "attributes", "tie": False},
    ],
    ids=str,
)
def test_known_users_get_the_brute_force_ranking(tmp_path, split, integers, config, tiny):
    prepared = tiny.prepared_of(tiny.make_dataset(integers), split)
    model = tiny.model_for(prepared, **config)
    generator = CandidateGenerator.load(write_bundle(tmp_path / "bundle", model, prepared))
    known = np.flatnonzero(prepared.train.lengths)
    together = generator.recommend(prepared.users.ids_of(known), k=12)
    everything = generator.recommend(prepared.users.ids_of(known), k=12, exclude_seen=False)
    for n, user in enumerate(known):
        seen = prepared.test_histories.row(user)
        assert (together.item_ids[n], together.scores[n]) == brute_force(prepared, model, user, seen=seen, k=12)
        assert (everything.item_ids[n], everything.scores[n]) == brute_force(prepared, model, user, k=12)
        alone = generator.recommend([prepared.users.ids[int(user)]], k=12)
        assert alone.item_ids[0] == together.item_ids[n]
    assert set(together.sources) == {"user"}


def test_an_approximate_index_says_what_it_misses_and_still_fills_lists(tmp_path, strings, tiny):
    for kind in ("hnsw", "ivf"):
        model = tiny.model_for(strings)
        generator = CandidateGenerator.load(
            write_bundle(tmp_path / kind, model, strings, IndexConfig(kind, probes=1, recall_at=10))
        )
        assert generator.bundle.manifest.index["kind"] == kind
        assert 0 < generator.bundle.manifest.index["recall"] <= 1
        answer = generator.recommend(strings.users.ids, k=50)
        for n, user in enumerate(strings.users.ids):
            seen = set(strings.items.ids_of(strings.test_histories.row(n)).to_list()) if user != "u039" else set()
            assert len(answer.item_ids[n]) == min(50, 60 - len(seen))
            assert not seen & set(answer.item_ids[n])


def test_unknown_users_are_ranked_by_their_history(any_generator, strings):
    history = ["sku-004", "nothing", "sku-010", "sku-004", ""]
    rows = strings.items.rows(["sku-004", "sku-010", "sku-004"])
    answer = any_generator.recommend(["stranger", None], [history, history], k=7)
    expected = brute_force(strings, any_generator.bundle.model, None, rows, seen=rows, k=7)
    assert (answer.item_ids[0], answer.scores[0]) == expected
    assert answer.item_ids[1] == expected[0]
    assert answer.sources == ["history", "history"]
    assert answer.unknown_history_items == [2, 2]
    assert answer.user_ids == ["stranger", None]


def test_a_given_history_replaces_the_stored_one_and_both_are_seen(any_generator, strings):
    stored, given = strings.test_histories.row(3), strings.items.rows(["sku-058", "sku-001"])
    answer = any_generator.recommend(["u003"], [["sku-058", "sku-001"]], k=60)
    seen = {*stored.tolist(), *given.tolist()}
    expected = brute_force(strings, any_generator.bundle.model, 3, given, seen=seen, k=60)
    assert (answer.item_ids[0], answer.scores[0]) == expected
    # a sequential model knows nothing of a user but a history
    by_history_alone = any_generator.bundle.manifest.kind == "sequential"
    assert answer.sources == ["history" if by_history_alone else "user"]
    assert len(answer.item_ids[0]) == 60 - len(seen)


@pytest.mark.parametrize("history", [None, [], ["nothing", "of this"]])
def test_a_history_without_a_known_item_is_as_if_it_was_not_given(any_generator, history):
    assert any_generator.recommend(["u003"], [history]).item_ids == any_generator.recommend(["u003"]).item_ids


def test_users_of_whom_nothing_is_known_get_what_is_popular(any_generator, strings):
    popular = np.lexsort((np.arange(60), -strings.item_counts))
    ids = strings.items.ids_of(popular).to_list()
    # u039 is known and has never been seen by training
    answer = any_generator.recommend(["u039", "stranger", None, None], [None, None, [], ["nothing"]], k=5)
    assert answer.sources == ["popularity"] * 4
    assert answer.item_ids == [ids[:5]] * 4
    assert answer.scores[0] == [float(strings.item_counts[row]) for row in popular[:5]]
    assert answer.unknown_history_items == [0, 0, 0, 1]


def test_popular_items_that_were_seen_are_left_out(tmp_path, strings, tiny):
    # a model without a history cannot use one, but knows what was seen
    schema = FeatureSchema(user=(Id("user_id"), Categorical("city")), item=tiny.schema.item)
    data = strings.dataset
    prepared = tiny.prepared_of(Dataset.construct("plain", data.interactions, data.items, data.users, schema))
    generator = CandidateGenerator.load(write_bundle(tmp_path / "b", tiny.model_for(prepared), prepared))
    best = generator.recommend([None], k=4).item_ids[0]
    answer = generator.recommend(["x", "x", "u002"], [best[1:3], best[1:3], best[1:3]], k=2)
    assert answer.item_ids[:2] == [[best[0], best[3]]] * 2
    assert answer.sources == ["popularity", "popularity", "user"]
    assert not set(answer.item_ids[2]) & set(best[1:3])
    assert generator.recommend(["x"], [best[1:3]], k=3, exclude_seen=False).item_ids[0] == best[:3]


def test_attributes_of_strangers_count_and_those_of_known_users_are_replaced(generator, strings):
    model, rows = generator.bundle.model, strings.items.rows(["sku-004"])
    said = {"city": "Riga", "age": 70}
    answer = generator.recommend(
        [None, "u003", "u003"], [["sku-004"], None, None], k=60, attributes=[said, said, None], exclude_seen=False
    )
    frame = {name: [value] for name, value in said.items()}
    assert answer.scores[0] == brute_force(strings, model, None, rows, frame, k=60)[1]
    assert answer.scores[1] == brute_force(strings, model, 3, None, frame, k=60)[1]
    assert answer.scores[2] == brute_force(strings, model, 3, k=60)[1]
    assert answer.scores[1] != answer.scores[2]
    assert generator.recommend([None], attributes=[said]).sources == ["popularity"]
    frame = pl.DataFrame({"age": [70], "city": ["Riga"]})
    alone = generator.recommend([None], [["sku-004"]], k=60, exclude_seen=False, attributes=frame)
    assert alone.scores[0] == pytest.approx(answer.scores[0], abs=1e-5)


def test_k_beyond_the_catalogue_gives_what_there_is(any_generator, strings):
    answer = any_generator.recommend(["u000", "stranger", None], [None, ["sku-001"], None], k=10**18)
    seen = len(set(strings.test_histories.row(0).tolist()))
    assert [len(one) for one in answer.item_ids] == [60 - seen, 59, 60]
    for items, scores in zip(answer.item_ids, answer.scores, strict=True):
        assert len(set(items)) == len(items) == len(scores)
        assert np.isfinite(scores).all()


def test_ids_survive_whatever_their_size(integer_generator, tiny):
    everyone = integer_generator.recommend(tiny.large, k=60, exclude_seen=False)
    assert all(set(tiny.large) <= set(one) for one in everyone.item_ids)
    as_text = integer_generator.recommend([str(one) for one in tiny.large], k=60, exclude_seen=False)
    assert as_text.item_ids == everyone.item_ids
    # neighbours in id are not neighbours in taste
    assert everyone.scores[0] != everyone.scores[1]
    one, other = (integer_generator.recommend([None], [[str(n)]], k=3).item_ids for n in (2**53, 2**53 + 1))
    assert one != other
    assert [line["item_ids"] for line in everyone.to_json()] == [[str(i) for i in one] for one in everyone.item_ids]


def test_only_the_end_of_a_history_counts_where_the_feature_says_so(tmp_path, strings, tiny):
    schema = dataclasses.replace(tiny.schema, user=(*tiny.schema.user[:-1], Sequence("history", max_length=2)))
    data = strings.dataset
    prepared = tiny.prepared_of(Dataset.construct("short", data.interactions, data.items, data.users, schema))
    model = tiny.model_for(prepared)
    generator = CandidateGenerator.load(write_bundle(tmp_path / "b", model, prepared))
    answer = generator.recommend(["u005"], k=9)
    history = prepared.test_histories.row(5)
    assert answer.item_ids[0] == brute_force(prepared, model, 5, history[-2:], seen=history, k=9)[0]
    given = ["sku-001", "sku-002", "sku-003"]
    both = generator.recommend([None, None, None], [given, given[1:], given[:1]], exclude_seen=False)
    assert both.item_ids[0] == both.item_ids[1] != both.item_ids[2]


def test_a_vector_that_says_nothing_is_popularity(strings, string_folder):
    generator = CandidateGenerator.load(string_folder)
    with torch.no_grad():
        for weight in generator.bundle.model.parameters():
            weight.zero_()
    broken = CandidateGenerator(
        dataclasses.replace(generator.bundle, model=_WithoutBias(generator.bundle.model)), generator.resolved
    )
    answer = broken.recommend(["u001", "x"], [None, ["sku-001"]], exclude_seen=False)
    assert answer.sources == ["popularity", "popularity"]
    assert answer.item_ids[0] == generator.recommend([None]).item_ids[0]


class _WithoutBias(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.dim, self.config = model, model.dim, model.config

    def encode_users(self, users):
        vectors = self.model.encode_users(users) * 0
        vectors[1:] = torch.nan
        return vectors


def test_frames_and_pictures_for_people(generator, integer_generator):
    answer = generator.recommend(["u001", "stranger"], k=3)
    frame = answer.to_frame()
    assert frame.columns == ["user_id", "rank", "item_id", "score", "source", "title"]
    assert frame["rank"].to_list() == [1, 2, 3, 1, 2, 3]
    assert frame["title"].to_list() == [f"Thing number {int(one[-3:])}" for one in frame["item_id"]]
    assert frame["user_id"].to_list() == ["u001"] * 3 + ["stranger"] * 3
    assert "stranger (popularity)" in repr(answer)
    assert frame["title"][0] in repr(answer)
    numbers = integer_generator.recommend([None, 17], k=2).to_frame()
    assert numbers["user_id"].to_list() == [None, None, 17, 17]
    assert numbers["item_id"].dtype == pl.Int64
    assert integer_generator.recommend([0, None], k=1).to_frame()["user_id"].to_list() == [0, None]
    assert integer_generator.recommend([0, "17"], k=1).to_frame()["user_id"].to_list() == ["0", "17"]
    assert integer_generator.recommend([2**70], k=1).to_frame()["user_id"].to_list() == [str(2**70)]
    nobody = generator.recommend([])
    assert len(nobody) == 0
    assert nobody.to_frame().height == 0
    assert nobody.to_json() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "give user_ids, histories or both"),
        ({"user_ids": "u001"}, "user_ids is a str, not a list"),
        ({"user_ids": [1.5]}, r"user_ids\[0\] is a float"),
        ({"user_ids": ["u001", 17]}, r"user_ids\[1\] is the integer 17; the ids 'user_id' are strings"),
        ({"user_ids": ["a"], "histories": [None, None]}, "1 user_ids and 2 histories"),
        ({"histories": [["sku-001"], "sku-001"]}, r"histories\[1\] is a str"),
        ({"histories": [[], ["sku-001", None, 5]]}, r"histories\[1\]\[2\] is the integer 5"),
        ({"user_ids": ["a"], "k": 0}, "k is a whole number"),
        ({"user_ids": ["a"], "k": 2.0}, "k is a whole number"),
        ({"user_ids": ["a"], "k": True}, "k is a whole number"),
        ({"user_ids": ["a"], "attributes": [{"shoe": 43}]}, "'shoe'; the declared ones are: age, city"),
        ({"user_ids": ["a"], "attributes": [{"age": "old"}]}, "attributes.age cannot be used"),
        ({"user_ids": ["a"], "attributes": [{"city": 5}]}, "attributes.city cannot be used"),
        ({"user_ids": ["a", "b"], "attributes": [{"city": "Riga"}, {"city": 5}]}, "attributes.city cannot be used"),
        ({"user_ids": ["a"], "attributes": [{}, {}]}, "1 users and 2 rows"),
        ({"user_ids": ["a"], "attributes": ["Riga"]}, r"attributes\[0\] is a str"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(generator, arguments, words):
    with pytest.raises(FieldError, match=words):
        generator.recommend(**arguments)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_mixture_of_users_is_answered_as_each_of_them_alone(any_generator, data):
    ids = st.one_of(st.none(), st.sampled_from(["u000", "u007", "u039", "stranger"]), st.text(max_size=3))
    items = st.one_of(st.integers(0, 70).map("sku-{:03d}".format), st.text(max_size=2))
    asked = data.draw(st.lists(st.tuples(ids, st.none() | st.lists(items, max_size=80)), max_size=6))
    k, exclude = data.draw(st.integers(1, 70)), data.draw(st.booleans())
    answer = any_generator.recommend([one for one, _ in asked], [one for _, one in asked], k, exclude)
    assert len(answer) == len(asked)
    for n, (user, history) in enumerate(asked):
        alone = any_generator.recommend([user], [history], k, exclude)
        assert alone.sources[0] == answer.sources[n]
        assert alone.item_ids[0] == answer.item_ids[n]
        assert alone.scores[0] == pytest.approx(answer.scores[n], abs=1e-5)
        if exclude and history:
            assert not set(history) & set(answer.item_ids[n])


def test_many_threads_ask_at_once(any_generator, strings):
    users = strings.users.ids.to_list()
    expected = any_generator.recommend(users).item_ids
    wrong = []

    def ask(n):
        for _ in range(10):
            if any_generator.recommend([users[n]]).item_ids != [expected[n]]:
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_large_requests_are_ranked_in_parts(any_generator, monkeypatch):
    whole = any_generator.recommend([f"u{n:03d}" for n in range(40)], [["sku-001"]] * 20 + [None] * 20)
    monkeypatch.setattr("serving.lists.user_lists._CHUNK", 7)
    monkeypatch.setattr("recsys.retrievers._MOST", 5000)
    parts = any_generator.recommend([f"u{n:03d}" for n in range(40)], [["sku-001"]] * 20 + [None] * 20)
    assert parts.item_ids == whole.item_ids
    assert parts.sources == whole.sources


def test_what_is_encoded_on_demand_is_what_would_be_encoded_at_load(string_folders, generators, monkeypatch):
    monkeypatch.setattr("serving.bundles.known_users._AT_LOAD", -1)
    monkeypatch.setattr("serving.lists.raw_ids._SMALL", -1)
    users = [*[f"u{n:03d}" for n in range(40)], "x", None]
    for family, folder in string_folders.items():
        lazy = CandidateGenerator.load(folder)
        assert lazy.recommend(users).item_ids == generators[family].recommend(users).item_ids


def test_there_is_no_bundle_without_a_folder(tmp_path):
    with pytest.raises(InputError, match="there is no bundle at"):
        CandidateGenerator.load(tmp_path / "absent")
