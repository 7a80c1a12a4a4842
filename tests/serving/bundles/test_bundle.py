"""A bundle comes back as it was written, and one whose parts do not agree is refused by name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from features.dataset import Dataset
from features.errors import InputError
from features.schema import Categorical, FeatureSchema, Id
from features.splits import TEST, TRAIN
from recsys.embeddings import EmbeddingPlan
from recsys.index import IndexConfig, ItemIndex
from serving.bundles.bundle import Bundle, with_metrics
from serving.bundles.manifest import FILES_OF, GOLDEN, Manifest
from serving.bundles.sealed import BundleError
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator


@pytest.fixture
def folder(string_folder, tmp_path):
    return shutil.copytree(string_folder, tmp_path / "bundle")


def reseal(folder, **changes):
    """As if the bundle had been made that way: the hashes agree with the files again."""
    dataclasses.replace(Manifest.read(folder), **changes).sealed(folder).write(folder)


@pytest.mark.parametrize(("family", "kind"), [("two-tower", "retriever"), ("sequential", "sequential")])
def test_it_comes_back_as_it_was_written(string_folders, strings, tiny, family, kind):
    bundle = Bundle.load(string_folders[family])
    assert bundle.manifest.kind == kind
    assert bundle.schema == tiny.schema
    assert bundle.users.ids.equals(strings.users.ids)
    assert bundle.items.ids.equals(strings.items.ids)
    for name, weight in tiny.model_for(strings, family=family).state_dict().items():
        assert torch.equal(bundle.model.state_dict()[name], weight)
    assert bundle.item_counts.tolist() == strings.item_counts.tolist()
    assert bundle.known.trained.tolist() == (strings.train.lengths > 0).tolist()
    histories = bundle.known.histories(np.arange(40))
    assert histories.values.tolist() == strings.test_histories.values.tolist()
    assert histories.offsets.tolist() == strings.test_histories.offsets.tolist()
    rows = np.array([3, 39, 0])
    for mine, theirs in ((bundle.known.features(rows), strings.user_table.take(rows)),):
        assert {name: one.values.tolist() for name, one in mine.sparse.items()} == {
            name: one.values.tolist() for name, one in theirs.sparse.items()
        }
        assert mine.dense["age"].tolist() == theirs.dense["age"].tolist()
    assert bundle.item_table["title"].to_list() == [f"Thing number {n}" for n in range(60)]
    assert not bundle.model.training
    assert sorted(path.name for path in string_folders[family].iterdir()) == sorted(
        [*FILES_OF[kind], GOLDEN, "manifest.json"]
    )


def test_its_manifest_says_what_it_is(string_folder, strings):
    manifest = Manifest.read(string_folder)
    assert (manifest.kind, manifest.name, manifest.n_users, manifest.n_items) == ("retriever", "tiny", 40, 60)
    assert manifest.n_interactions == int((strings.split.parts == TRAIN).sum())
    assert manifest.dim == 9
    assert manifest.index["kind"] == "exact"
    assert manifest.index["recall"] == 1.0
    assert manifest.split["sha256"] == strings.split.sha256
    assert manifest.split["seen"] == strings.split.seen
    stamps, parts = strings.dataset.interactions["timestamp"], strings.split.parts
    cutoff, until = (stamps.filter(pl.Series(one)).max() for one in (parts == TRAIN, parts != TEST))
    expected = {"name": "tiny", "sha256": strings.dataset.sha256, "cutoff": cutoff, "known_until": until}
    assert manifest.data == expected
    assert manifest.vocabularies["item_id"] == strings.items.sha256


def test_the_build_id_follows_from_what_is_inside(strings, tmp_path, tiny):
    def build(name, seed=0, **facts):
        return Manifest.read(write_bundle(tmp_path / name, tiny.model_for(strings, seed), strings, **facts)).build_id

    first = build("a")
    assert build("b") == first
    assert build("c", seed=1) != first
    assert build("a", metrics={"hr@10": 0.1}) == first  # written over the first


def test_official_figures_are_added_without_changing_the_build(folder):
    before = Manifest.read(folder)
    with_metrics(folder, {"hr@10": 0.25})
    after = Manifest.read(folder)
    assert after == dataclasses.replace(before, metrics={"hr@10": 0.25})
    Bundle.load(folder)


@pytest.mark.parametrize("name", [*FILES_OF["retriever"], "manifest.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        Bundle.load(folder)


@pytest.mark.parametrize("name", FILES_OF["retriever"])
def test_a_changed_byte_is_found(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    said = Manifest.read(folder).files[name]["sha256"]
    found = hashlib.sha256(data).hexdigest()
    with pytest.raises(BundleError, match=f"^{name} has the sha256 {found}, and manifest.json says {said}$"):
        Bundle.load(folder)
    (folder / name).write_bytes(data[:-1])
    with pytest.raises(BundleError, match=f"^{name} has {len(data) - 1} bytes, and manifest.json says {len(data)} "):
        Bundle.load(folder, hashes=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "is a JSON list, not an object"),
        ("{}", "of format None"),
        ('{"format": 3}', "of format 3, and this version reads format 2$"),
        ('{"format": 1}', "of format 1, and this version reads format 2; an earlier version wrote the bundle: train"),
        ('{"format": 2}', "lacks field 'kind'"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_manifest_that_is_none_is_refused(folder, text, words):
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=rf"manifest\.json .*{words}"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_items": 61}, "vocabulary.parquet has 60 item ids, and the bundle 61"),
        ({"n_users": 39}, "vocabulary.parquet has 40 user ids, and the bundle 39"),
        ({"dim": 8}, "items.faiss has 9 columns a vector, and the bundle 8"),
        ({"kind": "sequential"}, "family 'two-tower', and bundles of kind 'sequential' hold others"),
        ({"kind": "matcher"}, "is a matcher of records, and a recommender"),
        ({"n_items": "60"}, "n_items is '60', not of type int"),
        ({"precision": "int4"}, "precision 'int4'; the precisions are fp32, fp16, int8"),
        ({"precision": "int8"}, "items.faiss is of precision fp32, and the bundle of int8"),
        ({"files": []}, "files is .*, not of type dict"),
        ({"files": {}}, "does not list features.json"),
        ({"surprise": 1}, "unknown field 'surprise'"),
    ],
)
def test_a_manifest_that_disagrees_is_refused(folder, changes, words):
    data = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match=words):
        Bundle.load(folder)


def _weights(folder, change):
    weights = load_file(folder / "weights.safetensors")
    change(weights)
    save_file(weights, folder / "weights.safetensors")


def _rewrite(folder, name, change):
    frame = pl.read_parquet(folder / name)
    change(frame).write_parquet(folder / name)


def _json(folder, name, change):
    data = json.loads((folder / name).read_text())
    change(data)
    (folder / name).write_text(json.dumps(data))


LAYER = "user_tower.layers.0.bias"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda f: ItemIndex.build(np.eye(59, 9, dtype="f4")).save(f / "items.faiss"),
            "items.faiss has 59 vectors, .* 60",
        ),
        (lambda f: ItemIndex.build(np.eye(60, 5, dtype="f4")).save(f / "items.faiss"), "5 columns a vector, .* 9"),
        (
            lambda f: _rewrite(f, "vocabulary.parquet", lambda t: t[:-1]),
            "vocabulary.parquet: that of '.*' has the sha256",
        ),
        (lambda f: _rewrite(f, "users.parquet", lambda t: t[1:]), "users.parquet has 39 rows, and the bundle 40"),
        (
            lambda f: _rewrite(f, "histories.parquet", lambda t: t[1:]),
            "histories.parquet has 39 rows, and the bundle 40",
        ),
        (lambda f: _rewrite(f, "items.parquet", lambda t: t[1:]), "items.parquet has 59 rows, and the bundle 60"),
        (
            lambda f: _rewrite(f, "popularity.parquet", lambda t: t[1:]),
            "popularity.parquet has 59 rows, and the bundle 60",
        ),
        (lambda f: _weights(f, lambda w: w.pop(LAYER)), f"weights.safetensors lacks '{LAYER}'"),
        (lambda f: _weights(f, lambda w: w.update(extra=torch.ones(1))), "weights.safetensors has the unknown 'extra'"),
        (
            lambda f: _weights(f, lambda w: w.update({LAYER: torch.ones(7)})),
            rf"{LAYER} has the shape \(7,\), .* \(8,\)",
        ),
        (lambda f: (f / "weights.safetensors").write_bytes(b"junk"), "weights.safetensors cannot be read"),
        (lambda f: (f / "items.faiss").write_bytes(b"junk"), "items.faiss cannot be read as an index"),
        (lambda f: (f / "users.parquet").write_bytes(b"junk"), "cannot be used"),
        (lambda f: _json(f, "model.json", lambda d: d.update(family="mlp")), "family 'mlp', and bundles of kind"),
        (lambda f: _json(f, "model.json", lambda d: d.update(family="sequential")), "family 'sequential', and bundles"),
        (lambda f: _json(f, "model.json", lambda d: d["config"].update(dim=7)), r"has the shape \(9,\), .* \(8,\)"),
        (lambda f: _json(f, "model.json", lambda d: d["config"].update(depth=7)), "depth"),
        (lambda f: _json(f, "features.json", lambda d: d.pop("statistics")), "statistics"),
        (lambda f: _json(f, "features.json", lambda d: d["schema"]["user"].pop(1)), "weights.safetensors"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused_though_their_hashes_agree(folder, damage, words):
    damage(folder)
    reseal(folder)
    with pytest.raises(BundleError, match=words) as caught:
        Bundle.load(folder)
    assert "\n" not in str(caught.value)


def test_it_is_written_whole_or_not_at_all(folder, strings, monkeypatch, tiny):
    before = Manifest.read(folder)

    def fail(*arguments, **settings):
        raise OSError("disk full")

    monkeypatch.setattr("serving.bundles.writer.ItemIndex.build", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bundle(folder, tiny.model_for(strings, seed=5), strings)
    with pytest.raises(OSError, match="disk full"):
        write_bundle(folder.parent / "other", tiny.model_for(strings, seed=5), strings)
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    assert Manifest.read(folder) == before
    Bundle.load(folder)


def test_nothing_but_a_bundle_is_written_over(tmp_path, strings, tiny):
    (tmp_path / "thesis.tex").write_text("four years")
    for target in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(BundleError, match="is no bundle; it is not written over"):
            write_bundle(target, tiny.model_for(strings), strings)
    assert (tmp_path / "thesis.tex").read_text() == "four years"


def test_the_multiplexed_table_and_trained_towers_come_back(tmp_path, integers, tiny):
    plan = EmbeddingPlan(width=8, lookups=2)
    model = tiny.model_for(integers, embeddings=plan, user_hidden=(6,), item_bias=False, similarity="dot")
    folder = write_bundle(tmp_path / "b", model, integers, IndexConfig("hnsw"))
    generator = CandidateGenerator.load(folder, mmap=True)
    batch = integers.user_table.take(np.arange(5))
    batch.sparse["history"] = integers.test_histories.take(np.arange(5))
    mine = generator.bundle.known.features(np.arange(5))
    mine.sparse["history"] = batch.sparse["history"]
    assert torch.equal(generator.bundle.model.encode_users(mine), model.encode_users(batch))


def test_a_column_without_any_value_and_features_of_one_column_are_kept(tmp_path, strings, tiny):
    data = strings.dataset
    users = data.users.with_columns(pl.lit(None, dtype=pl.String).alias("nothing"))
    schema = FeatureSchema(
        user=(Id("user_id"), Categorical("nothing"), Categorical("home", "city"), Categorical("away", "city")),
        item=(Id("item_id"),),
    )
    prepared = tiny.prepared_of(Dataset.construct("odd", data.interactions, data.items, users, schema))
    folder = write_bundle(tmp_path / "b", tiny.model_for(prepared), prepared)
    assert len(CandidateGenerator.load(folder).recommend(["u001"], k=5).item_ids[0]) == 5


def test_a_feature_cannot_take_the_name_of_the_ids(tmp_path, strings, tiny):
    data = strings.dataset
    schema = FeatureSchema(user=(Id("who", "user_id"), Categorical("item_id", "city")), item=(Id("what", "item_id"),))
    prepared = tiny.prepared_of(Dataset.construct("odd", data.interactions, data.items, data.users, schema))
    with pytest.raises(InputError, match="'item_id' is of kind 'categorical'"):
        write_bundle(tmp_path / "b", tiny.model_for(prepared), prepared)
    assert not list(tmp_path.iterdir())


def test_ids_may_be_declared_under_other_names(tmp_path, strings, tiny):
    data = strings.dataset
    schema = FeatureSchema(user=(Id("who", "user_id"),), item=(Id("what", "item_id"),))
    prepared = tiny.prepared_of(Dataset.construct("odd", data.interactions, data.items, data.users, schema))
    generator = CandidateGenerator.load(write_bundle(tmp_path / "b", tiny.model_for(prepared), prepared))
    assert generator.recommend(["u001"]).sources == ["user"]
