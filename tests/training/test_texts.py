"""Texts of items, from the configuration to the data and to what a bundle is measured on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.dataset import Dataset
from features.errors import InputError
from features.item_log import ItemLog
from features.prepared import Prepared
from features.schema import Vector
from features.sources.tables import write_tables
from features.splits import leave_one_out, random_ratio
from recsys.text_encoders import ItemTextConfig
from serving.bundles.bundle import Bundle
from training.as_bundle import declared_as
from training.bundle_evaluation import evaluate_bundle
from training.cli import main
from training.config import TrainConfig, load_config
from training.data import load, prepare
from training.runs import RunOptions, run
from training.texts import EncodingProgress, with_texts
from training.two_tower import TwoTowerTraining

SMALL = ("model.dim=8", "model.embeddings.width=8", "optimiser.max_epochs=1", "optimiser.backend=torch")
TOLD = ("text.columns=[title,brand]", "model.fusion.kind=add")


@pytest.fixture(scope="module")
def shop() -> Dataset:
    whole = load(load_config(settings=["data.settings={interactions: 1000, users: 150, items: 80}"]).data)
    return dataclasses.replace(whole, name="shop")


def _config(*settings: str) -> TrainConfig:
    return load_config(settings=[*SMALL, *settings])


def test_items_get_the_vectors_of_what_is_told_of_them(language_model, shop: Dataset) -> None:
    said: list[str] = []
    told = with_texts(shop, _config(*TOLD, "text.encoder.dim=7", "text.feature=meaning").text, said.append)
    assert told.schema.vector == Vector("meaning", "meaning", 7)
    assert told.items["meaning"].dtype == pl.Array(pl.Float32, 7) and said == ["texts of items: 80 encoded"]
    assert told.items.drop("meaning").equals(shop.items) and told.sha256 == shop.sha256
    assert with_texts(shop, ItemTextConfig()) is shop


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            ["text.columns=[title,colour]"],
            r"text\.columns names 'colour', which the items lack; their columns are item_id",
        ),
        (["text.columns=[title]", "text.feature=price"], r"text\.feature is 'price', and a feature is called so"),
        (["text.columns=[title]", "text.feature=history"], r"text\.feature is 'history', and a feature"),
        (["text.columns=[title]", "text.feature="], r"text\.feature is empty"),
        (["text.columns=[title,title]"], r"text\.columns names 'title' 2 times"),
    ],
)
def test_what_cannot_be_told_is_named(language_model, shop: Dataset, settings: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        with_texts(shop, _config(*settings).text)


def test_a_second_vector_and_a_taken_column_are_refused(language_model, shop: Dataset) -> None:
    config = _config(*TOLD).text
    with pytest.raises(InputError, match="the items have the vector 'text_vector' already"):
        with_texts(with_texts(shop, config), dataclasses.replace(config, feature="other"))
    taken = dataclasses.replace(shop, items=shop.items.with_columns(notes=pl.lit("x")))
    with pytest.raises(InputError, match=r"text\.feature is 'notes', and a column of the items is called so"):
        with_texts(taken, dataclasses.replace(config, feature="notes"))


def test_a_split_that_cannot_be_is_told_before_anything_is_encoded(monkeypatch, shop: Dataset) -> None:
    monkeypatch.setattr("recsys.text_encoders.items.item_vectors", None)
    with pytest.raises(InputError, match="sideways"):
        prepare(_config(*TOLD, "split.name=sideways"), shop)


def test_a_bundle_is_measured_on_data_that_says_nothing_of_texts(language_model, shop: Dataset, tmp_path: Path) -> None:
    config = _config(*TOLD)
    result = run(config, RunOptions(tmp_path / "run", track=False), prepare(config, shop))
    plain = Prepared.of(shop, random_ratio(shop))
    assert evaluate_bundle(result.bundle, plain) == Bundle.load(result.bundle).manifest.metrics
    bundle = Bundle.load(result.bundle)
    seen, own = declared_as(bundle, plain), prepare(config, shop)
    assert seen.dataset.schema == bundle.schema
    assert (seen.item_table.dense["text_vector"] == own.item_table.dense["text_vector"]).all()
    # vectors of the data's own, under another name, are none of the model's business
    pictures = shop.with_vectors(pl.Series("picture", [[1.0, 2.0]] * shop.items.height))
    assert declared_as(bundle, Prepared.of(pictures, plain.split)).dataset.schema == bundle.schema
    with pytest.raises(InputError, match=r"text\.columns names 'brand', which the items lack"):
        declared_as(bundle, dataclasses.replace(plain, dataset=_without(shop, "brand")))
    text = dataclasses.replace(bundle.text, fingerprint="another")
    with pytest.raises(InputError, match="is not the one that this model was trained with"):
        declared_as(dataclasses.replace(bundle, text=text), plain)


def _without(data: Dataset, column: str) -> Dataset:
    schema = dataclasses.replace(data.schema, item=tuple(one for one in data.schema.item if one.column != column))
    return dataclasses.replace(data, items=data.items.drop(column), schema=schema)


def test_what_a_service_was_told_of_is_an_ordinary_item_in_the_next_build(
    language_model, shop: Dataset, tmp_path: Path
) -> None:
    sold = shop.interactions.head(1).with_columns(item_id=pl.lit("new-3"))  # by now, and in no table of items yet
    write_tables(dataclasses.replace(shop, interactions=pl.concat([shop.interactions, sold])), tmp_path / "shop")
    log = ItemLog(tmp_path / "new.jsonl")
    told = {"new-1": {"title": "Rose soap", "brand": "Ada"}, "new-2": {"title": "Ink"}, "new-3": {"title": "Tea"}}
    log.add(told)
    log.remove(["new-2"])
    at = [f"data.root={tmp_path / 'shop'}", f"data.new_items={log.path}"]
    config = load_config(settings=[*SMALL, *TOLD, *at], data__name="tables")
    prepared = prepare(config)
    assert len(prepared.items) == 82
    one, other = prepared.items.rows(["new-1", "new-3"])
    assert prepared.item_counts[one] == 0 and prepared.item_table.dense["text_vector"][[one, other]].any(axis=1).all()
    # scored down by everybody before anybody could take it, it would be found nowhere
    known = TwoTowerTraining(config, prepared, backend="torch")._known
    assert one not in known and other in known and set(known) == set(np.flatnonzero(prepared.item_counts))
    bundle = Bundle.load(run(config, RunOptions(tmp_path / "run", track=False), prepared).bundle)
    assert "new-1" in bundle.items.ids and bundle.item_table.filter(item_id="new-3")["title"].item() == "Tea"
    with pytest.raises(InputError, match=r"data\.new_items is 'absent', and there is no such file"):
        load(dataclasses.replace(config.data, new_items="absent"))


def test_progress_is_shown_to_people_alone(capsys: pytest.CaptureFixture) -> None:
    with EncodingProgress() as progress:
        progress(0, 10)
        progress(10, 10)
    with EncodingProgress():  # nothing was to be encoded
        pass
    assert capsys.readouterr() == ("", "")


def _words(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def test_the_command_line_goes_the_whole_way_with_a_real_language_model(
    capsys: pytest.CaptureFixture, store: str
) -> None:
    data = _words("data.settings={interactions: 1000, users: 150, items: 80}", "text.store=texts")
    model = _words(*SMALL, "model.heads=1", "model.layers=1", "text.columns=[title,brand]")
    train = ["train", "sequential", "--data", "generated", "--no-mlflow", "--json", *data, *model]
    assert main([*train, *_words("model.fusion.kind=alphafuse")]) == 0
    told = capsys.readouterr()
    figures = json.loads(told.out.splitlines()[-1])
    assert "texts of items: 80 encoded" in told.err.splitlines()
    bundle = Path(figures["bundle"])
    assert "collisionless-alphafuse" in str(bundle)
    evaluate = ["evaluate", "--model", str(bundle), "--json", "--data", "generated"]
    for more in (data, ["--config", str(bundle.parent / "config.yaml")]):
        assert main([*evaluate, *more]) == 0
        again = json.loads(capsys.readouterr().out)
        for name in ("hr@10", "ndcg@10", "recall@50"):
            assert again[name] == pytest.approx(figures[name], abs=1e-9)
        assert again["all"]["ties"] == Bundle.load(bundle).manifest.metrics["ties"]
    # once more: nothing is encoded, and nothing is trained otherwise
    assert main([*train, *_words("model.fusion.kind=alphafuse"), "--run-dir", "again"]) == 0
    told = capsys.readouterr()
    assert "texts of items: 80 already known" in told.err.splitlines()
    assert json.loads(told.out.splitlines()[-1])["ndcg@10"] == figures["ndcg@10"]
    weights = [Bundle.load(one).model.state_dict() for one in (bundle, "again/bundle")]
    assert all(torch.equal(one, weights[1][name]) for name, one in weights[0].items())
    assert main(["recommend", "--model", str(bundle), "--user", "u00003", "-k", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["item_ids"]) == 3


def test_a_run_that_reads_texts_is_measured_by_leave_one_out_too(language_model, shop: Dataset, tmp_path: Path) -> None:
    config = _config(*TOLD, "split.name=leave-one-out")
    result = run(config, RunOptions(tmp_path / "run", track=False), prepare(config, shop))
    plain = Prepared.of(shop, leave_one_out(shop))
    assert evaluate_bundle(result.bundle, plain)["ndcg@10"] == result.figures["ndcg@10"]


def test_a_ranker_goes_into_a_bundle_that_reads_texts(
    language_model, store: str, capsys: pytest.CaptureFixture
) -> None:
    data = ["--no-mlflow", *_words("data.settings={interactions: 1000, users: 150, items: 80}")]
    assert main(["train", "two-tower", "--run-dir", "run", *data, *_words(*SMALL, *TOLD)]) == 0
    ranker = ["train", "ranker", "--into", "run/bundle", "--run-dir", "ranker", "--json", *data]
    assert main([*ranker, *_words("model.embeddings.width=8", "optimiser.max_epochs=1")]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["retrieved_ndcg@10"] == Bundle.load("run/bundle").manifest.metrics["ndcg@10"]
    assert Bundle.load("ranker/bundle").text.config.columns == ("title", "brand")
