"""Items that come after the model was built: ranked as brute force ranks them, from the next request on."""

from __future__ import annotations

import copy
import dataclasses
import threading

import numpy as np
import polars as pl
import pytest
import torch

from recsys.embeddings import EmbeddingPlan
from recsys.index import IndexConfig
from recsys.ranking import Ranker, RankerConfig
from recsys.retrievers import encode_histories
from recsys.text_encoders.items import read_items
from serving.bundles.ranker_reader import ranker_inputs
from serving.bundles.ranker_writer import with_ranker
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.lists.raw_ids import FieldError


def vectors_of(told, model, said):
    """What the model makes of items, by way of the training side's tables."""
    types = {name: told.prepared.dataset.items.schema[name] for name in ("title", "maker", "genres", "weight", "note")}
    frame = pl.DataFrame({name: [one.get(name) for one in said] for name in types}, schema=types)
    year, since = ([one.get(name) for one in said] for name in ("year", "since"))
    dates = pl.Series(since, dtype=pl.String).str.to_date()
    frame = frame.with_columns(year=pl.Series(year, dtype=pl.Float64), since=dates)
    frame = frame.with_columns(read_items(frame, told.text, told.Words()).alias("text_vector"))
    with torch.inference_mode():
        return model.encode_items(told.prepared.item_encoder.encode(frame).take(np.arange(len(said)))).numpy()


def brute_force(told, generator, items, user, seen=(), k=10):
    """A user's list over the catalogue and the given new items."""
    model, prepared = told.model_of(generator), told.prepared
    items = sorted(items)
    vectors = np.concatenate([generator.bundle.index.stored(0), vectors_of(told, model, [said for _, said in items])])
    rows = np.array([user])
    query = encode_histories(model, prepared.user_features(rows, prepared.test_histories.rows(rows))).numpy()[0]
    scores = (vectors.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    ids = prepared.items.ids.to_list() + [one for one, _ in items]
    order = [row for row in np.argsort(-scores, kind="stable").tolist() if ids[row] not in seen][:k]
    return [ids[row] for row in order], pytest.approx(scores[order].tolist(), abs=1e-5)


def seen_of(told, user):
    return set(told.prepared.items.ids_of(told.prepared.test_histories.row(user)).to_list())


def test_a_new_item_is_ranked_from_the_next_request_on(any_telling, told):
    before = any_telling.recommend(["u003"], k=99)
    assert len(before.item_ids[0]) + len(seen_of(told, 3)) == 60
    assert any_telling.new_items.add(told.new) == 3
    assert len(any_telling.new_items) == 3
    for user in (0, 3, 21):
        everything = any_telling.recommend([f"u{user:03d}"], k=99, exclude_seen=False)
        assert (everything.item_ids[0], everything.scores[0]) == brute_force(told, any_telling, told.new, user, k=63)
        some = any_telling.recommend([f"u{user:03d}"], k=7)
        assert (some.item_ids[0], some.scores[0]) == brute_force(
            told, any_telling, told.new, user, seen_of(told, user), 7
        )
    assert "60 items, 3 new items" in repr(any_telling)


def test_frames_pictures_and_json_know_new_items(telling, told):
    telling.new_items.add(told.new)
    answer = telling.recommend(["u003", "stranger"], k=99, exclude_seen=False)
    frame = answer.to_frame().filter(pl.col("user_id") == "u003")
    titles = dict(zip(frame["item_id"], frame["title"], strict=True))
    assert {titles[one] for one, _ in told.new} == {said["title"] for _, said in told.new}
    assert titles["sku-012"] == "Thing number 12"
    assert {"soap", "ink", "a-cup"} < set(answer.to_json()[0]["item_ids"])
    telling.new_items.add([("nameless", {"genres": "a", "note": "red"})])
    assert None in telling.recommend(["u003"], k=99).to_frame()["title"].to_list()


@pytest.mark.parametrize(
    "said",
    [
        *({"title": "Thing number 12"}, {"note": "green"}, {"since": "2001-02-03"}),
        *({"year": 2001.0}, {"genres": "a"}, {"weight": 5}),
    ],
    ids=str,
)
def test_little_is_enough_if_the_model_reads_it(any_telling, told, said):
    any_telling.new_items.add([("little", said)])
    answer = any_telling.recommend(["u003"], k=99, exclude_seen=False)
    assert (answer.item_ids[0], answer.scores[0]) == brute_force(told, any_telling, [("little", said)], 3, k=61)


def test_who_is_answered_by_popularity_is_not_told_of_new_items(any_telling, told):
    before = any_telling.recommend(["u039", "stranger", None], [None, ["nothing"], []], k=60)
    any_telling.new_items.add(told.new)
    after = any_telling.recommend(["u039", "stranger", None], [None, ["nothing"], ["soap"]], k=60)
    assert before.sources == after.sources == ["popularity"] * 3
    assert after.item_ids == before.item_ids
    assert after.unknown_history_items == [0, 1, 1]


def test_what_a_history_holds_is_not_recommended_again(any_telling, told):
    any_telling.new_items.add(told.new)
    histories = [["sku-004", "soap"], ["soap", "ink", "sku-004", "soap"], ["sku-004"], None]
    answer = any_telling.recommend([None, "u003", None, "u003"], histories, k=99)
    assert ["soap" in one for one in answer.item_ids] == [False, False, True, True]
    assert ["ink" in one for one in answer.item_ids] == [True, False, True, True]
    assert answer.unknown_history_items == [1, 3, 0, 0]
    kept = any_telling.recommend([None], histories[:1], k=99, exclude_seen=False)
    assert "soap" in kept.item_ids[0]
    # the model reads what it knows
    assert kept.scores[0] == any_telling.recommend([None], [["sku-004"]], k=99, exclude_seen=False).scores[0]


def test_integers_are_the_same_items_however_they_are_written(integer_generator):
    generator = CandidateGenerator(integer_generator.bundle)
    assert generator.new_items.add([("18", {"genres": "a"}), (2**62, {"genres": "b|c"})]) == 2
    assert generator.new_items.add([(18, {"genres": "b"})]) == 1
    answer = generator.recommend([None] * 3, [[17, "18"], ["17", 18], [17]], k=99)
    assert [18 in one for one in answer.item_ids] == [False, False, True]
    assert all(2**62 in one for one in answer.item_ids)
    assert str(2**62) in answer.to_json()[0]["item_ids"]
    assert generator.similar(["18"], k=99).item_ids == generator.similar([18], k=99).item_ids
    for twice in ([("18", {"genres": "a"}), (18, {"genres": "a"})], [("17", {"genres": "a"})], [(17, {"genres": "a"})]):
        with pytest.raises(FieldError):
            generator.new_items.add(twice)
    assert generator.new_items.remove(["18", 99]) == 1
    assert len(generator.new_items) == 1


def test_an_item_is_replaced_and_removed(any_telling, told):
    any_telling.new_items.add(told.new)
    later = ("soap", {"title": "Something else", "genres": "b"})
    assert any_telling.new_items.add([later, ("cup", {"genres": "a"})]) == 2
    items = [later, told.new[1], told.new[2], ("cup", {"genres": "a"})]
    answer = any_telling.recommend(["u003"], k=99, exclude_seen=False)
    assert (answer.item_ids[0], answer.scores[0]) == brute_force(told, any_telling, items, 3, k=64)
    assert any_telling.new_items.remove(["soap", "sku-004", "never", "soap"]) == 1
    assert any_telling.new_items.remove(["soap"]) == 0
    answer = any_telling.recommend(["u003"], k=99, exclude_seen=False)
    assert (answer.item_ids[0], answer.scores[0]) == brute_force(told, any_telling, items[1:], 3, k=63)
    assert any_telling.new_items.remove(["ink", "a-cup", "cup"]) == 3
    assert len(any_telling.recommend(["u003"], k=99, exclude_seen=False).item_ids[0]) == 60
    assert any_telling.new_items.add([]) == any_telling.new_items.remove([]) == 0


def test_the_order_in_which_they_come_makes_no_difference(telling, told):
    together = CandidateGenerator(telling.bundle)
    together.new_items.add(told.new)
    for one in reversed(told.new):
        telling.new_items.add([one])
    one, other = (each.recommend(["u003", "u021"], k=99) for each in (together, telling))
    assert one.item_ids == other.item_ids
    assert one.scores[0] == pytest.approx(other.scores[0], abs=1e-5)
    assert one.to_frame()["title"].to_list() == other.to_frame()["title"].to_list()


def test_there_is_an_end_to_them(telling, told, monkeypatch):
    monkeypatch.setattr("serving.lists.new_items.MOST", 3)
    telling.new_items.add(told.new)
    telling.new_items.add([told.new[0]])
    with pytest.raises(FieldError, match="there may be 3 new items, and with these there would be more"):
        telling.new_items.add([("cup", {"genres": "a"})])
    assert len(telling.new_items) == 3


def test_a_ranker_orders_the_catalogue_alone(telling, told, tmp_path):
    prepared = told.prepared
    inputs = ranker_inputs(prepared.dataset.schema, prepared.vocabularies, prepared.items)
    plan = EmbeddingPlan(kind="collisionless", width=4, initial_range=1.0)
    ranker = Ranker(RankerConfig(hidden=(8,), embeddings=plan), *inputs).eval()
    folder = with_ranker(told.folders["two-tower"], ranker, inputs[1], tmp_path / "b")
    assert (folder / "text_encoder" / "1_Pooling" / "config.json").is_file()  # a bundle is copied with all its files
    generator = CandidateGenerator.load(folder)
    asked = {"user_ids": ["u003", "stranger"], "k": 99, "rerank": True, "rerank_depth": 50}
    before = generator.recommend(**asked)
    generator.new_items.add(told.new)
    after = generator.recommend(**asked)
    assert (after.item_ids, after.scores) == (before.item_ids, before.scores)
    assert "soap" in generator.recommend(["u003"], k=99).item_ids[0]


def test_large_requests_are_ranked_in_parts(telling, told, monkeypatch):
    telling.new_items.add(told.new)
    users, histories = [f"u{n:03d}" for n in range(40)], [["sku-001", "soap"]] * 20 + [None] * 20
    whole = telling.recommend(users, histories, k=30)
    monkeypatch.setattr("serving.lists.user_lists._CHUNK", 7)
    parts = telling.recommend(users, histories, k=30)
    assert (parts.item_ids, parts.sources) == (whole.item_ids, whole.sources)
    assert any("soap" in one for one in whole.item_ids[20:]) and not any("soap" in one for one in whole.item_ids[:20])


@pytest.mark.parametrize(("kind", "precision"), [("exact", "int8"), ("hnsw", "fp16"), ("ivf", "fp32")])
def test_beside_any_index_they_stand_where_their_scores_say(told, word_encoder, tmp_path, kind, precision):
    model, config = told.models["two-tower"], IndexConfig(kind)
    folder = write_bundle(tmp_path / "b", model, told.prepared, config, precision, text=told.text)
    generator = CandidateGenerator.load(folder)
    before = generator.recommend(["u003"], k=60, exclude_seen=False)
    generator.new_items.add(told.new)
    after = generator.recommend(["u003"], k=99, exclude_seen=False)
    assert after.scores[0] == sorted(after.scores[0], reverse=True)
    assert [one for one in after.item_ids[0] if one.startswith("sku-")] == before.item_ids[0]
    assert len(after.item_ids[0]) == 63


def test_nobody_waits_for_the_language_model(telling, told):
    reading, go_on = threading.Event(), threading.Event()

    class Slow(told.Words):
        def encode(self, texts):
            reading.set()
            assert go_on.wait(30)
            return super().encode(texts)

    telling.new_items.add([told.new[1]])
    telling.bundle.text.__dict__["encoder"] = Slow()
    adding = threading.Thread(target=telling.new_items.add, args=([told.new[0]],))
    adding.start()
    try:
        assert reading.wait(30)
        assert "soap" not in telling.recommend(["u003"], k=99).item_ids[0]
        assert telling.similar(["ink"]).sources == ["item"]
        assert telling.new_items.remove(["ink"]) == 1
    finally:
        go_on.set()
        adding.join()
    answer = set(telling.recommend(["u003"], k=99).item_ids[0])
    assert "soap" in answer and "ink" not in answer


def test_every_answer_is_that_of_one_moment(telling):
    """Two items come and go together; nobody is ever told of one of them alone."""
    pair = [("x", {"title": "One thing", "genres": "a"}), ("y", {"title": "Another", "genres": "b"})]
    wrong, done = [], threading.Event()

    def ask():
        while not done.is_set():
            answer = telling.recommend(["u003"], k=99, exclude_seen=False)
            found = {"x", "y"} & set(answer.item_ids[0])
            if len(found) == 1 or len(answer.item_ids[0]) != 60 + len(found):
                wrong.append(found)
            answer.to_frame()
            telling.similar(["x", "sku-001"], k=99).to_frame()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(12):
        telling.new_items.add(pair)
        telling.new_items.remove(["x", "y"])
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_similar_items_of_new_ones_and_new_ones_among_similar(any_telling, told):
    any_telling.new_items.add(told.new)
    items = sorted(told.new)
    vectors = vectors_of(told, told.model_of(any_telling), [said for _, said in items])
    dim = any_telling.bundle.model.config.dim
    stored = np.concatenate([any_telling.bundle.index.stored(0), vectors])[:, :dim].astype(np.float64)
    ids = told.prepared.items.ids.to_list() + [one for one, _ in items]
    cosines = (stored @ stored.T) / np.outer(*[np.linalg.norm(stored, axis=1)] * 2)
    answer = any_telling.similar(["soap", "sku-004", "never", "a-cup"], k=99)
    assert answer.sources == ["item", "item", "unknown", "item"]
    for n, one in ((0, "soap"), (1, "sku-004"), (3, "a-cup")):
        own = cosines[ids.index(one)].copy()
        own[ids.index(one)] = -np.inf
        order = np.argsort(-own, kind="stable")[:62]
        assert answer.item_ids[n] == [ids[row] for row in order]
        assert answer.scores[n] == pytest.approx(own[order].tolist(), abs=1e-5)
    assert answer.to_frame().filter(pl.col("item_id") == "ink")["title"].unique().to_list() == ["Blue ink, number 3"]


def test_the_scale_of_new_items_is_theirs_too(told, word_encoder, tmp_path):
    scores = {}
    for scale in (1.0, 1.5):
        config = dataclasses.replace(told.models["sequential"].config, new_item_scale=scale)
        model = copy.copy(told.models["sequential"])
        model.config = config
        folder = write_bundle(tmp_path / str(scale), model, told.prepared, name="told", text=told.text)
        generator = CandidateGenerator.load(folder, hashes=False)
        generator.new_items.add(told.new)
        answer = generator.recommend(["u003"], k=99, exclude_seen=False)
        scores[scale] = dict(zip(answer.item_ids[0], answer.scores[0], strict=True))
    names = [one for one, _ in told.new]
    assert [scores[1.5][one] for one in names] == pytest.approx([1.5 * scores[1.0][one] for one in names], rel=1e-5)
    trained = told.prepared.items.ids.filter(pl.Series(told.prepared.item_counts > 0)).to_list()
    assert [scores[1.5][one] for one in trained] == [scores[1.0][one] for one in trained]
