"""Models that read their items' texts, from data to bundle: trained, measured as served, resumed, gone on with.

What the layers and losses compute is tested beside them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from pytorch_lightning.callbacks import Callback

from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.schema import Categorical, FeatureSchema, Id, Sequence, Text
from features.splits import cold_items, leave_one_out
from recsys.fusion import fit_texts
from recsys.retrievers import encode_catalogue, make_retriever
from serving.bundles.bundle import Bundle
from serving.bundles.manifest import Manifest
from training.bundle_evaluation import evaluate_bundle
from training.config import TrainConfig, load_config
from training.evaluation import Evaluation, ModelScores, evaluate
from training.families import described, family_of
from training.release import load_model, release
from training.retriever import seen_texts
from training.runs import RunOptions, run
from training.sequential import SequentialTraining
from training.sequential_config import SequentialTrainConfig
from training.texts import with_texts
from training.two_tower import TwoTowerTraining
from training.warm_start import WarmStart
from training.windows import Windows

COMMON = (
    "model.dim=8",
    "model.embeddings.width=8",
    "optimiser.max_epochs=3",
    "optimiser.validate_every=1",
    "optimiser.lr=0.01",
    "optimiser.backend=torch",
    "split.name=leave-one-out",
)
FAMILIES: dict[str, tuple[type, tuple[str, ...]]] = {
    "sequential": (SequentialTrainConfig, ("model.heads=1", "model.layers=1", "model.max_length=20")),
    "two-tower": (TrainConfig, ("model.similarity=dot", "model.item_bias=true", "optimiser.lr=0.03")),
}
TOLD = ("text.columns=[title,third]",)


def _config(family: str, *settings: str) -> Any:
    kind, own = FAMILIES[family]
    return load_config(settings=[*COMMON, *own, *settings], kind=kind)


def _fused(family: str, kind: str, align: str, *settings: str) -> Any:
    bias = ("model.item_bias=false",) if family == "two-tower" and kind in ("text", "whitened") else ()
    return _config(family, f"model.fusion.kind={kind}", f"model.fusion.align={align}", *bias, *settings)


def _rounds(items: int = 30, users: int = 60, length: int = 12) -> Dataset:
    """Users who go round the items, each from another place; three items have no title."""
    rows = [(f"u{user}", f"i{(user * 7 + step) % items:02}", step) for user in range(users) for step in range(length)]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    table = pl.DataFrame(
        {
            "item_id": [f"i{n:02}" for n in range(items)],
            "title": [None if n % 10 == 3 else f"Thing {n}" for n in range(items)],
            "third": [f"t{n % 3}" if n % 10 != 3 else None for n in range(items)],
        }
    )
    schema = FeatureSchema(user=(Sequence("history"),), item=(Id("item_id"), Categorical("third"), Text("title")))
    return Dataset.construct("rounds", log, table, None, schema)


@pytest.fixture(scope="module")
def language_model(texts_for_nothing) -> Iterator[None]:
    """For the whole module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsys.text_encoders.items.item_vectors", texts_for_nothing)
        yield


@pytest.fixture(scope="module")
def rounds(language_model) -> Prepared:
    """With texts."""
    data = with_texts(_rounds(), _config("sequential", *TOLD).text)
    return Prepared.of(data, leave_one_out(data))


@pytest.mark.parametrize(
    ("family", "kind", "align"),
    [
        ("sequential", "add", "none"),
        ("sequential", "concat", "con"),
        ("sequential", "alphafuse", "gen"),
        ("sequential", "whitened", "none"),
        ("sequential", "text", "con"),
        ("sequential", "none", "gen"),
        ("two-tower", "add", "gen"),
        ("two-tower", "concat", "none"),
        ("two-tower", "alphafuse", "con"),
        ("two-tower", "whitened", "none"),
        ("two-tower", "text", "gen"),
        ("two-tower", "none", "con"),
    ],
)
def test_each_way_trains_and_is_measured_as_it_is_served(
    rounds: Prepared, tmp_path: Path, family: str, kind: str, align: str
) -> None:
    config, losses = _fused(family, kind, align), []
    report = lambda figures, _: losses.append(figures["train/loss"])  # noqa: E731
    fitted = family_of(config).fit(config, rounds, tmp_path / "fit", report=report)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    folder = tmp_path / "bundle"
    figures, _ = release(folder, config, rounds, fitted.model)
    assert figures == Manifest.read(folder).metrics == evaluate_bundle(folder, rounds)
    evaluation = Evaluation(rounds)
    exact = evaluate(evaluation, ModelScores(load_model(folder), evaluation).scorer)
    assert exact["ndcg@10"] == pytest.approx(figures["ndcg@10"], abs=1e-4)


def test_texts_alone_tell_what_follows_what(rounds: Prepared, tmp_path: Path) -> None:
    config = _fused("sequential", "text", "none", "optimiser.max_epochs=12", "model.dim=12", "optimiser.lr=0.03")
    assert family_of(config).fit(config, rounds, tmp_path).validation > 0.6


class _Stop(Callback):
    """Ends a run as its second epoch begins."""

    def on_train_epoch_start(self, trainer, module) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("the power is out")


@pytest.mark.parametrize(
    ("family", "kind", "align"),
    [("sequential", "alphafuse", "gen"), ("sequential", "add", "con"), ("two-tower", "concat", "con")],
)
def test_a_resumed_run_equals_an_undisturbed_one(
    rounds: Prepared, tmp_path: Path, family: str, kind: str, align: str
) -> None:
    config = _fused(family, kind, align, "model.fusion.dropout=0.2")
    fit = family_of(config).fit
    whole = fit(config, rounds, tmp_path / "whole").model.state_dict()
    with pytest.raises(RuntimeError, match="power"):
        fit(config, rounds, tmp_path / "broken", callbacks=[_Stop()])
    resumed = fit(config, rounds, tmp_path / "broken", resume=True).model.state_dict()
    assert whole.keys() == resumed.keys()
    for name, weight in whole.items():
        assert torch.equal(weight, resumed[name]), name


@pytest.mark.parametrize(
    ("family", "kind", "align"),
    [("sequential", "alphafuse", "con"), ("sequential", "add", "gen"), ("two-tower", "concat", "con")],
)
def test_withheld_items_are_not_known_to_training(
    rounds: Prepared, tmp_path: Path, family: str, kind: str, align: str
) -> None:
    """Whatever their texts say, the weights are the same: neither whitening nor alignment nor losses see them."""
    config = _fused(family, kind, align)
    split = cold_items(rounds.dataset, 0.1, 0.1, history="before")
    cold = Prepared.of(rounds.dataset, split)
    withheld = pl.Series(cold.item_counts[cold.items.rows(rounds.dataset.items["item_id"])] == 0)
    assert withheld.sum() == 6
    noise = pl.Series(np.random.default_rng(1).normal(scale=1e6, size=(len(withheld), 12)).astype(np.float32))
    vectors = rounds.dataset.items["text_vector"]
    items = rounds.dataset.items.with_columns(pl.when(withheld).then(noise).otherwise(vectors).alias("text_vector"))
    poisoned = Prepared.of(dataclasses.replace(rounds.dataset, items=items), split)
    fit = family_of(config).fit
    one, other = (
        fit(config, data, tmp_path / name, epochs=2).model for name, data in (("cold", cold), ("poisoned", poisoned))
    )
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name
    with torch.no_grad():
        assert not torch.equal(*(encode_catalogue(one, data.item_table) for data in (cold, poisoned)))


@pytest.mark.parametrize("kind", ["add", "alphafuse"])
@pytest.mark.parametrize("align", ["con", "gen"])
def test_a_process_without_a_window_has_a_gradient_of_every_weight(rounds: Prepared, kind: str, align: str) -> None:
    config = _fused("sequential", kind, align, "model.tie=false")
    module = SequentialTraining(config, rounds, "torch")
    module.log = lambda *_, **__: None
    module.on_train_epoch_start()
    batch = next(iter(Windows(rounds, config.windows, 0, lambda: 0)))
    nothing = torch.empty(0, dtype=torch.int64)
    empty = dataclasses.replace(batch, targets=nothing)
    empty.users.sparse["history"] = dataclasses.replace(batch.users.sparse["history"], values=nothing, lengths=nothing)
    module.training_step(empty, 0).backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None and not weight.grad.any(), name


def test_what_is_aligned_is_learned_and_no_part_of_the_model(rounds: Prepared, tmp_path: Path) -> None:
    """Aligned strongly, items that training has seen lie where their texts say."""

    class _Kept(Callback):
        def on_train_end(self, trainer, module) -> None:
            kept.append(module.eval())

    kept: list[TwoTowerTraining] = []
    config = _fused("two-tower", "none", "con", "model.fusion.align_weight=5.0", "optimiser.max_epochs=12")
    model = family_of(config).fit(config, rounds, tmp_path, callbacks=[_Kept()]).model
    plain = make_retriever(config.model, rounds.dataset.schema, rounds.vocabularies, rounds.item_table)
    assert model.state_dict().keys() == plain.state_dict().keys()
    module, told = kept[0], torch.from_numpy(rounds.item_table.dense["text_vector"].any(axis=1))
    with torch.no_grad():
        vectors = encode_catalogue(module.model, rounds.item_table)[told][:, :8]
        said = module.alignment.perceptron(torch.from_numpy(rounds.item_table.dense["text_vector"])[told])
        cosines = torch.nn.functional.normalize(vectors, dim=1) @ torch.nn.functional.normalize(said, dim=1).T
    assert (cosines.argmax(dim=1) == torch.arange(len(cosines))).float().mean() > 0.8


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_encodes_texts_and_its_bundle_says_how(language_model, tmp_path: Path, family: str) -> None:
    data, said = _rounds(), []
    config = _config(family, *TOLD, "model.fusion.kind=add", "optimiser.max_epochs=1", "bundle.precision=fp16")
    options = RunOptions(tmp_path / "run", track=False, refit=True, say=said.append)
    result = run(config, options, Prepared.of(data, leave_one_out(data)))
    assert "texts of items: 27 encoded, 3 items without text" in said
    manifest, bundle = Manifest.read(result.bundle), Bundle.load(result.bundle)
    assert manifest.refitted and manifest.fp32_metrics and "text.json" in manifest.files
    assert bundle.text.config.columns == ("title", "third") and bundle.model.config.fusion.kind == "add"
    assert described(config.model).endswith("-add") and described(_config(family).model) == config.model.embeddings.kind
    assert result.figures["dataset_hash"] == data.sha256  # texts that are read are no other data


def test_texts_that_no_model_reads_are_told(language_model, tmp_path: Path) -> None:
    said: list[str] = []
    data = _rounds()
    config = _config("two-tower", *TOLD, "optimiser.max_epochs=1")
    run(config, RunOptions(tmp_path / "run", track=False, say=said.append), Prepared.of(data, leave_one_out(data)))
    assert "note: the model does not read the texts of items, because model.fusion.kind is 'none'" in said


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("model.fusion.kind=add",), r"model\.fusion\.kind is 'add', and no item feature of kind 'vector' is declared"),
        (("model.fusion.align=gen",), r"model\.fusion\.align is 'gen', and no item feature"),
        (("model.fusion.kind=alphafuse", *TOLD, "model.dim=16"), r"keeps model\.dim 16 directions"),
        (("model.fusion.kind=add", "text.columns=[colour]"), r"text\.columns names 'colour', which the items lack"),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_cannot_be_is_told_before_anything_is_written(
    language_model, tmp_path: Path, family: str, settings: tuple[str, ...], told: str
) -> None:
    data = _rounds()
    with pytest.raises(InputError, match=told):
        run(
            _config(family, *settings),
            RunOptions(tmp_path / "run", track=False),
            Prepared.of(data, leave_one_out(data)),
        )
    assert not (tmp_path / "run").exists()


def test_items_that_training_sees_must_have_texts(rounds: Prepared, tmp_path: Path) -> None:
    vectors = rounds.dataset.items["text_vector"]
    nothing = pl.select(pl.when(pl.int_range(len(vectors)) == 0).then(vectors)).to_series().alias("text_vector")
    items = rounds.dataset.items.with_columns(nothing)
    data = Prepared.of(dataclasses.replace(rounds.dataset, items=items), rounds.split)
    with pytest.raises(InputError, match="1 of the 30 items that training sees have"):
        run(_fused("sequential", "add", "none"), RunOptions(tmp_path / "run", track=False), data)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def start(language_model, tmp_path_factory: pytest.TempPathFactory) -> WarmStart:
    """A model of thirty items."""
    data, folder = _rounds(), tmp_path_factory.mktemp("start")
    config = _config("sequential", *TOLD, "model.fusion.kind=alphafuse", "model.embeddings.kind=multiplexed")
    config = dataclasses.replace(config, optimiser=dataclasses.replace(config.optimiser, max_epochs=1))
    result = run(config, RunOptions(folder / "run", track=False), Prepared.of(data, leave_one_out(data)))
    return WarmStart.load(result.bundle)


def test_training_goes_on_with_the_texts_and_the_whitening_that_it_has(
    language_model, start: WarmStart, tmp_path: Path
) -> None:
    settings = start.settings()
    assert "model.fusion.kind=alphafuse" in settings and 'text.columns=["title", "third"]' in settings
    config = load_config(settings=settings, kind=SequentialTrainConfig)
    assert config.model == start.config and config.text.columns == ("title", "third")

    data = _rounds(items=40)  # ten more
    newer = Prepared.of(data, leave_one_out(data))
    config = _config("sequential", "optimiser.max_epochs=1")
    config = dataclasses.replace(config, model=start.config)
    continued = start.continued(newer)
    assert continued.dataset.schema == start.bundle.schema
    model = make_retriever(start.config, continued.dataset.schema, continued.vocabularies, continued.item_table)
    model.load_state_dict(start.weights(continued))
    now = encode_catalogue(model.eval(), continued.item_table)
    then = encode_catalogue(start.bundle.model, start.bundle.encoded_items())
    rows = start.bundle.items.rows(newer.items.ids)
    torch.testing.assert_close(now[rows >= 0], then[rows[rows >= 0]], rtol=0, atol=1e-6)

    result = run(config, RunOptions(tmp_path / "newer", track=False), newer, start)
    bundle = Bundle.load(result.bundle)
    assert bundle.text.config == start.bundle.text.config
    own, ours = start.bundle.model.item_encoder.fusion.text, bundle.model.item_encoder.fusion.text
    anew = make_retriever(start.config, continued.dataset.schema, continued.vocabularies, continued.item_table)
    fit_texts(anew, seen_texts(continued, continued.dataset.schema.vector))
    for name, buffer in own.state_dict().items():
        assert torch.equal(buffer, ours.state_dict()[name])
        assert not torch.equal(buffer, anew.item_encoder.fusion.text.state_dict()[name])
    again = run(config, RunOptions(tmp_path / "newer", resume=True, track=False), newer, start)
    assert again.figures["ndcg@10"] == result.figures["ndcg@10"]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (
            "text.columns=[title]",
            r"'text\.columns' is \['title'\], and the model of .* was trained with",
        ),
        ("text.prefix=an item", r"'text\.prefix' is 'an item'"),
        ("text.encoder.dim=6", r"'text\.encoder\.dim' is 6"),
        ("model.fusion.kind=add", r"'model\.fusion\.kind' is 'add'"),
    ],
)
def test_settings_that_contradict_the_model_are_named(start: WarmStart, setting: str, told: str) -> None:
    asked = load_config(settings=[*start.settings(), setting], kind=SequentialTrainConfig)
    with pytest.raises(InputError, match=told):
        start.configured(asked)


def test_a_store_may_lie_elsewhere(start: WarmStart, tmp_path: Path) -> None:
    asked = load_config(settings=[*start.settings(), f"text.store={tmp_path}"], kind=SequentialTrainConfig)
    assert start.configured(asked).text.store == str(tmp_path)


def test_a_model_without_texts_goes_on_without_them(language_model, tmp_path: Path) -> None:
    data = _rounds()
    prepared = Prepared.of(data, leave_one_out(data))
    config = _config("sequential", "optimiser.max_epochs=1")
    start = WarmStart.load(run(config, RunOptions(tmp_path / "older", track=False), prepared).bundle)
    config = dataclasses.replace(_config("sequential", *TOLD), model=start.config)
    with pytest.raises(InputError, match=r"text\.columns is \['title', 'third'\], and the model of"):
        run(config, RunOptions(tmp_path / "newer", track=False), prepared, start)
    assert not (tmp_path / "newer").exists()
