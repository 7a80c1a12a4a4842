"""Similar items: the index's own cosines, in process, over HTTP and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fastapi.testclient import TestClient

from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.http.fields import MAX_USERS
from serving.lists.raw_ids import FieldError
from training.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")


def brute_force(generator, row, k):
    """Ids and cosines by the item vectors, one item at a time; without the item bias."""
    bundle = generator.bundle
    vectors = bundle.index.stored(0)[:, : bundle.model.config.dim].astype(np.float64)
    cosines = [
        -1e9 if n == row else np.float32(one @ vectors[row] / np.linalg.norm(one) / np.linalg.norm(vectors[row]))
        for n, one in enumerate(vectors)
    ]
    order = np.argsort(-np.array(cosines), kind="stable")[: min(k, len(vectors) - 1)]
    return bundle.items.ids_of(order).to_list(), pytest.approx([float(cosines[n]) for n in order], abs=1e-6)


def test_they_are_those_of_the_highest_cosine(any_generator):
    asked = ["sku-004", "nothing", "sku-059", "sku-004", ""]
    for k in (1, 7, 59, 10**18):
        answer = any_generator.similar(asked, k)
        assert answer.sources == ["item", "unknown", "item", "item", "unknown"]
        for n, row in ((0, 4), (2, 59), (3, 4)):
            assert (answer.item_ids[n], answer.scores[n]) == brute_force(any_generator, row, k)
            assert asked[n] not in answer.item_ids[n]
        assert answer.item_ids[1] == answer.scores[1] == answer.item_ids[4] == []
    assert len(any_generator.similar([])) == 0


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_of_a_quantised_bundle_they_are_those_of_what_is_stored(tmp_path, strings, tiny, precision):
    folder = write_bundle(tmp_path / "b", tiny.model_for(strings), strings, precision=precision)
    generator = CandidateGenerator.load(folder, mmap=True)
    answer = generator.similar(["sku-031"], 12)
    assert (answer.item_ids[0], answer.scores[0]) == brute_force(generator, 31, 12)


def test_frames_and_pictures_for_people(generator, integer_generator):
    answer = generator.similar(["sku-001", "nothing"], k=2)
    frame = answer.to_frame()
    assert frame.columns == ["asked", "rank", "item_id", "score", "source", "title"]
    assert frame["asked"].to_list() == ["sku-001"] * 2
    assert frame["title"].to_list() == [f"Thing number {int(one[-3:])}" for one in frame["item_id"]]
    assert "sku-001 (item)\n" in repr(answer) and "nothing (unknown)" in repr(answer)
    numbers = integer_generator.similar([2**53, "17"], k=3)
    assert all(isinstance(one, int) for ids in numbers.item_ids for one in ids)
    assert [one["item_id"] for one in numbers.to_json()] == [str(2**53), "17"]
    assert integer_generator.similar([17], k=3).item_ids[0] == numbers.item_ids[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sku-001",), "item_ids is a str, not a list"),
        (([17],), r"item_ids\[0\] is the integer 17; the ids 'item_id' are strings"),
        ((["sku-001"], 0), "k is a whole number of at least 1, got 0"),
        ((["sku-001"], 2.0), "k is a whole number of at least 1, got 2.0"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(generator, arguments, words):
    with pytest.raises(FieldError, match=words):
        generator.similar(*arguments)


def test_over_http_they_are_the_same(any_generator):
    client = TestClient(create_app(any_generator))
    body = client.post("/similar", json={"item_ids": ["sku-004", "nothing"], "k": 12}).json()
    assert body["similar"] == any_generator.similar(["sku-004", "nothing"], k=12).to_json()
    assert body["model"] == any_generator.identity


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "item_ids"),
        ({"item_ids": None}, "item_ids"),
        ({"item_ids": "sku-001"}, "item_ids"),
        ({"item_ids": [None]}, "item_ids"),
        ({"item_ids": [17]}, "item_ids"),
        ({"item_ids": ["s"] * (MAX_USERS + 1)}, "item_ids"),
        ({"item_ids": ["sku-001"], "k": 0}, "k"),
        ({"item_ids": ["sku-001"], "k": 1001}, "k"),
        ({"item_ids": ["sku-001"], "k": True}, "k"),
        ({"item_ids": ["sku-001"], "user_ids": ["u001"]}, "user_ids"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(generator, body, field):
    answer = TestClient(create_app(generator)).post("/similar", json=body)
    assert answer.status_code == 422
    assert field in answer.json()["detail"][0]["loc"]


def test_answers_have_an_end(generator):
    client = TestClient(create_app(generator))
    answer = client.post("/similar", json={"item_ids": ["sku-001"] * 1000, "k": 101})
    assert answer.status_code == 422
    assert "1000 items x k=101" in answer.text
    assert client.post("/similar", json={"item_ids": ["sku-001"] * 1000, "k": 60}).status_code == 200
    assert client.post("/similar", content=b"[", headers={"content-type": "application/json"}).status_code == 422


def test_on_the_command_line_they_are_the_same(string_folder, generator, capsys):
    asked = ["similar", "--model", str(string_folder), "--item", "sku-004", "--item", "nothing", "-k", "3"]
    assert main([*asked, "--json"]) == 0
    expected = generator.similar(["sku-004", "nothing"], k=3)
    assert json.loads(capsys.readouterr().out) == expected.to_json()
    assert main(asked) == 0
    assert capsys.readouterr().out == f"{expected}\n"
    assert main([*asked[:-1], "0"]) == 2
    assert "k is a whole number of at least 1" in capsys.readouterr().err
