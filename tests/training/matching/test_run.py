"""A run that trains a matcher, whole: what is measured is the bundle; the command line; what cannot be is told."""

import dataclasses
import io
import json
import re
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.records import Records
from recsys.matching.ditto import opinions, together
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.thresholds import decide
from recsys.text_encoders import TextEncoderConfig
from serving.matching.manifest import MatcherManifest
from serving.matching.matcher import Matcher
from training.cli import main, parser
from training.commands.record_options import given
from training.matching.config import MatchTrainConfig
from training.matching.figures import seen
from training.matching.run import describe, run, shared
from training.optimisers import OptimiserConfig
from training.run_folder import save_state
from training.runs import RunOptions


class Killed(Exception):
    """In the middle of a run."""


SETTINGS = ["optimiser.lr=3e-3", "optimiser.max_epochs=12", "model.encoder.pooling=cls"]


@pytest.fixture
def tables(coloured_pairs: LabelledPairs, tmp_path: Path) -> Path:
    """Two tables that call their columns otherwise, and labelled pairs."""
    train = coloured_pairs.train
    for name, one, renamed in (("left", train.left, {}), ("right", train.right, {"name": "title", "maker": "by"})):
        one.values.rename(renamed).insert_column(0, one.ids.alias("id")).write_csv(tmp_path / f"{name}.csv")
    parts = [pairs.frame().with_columns(part=pl.lit(name)) for name, pairs in coloured_pairs.parts.items()]
    pl.concat(parts).unique(["left_id", "right_id"], maintain_order=True).write_csv(tmp_path / "pairs.csv")
    return tmp_path


def arguments(tables: Path) -> list[str]:
    return [
        *("--left", str(tables / "left.csv"), "--right", str(tables / "right.csv")),
        *("--right-columns", "name=title,maker=by", "--pairs", str(tables / "pairs.csv")),
    ]


@pytest.fixture
def config(colour_model: Path) -> MatchTrainConfig:
    return MatchTrainConfig(
        model=DittoConfig(TextEncoderConfig(str(colour_model), pooling="cls"), summarise=True),
        optimiser=OptimiserConfig(lr=3e-3, max_epochs=3, validate_every=1),
    )


def test_what_is_measured_is_the_bundle(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, store: str, tmp_path: Path
) -> None:
    options = RunOptions(tmp_path / "run", register="colours", tracking_uri=store, progress=False)
    result = run(config, options, coloured_pairs)
    matcher = Matcher.load("models:/colours@challenger", tracking_uri=store)
    test = coloured_pairs.test
    scores = matcher.score(test)
    decision = decide(scores.log_odds, test.labels, scores.threshold)
    for name in ("f1", "precision", "recall"):
        assert result.figures[name] == pytest.approx(getattr(decision, name))
        assert matcher.manifest.metrics[name] == pytest.approx(getattr(decision, name))
    known = seen(coloured_pairs)
    assert result.figures["pairs_seen"] + result.figures.get("pairs_unseen", 0) == len(test) and known.any()
    wanted = matcher.threshold(0.9)
    assert result.figures["recall_at_0.9"] == pytest.approx(decide(scores.log_odds, test.labels, wanted).recall)
    logged = mlflow.get_run(result.run_id)
    assert logged.data.metrics["test/f1"] == pytest.approx(decision.f1)
    assert logged.data.params["optimiser.max_epochs"] == "3" and logged.data.tags["dataset"] == "colours"
    assert (tmp_path / "run" / "reliability.png").stat().st_size > 5000
    answer = mlflow.pyfunc.load_model("models:/colours/1").predict(
        test.left.values[test.left_rows]
        .rename(lambda name: f"left_{name}")
        .hstack(test.right.values[test.right_rows].rename(lambda name: f"right_{name}"))
        .to_pandas(),
        params={"precision": 0.9},
    )
    np.testing.assert_allclose(answer["log_odds"], scores.log_odds, atol=1e-4)
    assert answer["same"].tolist() == (scores.log_odds >= wanted).tolist()
    odd = pd.DataFrame({"left_name": ["red tea"], "left_maker": [7.5], "right_name": [None], "right_maker": ["bo"]})
    served = mlflow.pyfunc.load_model("models:/colours/1")
    assert 0 < served.predict(odd)["probability"][0] < 1
    with pytest.raises(mlflow.exceptions.MlflowException, match="left_name"):
        served.predict(odd.rename(columns={"left_name": "left_nmae"}))


def test_a_run_that_was_killed_goes_on(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(config, RunOptions(tmp_path / "whole", track=False, progress=False), coloured_pairs)
    options = RunOptions(tmp_path / "killed", track=False, progress=False)
    saved = []

    def killed(folder: Path, state: dict) -> None:
        saved.append(state)
        if len(saved) > 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("training.matching.run.save_state", killed)
        with pytest.raises(Killed):
            run(config, options, coloured_pairs)
    again = run(config, dataclasses.replace(options, resume=True), coloured_pairs)
    assert again.figures["f1"] == whole.figures["f1"] and again.figures["threshold"] == whole.figures["threshold"]


@pytest.mark.parametrize(("asked", "given"), [(None, False), (True, True)])
def test_records_that_are_read_apart_have_a_second_opinion_where_it_is_asked_for(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, tmp_path: Path, asked: bool | None, given: bool
) -> None:
    model = dataclasses.replace(config.model, reads="apart", overlap=asked)
    options = RunOptions(tmp_path / "run", track=False, progress=False)
    result = run(dataclasses.replace(config, model=model), options, coloured_pairs)
    matcher, test = Matcher.load(result.bundle), coloured_pairs.test
    stated, said = opinions(matcher.model, matcher.reader, test)
    assert (said is not None) == given
    found = together(matcher.model.overlap, stated, said).astype(np.float64)
    assert result.figures["f1"] == pytest.approx(
        decide(matcher.calibration(found), test.labels, matcher.threshold()).f1
    )


def test_who_interrupts_a_run_is_told_how_it_goes_on(
    tables: Path, colour_model: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tables)
    settings = [one for setting in (*SETTINGS, f"model.encoder.model={colour_model}") for one in ("--set", setting)]
    asked = ["match", "train", *arguments(tables), *settings, "--no-mlflow", "--run-dir", "here"]
    saved = []

    def interrupted(folder: Path, state: dict) -> None:
        save_state(folder, state)
        saved.append(state)
        if len(saved) > 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training.matching.run.save_state", interrupted)
        assert main(asked) == 130
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "recsys match train: interrupted; --resume --run-dir here goes on with the last epoch that was kept"
    assert main([*asked, "--resume"]) == 0
    ours = {
        "bundle",
        "checkpoints",
        "config.yaml",
        "learning_curves.png",
        "reliability.png",
        "result.json",
        "state.json",
    }
    assert {one.name for one in Path("here").iterdir()} == ours


def test_data_is_described_by_what_it_says(coloured_pairs: LabelledPairs) -> None:
    facts = describe(coloured_pairs)
    assert (facts["train_pairs"], facts["records"], facts["attributes"]) == (600, 120, "name, maker")
    pairs = coloured_pairs.test
    other = dataclasses.replace(pairs, labels=~pairs.labels)
    changed = describe(dataclasses.replace(coloured_pairs, test=other))
    assert changed["dataset_hash"] == facts["dataset_hash"] and changed["split_hash"] != facts["split_hash"]


def test_pairs_are_seen_where_training_knows_both_records(coloured_pairs: LabelledPairs) -> None:
    left, right = coloured_pairs.train.left, coloured_pairs.train.right

    def pairs(*rows: tuple[int, int]) -> RecordPairs:
        return RecordPairs(left, right, *np.array(rows).T, np.ones(len(rows), bool))

    some = LabelledPairs("some", pairs((1, 2), (3, 4)), pairs((1, 4)), pairs((1, 4), (1, 5), (5, 2), (3, 2)))
    words = [[table.values.row(row) for row in rows] for table, rows in ((left, (1, 3)), (right, (2, 4)))]
    known = {*words[0], *words[1]}
    asked = ((1, 4), (1, 5), (5, 2), (3, 2))
    expected = [left.values.row(one) in known and right.values.row(other) in known for one, other in asked]
    assert seen(some).tolist() == expected and expected[0] and expected[3]
    assert describe(some)["test_pairs_in_train"] == sum(
        (left.values.row(one), right.values.row(other)) in zip(*words, strict=True) for one, other in asked
    )


def test_pairs_of_two_parts_are_counted_whichever_way_round(coloured_pairs: LabelledPairs) -> None:
    table = Records.of("one", pl.DataFrame({"id": range(5), "name": ["tea", "ink", "cup", "tea", "pen"]}))

    def pairs(*rows: tuple[int, int]) -> RecordPairs:
        return RecordPairs(table, table, *np.array(rows).T, np.ones(len(rows), bool))

    some = LabelledPairs("some", pairs((0, 1), (2, 4)), pairs((1, 3), (0, 2)), pairs((4, 2), (1, 0), (2, 0), (0, 4)))
    assert shared(some) == {("test", "train"): 2, ("validation", "train"): 1, ("test", "validation"): 2}


def test_the_way_from_tables_to_judgements(
    tables: Path, colour_model: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tables)
    settings = [one for setting in (*SETTINGS, f"model.encoder.model={colour_model}") for one in ("--set", setting)]
    assert main(["match", "train", *arguments(tables), *settings, "--no-mlflow", "--json"]) == 0
    told = capsys.readouterr()
    figures = json.loads(told.out.splitlines()[-1])
    epochs = re.findall(r"epoch (\d+) of 12: loss \d\.\d{3}, validation F1 [01]\.\d{4}", told.err)
    assert epochs == [str(n + 1) for n in range(len(epochs))] and len(epochs) >= figures["best_epoch"]
    assert "reading the tables" in told.err
    assert figures["f1"] > 0.9 and Path(figures["bundle"]) == Path("runs/matcher-left-pairs/s0/bundle")
    judged = ["--model", figures["bundle"], *arguments(tables)]
    assert main(["match", "predict", *judged, "--out", "judged.parquet", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    found = pl.read_parquet("judged.parquet")
    assert found.columns == ["left_id", "right_id", "label", "probability", "log_odds", "same"]
    assert said["same"] == found["same"].sum() and said["f1"] > 0.9
    assert main(["match", "predict", *judged, "--out", "judged.csv", "--precision", "0.9"]) == 0
    told = capsys.readouterr()
    assert re.search(r"pairs are the same \(from a probability of 0\.\d+ on\)  precision", told.out)
    assert "validation pairs are called the same so" not in told.out
    assert re.search(r"of the validation pairs \d+ are called the same so, (9\d|100)\.\d% of them rightly", told.err)
    asked = ["match", "explain", *judged[:-2], "--ids", "3", "5", "--picture", "why.png"]
    assert main(asked) == 0
    told = capsys.readouterr().out
    assert told.startswith(("the same", "different")) and "attribute name" in told and Path("why.png").exists()
    assert re.search(r"log-odds before calibration: [+-]\d+\.\d+; without one of these, they would be lower by\n", told)
    assert main(["match", "suspects", *judged, "--out", "suspects.csv", "--json"]) == 0
    suspects = json.loads(capsys.readouterr().out)
    assert suspects["suspects"] == pl.read_csv("suspects.csv").height <= suspects["pairs"] * 0.1
    asked = ["match", "label", *judged, "-n", "3", "--out", "next.csv"]
    assert main(asked) == 0 and "3 pairs to be labelled" in capsys.readouterr().out
    first = pl.read_csv("next.csv")
    assert first.columns[:5] == ["left_id", "right_id", "label", "probability", "left_name"]
    assert first["label"].null_count() == first.height == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nwhat\nn\nq\n"))
    assert main([*asked, "--ask", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labelled"] == 2
    assert pl.read_csv("next.csv")["label"].to_list() == [1, 0]
    monkeypatch.setattr("sys.stdin", io.StringIO("s\nyes\n"))
    assert main([*asked, "--ask"]) == 0  # what ends in the middle keeps what was said
    told = pl.read_csv("next.csv")
    assert told["label"].to_list() == [1, 0, 1] and told.select("left_id", "right_id").is_unique().all()
    assert sorted(path.name for path in tables.iterdir() if path.name.startswith(".")) == []


def test_of_a_table_without_an_attribute_nothing_is_told_of_it_where_that_is_asked_for(
    config: MatchTrainConfig,
    coloured_pairs: LabelledPairs,
    tables: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tables)
    trained = run(config, RunOptions(Path("run"), track=False, progress=False), coloured_pairs)
    pl.read_csv("right.csv").drop("by").write_csv("short.csv")
    asked = ["match", "predict", "--model", str(trained.bundle), "--left", "left.csv", "--right", "short.csv"]
    asked += ["--pairs", "pairs.csv", "--out", "judged.csv", "--right-columns"]
    assert main([*asked, "name=title"]) == 2
    assert capsys.readouterr().err.endswith("--right-columns maker=COLUMN (maker= where none is)\n")
    assert main([*asked, "name=title,maker="]) == 0 and pl.read_csv("judged.csv").height > 0


def test_a_language_model_that_is_not_there_is_told_before_anything_is_written(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, tmp_path: Path
) -> None:
    encoder = dataclasses.replace(config.model.encoder, model=str(tmp_path / "nowhere"))
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, encoder=encoder))
    with pytest.raises(InputError, match=r"there is no folder .*nowhere"):
        run(other, RunOptions(tmp_path / "run", track=False, progress=False), coloured_pairs)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["train", "--pairs", "p.csv"], "--left names a table of records, and is missing"),
        (["train", "--data", "deepmatcher", "--left", "l.csv"], "--left is for tables of one's own"),
        (["train", "--left", "l.csv", "--pairs", "p.csv", "--no-mlflow", "--register", "x"], "--register needs MLflow"),
        (["train", "--left", "nowhere.csv", "--pairs", "p.csv"], "nowhere.csv"),
        (["predict", "--model", "nowhere", "--left", "l.csv", "--out", "x.csv"], "there is no bundle at nowhere"),
        (["predict", "--model", "nowhere", "--out", "x.txt"], "--out ends in .csv or .parquet"),
        (["label", "--model", "nowhere", "--out", "x.csv", "-n", "0"], "-n is at least 1"),
        (["label", "--model", "nowhere", "--out", "x.parquet"], "--out ends in .csv, got"),
        (["suspects", "--model", "nowhere", "--out", "nowhere/x.csv"], "there is no folder nowhere"),
        (["explain", "--model", "nowhere", "--ids", "1", "2", "--picture", "x.bmp"], "--picture is a .png"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    more: list[str], message: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("l.csv", "p.csv"):
        (tmp_path / name).touch()
    assert main(["match", *more]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1] and sorted(one.name for one in tmp_path.iterdir()) == ["l.csv", "p.csv"]


def test_tables_of_other_columns_ask_for_a_mapping(
    tables: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tables)
    assert main(["match", "train", "--left", "left.csv", "--right", "right.csv", "--pairs", "pairs.csv"]) == 2
    said = capsys.readouterr().err.strip()
    assert "right.csv has no column 'name' or 'maker'; its columns are id, title, by: say which of them is" in said
    assert said.endswith("--right-columns name=COLUMN,maker=COLUMN") and not (tables / "runs").exists()
    for name in ("left", "right"):
        pl.read_csv(f"{name}.csv").rename({"id": "sku"}).write_csv(f"{name}.csv")
    mapped = ["--columns", "right:name=title,maker=by"]
    assert main(["match", "train", "--left", "left.csv", "--right", "right.csv", "--pairs", "pairs.csv", *mapped]) == 2
    said = capsys.readouterr().err
    assert "--left-id COLUMN; right.csv has no column 'id'; " in said and "--right-id COLUMN" in said
    pl.read_csv("pairs.csv").drop("label").rename({"left_id": "one"}).write_csv("pairs.csv")
    mapped += ["--id", "left=sku", "--id", "right=sku"]
    assert main(["match", "train", "--left", "left.csv", "--right", "right.csv", "--pairs", "pairs.csv", *mapped]) == 2
    said = capsys.readouterr().err.strip()
    assert "pairs.csv has no column 'left_id' or 'label'" in said
    assert said.endswith("--pairs-columns left_id=COLUMN,label=COLUMN")


def test_the_first_labels_need_no_matcher(
    tables: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tables)
    pl.read_csv("pairs.csv").select("left_id", "right_id").head(200).write_csv("candidates.csv")
    told = ["--left", "left.csv", "--right", "right.csv", "--right-columns", "name=title,maker=by"]
    asked = ["match", "label", *told, "--out", "next.csv", "-n", "5"]
    assert main([*asked, "--pairs", "candidates.csv"]) == 0
    first = pl.read_csv("next.csv")
    assert first.columns[:6] == ["left_id", "right_id", "label", "similar", "left_name", "right_name"]
    assert first.height == 5 and first["label"].null_count() == 5 and first["similar"].is_sorted(descending=True)
    assert not first.join(pl.read_csv("candidates.csv"), on=["left_id", "right_id"], how="anti").height
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nn\nq\n"))
    assert main([*asked, "--ask", "--json"]) == 0  # of a blocker's candidates
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1])["labelled"] == 2 and "(similar " in said.err
    assert pl.read_csv("next.csv")["label"].to_list() == [1, 0]


def test_both_ways_of_naming_columns_are_the_same() -> None:
    def settings(*told: str) -> dict:
        return given(parser("match").parse_args(["match", "train", *told]))

    one = settings("--left-id", "sku", "--right-columns", "name=title,price", "--right-id", "code")
    assert one == settings("--id", "left=sku", "--columns", "right:name=title,price", "--id", "right=code")
    assert one["right_columns"] == {"name": "title", "price": "price"}


@pytest.mark.parametrize("told", [("--id", "shop=sku"), ("--columns", "right=name"), ("--columns", "left:a=b,a=c")])
def test_a_side_is_left_or_right(told: tuple[str, str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["match", "train", *told])
    assert ended.value.code == 2 and f"argument {told[0]}: " in capsys.readouterr().err


def test_a_matcher_is_no_recommender(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    short = dataclasses.replace(config, optimiser=dataclasses.replace(config.optimiser, max_epochs=1))
    bundle = run(short, RunOptions(tmp_path / "run", track=False, progress=False), coloured_pairs).bundle
    assert MatcherManifest.read(bundle).kind == "matcher"
    assert main(["recommend", "--model", str(bundle), "--user", "1"]) == 2
    assert "is a matcher of records, and a recommender is wanted" in capsys.readouterr().err
    with pytest.raises(InputError, match="not a folder"):
        Matcher.load(tmp_path / "nowhere")
