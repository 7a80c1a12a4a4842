"""A matcher's bundle: the same again from disk, over HTTP, and what cannot be used is told."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from fastapi.testclient import TestClient

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from recsys.matching.calibration import Isotonic, Scaling, probabilities
from recsys.matching.ditto import DittoMatcher, log_odds
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.knowledge import KnowledgeConfig
from recsys.matching.overlap import Overlap
from recsys.matching.overlap_judge import OverlapJudge
from recsys.matching.pair_reader import PairReader
from recsys.matching.thresholds import best_f1, for_precision
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import load_encoder
from serving.bundles.sealed import BundleError
from serving.candidates import CandidateGenerator
from serving.http.config import ServiceConfig
from serving.matching.app import create_matcher_app
from serving.matching.manifest import MatcherManifest
from serving.matching.matcher import Matcher
from serving.matching.requests import MAX_PAIRS
from serving.matching.writer import Fitted, write_matcher
from serving.server import Served, serve
from training.cli import main

WEIGHTS = ({"red": 1.5, "tea": 0.5}, 3.0)


@pytest.fixture(scope="module")
def fitted(colour_model: Path, coloured_pairs: LabelledPairs) -> Fitted:
    """Of random weights, with something of everything."""
    config = DittoConfig(
        TextEncoderConfig(str(colour_model), pooling="mean", precision="fp32"),
        max_tokens=24,
        knowledge=KnowledgeConfig(("number", "price")),
        summarise=True,
    )
    torch.manual_seed(1)
    encoder = load_encoder(config.encoder)
    model = DittoMatcher(config, encoder).eval()
    with torch.no_grad():
        model.head.weight.mul_(100)
    validation, reader = coloured_pairs.validation, PairReader(config, ["name", "maker"], encoder, WEIGHTS)
    train = reader.pairs(coloured_pairs.train)
    overlap = Overlap.of(["name", "maker"], [train.left, train.right])
    judge = OverlapJudge.fit(overlap, [train.take(slice(None))], coloured_pairs.train.labels)
    model.overlap = dataclasses.replace(judge, weights=(0.75, 0.5, 0.25))
    stated = log_odds(model, reader, validation)
    calibration = Scaling(0.5, -0.25)
    threshold = best_f1(calibration(stated), validation.labels).threshold
    return Fitted(model, ["name", "maker"], calibration, threshold, stated, validation.labels, WEIGHTS)


@pytest.fixture(scope="module")
def folder(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_matcher(tmp_path_factory.mktemp("matcher") / "colours", fitted, name="colours", metrics={"f1": 0.5})


@pytest.fixture(scope="module")
def matcher(folder: Path) -> Matcher:
    return Matcher.load(folder)


@pytest.fixture(scope="module")
def client(matcher: Matcher) -> TestClient:
    return TestClient(create_matcher_app(matcher))


def records(pairs, n: int) -> list[dict]:
    return [
        {"left": left, "right": right}
        for left, right in zip(
            pairs.left.values[pairs.left_rows[:n]].to_dicts(),
            pairs.right.values[pairs.right_rows[:n]].to_dicts(),
            strict=True,
        )
    ]


def test_what_is_read_is_what_was_written(fitted: Fitted, matcher: Matcher, coloured_pairs: LabelledPairs) -> None:
    reader = PairReader(fitted.model.config, fitted.attributes, fitted.model.encoder, WEIGHTS)
    expected = fitted.calibration(log_odds(fitted.model, reader, coloured_pairs.test).astype(np.float64))
    found = matcher.score(coloured_pairs.test)
    np.testing.assert_allclose(found.log_odds, expected, atol=1e-5)
    np.testing.assert_allclose(found.probabilities, probabilities(expected), atol=1e-6)
    assert found.threshold == fitted.threshold and found.same.tolist() == (expected >= fitted.threshold).tolist()
    assert matcher.manifest.name == "colours" and matcher.manifest.metrics == {"f1": 0.5}


def test_both_opinions_are_read_and_joined(fitted: Fitted, matcher: Matcher, coloured_pairs: LabelledPairs) -> None:
    test, judge = coloured_pairs.test, fitted.model.overlap
    model = DittoMatcher(fitted.model.config, fitted.model.encoder).eval()
    model.head.load_state_dict(fitted.model.head.state_dict())
    reader = PairReader(model.config, fitted.attributes, model.encoder, WEIGHTS)
    alone, trees = log_odds(model, reader, test), judge.log_odds(reader.pairs(test).take(slice(None)))
    assert np.abs(trees).max() > 0.1
    found = log_odds(matcher.model, matcher.reader, test)
    np.testing.assert_allclose(found, 0.75 * alone + 0.5 * trees + 0.25, atol=1e-4)


def test_a_wanted_precision_is_that_of_the_validation_pairs(fitted: Fitted, matcher: Matcher) -> None:
    worth = fitted.calibration(fitted.log_odds.astype(np.float64))
    expected = for_precision(worth, fitted.labels, 0.5)
    assert expected is not None and matcher.threshold(0.5) == pytest.approx(expected.threshold)
    with pytest.raises(InputError, match=r"above 0 and at most 1, got 1\.5"):
        matcher.threshold(1.5)


def test_a_precision_that_was_never_reached_is_told(fitted: Fitted, tmp_path: Path) -> None:
    labels = fitted.labels.copy()
    labels[np.argmax(fitted.log_odds)] = False
    labels[np.argmin(fitted.log_odds)] = True
    labels[:] = fitted.log_odds == fitted.log_odds.min()  # the surest are wrong
    one = Fitted(fitted.model, fitted.attributes, fitted.calibration, 0.0, fitted.log_odds, labels, WEIGHTS)
    with pytest.raises(InputError, match=r"no threshold reached the precision 0\.99"):
        Matcher.load(write_matcher(tmp_path / "m", one)).threshold(0.99)


def test_isotonic_calibration_and_no_summaries_come_back(fitted: Fitted, tmp_path: Path) -> None:
    calibration = Isotonic((-1.0, 2.0), (-3.0, 3.0))
    one = Fitted(fitted.model, fitted.attributes, calibration, 0.0, fitted.log_odds, fitted.labels)
    found = Matcher.load(write_matcher(tmp_path / "m", one))
    assert found.calibration == calibration and not found.manifest.summarises


def test_given_records_are_as_those_of_tables(matcher: Matcher, coloured_pairs: LabelledPairs) -> None:
    pairs = coloured_pairs.test
    given = records(pairs, 40)
    some = matcher.pairs([one["left"] for one in given], [one["right"] for one in given])
    np.testing.assert_allclose(
        matcher.score(some).log_odds, matcher.score(pairs.take(np.arange(40))).log_odds, atol=1e-5
    )
    silent = matcher.score(matcher.pairs([{}, {"name": None}], [{}, {"name": ""}])).log_odds
    assert np.isfinite(silent).all() and silent[0] == pytest.approx(silent[1], abs=1e-5)


def test_over_http_as_in_process(matcher: Matcher, client: TestClient, coloured_pairs: LabelledPairs) -> None:
    answer = client.post("/match", json={"pairs": records(coloured_pairs.test, 20), "precision": 0.5}).json()
    expected = matcher.score(coloured_pairs.test.take(np.arange(20)), 0.5)
    np.testing.assert_allclose([one["log_odds"] for one in answer["pairs"]], expected.log_odds, atol=1e-5)
    assert [one["same"] for one in answer["pairs"]] == expected.same.tolist()
    assert answer["threshold"] == expected.threshold and answer["model"] == matcher.identity
    assert client.get("/readyz").json() == {"status": "ready"} and client.get("/healthz").status_code == 200
    assert client.get("/version").json()["attributes"] == ["name", "maker"]
    root = client.get("/").json()
    assert (root["service"], root["model"], root["docs"]) == ("Matching of records", matcher.identity, "/docs")
    assert "POST /match" in client.get("/candidates").json()["detail"]
    asked = records(coloured_pairs.test, 1)[0]
    told, found = client.post("/explain", json=asked).json(), matcher.explain(**asked)
    assert told["attributes"] == pytest.approx(found.attributes, abs=1e-5)
    assert told["uncalibrated_log_odds"] == pytest.approx(found.log_odds, abs=1e-5)
    assert told["threshold"] == matcher.threshold() and told["same"] == (told["log_odds"] >= told["threshold"])
    assert told["probability"] == pytest.approx(answer["pairs"][0]["probability"], abs=1e-5)
    assert len(told["words"]) == len(found.words)
    # with their places, words can be told in the order of the records again
    for side, attribute in {(one[0], one[1]) for one in found.words}:
        mine = [one for one in told["words"] if (one["side"], one["attribute"]) == (side, attribute)]
        mine = [(one["place"], one["word"]) for one in sorted(mine, key=lambda one: one["place"])]
        assert mine == list(enumerate(asked[side][attribute].split()))
    shares = [abs(one["share"]) for one in told["words"]]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"pairs": []}, "at least 1"),
        ({"pairs": [{"left": {}, "right": {}}] * (MAX_PAIRS + 1)}, f"at most {MAX_PAIRS}"),
        ({"pairs": [{"left": {"colour": "red"}, "right": {}}]}, "record 1 of left has 'colour'"),
        ({"pairs": [{"left": {"name": {"a": 1}}, "right": {}}]}, "valid"),
        ({"pairs": [{"left": {}}]}, "Field required"),
        ({"pairs": [{"left": {}, "right": {}}], "precision": 0}, "greater than 0"),
        ({"pairs": [{"left": {}, "right": {}}], "threshold": 0}, "no such field"),
    ],
)
def test_requests_that_cannot_be_used_are_told(client: TestClient, body: dict, message: str) -> None:
    answer = client.post("/match", json=body)
    assert answer.status_code == 422 and message in json.dumps(answer.json())


def test_examples_work(client: TestClient) -> None:
    shapes = client.get("/openapi.json").json()["components"]["schemas"]
    for path, shape in (("/match", "MatchRequest"), ("/explain", "ExplainRequest")):
        (example,) = shapes[shape]["examples"]
        assert client.post(path, json=example).status_code == 200
    assert client.get("/docs").status_code == 200


def test_long_and_strange_values_are_judged(matcher: Matcher) -> None:
    strange = ["x" * 50_000, "red \x00 tea", "שפתון 🧴", 3.5, 12, True, ["red", "tea"], 10**30]
    found = matcher.score(matcher.pairs([{"name": one} for one in strange], [{"name": "red tea"}] * len(strange)))
    assert np.isfinite(found.log_odds).all() and len(found.frame()) == len(strange)


def test_damage_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    for name in (
        *("matcher.json", "head.safetensors", "validation.parquet", "words.parquet"),
        *("overlap.trees.parquet", "overlap.words.parquet"),
    ):
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        with open(copy / name, "r+b") as file:
            file.write(b"\xff")
        with pytest.raises(BundleError, match=name):
            Matcher.load(copy)
        (copy / name).unlink()
        with pytest.raises(BundleError, match=f"lacks {name}"):
            Matcher.load(copy)
    copy = tmp_path / "encoder"
    shutil.copytree(folder, copy)
    (copy / "text_encoder" / "more.json").write_text("{}")
    with pytest.raises(BundleError, match=r"holds text_encoder/more\.json, which its manifest\.json does not list"):
        Matcher.load(copy)
    (copy / "text_encoder" / "more.json").unlink()
    (copy / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"model\.safetensors"):
        Matcher.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "retriever"}, "of kind 'retriever', and a matcher"),
        ({"format": 99}, "is of format 99"),
        ({"attributes": []}, "not a list of names"),
        ({"threshold": "high"}, "not a number"),
        ({"threshold": float("nan")}, "not a number"),
        ({"threshold": 0.125}, "disagree about the threshold"),
        ({"attributes": ["maker", "name"]}, "disagree about the attributes"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"files": {"../x": {}}}, "no name of a file in the bundle"),
    ],
)
def test_another_manifest_is_refused(folder: Path, tmp_path: Path, change: dict, message: str) -> None:
    copy = tmp_path / "m"
    shutil.copytree(folder, copy)
    said = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**said, **change}))
    with pytest.raises(BundleError, match=message):
        Matcher.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"calibration": {"kind": "magic"}}, "cannot be used: this is no calibration"),
        ({"overlap": None}, r"does not tell of overlap\.trees\.parquet, and the files do not agree"),
        ({"overlap": {"meaning": 99}}, "this version does not compute"),
        ({"overlap": {"features": ["words"]}}, "this version does not compute"),
        ({"overlap": {"weights": [1, float("nan"), 0]}}, "weights that are none"),
        ({"overlap": {"weights": [1, -1, 0]}}, "weights that are none"),
        ({"overlap": {"unknown_idf": [1, 1]}}, "not of 2 attributes"),
        ({"overlap": {"unknown_idf": [1, -1, 1]}}, "weights that are none"),
        ({"calibration": []}, "cannot be used: this is no calibration"),
        ({"calibration": {"kind": "scaling", "scale": -1, "shift": 0}}, "scale is above 0"),
        ({"calibration": {"kind": "scaling", "scale": 1, "shift": float("nan")}}, "shift a number"),
        ({"calibration": {"kind": "isotonic", "at": [0], "worth": [float("nan")]}}, "not pairs of numbers"),
    ],
)
def test_a_bundle_whose_parts_do_not_agree_is_refused(folder: Path, tmp_path: Path, change: dict, message: str) -> None:
    copy = tmp_path / "m"
    shutil.copytree(folder, copy)
    said = json.loads((copy / "matcher.json").read_text())
    if change.get("overlap"):
        change = {"overlap": said["overlap"] | change["overlap"]}
    (copy / "matcher.json").write_text(json.dumps({**said, **change}))
    MatcherManifest.read(copy).sealed(copy).write(copy)
    with pytest.raises(BundleError, match=message):
        Matcher.load(copy)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"field": [3], "word": ["tea"], "idf": [1.0]}, "words of attributes that are not there"),
        ({"field": [-1], "word": ["tea"], "idf": [1.0]}, "words of attributes that are not there"),
        ({"field": [0], "word": ["tea"], "idf": [float("inf")]}, "with all told"),
        ({"field": [0], "word": ["tea"], "idf": [-1.0]}, "no idf below 0"),
        ({"field": [0], "word": [None], "idf": [1.0]}, "is a table of field, word, idf"),
        ({"field": [0], "word": ["tea"]}, "is a table of field, word, idf"),
    ],
)
def test_words_of_another_second_opinion_are_refused(folder: Path, tmp_path: Path, rows: dict, message: str) -> None:
    copy = tmp_path / "m"
    shutil.copytree(folder, copy)
    types = {"field": pl.Int64, "word": pl.String, "idf": pl.Float64}
    pl.DataFrame(rows, schema={name: types[name] for name in rows}).write_parquet(copy / "overlap.words.parquet")
    MatcherManifest.read(copy).sealed(copy).write(copy)
    with pytest.raises(BundleError, match=message):
        Matcher.load(copy)


def test_half_a_second_opinion_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "m"
    shutil.copytree(folder, copy)
    (copy / "overlap.words.parquet").unlink()
    MatcherManifest.read(copy).sealed(copy).write(copy)
    with pytest.raises(BundleError, match=r"tells of overlap\.words\.parquet, and the files do not agree"):
        Matcher.load(copy)


def test_nothing_else_is_written_over_and_nothing_half_written_stays(
    fitted: Fitted, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(BundleError, match="is no bundle; it is not written over"):
        write_matcher(tmp_path / "mine", fitted)
    write_matcher(tmp_path / "m", fitted)
    before = (tmp_path / "m" / "manifest.json").read_bytes()
    monkeypatch.setattr(pl.DataFrame, "write_parquet", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_matcher(tmp_path / "m", fitted)
    assert (tmp_path / "m" / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "mine"]


def test_a_recommender_is_wanted(folder: Path) -> None:
    with pytest.raises(BundleError, match="is a matcher of records, and a recommender is wanted"):
        CandidateGenerator.load(folder)


def test_uncertain_pairs_are_informative(matcher: Matcher, coloured_pairs: LabelledPairs) -> None:
    pairs = coloured_pairs.train
    stated = np.abs(matcher.score(pairs).log_odds)
    places = matcher.informative(pairs, 10)
    assert len(set(places.tolist())) == 10 and stated[places[0]] == stated.min()
    assert stated[places].mean() < stated.mean()


def test_what_is_read_twice_is_counted_twice(matcher: Matcher, coloured_pairs: LabelledPairs) -> None:
    pairs, told = coloured_pairs.test, []
    matcher.informative(pairs, 5, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (2 * len(pairs), 2 * len(pairs)) and told == sorted(told)
    assert {total for _, total in told} == {2 * len(pairs)}
    assert matcher.informative(pairs.take([]), 5).tolist() == []


def test_serve_answers_for_whatever_the_bundle_is(
    folder: Path, matcher: Matcher, coloured_pairs: LabelledPairs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served = []
    monkeypatch.setattr("serving.http.listening.answer_at", lambda app, listener: served.append(app))
    threads = torch.get_num_threads()
    serve(Served(folder), port=0)
    torch.set_num_threads(threads)
    asked = {"pairs": records(coloured_pairs.test, 3)}
    answer = TestClient(served[0]).post("/match", json=asked).json()
    expected = matcher.score(coloured_pairs.test.take(np.arange(3))).log_odds
    np.testing.assert_allclose([one["log_odds"] for one in answer["pairs"]], expected, atol=1e-5)
    with pytest.raises(InputError, match="is a matcher of records, and takes no new items"):
        serve(Served(folder), port=0, config=ServiceConfig(new_items=tmp_path / "new.jsonl"))
    with pytest.raises(InputError, match="is a matcher of records, and takes no events; leave out --events"):
        serve(Served(folder), port=0, config=ServiceConfig(events=str(tmp_path / "events.sqlite"), keep_events=5))
    torch.set_num_threads(threads)


@pytest.mark.parametrize("arguments", [["--keep-events", "1000"], ["--events", "none", "--keep-events", "5"]])
def test_how_many_events_are_kept_is_nothing_that_a_matcher_or_entities_could_be_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str]
) -> None:
    threads = torch.get_num_threads()
    for served in (["--model", str(folder)], ["--entities", str(tmp_path)]):
        assert main(["serve", *served, "--port", "0", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("recsys serve: error: ") and "--keep-events" in line
        if "none" not in arguments:
            what = "is a matcher of records" if served[0] == "--model" else "holds entities"
            assert f"{what}, and keeps no events; leave out --keep-events" in line
    torch.set_num_threads(threads)


def test_no_pairs_are_no_error(matcher: Matcher, coloured_pairs: LabelledPairs) -> None:
    none = coloured_pairs.test.take(np.zeros(0, np.int64))
    assert matcher.score(none).frame().height == 0 and len(matcher.informative(none, 5)) == 0
