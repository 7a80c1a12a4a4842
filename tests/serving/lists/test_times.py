"""Models that read times: stored, given and missing ones, and the moment of asking."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from fastapi.testclient import TestClient

from features.batches import FeatureBatch, Jagged
from features.dataset import Dataset
from features.schema import Sequence
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.lists.raw_ids import FieldError
from serving.pyfunc_model import Retriever
from training.bundle_evaluation import evaluate_bundle, served_lists
from training.evaluation import Evaluation, ModelScores
from training.interests import user_vectors

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")


@pytest.fixture(scope="module")
def timed(strings, tiny):
    schema = dataclasses.replace(tiny.schema, user=(Sequence("history", timed=True),))
    data = strings.dataset
    return tiny.prepared_of(Dataset.construct("timed", data.interactions, data.items, data.users, schema))


@pytest.fixture(scope="module", params=["events", "request"])
def generator(request, timed, tiny, tmp_path_factory):
    model = tiny.model_for(timed, family="sequential", backbone="hstu", times=request.param)
    with torch.no_grad():  # nothing has been learned of times
        for layer in model.layers:
            layer.attention.time_bias.normal_(std=20)
    return CandidateGenerator.load(write_bundle(tmp_path_factory.mktemp("timed") / "bundle", model, timed))


def brute_force(generator, prepared, history, times, asked_at=None, k=10):
    """Ids and scores of one history."""
    jagged = Jagged(torch.tensor(history), torch.tensor([len(history)]), None if times is None else torch.tensor(times))
    at = None if asked_at is None else torch.tensor([asked_at])
    model = generator.bundle.model
    with torch.inference_mode():
        vector = model.encode_users(FeatureBatch({"history": jagged}, size=1, asked_at=at)).numpy()
        items = model.encode_items(prepared.item_table.take(np.arange(60))).numpy()
    scores = items @ vector[0]
    order = np.argsort(-scores, kind="stable")[:k]
    return prepared.items.ids_of(order).to_list(), pytest.approx(scores[order].tolist(), abs=1e-5)


ITEMS, TIMES = ["sku-004", "?", "sku-010", "sku-020"], [10, 500, 900, 10_000]


def test_stored_histories_have_their_times(generator, timed):
    users = np.flatnonzero(timed.test_histories.lengths)
    answer = generator.recommend(timed.users.ids_of(users), exclude_seen=False)
    for n, user in enumerate(users):
        history = timed.test_histories.rows(np.array([user]))
        expected = brute_force(generator, timed, history.values.tolist(), history.times.tolist())
        assert (answer.item_ids[n], answer.scores[n]) == expected
    histories = generator.bundle.known.histories(np.arange(40))
    assert histories.times.tolist() == timed.test_histories.times.tolist()


def test_each_user_has_own_times_or_none(generator, timed, monkeypatch):
    users = ["u003", None, None, None, "u003", None]
    histories = [None, ITEMS, ITEMS, ITEMS, ITEMS, ["?"]]
    times = [None, TIMES, None, TIMES, TIMES, [3]]
    asked_at = [10**9, None, None, 10**9, 20_000, 5]
    rows = timed.items.rows(["sku-004", "sku-010", "sku-020"]).tolist()
    own = timed.test_histories.rows(np.array([3]))
    expected = [
        brute_force(generator, timed, own.values.tolist(), own.times.tolist(), 10**9),
        brute_force(generator, timed, rows, [10, 900, 10_000]),
        brute_force(generator, timed, rows, None),
        brute_force(generator, timed, rows, [10, 900, 10_000], 10**9),
        brute_force(generator, timed, rows, [10, 900, 10_000], 20_000),
    ]
    told = {"history_times": times} | ({"asked_at": asked_at} if generator.bundle.reads_asking_time else {})
    for chunk in (4096, 2):
        monkeypatch.setattr("serving.lists.user_lists._CHUNK", chunk)
        answer = generator.recommend(users, histories, exclude_seen=False, **told)
        assert list(zip(answer.item_ids, answer.scores, strict=True))[:5] == expected
        assert answer.sources == ["user", "history", "history", "history", "history", "popularity"]
    client, body = TestClient(create_app(generator)), {"user_ids": users, "histories": histories, **told}
    over_http = client.post("/candidates", json={**body, "exclude_seen": False})
    assert over_http.json()["candidates"] == answer.to_json()
    columns = {"user_id": users, "history": histories, **told}
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    split = {"columns": list(columns), "data": [list(one.values()) for one in records]}
    for frame in ({"dataframe_records": records}, {"dataframe_split": split}):
        moved = client.post("/invocations", json={**frame, "params": {"exclude_seen": False}})
        assert moved.json()["predictions"] == answer.to_json()
    scores = [expected[n][1].expected for n in (1, 3)]
    assert (scores[0] == scores[1]) == (generator.bundle.model.config.times == "events")


def test_what_is_evaluated_is_what_is_served(generator, timed):
    """The training-time ranking knows when the target came; so does the question to the bundle."""
    evaluation = Evaluation(timed)
    ranking, _ = evaluation.rank(
        evaluation.users, ModelScores(generator.bundle.model, evaluation).scorer(evaluation.users)
    )
    assert torch.equal(served_lists(generator, evaluation, evaluation.users), ranking.rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"history_times": [[1, 2]]}, r"history_times\[0\] has 2 times for the 4 items of histories\[0\]"),
        ({"history_times": []}, "there are 1 histories and 0 history_times"),
        ({"history_times": [[1, 2, 3, "4"]]}, "history_times holds 4, which is no whole number"),
        ({"history_times": [[1, 2, 3, None]]}, "history_times holds None, which is no whole number"),
        ({"history_times": [[1, 2, 3, 2**63]]}, "history_times holds 9223372036854775808, which is no whole number"),
        ({"history_times": [[1, 2, 9, 4]]}, r"history_times\[0\] run backwards"),
        ({"history_times": "now"}, "history_times is a str, not a list"),
        ({"asked_at": [1, 2]}, "there are 1 users and 2 times of asked_at"),
        ({"asked_at": [1.5]}, r"asked_at holds 1\.5, which is no whole number"),
        ({"asked_at": [5]}, r"asked_at\[0\] says nothing without the history_times of histories\[0\]"),
    ],
)
def test_times_that_cannot_be_used_are_named(generator, arguments, words):
    if "asked_at" in arguments and not generator.bundle.reads_asking_time:
        words = "this model does not read when it is asked, so asked_at would change nothing"
    with pytest.raises(FieldError, match=words):
        generator.recommend([None], [ITEMS], **arguments)
    answer = TestClient(create_app(generator)).post("/candidates", json={"histories": [ITEMS], **arguments})
    assert answer.status_code == 422
    assert next(iter(arguments)) in answer.json()["detail"][0]["loc"]


def test_times_belong_to_histories(generator):
    with pytest.raises(FieldError, match="history_times are those of histories, and no histories are given"):
        generator.recommend(["u003"], history_times=[TIMES])
    with pytest.raises(FieldError, match=r"history_times\[1\] has 4 times for the 0 items of histories\[1\]"):
        generator.recommend(["u003", "u004"], [None, None], history_times=[None, TIMES])
    answer = generator.recommend(["u003"], [None], history_times=[None])
    assert answer.to_json() == generator.recommend(["u003"]).to_json()


def test_the_manifest_says_that_figures_know_when_they_were_asked(generator):
    manifest = generator.bundle.manifest
    assert manifest.knows_asking_time == generator.bundle.reads_asking_time
    assert manifest.split.get("knows_asking_time", False) == (generator.bundle.model.config.times == "request")


def test_it_is_measured_by_its_own_declarations_whatever_those_of_the_data(generator, timed, strings):
    folder = generator.resolved.folder
    assert evaluate_bundle(folder, strings) == evaluate_bundle(folder, timed)


def test_what_pandas_makes_of_times_is_read(generator):
    model = Retriever()
    model.generator = generator
    frame = pd.DataFrame({"history": [ITEMS, ITEMS], "history_times": [np.array(TIMES), None]})
    told = {"history_times": [TIMES, None]}
    if generator.bundle.reads_asking_time:  # a column with a gap is of floats
        frame["asked_at"], told["asked_at"] = [20_000, np.nan], [20_000, None]
    expected = generator.recommend(None, [ITEMS, ITEMS], **told).to_json()
    assert model.predict(None, frame).to_dict("records") == expected
    frame["asked_at"] = [None, None]
    model.predict(None, frame)


def test_a_model_that_does_not_read_times_says_so(any_generator):
    for field, value in (("history_times", [TIMES]), ("asked_at", [5])):
        with pytest.raises(FieldError, match=f"does not read times, so {field} would change nothing"):
            any_generator.recommend([None], [ITEMS], **{field: value})


def test_users_whom_nothing_is_asked_of_have_a_vector_of_the_moment_after_their_latest_item(generator, timed):
    """As similar users are: `training.interests` compares all users with all."""
    evaluation = Evaluation(timed)
    model, vectors = generator.bundle.model, user_vectors(generator.bundle.model, evaluation)
    histories = evaluation.histories
    for user in range(len(vectors)):
        items, asked = histories.rows(np.array([user])), timed.test.row(user)
        if not len(items.values):
            assert not vectors[user].any()
            continue
        at = timed.test.times[timed.test.offsets[user]] if len(asked) else items.times[-1]
        batch = timed.user_features(np.array([user]), items)
        batch.asked_at = torch.tensor([at])
        with torch.inference_mode():
            np.testing.assert_allclose(vectors[user], model.encode_users(batch)[0].numpy(), rtol=1e-4, atol=1e-5)
