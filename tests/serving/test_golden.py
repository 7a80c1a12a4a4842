"""Golden requests: a bundle answers as it did where it was made, and says so where it does not."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from recsys.index import ItemIndex
from recsys.interests import InterestsConfig
from serving.bundles.bundle import Bundle
from serving.bundles.interests_writer import with_interests
from serving.bundles.manifest import GOLDEN, Manifest
from serving.bundles.sealed import BundleError
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.golden import TOLERANCE, replay


@pytest.fixture
def folder(string_folder, tmp_path):
    return shutil.copytree(string_folder, tmp_path / "bundle")


def asked(folder):
    return json.loads((folder / GOLDEN).read_text())["asked"]


def rewrite(folder, told):
    (folder / GOLDEN).write_text(json.dumps({"k": 10, "asked": told}))
    Manifest.read(folder).sealed(folder).write(folder)


def test_every_bundle_has_them_listed_and_answers_as_they_say(any_generator, integer_generator):
    for generator in (any_generator, integer_generator):
        manifest = generator.bundle.manifest
        assert manifest.has_golden and manifest.files[GOLDEN]["bytes"] > 0
        assert replay(generator) == []


def test_they_ask_for_known_users_a_stranger_and_given_histories(folder, generator):
    by_id, by_history = asked(folder)
    ids = by_id["request"]["user_ids"]
    assert len(ids) == 5 and (generator.user_ids.rows(ids, "ids") >= 0).tolist() == [True] * 4 + [False]
    assert by_id["answer"]["sources"] == ["user"] * 4 + ["popularity"]
    assert by_history["answer"]["sources"] == ["history"] * 3
    assert all(len(one) == 10 for answer in (by_id, by_history) for one in answer["answer"]["item_ids"])
    answer = generator.recommend(ids, k=10)
    assert answer.item_ids == by_id["answer"]["item_ids"]


def test_integers_stay_integers(integer_folder):
    by_id, _ = asked(integer_folder)
    assert all(type(one) is int for one in by_id["request"]["user_ids"])


def test_another_index_another_answer(folder, tiny, strings):
    """As if this machine computed something else: the files agree with each other, and the answers are others."""
    bundle = Bundle.load(folder)
    vectors = np.array(bundle.index.stored(0, 60))
    vectors[:, 0] += 0.3 * np.random.default_rng(0).standard_normal(60, np.float32)
    ItemIndex.build(vectors).save(folder / "items.faiss")
    Manifest.read(folder).sealed(folder).write(folder)
    found = replay(CandidateGenerator.load(folder))
    assert found and all("where the bundle was made" in one for one in found)
    assert found[0].startswith("golden request 0, user 0: place ")


def test_an_item_that_was_another_is_told(folder):
    told = asked(folder)
    told[0]["answer"]["item_ids"][0][2] = "sku-058"
    rewrite(folder, told)
    (found,) = replay(CandidateGenerator.load(folder))
    assert found.startswith("golden request 0, user 0: place 3 is sku-") and "and was sku-058" in found


def test_swaps_within_the_tolerance_alone_are_let_pass():
    from serving.golden import _difference

    then = (["a", "b", "c"], [2.0, 1.0, 1.0 - TOLERANCE / 2], "user")
    assert _difference(then, (["a", "c", "b"], [2.0, 1.0, 1.0 - TOLERANCE / 2], "user")) is None
    assert _difference(then, (["a", "b", "d"], [2.0, 1.0, 1.0 - TOLERANCE / 3], "user")) is None  # over the edge
    assert "place 1 is b" in _difference(then, (["b", "a", "c"], [2.0, 1.0, 1.0], "user"))
    assert "place 1 is d" in _difference(then, (["d", "b", "c"], [2.0, 1.0, 1.0], "user"))
    assert "place 2 is b (0.9)" in _difference(then, (["a", "b", "c"], [2.0, 0.9, 0.8], "user"))
    assert "2 items, and 3" in _difference(then, (["a", "b"], [2.0, 1.0], "user"))
    assert "answered by popularity" in _difference(then, (*then[:2], "popularity"))


def test_what_changes_the_answers_asks_anew(folder):
    before = asked(folder)
    with_interests(folder, InterestsConfig(order="weight"))
    assert Manifest.read(folder).retriever == "smoothed"
    assert asked(folder)[0]["answer"]["scores"] != before[0]["answer"]["scores"]
    assert replay(CandidateGenerator.load(folder)) == []


def test_new_items_are_left_out(folder):
    generator = CandidateGenerator.load(folder)
    generator.new_items.add([("sku-new", {"genres": "a|b", "title": "New"})])
    assert len(generator.new_items) == 1 and replay(generator) == []


def test_requests_that_are_refused_now_are_told(folder):
    told = asked(folder)
    rewrite(folder, [{**told[0], "request": {**told[0]["request"], "rerank": True}}, told[1]])
    assert replay(CandidateGenerator.load(folder)) == [
        "golden request 0 is refused: this model has no ranker, so candidates cannot be re-ranked"
    ]


def test_a_bundle_of_an_earlier_version_has_none(folder):
    (folder / GOLDEN).unlink()
    manifest = Manifest.read(folder)
    dataclasses.replace(manifest, files={}).sealed(folder).write(folder)
    generator = CandidateGenerator.load(folder)
    assert not generator.bundle.manifest.has_golden and replay(generator) == []


def test_damage_is_named(folder):
    generator = CandidateGenerator.load(folder)
    (folder / GOLDEN).write_text("[]")
    with pytest.raises(BundleError, match=r"golden\.json cannot be read"):
        replay(generator)
    with pytest.raises(BundleError, match=r"^the bundle at /.*: golden\.json has 2 bytes"):
        CandidateGenerator.load(folder)


def test_models_that_read_times_are_told_them(tiny, tmp_path):
    history = dataclasses.replace(tiny.schema.history, timed=True)
    schema = dataclasses.replace(
        tiny.schema, user=(*(one for one in tiny.schema.user if one.name != "history"), history)
    )
    dataset = dataclasses.replace(tiny.make_dataset(), schema=schema)
    prepared = tiny.prepared_of(dataset, "leave-one-out")
    model = tiny.model_for(prepared, family="sequential", backbone="hstu", times="request")
    folder = write_bundle(tmp_path / "bundle", model, prepared)
    by_history = asked(folder)[1]["request"]
    assert len(by_history["asked_at"]) == 3 and all(map(len, by_history["history_times"]))
    assert replay(CandidateGenerator.load(folder)) == []
