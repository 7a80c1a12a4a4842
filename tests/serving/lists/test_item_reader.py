"""What can be said of a new item: read as the catalogue's is, or refused by name."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.dataset import Dataset
from features.schema import FeatureSchema, Id, Vector
from recsys.fusion import FusionConfig, fit_texts
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.lists.raw_ids import FieldError


def test_numbers_are_told_as_the_catalogue_tells_them(telling):
    """An integer in a column of floats is the float, and a category is the same one."""
    telling.new_items.add([("one", {"year": 2001, "maker": "Ada"}), ("other", {"year": 2001.0, "maker": "Ada"})])
    shelf = telling.new_items.shelf
    one, other = shelf.new_index.stored(0)
    assert one == pytest.approx(other, abs=1e-6)


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
def test_an_item_that_cannot_be_placed_is_named(telling, told, item, words):
    log = telling.new_items
    with pytest.raises(FieldError, match=f"^{words}") as caught:
        log.add([told.new[0], item])
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
