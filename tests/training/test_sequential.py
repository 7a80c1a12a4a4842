"""Sequential models from data to bundle: what follows what is learned, runs resume to the same end, errors are told."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from pytorch_lightning.callbacks import Callback

from features.batches import FeatureBatch, Jagged, NextItemBatch
from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.schema import Categorical, FeatureSchema, Id, Sequence
from features.splits import TEST, TRAIN, leave_one_out
from serving.bundles.bundle import Bundle
from serving.bundles.manifest import Manifest
from training.cli import main
from training.config import load_config
from training.data import prepare
from training.evaluation import Evaluation, ModelScores, evaluate
from training.families import family_of, family_of_kind, trained_by
from training.runs import RunOptions, run
from training.sequential import SequentialTraining
from training.sequential_config import SequentialTrainConfig
from training.sequential_fit import fit
from training.warm_start import WarmStart
from training.windows import Windows

SMALL = (
    "data.settings.interactions=2000",
    "model.dim=16",
    "model.heads=1",
    "model.layers=1",
    "model.max_length=20",
    "model.embeddings.width=16",
    "optimiser.max_epochs=4",
    "optimiser.validate_every=1",
    "optimiser.lr=0.01",
    "optimiser.backend=torch",
)
ITEMS = 30


def _config(*settings: str) -> SequentialTrainConfig:
    return load_config(settings=[*SMALL, *settings], kind=SequentialTrainConfig)


def _rounds(users: int = 60, length: int = 12, shift: int = 1, **changes) -> Prepared:
    """Users who go round the items, each from another place: what comes next is the item after the last one."""
    rows = [
        (f"u{user}", f"i{(user * 7 + step * shift) % ITEMS:02}", step)
        for user in range(users)
        for step in range(length)
    ]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    items = pl.DataFrame({"item_id": [f"i{n:02}" for n in range(ITEMS)], "third": [f"t{n % 3}" for n in range(ITEMS)]})
    schema = FeatureSchema(user=(Sequence("history"),), item=(Id("item_id"), Categorical("third")))
    data = Dataset.construct("rounds", log, items, None, changes.pop("schema", schema))
    return Prepared.of(data, leave_one_out(data))


@pytest.fixture(scope="module")
def rounds() -> Prepared:
    return _rounds()


@pytest.fixture(scope="module")
def result(rounds: Prepared, tmp_path_factory: pytest.TempPathFactory):
    """A whole run."""
    options = RunOptions(tmp_path_factory.mktemp("sequential") / "run", track=False, refit=False)
    return run(_config("optimiser.max_epochs=12"), options, rounds)


def test_a_run_learns_what_follows_what_and_its_bundle_serves_it(result, rounds: Prepared) -> None:
    assert result.figures["model"] == "sequential" and next(iter(result.comparison)) == "sequential"
    assert result.figures["ndcg@10"] > 0.9 > result.comparison["popularity"]["ndcg@10"]
    manifest = Manifest.read(result.bundle)
    assert manifest.kind == "sequential" and manifest.metrics["ndcg@10"] == result.figures["ndcg@10"]
    assert family_of_kind(manifest.kind) is family_of(_config())
    model = Bundle.load(result.bundle).model
    evaluation = Evaluation(rounds)
    exact = evaluate(evaluation, ModelScores(model, evaluation).scorer)
    assert exact["ndcg@10"] == pytest.approx(result.figures["ndcg@10"], abs=1e-4)


@pytest.mark.parametrize("settings", [("model.backbone=sasrec",), ("model.backbone=ligr", "windows.windows=all")])
def test_other_backbones_and_windows_learn_it_too(rounds: Prepared, tmp_path: Path, settings: tuple[str, ...]) -> None:
    fitted = fit(_config("optimiser.max_epochs=12", *settings), rounds, tmp_path)
    assert fitted.validation > 0.8


@pytest.mark.parametrize(
    "settings",
    [
        ("model.items=attributes", "model.also_predict=[third]"),
        ("model.items=all", "model.combine=concat", "model.tie=false", "windows.candidates=trained"),
        ("model.embeddings.kind=multiplexed", "loss.name=mixed"),
        ("loss.name=sampled-softmax", "loss.settings.n_negatives=8"),
        ("loss.name=gbce", "optimiser.max_epochs=12"),
        ("loss.name=bce",),
        ("optimiser.tables=rowwise-adagrad",),
        ("optimiser.precision=bf16-mixed", "optimiser.gradient_clip=0.5"),
    ],
)
def test_what_can_be_set_trains(rounds: Prepared, tmp_path: Path, settings: tuple[str, ...]) -> None:
    losses = []
    fitted = fit(_config(*settings), rounds, tmp_path, report=lambda figures, _: losses.append(figures["train/loss"]))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert next(fitted.model.parameters()).dtype == torch.float32


def test_predicted_attributes_are_learned_and_are_no_part_of_the_reported_loss(rounds: Prepared, tmp_path) -> None:
    losses: dict[str, list[float]] = {}
    modules = []

    class _Kept(Callback):
        def on_train_end(self, trainer, module) -> None:
            modules.append(module.eval())

    def fitted(name: str, *settings: str) -> torch.nn.Module:
        own = losses.setdefault(name, [])
        config = _config("model.dropout=0", "optimiser.max_epochs=12", *settings)
        report = lambda figures, _: own.append(figures["train/loss"])  # noqa: E731
        return fit(config, rounds, tmp_path / name, report=report, callbacks=[_Kept()]).model

    heavy = fitted("heavy", "model.also_predict=[third]", "model.also_predict_weight=3.0")
    assert heavy.state_dict().keys() == fitted("plain").state_dict().keys()
    assert abs(losses["heavy"][0] - losses["plain"][0]) < 0.5  # of which the attribute's would be 3 x log 3
    users = rounds.user_features(np.arange(60), rounds.test_histories)
    with torch.no_grad():
        told = modules[0].heads.heads[0](modules[0].model.encode_users(users)).argmax(dim=1)
    thirds = rounds.item_table.sparse["third"].values[rounds.test.values]
    assert (told.numpy() == thirds).mean() > 0.7


class _Stop(Callback):
    """Ends a run as its third epoch begins."""

    def on_train_epoch_start(self, trainer, module) -> None:
        if trainer.current_epoch == 2:
            raise RuntimeError("the power is out")


@pytest.mark.parametrize("loss", ["full-softmax", "sampled-softmax"])
def test_a_resumed_run_equals_an_undisturbed_one(rounds: Prepared, tmp_path: Path, loss: str) -> None:
    settings = ("model.dropout=0.3", "windows.windows=all", "model.max_length=5", "model.also_predict=[third]")
    config = _config(*settings, f"loss.name={loss}", "seed=3")
    whole = fit(config, rounds, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power"):
        fit(config, rounds, tmp_path / "broken", callbacks=[_Stop()])
    resumed = fit(config, rounds, tmp_path / "broken", resume=True)
    assert (resumed.best_epoch, resumed.validation) == (whole.best_epoch, whole.validation)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
    other = fit(dataclasses.replace(config, seed=4), rounds, tmp_path / "other").model.state_dict()
    assert not all(torch.equal(weight, other[name]) for name, weight in whole.model.state_dict().items())


def test_withheld_items_are_no_candidates(tmp_path: Path) -> None:
    split = ("split.name=cold-items", "split.settings.history=before")
    config = _config(*split, "optimiser.max_epochs=1", "model.items=all", "model.combine=concat")
    prepared = prepare(config)
    module = SequentialTraining(config, prepared, "torch")
    assert set(module._known) == set(np.flatnonzero(prepared.item_counts)) and len(module._known) < len(prepared.items)
    assert fit(config, prepared, tmp_path).best_epoch == 1


@pytest.mark.parametrize("loss", ["full-softmax", "sampled-softmax", "gbce", "bce", "mixed"])
@pytest.mark.parametrize("backbone", ["sasrec", "ligr", "hstu"])
def test_a_process_without_a_window_has_a_gradient_of_every_weight(rounds: Prepared, backbone: str, loss: str) -> None:
    config = _config(f"model.backbone={backbone}", f"loss.name={loss}", "model.tie=false", "model.also_predict=[third]")
    module = SequentialTraining(config, rounds, "torch")
    module.log = lambda *_, **__: None
    module.on_train_epoch_start()
    batch = next(iter(Windows(rounds, config.windows, 0, lambda: 0)))
    nothing = Jagged(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))
    empty = NextItemBatch(FeatureBatch({"history": nothing}), torch.empty(0, dtype=torch.int64))
    module.training_step(empty, 0).backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None and not weight.grad.any(), name
    module.training_step(batch, 0).backward()
    assert all(weight.grad.any() for weight in module.parameters())


@pytest.mark.parametrize(
    ("part", "told"),
    [(TEST, "no training interaction"), (TRAIN, "no validation interaction")],
)
def test_nothing_to_train_or_to_validate_on_is_told(rounds: Prepared, tmp_path: Path, part: int, told: str) -> None:
    split = dataclasses.replace(rounds.split, parts=np.full_like(rounds.split.parts, part))
    with pytest.raises(InputError, match=told):
        fit(_config(), dataclasses.replace(rounds, split=split), tmp_path)


def test_histories_without_a_next_item_are_told(tmp_path: Path) -> None:
    prepared = _rounds(length=3)  # one for each part
    with pytest.raises(InputError, match="no user of the data set 'rounds' has two training interactions"):
        fit(_config(), prepared, tmp_path)


def test_a_model_needs_a_history(tmp_path: Path) -> None:
    schema = FeatureSchema(user=(Id("user_id"),), item=(Id("item_id"),))
    with pytest.raises(InputError, match="needs a user feature of kind 'sequence'"):
        run(_config(), RunOptions(tmp_path / "run", track=False), _rounds(schema=schema))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["model.heads=3"], "model.dim 64 is not a multiple of model.heads 3"),
        (["model.backbone=gru"], "model.backbone"),
        (["windows.max_length=500"], "windows.max_length 500"),
        (["examples.unit=users"], "examples"),
        (["model.also_predict=[colour]"], "'colour'"),
        (["split.name=time", "split.settings.validation=0"], "no validation interaction"),
        (["loss.name=bogus"], "bogus"),
        (["model.times=events"], "'history' is not declared with `timed: true`"),
        (["split.name=random"], "the split 'random' as it is set leaves items in a history that came after"),
        (["split.name=cold-items"], "or cold-items with split.settings.history=before"),
    ],
)
def test_wrong_settings_are_one_sentence(capsys, store: str, settings: list[str], named: str) -> None:
    arguments = [word for setting in settings for word in ("--set", setting)]
    small = ["--set", "data.settings.interactions=1000"]
    assert main(["train", "sequential", "--run-dir", "run", *small, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and not Path("run").exists()
    assert named in captured.err.splitlines()[-1] and "error" in captured.err.splitlines()[-1]


def test_the_command_line_goes_the_whole_way(capsys: pytest.CaptureFixture, store: str) -> None:
    settings = [word for setting in (*SMALL, "optimiser.max_epochs=1") for word in ("--set", setting)]
    assert main(["train", "sequential", "--register", "next", "--refit", "--json", *settings]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["model"] == "sequential" and figures["split"] == "leave-one-out" and figures["version"] == "1"
    assert set(figures["baselines"]) >= {"popularity", "item-knn"} and "sequential" not in figures["baselines"]
    assert Manifest.read(Path(figures["bundle"])).refitted
    folder = Path(figures["bundle"]).parent
    assert trained_by(folder) == "sequential" and (folder / "learning_curves.png").is_file()
    assert main(["promote", "next", "--no-gates", "--why", "refitted on all there is"]) == 0
    capsys.readouterr()
    assert main(["recommend", "--model", "models:/next@champion", "--user", "u00003", "-k", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["item_ids"]) == 3
    assert main(["train", "two-tower", "--resume", "--run-dir", str(folder)]) == 2
    assert "trains a sequential model, not a two-tower model" in capsys.readouterr().err


def test_a_bundle_is_measured_under_its_familys_split(capsys, store: str) -> None:
    settings = [word for setting in (*SMALL, "optimiser.max_epochs=1") for word in ("--set", setting)]
    assert main(["train", "sequential", "--no-mlflow", "--seeds", "2", "--run-dir", "run", "--json", *settings]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["n"] == 2 and figures["seed"] == [0, 1]
    for more in (["--data", "generated", "--set", SMALL[0]], ["--config", "run/s0/config.yaml"]):
        assert main(["evaluate", "--model", "run/s0/bundle", "--json", *more]) == 0
        captured = capsys.readouterr()
        again = json.loads(captured.out)
        assert again["hr@10"] == pytest.approx(figures["runs"][0]["hr@10"]) and "under split" not in captured.err


def test_training_goes_on_from_a_multiplexed_model(rounds: Prepared, tmp_path: Path) -> None:
    config = _config("model.embeddings.kind=multiplexed", "model.also_predict=[third]", "model.items=all")
    bundle = run(config, RunOptions(tmp_path / "old", track=False), rounds).bundle
    start = WarmStart.load(bundle)
    assert start.family == "sequential"
    newer = _rounds(users=40)
    config = dataclasses.replace(config, model=start.config)
    figures = run(config, RunOptions(tmp_path / "new", track=False), newer, start).figures
    assert figures["old_items_ndcg@10_after"] > figures["old_items_ndcg@10_before"] > 0
    assert figures["from"]["build_id"] == start.bundle.manifest.build_id
    # the heads are no part of a model, so values that they did not have do not matter
    other = dataclasses.replace(newer.dataset, items=newer.dataset.items.with_columns(third=pl.lit("new")))
    assert start.weights(start.continued(Prepared.of(other, leave_one_out(other)))).keys()


def test_training_does_not_go_on_from_another_family(capsys, store: str, result) -> None:
    assert main(["train", "two-tower", "--from", str(result.bundle), "--data", "generated"]) == 2
    assert "is a sequential model, and a two-tower is to be trained" in capsys.readouterr().err
