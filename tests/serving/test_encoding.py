"""A language model in a process of its own says what one in this process does, and its end is nobody else's."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.errors import InputError
from recsys.text_encoders import ItemTextConfig
from serving.bundles.item_texts import BundleText, write_text
from serving.bundles.manifest import TEXT
from serving.candidates import CandidateGenerator
from serving.encoding import EncoderProcess
from serving.resolve import resolve

ITEMS = pl.DataFrame({"title": ["Rose soap", None, "Blue ink for fountain pens"], "maker": ["Ada", None, "Bo"]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A bundle's folder, as far as texts go, with the small model of the extra `text`."""
    folder = tmp_path_factory.mktemp("bundle")
    write_text(folder, ItemTextConfig(("title", "maker")), ITEMS)
    return folder


@pytest.fixture(scope="module")
def process(folder):
    return EncoderProcess(folder)


@pytest.mark.parametrize("kept", [False, True])
def test_vectors_are_those_of_this_process(folder, process, kept, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found, expected = process.vectors(ITEMS, kept), BundleText.read(folder).vectors(ITEMS)
    assert found.is_null().to_list() == expected.is_null().to_list() == [False, True, False]
    a, b = (np.stack(one.drop_nulls().to_list()) for one in (found, expected))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_many_threads_each_get_their_own(process):
    titles = [f"thing number {n}" for n in range(4)]
    alone = [process.vectors(pl.DataFrame({"title": [one]}), False)[0] for one in titles]
    found: dict[int, pl.Series] = {}

    def ask(n: int) -> None:
        found[n] = process.vectors(pl.DataFrame({"title": [titles[n]]}), False)[0]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    for n, one in enumerate(alone):
        np.testing.assert_allclose(found[n].to_numpy(), one.to_numpy(), atol=1e-5)


def test_one_that_is_killed_is_told_and_begun_again(process):
    process.vectors(ITEMS, False)
    os.kill(process._process.pid, signal.SIGKILL)
    try:
        process.vectors(ITEMS, False)
    except InputError as error:  # not so where its death was noticed before
        assert str(error) == "the process that reads texts has died; ask again"
    assert len(process.vectors(ITEMS, False)) == 3


def test_another_language_model_than_the_bundles_is_told(folder, tmp_path):
    told = json.loads((folder / TEXT).read_text())
    (tmp_path / TEXT).write_text(json.dumps({**told, "fingerprint": "0" * 64}))
    process = EncoderProcess(tmp_path)
    with pytest.raises(InputError, match="is not the one that this model was trained with"):
        process.vectors(ITEMS, False)


def test_it_ends_with_whoever_asked_for_it(folder):
    process = EncoderProcess(folder)
    process.vectors(ITEMS, False)
    child = process._process
    del process
    gc.collect()
    assert child.wait(20) is not None


def test_a_service_begins_without_it_and_takes_kept_items_in_afterwards(told, tmp_path, monkeypatch, word_encoder):
    kept = tmp_path / "new.jsonl"
    CandidateGenerator.load(told.folders["two-tower"], new_items=kept).new_items.add([("soap", told.new[0][1])])
    asked = []

    def vectors(self, items, kept):
        asked.append(items.height)
        return BundleText.read(self._folder).vectors(items)

    monkeypatch.setattr(EncoderProcess, "vectors", vectors)
    generator = CandidateGenerator.of(resolve(told.folders["two-tower"]), new_items=kept, aside=True)
    assert not asked and not len(generator.new_items)  # nobody has waited
    assert generator.recommend(["u003"], k=3).item_ids
    generator.new_items.refresh()
    assert asked == [1]
    assert "soap" in generator.recommend(["u003"], k=100, exclude_seen=False).item_ids[0]
