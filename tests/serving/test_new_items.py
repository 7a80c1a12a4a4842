"""Items that come after the model was built: ranked as brute force ranks them, refused by name, kept, and replaced."""

from __future__ import annotations

import json
import threading

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import InputError
from features.item_log import ItemLog
from features.schema import FeatureSchema, Id, Vector
from recsys.embeddings import EmbeddingPlan
from recsys.fusion import FusionConfig, fit_texts
from recsys.ranking import Ranker, RankerConfig
from recsys.retrievers import encode_histories
from recsys.text_encoders.items import read_items
from serving.bundle import Bundle
from serving.bundle_writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.ranker_writer import with_ranker
from serving.raw_ids import FieldError
from serving.reranking import ranker_inputs
from training.cli import main

SOAP = (
    "soap",
    {"title": "Thing number 12", "maker": "Ada", "genres": "a|c", "weight": 7.5, "year": 2001, "note": "red"},
)
INK = ("ink", {"title": "Blue ink, number 3", "genres": "b"})
#: the first of them in the order of ids stands after the second
NEW = [SOAP, INK, ("a-cup", {"title": "A thing", "note": "blue", "weight": 2})]


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
    model, prepared = told.models[_family(generator)], told.prepared
    items = sorted(items)
    vectors = np.concatenate([generator.bundle.index.stored(0), vectors_of(told, model, [said for _, said in items])])
    rows = np.array([user])
    query = encode_histories(model, prepared.user_features(rows, prepared.test_histories.rows(rows))).numpy()[0]
    scores = (vectors.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    ids = prepared.items.ids.to_list() + [one for one, _ in items]
    order = [row for row in np.argsort(-scores, kind="stable").tolist() if ids[row] not in seen][:k]
    return [ids[row] for row in order], pytest.approx(scores[order].tolist(), abs=1e-5)


def _family(generator):
    return "sequential" if generator.bundle.manifest.kind == "sequential" else "two-tower"


def seen_of(told, user):
    return set(told.prepared.items.ids_of(told.prepared.test_histories.row(user)).to_list())


def test_a_new_item_is_ranked_from_the_next_request_on(any_telling, told):
    before = any_telling.recommend(["u003"], k=99)
    assert len(before.item_ids[0]) + len(seen_of(told, 3)) == 60
    assert any_telling.new_items.add(NEW) == 3
    assert len(any_telling.new_items) == 3
    for user in (0, 3, 21):
        everything = any_telling.recommend([f"u{user:03d}"], k=99, exclude_seen=False)
        assert (everything.item_ids[0], everything.scores[0]) == brute_force(told, any_telling, NEW, user, k=63)
        some = any_telling.recommend([f"u{user:03d}"], k=7)
        assert (some.item_ids[0], some.scores[0]) == brute_force(told, any_telling, NEW, user, seen_of(told, user), 7)
    assert "60 items, 3 new items" in repr(any_telling)


def test_frames_pictures_and_json_know_new_items(telling):
    telling.new_items.add(NEW)
    answer = telling.recommend(["u003", "stranger"], k=99, exclude_seen=False)
    frame = answer.to_frame().filter(pl.col("user_id") == "u003")
    titles = dict(zip(frame["item_id"], frame["title"], strict=True))
    assert {titles[one] for one, _ in NEW} == {said["title"] for _, said in NEW}
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


def test_numbers_are_told_as_the_catalogue_tells_them(telling):
    """An integer in a column of floats is the float, and a category is the same one."""
    telling.new_items.add([("one", {"year": 2001, "maker": "Ada"}), ("other", {"year": 2001.0, "maker": "Ada"})])
    shelf = telling.new_items.shelf
    one, other = shelf.new_index.stored(0)
    assert one == pytest.approx(other, abs=1e-6)


def test_who_is_answered_by_popularity_is_not_told_of_new_items(any_telling):
    before = any_telling.recommend(["u039", "stranger", None], [None, ["nothing"], []], k=60)
    any_telling.new_items.add(NEW)
    after = any_telling.recommend(["u039", "stranger", None], [None, ["nothing"], ["soap"]], k=60)
    assert before.sources == after.sources == ["popularity"] * 3
    assert after.item_ids == before.item_ids
    assert after.unknown_history_items == [0, 1, 1]


def test_what_a_history_holds_is_not_recommended_again(any_telling):
    any_telling.new_items.add(NEW)
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
    assert generator.new_items.add([(18, {"genres": "b"})]) == 0
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


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (("sku-004", {"title": "x"}), r"items\[1\] has the id 'sku-004', which the catalogue has"),
        (("soap", {"title": "x"}), r"items has 'soap' 2 times"),
        ((17, {"title": "x"}), r"items\[1\] is the integer 17; the ids 'item_id' are strings"),
        ((None, {"title": "x"}), r"items\[1\] has the id None, and ids here are strings"),
        (("\ud800", {"title": "x"}), r"items\[1\] has the id .*valid Unicode"),
        (("new", "x"), r"items\[1\] says a str, not names and values"),
        (("new", {"colour": "x"}), r"items\[1\] has 'colour'; what can be said is: title, maker, year, note, since, g"),
        (("new", {"item_id": "x"}), r"items\[1\] has 'item_id'; what can be said"),
        (("new", {"text_vector": [1.0] * 16}), r"items\[1\] has 'text_vector'; what can be said"),
        (("new", {"since": "yesterday"}), r"items\[1\] has the since 'yesterday', and the catalogue's are dates"),
        (("new", {"title": 5}), r"items\[1\] has the title 5, and the catalogue's are strings"),
        (("new", {"title": ["x"]}), r"items\[1\] has the title \['x'\], and the catalogue's are strings"),
        (("new", {"title": "\ud800"}), r"items\[1\] has the title .*strings"),
        (("new", {"genres": ["a", "b"]}), r"items\[1\] has the genres \['a', 'b'\], and the catalogue's are strings"),
        (("new", {"weight": "heavy"}), r"items\[1\] has the weight 'heavy', and the catalogue's are numbers"),
        (("new", {"weight": 10**400}), r"items\[1\] has the weight 1000.*numbers"),
        (("new", {"year": "long ago"}), r"items\[1\] has the year 'long ago', and the catalogue's are numbers"),
        (("new", {"weight": 1e300}), r"items\[1\] has a number that is out of all proportion"),
        (("new", {"weight": 1e30}), r"items\[1\] has a number that is out of all proportion"),
        (("new", {}), r"items\[1\] says nothing that this model knows"),
        (("new", {"title": None, "genres": ""}), r"items\[1\] says nothing that this model knows"),
        (("new", {"title": "\x00\x07", "genres": "never heard of"}), r"items\[1\] says nothing that this model knows"),
        (("new", {"weight": float("nan")}), r"items\[1\] says nothing that this model knows"),
    ],
)
def test_an_item_that_cannot_be_placed_is_named(telling, item, words):
    log = telling.new_items
    with pytest.raises(FieldError, match=f"^{words}") as caught:
        log.add([SOAP, item])
    assert "\n" not in str(caught.value)
    assert caught.value.field[0] == "items"
    assert len(log) == 0  # all of a request, or nothing


def test_a_model_of_ids_alone_says_so(strings, tiny, tmp_path, generators):
    for family, config in (("sequential", {"items": "id"}), ("two-tower", None)):
        prepared = strings
        if config is None:
            data = strings.dataset
            schema = FeatureSchema(user=tiny.schema.user, item=(Id("item_id"),))
            prepared = tiny.prepared_of(Dataset.construct("ids", data.interactions, data.items, data.users, schema))
        model = tiny.model_for(prepared, family=family, **(config or {}))
        generator = CandidateGenerator.load(write_bundle(tmp_path / family, model, prepared))
        with pytest.raises(FieldError, match="this model knows items by their ids alone, so it cannot place a new one"):
            generator.new_items.add([("soap", {"genres": "a"})])
        assert generator.new_items.remove(["soap"]) == 0
    # without a text that anybody reads, attributes are enough
    for generator in generators.values():
        fresh = CandidateGenerator(generator.bundle)
        assert fresh.new_items.add([("soap", {"genres": "a", "title": "Soap"})]) == 1
        with pytest.raises(FieldError, match="says nothing that this model knows"):
            fresh.new_items.add([("soap", {"title": "Soap"})])


@pytest.mark.parametrize("kind", ["text", "whitened"])
def test_a_model_of_texts_alone_does_not_care_for_attributes(told, tiny, word_encoder, tmp_path, kind):
    model = tiny.model_for(told.prepared, item_bias=False, fusion=FusionConfig(kind))
    fit_texts(model, told.prepared.item_table.dense["text_vector"])
    generator = CandidateGenerator.load(write_bundle(tmp_path / "b", model, told.prepared, text=told.text))
    generator.new_items.add([("soap", {"note": "red", "weight": 5})])
    with pytest.raises(FieldError, match="says nothing that this model knows"):
        generator.new_items.add([("ink", {"genres": "a", "weight": 5})])
    assert "soap" in generator.recommend(["u003"], k=99).item_ids[0]


def test_vectors_that_were_brought_along_come_with_the_item(strings, tiny, tmp_path):
    data = strings.dataset
    vectors = np.random.default_rng(0).standard_normal((60, 3)).tolist()
    items = data.items.with_columns(pl.Series("look", vectors))
    schema = FeatureSchema(tiny.schema.user, (Id("item_id"), Vector("look")))
    prepared = tiny.prepared_of(Dataset.construct("looks", data.interactions, items, data.users, schema))
    model = tiny.model_for(prepared, fusion=FusionConfig("add"))
    fit_texts(model, prepared.item_table.dense["look"])
    generator = CandidateGenerator.load(write_bundle(tmp_path / "b", model, prepared))
    generator.new_items.add([("soap", {"look": vectors[4]}), ("ink", {"look": [1, 2, 3]})])
    assert len(generator.new_items) == 2
    for look, words in (
        ([1.0, 2.0], r"\[1.0, 2.0\], and the catalogue's are lists of 3 numbers"),
        ("x", "'x', and the catalogue's are lists of 3 numbers"),
        ([1.0, float("inf"), 2.0], "column 'look' holds a vector with a number that is missing or not finite"),
    ):
        with pytest.raises(FieldError, match=words):
            generator.new_items.add([("cup", {"look": look})])


def test_an_item_is_replaced_and_removed(any_telling, told):
    any_telling.new_items.add(NEW)
    later = ("soap", {"title": "Something else", "genres": "b"})
    assert any_telling.new_items.add([later, ("cup", {"genres": "a"})]) == 1
    items = [later, NEW[1], NEW[2], ("cup", {"genres": "a"})]
    answer = any_telling.recommend(["u003"], k=99, exclude_seen=False)
    assert (answer.item_ids[0], answer.scores[0]) == brute_force(told, any_telling, items, 3, k=64)
    assert any_telling.new_items.remove(["soap", "sku-004", "never", "soap"]) == 1
    assert any_telling.new_items.remove(["soap"]) == 0
    answer = any_telling.recommend(["u003"], k=99, exclude_seen=False)
    assert (answer.item_ids[0], answer.scores[0]) == brute_force(told, any_telling, items[1:], 3, k=63)
    assert any_telling.new_items.remove(["ink", "a-cup", "cup"]) == 3
    assert len(any_telling.recommend(["u003"], k=99, exclude_seen=False).item_ids[0]) == 60
    assert any_telling.new_items.add([]) == any_telling.new_items.remove([]) == 0


def test_the_order_in_which_they_come_makes_no_difference(telling):
    together = CandidateGenerator(telling.bundle)
    together.new_items.add(NEW)
    for one in reversed(NEW):
        telling.new_items.add([one])
    one, other = (each.recommend(["u003", "u021"], k=99) for each in (together, telling))
    assert one.item_ids == other.item_ids
    assert one.scores[0] == pytest.approx(other.scores[0], abs=1e-5)
    assert one.to_frame()["title"].to_list() == other.to_frame()["title"].to_list()


def test_there_is_an_end_to_them(telling, monkeypatch):
    monkeypatch.setattr("serving.new_items.MOST", 3)
    telling.new_items.add(NEW)
    telling.new_items.add([SOAP])
    with pytest.raises(FieldError, match="there may be 3 new items, and with these there would be more"):
        telling.new_items.add([("cup", {"genres": "a"})])
    assert len(telling.new_items) == 3


def test_they_are_there_again_after_the_next_start(any_telling, told, tmp_path):
    path = tmp_path / "deep" / "new.jsonl"
    bundle = any_telling.bundle
    assert not CandidateGenerator(bundle).new_items.kept
    first = CandidateGenerator(bundle, log=ItemLog(path))
    assert first.new_items.kept and not path.exists()
    first.new_items.add(NEW)
    first.new_items.add([("cup", {"genres": "a"}), ("soap", {"title": "Something else"})])
    first.new_items.remove(["ink"])
    again = CandidateGenerator.load(told.folders[_family(any_telling)], hashes=False, new_items=path)
    assert again.new_items.notice is None
    assert len(again.new_items) == 3
    one, other = (each.recommend(["u003"], k=99) for each in (first, again))
    assert one.item_ids == other.item_ids
    assert one.scores[0] == pytest.approx(other.scores[0], abs=1e-5)


def test_what_one_start_has_read_the_next_one_knows(telling, tmp_path, monkeypatch):
    log = ItemLog(tmp_path / "new.jsonl")
    log.add(dict(NEW))
    first = CandidateGenerator(telling.bundle, log=log)
    for module in ("loading", "items"):
        monkeypatch.setattr(f"recsys.text_encoders.{module}.load_encoder", None)
    again = CandidateGenerator(telling.bundle, log=log)
    assert np.array_equal(again.new_items.shelf.new_index.stored(0), first.new_items.shelf.new_index.stored(0))


def test_a_start_where_nothing_can_be_stored_reads_again(telling, tmp_path, monkeypatch):
    log = ItemLog(tmp_path / "new.jsonl")
    log.add(dict(NEW))
    monkeypatch.setattr("recsys.text_encoders.items._default_store", lambda: log.path / "no folder")
    assert len(CandidateGenerator(telling.bundle, log=log).new_items) == 3


def test_what_was_kept_and_has_no_place_is_left_out_and_told(telling, tmp_path):
    path = tmp_path / "new.jsonl"
    kept = {
        "sku-004": {"title": "by now in the catalogue"},
        "cup": {"colour": "red"},
        "ink": {"weight": "heavy", "title": "Ink"},
        "soap": {"title": "Soap", "colour": "red"},
    }
    ItemLog(path).add(kept)
    generator = CandidateGenerator(telling.bundle, log=ItemLog(path))
    assert len(generator.new_items) == 1
    assert "soap" in generator.recommend(["u003"], k=99).item_ids[0]
    assert set(generator.new_items.left_out) == {"cup", "ink"}
    assert generator.new_items.left_out["ink"] == "has the weight 'heavy', and the catalogue's are numbers"
    assert generator.new_items.notice.startswith(f"{path}: 2 left out, such as ")


def test_a_model_of_ids_alone_starts_without_what_was_kept(strings, tiny, tmp_path):
    folder = write_bundle(tmp_path / "b", tiny.model_for(strings, family="sequential", items="id"), strings)
    ItemLog(tmp_path / "new.jsonl").add(dict([SOAP]))
    generator = CandidateGenerator.load(folder, new_items=tmp_path / "new.jsonl")
    assert len(generator.new_items) == 0
    assert "'soap', which cannot be placed by a model that knows items by their ids alone" in generator.new_items.notice


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"item_id": 17, "attributes": {}}', r"new\.jsonl are not this model's: items\[0\] is the integer 17"),
        ("{", r"new\.jsonl, line 1"),
    ],
)
def test_a_file_of_another_kind_is_refused(telling, tmp_path, line, words):
    (tmp_path / "new.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=words):
        CandidateGenerator(telling.bundle, log=ItemLog(tmp_path / "new.jsonl"))


def test_what_cannot_be_kept_is_not_taken_in(telling, tmp_path, monkeypatch):
    generator = CandidateGenerator(telling.bundle, log=ItemLog(tmp_path / "new.jsonl"))
    generator.new_items.add(NEW)

    def fail(*arguments):
        raise InputError("the disk is full")

    for name in ("add", "remove"):
        monkeypatch.setattr(ItemLog, name, fail)
    with pytest.raises(InputError, match="the disk is full"):
        generator.new_items.add([("cup", {"genres": "a"})])
    with pytest.raises(InputError, match="the disk is full"):
        generator.new_items.remove(["soap"])
    assert set(generator.recommend(["u003"], k=99).item_ids[0]) >= {"soap", "ink", "a-cup"}
    assert len(generator.new_items) == 3


def test_what_is_kept_becomes_an_ordinary_item_in_the_next_build(telling, told, tmp_path):
    log = ItemLog(tmp_path / "new.jsonl")
    CandidateGenerator(telling.bundle, log=log).new_items.add(NEW)
    data = told.prepared.dataset
    items = data.with_new_items(log.read()).items
    assert items.height == 63
    assert items.filter(pl.col("item_id") == "soap").drop("text_vector", "since").row(0, named=True) == {
        "item_id": "soap", **SOAP[1],
    }  # fmt: skip


def test_a_ranker_orders_the_catalogue_alone(telling, told, tmp_path):
    prepared = told.prepared
    inputs = ranker_inputs(prepared.dataset.schema, prepared.vocabularies, prepared.items)
    plan = EmbeddingPlan(kind="collisionless", width=4, initial_range=1.0)
    ranker = Ranker(RankerConfig(hidden=(8,), embeddings=plan), *inputs).eval()
    folder = with_ranker(told.folders[_family(telling)], ranker, inputs[1], tmp_path / "b")
    assert (folder / "text_encoder" / "1_Pooling" / "config.json").is_file()  # a bundle is copied with all its files
    generator = CandidateGenerator.load(folder)
    asked = {"user_ids": ["u003", "stranger"], "k": 99, "rerank": True, "rerank_depth": 50}
    before = generator.recommend(**asked)
    generator.new_items.add(NEW)
    after = generator.recommend(**asked)
    assert (after.item_ids, after.scores) == (before.item_ids, before.scores)
    assert "soap" in generator.recommend(["u003"], k=99).item_ids[0]


def test_large_requests_are_ranked_in_parts(telling, monkeypatch):
    telling.new_items.add(NEW)
    users, histories = [f"u{n:03d}" for n in range(40)], [["sku-001", "soap"]] * 20 + [None] * 20
    whole = telling.recommend(users, histories, k=30)
    monkeypatch.setattr("serving.user_lists._CHUNK", 7)
    parts = telling.recommend(users, histories, k=30)
    assert (parts.item_ids, parts.sources) == (whole.item_ids, whole.sources)
    assert any("soap" in one for one in whole.item_ids[20:]) and not any("soap" in one for one in whole.item_ids[:20])


def test_nobody_waits_for_the_language_model(telling, told):
    reading, go_on = threading.Event(), threading.Event()

    class Slow(told.Words):
        def encode(self, texts):
            reading.set()
            assert go_on.wait(30)
            return super().encode(texts)

    telling.new_items.add([INK])
    telling.bundle.text.__dict__["encoder"] = Slow()
    adding = threading.Thread(target=telling.new_items.add, args=([SOAP],))
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
    any_telling.new_items.add(NEW)
    items = sorted(NEW)
    vectors = vectors_of(told, told.models[_family(any_telling)], [said for _, said in items])
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


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_added_and_removed_the_log_brings_it_back(told, word_encoder, tmp_path_factory, data):
    bundle = _bundle(told)
    log = ItemLog(tmp_path_factory.mktemp("log") / "new.jsonl")
    generator, expected = CandidateGenerator(bundle, log=log), {}
    ids = st.sampled_from(["soap", "ink", "cup", "é", ""])
    genre = st.sampled_from(["a", "b", "a|c"])
    for _ in range(data.draw(st.integers(0, 5))):
        if data.draw(st.booleans()):
            added = data.draw(st.dictionaries(ids, genre, max_size=3))
            generator.new_items.add([(one, {"genres": said}) for one, said in added.items()])
            expected |= added
        else:
            gone = data.draw(st.lists(ids, max_size=2))
            assert generator.new_items.remove(gone) == len(set(gone) & set(expected))
            expected = {one: said for one, said in expected.items() if one not in gone}
        assert len(generator.new_items) == len(expected)
    again = CandidateGenerator(bundle, log=log)
    one, other = (each.recommend(["u003"], k=99) for each in (generator, again))
    assert set(one.item_ids[0]) == set(other.item_ids[0]) > set(expected)
    # items of which the same is said differ in the last bits, by what was read beside them
    assert one.scores[0] == pytest.approx(other.scores[0], abs=1e-5)


_BUNDLES = {}


def _bundle(told):
    return _BUNDLES.setdefault("two-tower", Bundle.load(told.folders["two-tower"], hashes=False))


def test_on_the_command_line_a_file_of_new_items_is_read(telling, told, tmp_path, capsys):
    path, folder = tmp_path / "new.jsonl", told.folders[_family(telling)]
    lines = [*({"item_id": item, "attributes": said} for item, said in NEW), {"item_id": "cup", "attributes": {"x": 1}}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ["--model", str(folder), "--new-items", str(path), "-k", "99", "--json"]
    assert main(["recommend", "--user", "u003", "--keep-seen", *asked]) == 0
    out = capsys.readouterr()
    assert set(json.loads(out.out)[0]["item_ids"]) > {"soap", "ink", "a-cup"}
    why = "says nothing that this model knows, so it has no place"
    assert out.err == f"{path}: 1 left out, such as 'cup', which {why}\n"
    assert main(["similar", "--item", "soap", *asked]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["item_ids"]) == 62
    path.unlink()
    assert main(["similar", "--item", "soap", *asked]) == 2
    assert f"there are no new items at {path}" in capsys.readouterr().err
