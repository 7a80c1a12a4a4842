"""A matcher taught by another one: it reads records apart, says nearly the same, and stands first in a cascade."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.entity_store import read_entities
from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.siamese import SiameseMatcher
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import facts_of, load_encoder
from serving.entities.cascade import CascadeJudge
from serving.entities.finder import EntityFinder
from serving.entities.judges import MatcherJudge
from serving.matching.matcher import Matcher
from training.cli import main
from training.commands.matcher_run import told_of_test_pairs
from training.matching.config import MatchTrainConfig
from training.matching.distil import taught
from training.matching.run import describe, run
from training.optimisers import OptimiserConfig
from training.runs import RunOptions

#: of a run, as far as people are told
FIGURES = ("f1", "precision", "recall", "calibration_error", "best_epoch", "seconds")


@pytest.fixture(scope="module")
def teacher(colour_model: Path, coloured_pairs: LabelledPairs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = MatchTrainConfig(
        model=DittoConfig(TextEncoderConfig(str(colour_model), pooling="cls")),
        optimiser=OptimiserConfig(lr=3e-3, max_epochs=8, validate_every=1),
    )
    return run(config, RunOptions(tmp_path_factory.mktemp("teacher"), track=False), coloured_pairs).bundle


def every_pair(pairs: LabelledPairs) -> RecordPairs:
    left, right = pairs.train.left, pairs.train.right
    rows = np.divmod(np.arange(len(left) * len(right)), len(right))
    return RecordPairs(left, right, *rows)


def test_what_is_taught_is_what_the_teacher_says(teacher: Path, coloured_pairs: LabelledPairs) -> None:
    matcher = Matcher.load(teacher)
    data = taught(matcher, every_pair(coloured_pairs), most=500)
    assert [len(one) for one in data.parts.values()] == [400, 50, 50]
    assert data.judged_by.endswith(matcher.manifest.build_id)
    assert describe(data)["labels"].endswith("judges, which is not what is true")
    assert "labels" not in describe(coloured_pairs)
    told = told_of_test_pairs({**dict.fromkeys(FIGURES, 0.5), "bundle": "x", **describe(data)})
    assert told.startswith("test pairs, labelled as ")
    said = matcher.score(data.train)
    np.testing.assert_allclose(data.train.chances, said.probabilities, atol=1e-4)
    assert (data.train.labels == said.same).mean() > 0.99
    alone = every_pair(coloured_pairs).take(np.zeros(3, int))
    with pytest.raises(InputError, match="finds all 3 pairs"):
        taught(matcher, alone)


@pytest.fixture(scope="module")
def student(
    teacher: Path, colour_model: Path, coloured_pairs: LabelledPairs, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("student")
    files = {}
    for name, table in (("left", coloured_pairs.train.left), ("right", coloured_pairs.train.right)):
        files[name] = str(folder / f"{name}.csv")
        table.values.with_columns(id=table.ids).write_csv(files[name])
    pairs = every_pair(coloured_pairs)
    pairs.frame().write_csv(folder / "pairs.csv")
    status = main(
        [
            *("match", "distil", "--model", str(teacher), "-n", "1500", "--no-mlflow", "--json"),
            *("--left", files["left"], "--right", files["right"], "--pairs", str(folder / "pairs.csv")),
            *("--run-dir", str(folder / "run"), "--set", f"model.encoder.model={colour_model}"),
            *("--set", "model.encoder.layers=1", "--set", "optimiser.lr=5e-3", "--set", "optimiser.max_epochs=8"),
        ]
    )
    assert status == 0
    return folder / "run" / "bundle"


def test_a_student_reads_apart_with_fewer_layers(student: Path, teacher: Path, coloured_pairs: LabelledPairs) -> None:
    cheap, dear = Matcher.load(student), Matcher.load(teacher)
    assert isinstance(cheap.model, SiameseMatcher)
    assert cheap.model.encoder.model.config.num_hidden_layers == 1
    pairs = coloured_pairs.test
    assert (cheap.score(pairs).same == dear.score(pairs).same).mean() > 0.9


def test_a_cascade_asks_the_matcher_where_it_is_least_sure_what_that_would_say(
    student: Path, teacher: Path, coloured_pairs: LabelledPairs
) -> None:
    cheap, dear = Matcher.load(student), Matcher.load(teacher)
    pairs = coloured_pairs.train
    every = MatcherJudge(dear).judge(pairs).log_odds
    for first in (None, cheap):
        judge = CascadeJudge(first, dear, pairs=100)
        found = judge.judge(pairs)
        assert [stage.pairs for stage in found.stages] == [len(pairs) - 100, 100]
        assert sum(stage.same for stage in found.stages) == (found.log_odds >= 0).sum()
        assert np.isclose(found.log_odds, every, atol=1e-4).sum() >= 100
        # colours that mean the same share no letters, and only the student has learned which do
        assert ((found.log_odds >= 0) == (every >= 0)).mean() > (0.9 if first else 0.6)
        assert json.loads(json.dumps(judge.settings))["learned"]["names"][-1] == ("first" if first else "maker words")
    # what was learned is used again, and not learned from what another matcher would say
    later = CascadeJudge(cheap, dear, pairs=1, learned=judge.learned)
    again = later.judge(pairs.take(np.arange(50)))
    assert later.learned is judge.learned and [stage.pairs for stage in again.stages] == [49, 1]


def test_a_budget_for_all_is_the_matcher_alone(teacher: Path, coloured_pairs: LabelledPairs) -> None:
    dear, pairs = Matcher.load(teacher), coloured_pairs.test
    every, progress = MatcherJudge(dear).judge(pairs).log_odds, []
    judge = CascadeJudge(None, dear, pairs=10_000)
    found = judge.judge(pairs, lambda done, total: progress.append((done, total)))
    np.testing.assert_allclose(found.log_odds, every, atol=1e-4)
    assert [stage.pairs for stage in found.stages] == [0, len(pairs)]
    assert progress[-1] == (len(pairs), len(pairs)) and progress == sorted(progress)
    timed = CascadeJudge(None, dear, minutes=10.0).judge(pairs)
    np.testing.assert_allclose(timed.log_odds, every, atol=1e-4)


def test_of_little_time_nothing_is_left_but_the_pairs_that_tell_how_fast_the_matcher_is(
    teacher: Path, coloured_pairs: LabelledPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.entities.cascade._TIMED", 8)
    found = CascadeJudge(None, Matcher.load(teacher), minutes=1e-9).judge(coloured_pairs.test)
    assert found.stages[1].pairs == 8


def test_a_cascade_without_a_budget_is_told(teacher: Path) -> None:
    dear = Matcher.load(teacher)
    for budget in ({}, {"pairs": 5, "minutes": 1.0}):
        with pytest.raises(InputError, match="a budget of pairs or of minutes"):
            CascadeJudge(None, dear, **budget)
    with pytest.raises(InputError, match="the budget of a cascade is more than 0"):
        CascadeJudge(None, dear, pairs=0)


def test_a_cascade_resolves_and_its_matcher_finds(
    student: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = [student.parents[1] / f"{name}.csv" for name in ("left", "right")]
    sources = [f"{one.stem}={one}" for one in files]
    into = tmp_path / "entities"
    told = ["resolve", *sources, "--into", str(into), "--model", str(teacher), "--first", str(student), "--json"]
    assert main(told) == 2 and "--first needs a budget" in capsys.readouterr().err
    assert main([*told, "--set", "cascade.pairs=50"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [stage["name"] for stage in figures["stages"]] == ["similarities", "matcher"]
    finder = EntityFinder.load(into, teacher)
    record = pl.read_csv(files[0]).select("name", "maker").fill_null("").row(0, named=True)
    assert finder.find([record])[0].records
    assert main([*told[:3], "--into", str(into)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "were judged by a cascade of" in said and "and now it would be the data by themselves" in said
    alone = [one for one in told if one not in ("--first", str(student))]
    assert main([*alone, "--set", "cascade.pairs=50"]) == 2
    assert "and now it would be a cascade of" in capsys.readouterr().err.splitlines()[-1]
    assert main([*told, "--set", "cascade.pairs=60"]) == 0  # what may be spent is no rule
    settings = read_entities(into).settings["judge"]
    assert settings["pairs"] == 60 and settings["learned"]["names"][-1] == "first"
    with pytest.raises(InputError, match="was resolved with the matcher"):
        EntityFinder.load(into)
    with pytest.raises(InputError, match="resolve it with this one, or name the other"):
        EntityFinder.load(into, student)


def test_fewer_layers_are_other_vectors_and_all_are_as_before(colour_model: Path) -> None:
    whole, half = (TextEncoderConfig(str(colour_model), pooling="mean", layers=n) for n in (0, 1))
    assert "layers" not in facts_of(whole) and facts_of(half)["layers"] == 1
    every = TextEncoderConfig(str(colour_model), pooling="mean", layers=2)
    texts = ["red tea", "blue cup"]
    one, other, all_of_them = (load_encoder(config).encode(texts) for config in (whole, half, every))
    np.testing.assert_allclose(one, all_of_them, atol=1e-6)
    assert np.abs(one - other).max() > 1e-3
    with pytest.raises(InputError, match=r"text.encoder.layers is 3, and .* has 2"):
        load_encoder(TextEncoderConfig(str(colour_model), pooling="mean", layers=3))
