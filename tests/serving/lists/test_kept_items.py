"""New items from one start to the next, and into the next build."""

from __future__ import annotations

import json
import threading

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.embedding_store import EmbeddingStore
from features.errors import InputError
from features.item_log import ItemLog
from recsys.text_encoders.loading import facts_of
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from training.cli import main


def test_they_are_there_again_after_the_next_start(any_telling, told, tmp_path):
    path = tmp_path / "deep" / "new.jsonl"
    bundle = any_telling.bundle
    assert not CandidateGenerator(bundle).new_items.kept
    first = CandidateGenerator(bundle, log=ItemLog(path))
    assert first.new_items.kept and not path.exists()
    first.new_items.add(told.new)
    first.new_items.add([("cup", {"genres": "a"}), ("soap", {"title": "Something else"})])
    first.new_items.remove(["ink"])
    again = CandidateGenerator.load(any_telling.resolved.folder, hashes=False, new_items=path)
    assert again.new_items.notice is None
    assert len(again.new_items) == 3
    one, other = (each.recommend(["u003"], k=99) for each in (first, again))
    assert one.item_ids == other.item_ids
    assert one.scores[0] == pytest.approx(other.scores[0], abs=1e-5)


def test_what_one_start_has_read_the_next_one_knows(telling, told, tmp_path, monkeypatch):
    log = ItemLog(tmp_path / "new.jsonl")
    log.add(dict(told.new))
    first = CandidateGenerator(telling.bundle, log=log)
    for module in ("loading", "items"):
        monkeypatch.setattr(f"recsys.text_encoders.{module}.load_encoder", None)
    again = CandidateGenerator(telling.bundle, log=log)
    assert np.array_equal(again.new_items.shelf.new_index.stored(0), first.new_items.shelf.new_index.stored(0))


def test_a_start_where_nothing_can_be_stored_reads_again(telling, told, tmp_path, monkeypatch):
    log = ItemLog(tmp_path / "new.jsonl")
    log.add(dict(told.new))
    monkeypatch.setattr("recsys.text_encoders.items._default_store", lambda: log.path / "no folder")
    assert len(CandidateGenerator(telling.bundle, log=log).new_items) == 3


def test_a_start_does_not_wait_for_a_training_that_encodes(telling, told, tmp_path, monkeypatch):
    log = ItemLog(tmp_path / "new.jsonl")
    log.add(dict(told.new))
    monkeypatch.setattr("recsys.text_encoders.items._default_store", lambda: tmp_path / "store")
    text, started = telling.bundle.text, []
    store = EmbeddingStore(tmp_path / "store", facts_of(text.config.encoder))
    start = threading.Thread(target=lambda: started.append(CandidateGenerator(telling.bundle, log=log)), daemon=True)
    with store.alone():
        start.start()
        start.join(300)
        assert started and len(started[0].new_items) == 3


def test_what_was_kept_and_has_no_place_is_left_out_and_told(telling, tmp_path):
    path = tmp_path / "new.jsonl"
    kept = {
        "sku-004": {"title": "by now in the catalogue"},
        "cup": {"colour": "red"},
        "ink": {"weight": "heavy", "title": "Ink"},
        "soap": {"title": "Soap", "colour": "red"},
    }
    ItemLog(path).add(kept)
    generator = CandidateGenerator(telling.bundle, log=ItemLog(path))
    assert len(generator.new_items) == 1
    assert "soap" in generator.recommend(["u003"], k=99).item_ids[0]
    assert set(generator.new_items.left_out) == {"cup", "ink"}
    assert generator.new_items.left_out["ink"] == "has the weight 'heavy', and the catalogue's are numbers"
    assert generator.new_items.notice.startswith(f"{path}: 2 left out, such as ")


def test_a_model_of_ids_alone_starts_without_what_was_kept(told, strings, tiny, tmp_path):
    folder = write_bundle(tmp_path / "b", tiny.model_for(strings, family="sequential", items="id"), strings)
    ItemLog(tmp_path / "new.jsonl").add(dict([told.new[0]]))
    generator = CandidateGenerator.load(folder, new_items=tmp_path / "new.jsonl")
    assert len(generator.new_items) == 0
    assert "'soap', which cannot be placed by a model that knows items by their ids alone" in generator.new_items.notice


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"item_id": 17, "attributes": {}}', r"new\.jsonl are not this model's: items\[0\] is the integer 17"),
        ("{", r"new\.jsonl, line 1"),
    ],
)
def test_a_file_of_another_kind_is_refused(telling, tmp_path, line, words):
    (tmp_path / "new.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=words):
        CandidateGenerator(telling.bundle, log=ItemLog(tmp_path / "new.jsonl"))


def test_what_cannot_be_kept_is_not_taken_in(telling, told, tmp_path, monkeypatch):
    generator = CandidateGenerator(telling.bundle, log=ItemLog(tmp_path / "new.jsonl"))
    generator.new_items.add(told.new)

    def fail(*arguments):
        raise InputError("the disk is full")

    for name in ("add", "remove"):
        monkeypatch.setattr(ItemLog, name, fail)
    with pytest.raises(InputError, match="the disk is full"):
        generator.new_items.add([("cup", {"genres": "a"})])
    with pytest.raises(InputError, match="the disk is full"):
        generator.new_items.remove(["soap"])
    assert set(generator.recommend(["u003"], k=99).item_ids[0]) >= {"soap", "ink", "a-cup"}
    assert len(generator.new_items) == 3


def test_what_is_kept_becomes_an_ordinary_item_in_the_next_build(telling, told, tmp_path):
    log = ItemLog(tmp_path / "new.jsonl")
    CandidateGenerator(telling.bundle, log=log).new_items.add(told.new)
    data = told.prepared.dataset
    items = data.with_new_items(log.read()).items
    assert items.height == 63
    assert items.filter(pl.col("item_id") == "soap").drop("text_vector", "since").row(0, named=True) == {
        "item_id": "soap", **told.new[0][1],
    }  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_added_and_removed_the_log_brings_it_back(telling, tmp_path_factory, data):
    bundle = telling.bundle
    log = ItemLog(tmp_path_factory.mktemp("log") / "new.jsonl")
    generator, expected = CandidateGenerator(bundle, log=log), {}
    ids = st.sampled_from(["soap", "ink", "cup", "é", ""])
    genre = st.sampled_from(["a", "b", "a|c"])
    for _ in range(data.draw(st.integers(0, 5))):
        if data.draw(st.booleans()):
            added = data.draw(st.dictionaries(ids, genre, max_size=3))
            generator.new_items.add([(one, {"genres": said}) for one, said in added.items()])
            expected |= added
        else:
            gone = data.draw(st.lists(ids, max_size=2))
            assert generator.new_items.remove(gone) == len(set(gone) & set(expected))
            expected = {one: said for one, said in expected.items() if one not in gone}
        assert len(generator.new_items) == len(expected)
    again = CandidateGenerator(bundle, log=log)
    one, other = (each.recommend(["u003"], k=99) for each in (generator, again))
    assert set(one.item_ids[0]) == set(other.item_ids[0]) > set(expected)
    # items of which the same is said differ in the last bits, by what was read beside them
    assert one.scores[0] == pytest.approx(other.scores[0], abs=1e-5)


def test_on_the_command_line_a_file_of_new_items_is_read(telling, told, tmp_path, capsys):
    path, folder = tmp_path / "new.jsonl", told.folders["two-tower"]
    lines = [
        *({"item_id": item, "attributes": said} for item, said in told.new),
        {"item_id": "cup", "attributes": {"x": 1}},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ["--model", str(folder), "--new-items", str(path), "-k", "99", "--json"]
    assert main(["recommend", "--user", "u003", "--keep-seen", *asked]) == 0
    out = capsys.readouterr()
    assert set(json.loads(out.out)[0]["item_ids"]) > {"soap", "ink", "a-cup"}
    why = "says nothing that this model knows, so it has no place"
    assert out.err == f"{path}: 1 left out, such as 'cup', which {why}\n"
    assert main(["similar", "--item", "soap", *asked]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["item_ids"]) == 62
    path.unlink()
    assert main(["similar", "--item", "soap", *asked]) == 2
    assert f"there are no new items at {path}" in capsys.readouterr().err
