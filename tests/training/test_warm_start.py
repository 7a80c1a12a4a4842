"""Going on with newer data: old ids keep their vectors, new ones are learned, no table grows, losses are measured."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.schema import FeatureSchema, Id
from features.sources import load
from features.sources.tables import write_tables
from features.splits import TEST, by_time, random_ratio
from recsys.retrievers import encode_catalogue
from recsys.two_tower import TwoTower
from serving.bundles.bundle import Bundle, with_metrics
from serving.bundles.manifest import Manifest
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.resolve import Resolved
from training.as_bundle import AsBundle
from training.bundle_evaluation import evaluate_bundle
from training.cli import main
from training.config import TrainConfig, load_config
from training.retention import compare, told
from training.run_folder import began_from
from training.runs import RunOptions, run
from training.warm_start import WarmStart

SMALL = (
    "model.dim=16",
    "model.embeddings.width=16",
    "model.embeddings.budget=0.5",
    "model.embeddings.initial_range=1e-05",
    "optimiser.max_epochs=4",
    "optimiser.lr=0.02",
    "optimiser.validate_every=2",
    "optimiser.backend=torch",
    "examples.batch_size=64",
)

INTEGERS = "data.settings={interactions: 2000, integer_ids: true}"


def _part(whole: Dataset, name: str, chosen: pl.Expr) -> Dataset:
    """Some of the interactions, with the users and items that they mention, and some items that nobody took."""
    log = whole.interactions.filter(chosen)
    users = whole.users.filter(pl.col("user_id").is_in(log["user_id"].unique().implode()))
    items = whole.items.filter(pl.col("item_id").is_in(log["item_id"].unique().implode()))
    return Dataset.construct(name, log, items, users, whole.schema)


@pytest.fixture(scope="module")
def shops() -> tuple[Dataset, Dataset]:
    """A shop until some day, without the items and users that were new then, and after it."""
    whole = load("generated", interactions=4000, users=200, items=200)
    day = int(whole.interactions["timestamp"].quantile(0.5))
    launched = whole.items["item_id"].gather_every(4)  # a quarter
    joined = whole.users["user_id"].gather_every(8)
    late = pl.col("item_id").is_in(launched.implode()) | pl.col("user_id").is_in(joined.implode())
    before = pl.col("timestamp") < day
    return _part(whole, "older", before & ~late), _part(whole, "newer", ~before)


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return load_config(settings=SMALL)


@pytest.fixture(scope="module")
def newer(shops) -> Prepared:
    return Prepared.of(shops[1], by_time(shops[1], test=0.2))


@pytest.fixture(scope="module")
def folder(shops, config, tmp_path_factory) -> Path:
    """The bundle that others go on from."""
    options = RunOptions(tmp_path_factory.mktemp("old") / "run", track=False)
    return run(config, options, Prepared.of(shops[0], random_ratio(shops[0]))).bundle


@pytest.fixture(scope="module")
def start(folder) -> WarmStart:
    return WarmStart.load(folder)


@pytest.fixture(scope="module")
def result(start, config, newer, tmp_path_factory):
    config = dataclasses.replace(config, model=start.config)
    return run(config, RunOptions(tmp_path_factory.mktemp("new") / "run", track=False), newer, start)


def _untrained(start: WarmStart, prepared: Prepared) -> TwoTower:
    model = TwoTower(start.config, prepared.dataset.schema, prepared.vocabularies)
    model.load_state_dict(start.weights(prepared))
    return model.eval()


def _same_vectors_at_the_start(start: WarmStart, prepared: Prepared) -> None:
    prepared = start.continued(prepared)
    now = encode_catalogue(_untrained(start, prepared), prepared.item_table)
    then = encode_catalogue(start.bundle.model, start.bundle.encoded_items())
    rows = start.bundle.items.rows(prepared.items.ids)
    both = np.flatnonzero((rows >= 0) & (np.append(start.bundle.item_counts, 0)[rows] > 0))
    assert len(both) > 50
    torch.testing.assert_close(now[both], then[rows[both]], rtol=0, atol=1e-6)


def test_old_items_have_their_vectors_at_the_start(start, newer) -> None:
    assert len(newer.items) != len(start.bundle.items)
    _same_vectors_at_the_start(start, newer)


@pytest.mark.parametrize("settings", [("model.tie_history=true",), ("model.embeddings.tables=3",), ("x=int8",)])
def test_so_they_have_whatever_the_tables_are(shops, newer, tmp_path, settings) -> None:
    precision = "int8" if settings == ("x=int8",) else "fp32"
    config = load_config(settings=[*SMALL, *(settings if precision == "fp32" else ())])
    older = Prepared.of(shops[0], random_ratio(shops[0]))
    model = TwoTower(config.model, older.dataset.schema, older.vocabularies)
    start = WarmStart.load(write_bundle(tmp_path / "bundle", model, older, precision=precision))
    _same_vectors_at_the_start(start, newer)
    for name, weight in start.weights(start.continued(newer)).items():
        assert weight.shape == model.state_dict()[name].shape and weight.dtype == torch.float32


def test_no_table_is_resized_and_a_chain_of_starts_keeps_its_size(start, result, newer) -> None:
    then, now = start.bundle.model.state_dict(), Bundle.load(result.bundle).model.state_dict()
    assert {name: one.shape for name, one in then.items()} == {name: one.shape for name, one in now.items()}
    again = WarmStart.load(result.bundle)
    assert again.config == start.config and again.config.embeddings.budget.endswith("B")
    assert again.weights(again.continued(newer)).keys() == then.keys()


def test_new_items_are_recommended_and_old_ones_too(start, result, newer) -> None:
    figures = result.figures
    assert figures["new_items"] == sum(one not in start.bundle.items.ids for one in newer.items.ids) > 30
    assert figures["new_users"] > 0 and figures["new_items_queries"] > 50
    chance = 10 / len(newer.items)
    assert figures["new_items_hr@10"] > 2 * chance and figures["old_items_hr@10_after"] > 2 * chance
    lists = CandidateGenerator.load(result.bundle).recommend(newer.users.ids.to_list(), k=10).item_ids
    new = set(newer.items.ids.to_list()) - set(start.bundle.items.ids.to_list())
    assert 0.05 < np.mean([one in new for row in lists for one in row]) < 0.8


def test_what_old_items_were_is_what_the_bundle_answers(start, result, newer) -> None:
    """By asking the bundle for everything it has, and striking what the newer catalogue lacks."""
    generator = CandidateGenerator.load(start.folder)
    users = np.flatnonzero(newer.test.lengths)
    histories = [newer.items.ids_of(newer.test_histories.row(user)).to_list() for user in users]
    frame = newer.dataset.users[np.argsort(newer.users.rows(newer.dataset.users["user_id"]))][users]
    # as strangers with histories, or what they had bought before would be struck from their lists as well
    answer = generator.recommend(None, histories, k=len(start.bundle.items), attributes=frame.drop("user_id"))
    there, ranks = set(newer.items.ids.to_list()), []
    for user, items in zip(users, answer.item_ids, strict=True):
        place = {one: rank for rank, one in enumerate((one for one in items if one in there), 1)}
        targets = newer.items.ids_of(newer.test.row(user)).to_list()
        ranks += [place.get(one, math.inf) for one in targets if one in start.bundle.items.ids]
    figures, ranks = result.figures, np.array(ranks)
    assert figures["old_items_queries"] == len(ranks)
    gain = np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0)
    assert figures["old_items_hr@10_before"] == pytest.approx(np.mean(ranks <= 10), abs=1e-9)
    assert figures["old_items_ndcg@10_before"] == pytest.approx(gain.mean(), abs=1e-9)


def test_a_bundle_on_its_own_data_has_lost_nothing(start, shops) -> None:
    own = Prepared.of(shops[0], random_ratio(shops[0]))
    figures = compare(own, start.bundle, start.bundle.model)
    assert figures["new_items"] == figures["new_users"] == 0 and "new_items_hr@10" not in figures
    for name in ("ndcg@10", "hr@10"):
        assert figures[f"old_items_{name}_before"] == pytest.approx(start.bundle.manifest.metrics[name], abs=1e-6)
        assert figures[f"old_items_{name}_after"] == pytest.approx(start.bundle.manifest.metrics[name], abs=1e-6)
    assert "0 new items; 0 new users" in told(figures)


def test_the_bundle_knows_nothing_new(start, newer) -> None:
    seen = AsBundle.seen_by(newer, start.bundle)
    unknown = seen.old_rows < 0
    assert (seen.item_table.sparse["item_id"].values[unknown] == -1).all() and not seen.item_counts[unknown].any()
    assert not unknown[seen.test_histories.values].any() and unknown[newer.test_histories.values].any()


def test_a_bundle_is_measured_on_data_with_ids_that_it_does_not_know(newer, folder) -> None:
    figures = evaluate_bundle(folder, newer)
    assert 0 < figures["hr@10"] < 1
    assert {"ties", "unreachable"} <= figures.keys()


def test_the_run_says_where_it_began(start, result) -> None:
    origin = {"name": "older", "version": None, "build_id": start.bundle.manifest.build_id}
    manifest = Manifest.read(result.bundle)
    assert result.figures["from"] == manifest.data["from"] == origin
    known = start.bundle.manifest.data["known_until"]
    assert manifest.data["known_until"] > known  # of newer data
    assert manifest.metrics["old_items_ndcg@10_after"] == result.figures["old_items_ndcg@10_after"]
    assert began_from(result.bundle.parent) == str(start.folder)


def test_a_model_knows_what_the_one_that_it_began_from_knew(start, folder, tmp_path) -> None:
    mine = Path(shutil.copytree(folder, tmp_path / "bundle"))
    known = start.bundle.manifest.data["known_until"]
    for earlier, later in ((known - 5, known), (known + 5, known + 5), (None, None)):
        with_metrics(mine, {}, data={**Manifest.read(folder).data, "known_until": earlier})
        start.stamp(mine, {})
        assert Manifest.read(mine).data["known_until"] == later


def test_numbers_are_seen_as_before_and_trained_items_stay_known(start, newer) -> None:
    prepared = start.continued(newer)
    assert prepared.item_encoder.statistics == {"price": start.bundle.item_encoder.statistics["price"]}
    assert newer.item_encoder.statistics != prepared.item_encoder.statistics
    idle = (newer.item_counts == 0) & (AsBundle.seen_by(newer, start.bundle).item_counts > 0)
    assert idle.any()
    assert (prepared.item_table.sparse["item_id"].values[idle] >= 0).all() and (prepared.item_counts[idle] == 1).all()
    assert (prepared.item_counts[~idle] == newer.item_counts[~idle]).all()


def test_a_refit_begins_there_too(start, config, newer, tmp_path) -> None:
    short = dataclasses.replace(config, optimiser=dataclasses.replace(config.optimiser, max_epochs=1, lr=1e-12))
    short = dataclasses.replace(short, model=start.config)
    bundle = run(short, RunOptions(tmp_path / "run", refit=True, track=False), newer, start).bundle
    assert Manifest.read(bundle).refitted
    for name, weight in Bundle.load(bundle).model.state_dict().items():
        torch.testing.assert_close(weight, start.bundle.model.state_dict()[name], rtol=0, atol=1e-6)


def test_a_run_is_resumed_only_from_the_same_start(start, config, newer, result, tmp_path) -> None:
    there = RunOptions(result.bundle.parent, resume=True, track=False)
    config = dataclasses.replace(config, model=start.config)
    again = run(config, there, newer, start)
    for name in ("hr@10", "old_items_ndcg@10_before", "old_items_ndcg@10_after"):
        assert again.figures[name] == pytest.approx(result.figures[name], abs=1e-6)
    with pytest.raises(InputError, match="cannot be resumed from random weights"):
        run(config, there, newer)
    stranger = dataclasses.replace(start.bundle.manifest, build_id="another")
    other = dataclasses.replace(start, bundle=dataclasses.replace(start.bundle, manifest=stranger))
    with pytest.raises(InputError, match="build another"):
        run(config, there, newer, other)


def test_a_run_is_not_put_where_its_start_lies(start, config, newer) -> None:
    with pytest.raises(InputError, match="holds the bundle that the run begins from"):
        run(dataclasses.replace(config, model=start.config), RunOptions(start.folder.parent, track=False), newer, start)
    assert (start.folder / "manifest.json").exists()


@pytest.mark.parametrize("kind", ["collisionless", "hashed"])
def test_tables_that_follow_the_ids_go_on_only_with_old_ones(shops, newer, tmp_path, kind: str) -> None:
    config = load_config(settings=[*SMALL, f"model.embeddings.kind={kind}"])
    older = Prepared.of(shops[0], random_ratio(shops[0]))
    model = TwoTower(config.model, older.dataset.schema, older.vocabularies)
    start = WarmStart.load(write_bundle(tmp_path / "bundle", model, older))
    told = r"'item_id' has \d+ of them" if kind == "collisionless" else "hashed tables .* 'item_id' has the shape"
    with pytest.raises(InputError, match=told):
        run(config, RunOptions(tmp_path / "run", track=False), newer, start)
    assert not (tmp_path / "run").exists()
    same = Prepared.of(shops[0], random_ratio(shops[0]))
    if kind == "collisionless":  # fewer ids are no hindrance
        same = Prepared.of(part := _part(shops[0], "part", pl.col("item_id") > "sku-000050"), random_ratio(part))
    _same_vectors_at_the_start(start, same)


def test_data_that_does_not_fit_the_model_is_named(start, newer) -> None:
    dataset = newer.dataset
    plain = dataclasses.replace(dataset, schema=FeatureSchema(item=(Id("item_id"),)))
    assert start.continued(Prepared.of(plain, newer.split)).dataset.schema == start.bundle.schema
    lacking = dataclasses.replace(plain, items=dataset.items.drop("brand"))
    with pytest.raises(InputError, match="reads column 'brand', which the items lack"):
        start.continued(Prepared.of(lacking, newer.split))
    wrong = dataclasses.replace(plain, items=dataset.items.with_columns(price=pl.col("title")))
    with pytest.raises(InputError, match="'price' of the items is declared numeric"):
        start.continued(Prepared.of(wrong, newer.split))
    numbers = dataclasses.replace(dataset, items=dataset.items.with_columns(brand=pl.lit(7)))
    with pytest.raises(InputError, match="'brand' are strings, and integers were given"):
        start.weights(start.continued(Prepared.of(numbers, newer.split)))


def test_a_model_that_may_know_the_test_items_is_noted(start, newer, shops) -> None:
    assert start.notes(newer) == []
    (note,) = start.notes(Prepared.of(shops[0], random_ratio(shops[0])))
    assert "may know test items" in note
    nothing = dataclasses.replace(newer.split, parts=np.where(newer.split.parts == TEST, 0, newer.split.parts))
    assert start.notes(dataclasses.replace(newer, split=nothing)) == []
    ranked = dataclasses.replace(start, bundle=dataclasses.replace(start.bundle, ranker=torch.nn.Identity()))
    assert "the new bundle will have none" in ranked.notes(newer)[0]


def test_settings_come_from_the_bundle_and_contradictions_are_named(start, tmp_path) -> None:
    own = load_config(settings=start.settings()).model
    assert own == start.agreed(own) == start.config
    assert own.embeddings.budget == f"{4 * start.bundle.model.embeddings.layout.parameters}B"
    file = tmp_path / "config.yaml"
    file.write_text("model: {dim: 16, embeddings: {budget: 0.5}}\noptimiser: {lr: 0.5}\n")
    stated = load_config(file, start.settings(file))
    assert start.agreed(stated.model) == start.config and stated.optimiser.lr == 0.5
    for setting in ("model.dim=17", "model.user_hidden=[8]", "model.embeddings.budget=1.0", "model.dropout=0.1"):
        name, _, value = setting.partition("=")
        with pytest.raises(InputError, match=rf"'{name}' is \[?{value.strip('[]')}\]?, and the model of"):
            start.agreed(load_config(settings=[*start.settings(), setting]).model)
    file.write_text("model: {embeddings: {width: 32}}\n")
    with pytest.raises(InputError, match=r"'model\.embeddings\.width' is 32, .* has 16"):
        start.agreed(load_config(file, start.settings(file)).model)


def _error(capsys: pytest.CaptureFixture, *argv: str) -> str:
    capsys.readouterr()
    assert main(argv) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def train(shops, store, tmp_path) -> list[str]:
    """The command line for the newer data."""
    write_tables(shops[1], tmp_path / "shop")
    train = ["train", "two-tower", "--data", "tables", "--root", str(tmp_path / "shop"), "--split", "time"]
    return [*train, "--set", "optimiser.max_epochs=2", "--set", "optimiser.backend=torch"]


def test_the_command_line_goes_on_from_a_folder_and_resumes(train, folder, capsys) -> None:
    train += ["--from", str(folder)]
    assert main([*train, "--print-config"]) == 0
    assert "  dim: 16\n" in capsys.readouterr().out
    for more, named in ((["--set", "model.dim=8"], "model.dim"), (["--from", "no/such"], "no/such")):
        assert named in _error(capsys, *train, *more, "--run-dir", "other")
    error = _error(capsys, *train, "--data", "generated", "--root", "", "--set", INTEGERS)
    assert "'item_id' are strings, and integers were given" in error
    assert not Path("other").exists() and not Path("runs").exists()
    assert main([*train, "--run-dir", "run", "--no-mlflow"]) == 0
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "old items: NDCG@10" in line]
    assert "new items: HR@10" in told
    assert main(["train", "two-tower", "--resume", "--run-dir", "run", "--no-mlflow"]) == 0  # it knows where it began
    assert told in capsys.readouterr().out


class _Tracked:
    """Remembers what a tracking store would be told; a store of one's own takes seconds to make."""

    def __init__(self, *_: object) -> None:
        self.id, self.told_tags, self.told_metrics = "run", {}, {}
        _Tracked.last = self

    def tags(self, values: dict) -> None:
        self.told_tags |= values

    def metrics(self, values: dict, step: int | None = None) -> None:
        self.told_metrics |= values

    def bundle(self, *_: object) -> None:
        self.stamped = Manifest.read(_[0]).data["from"]

    parameters = file = lambda self, *_: None
    __enter__ = lambda self: self  # noqa: E731
    __exit__ = lambda self, *_: None  # noqa: E731


def test_the_command_line_goes_on_from_a_champion(train, folder, monkeypatch, capsys) -> None:
    champion = Resolved(folder, "shop", "3")
    monkeypatch.setattr("training.warm_start.resolve", lambda source, _: {"models:/shop@champion": champion}[source])
    monkeypatch.setattr("training.tracking.TrackedRun", _Tracked)
    assert main([*train, "--from", "models:/shop@champion", "--run-dir", "run", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    origin = {"name": "shop", "version": "3", "build_id": Manifest.read(folder).build_id}
    assert figures["from"] == _Tracked.last.stamped == origin
    assert {"old_items_ndcg@10_before", "old_items_hr@10_after", "new_items_hr@10", "new_users"} <= figures.keys()
    assert {f"from.{key}": value for key, value in origin.items()}.items() <= _Tracked.last.told_tags.items()
    assert _Tracked.last.told_metrics["test/old_items_hr@10_after"] == figures["old_items_hr@10_after"]
    assert began_from(Path("run")) == "models:/shop/3"  # whatever becomes of the alias
