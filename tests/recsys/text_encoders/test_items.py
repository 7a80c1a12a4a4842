"""The vectors of items: encoded once, found again, and counted."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.errors import InputError
from recsys.text_encoders import ItemTextConfig, TextEncoderConfig, items
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.items import item_vectors, read_items
from recsys.text_encoders.loading import load_encoder


@pytest.fixture
def config(written: Callable[[str], Path], tmp_path: Path) -> ItemTextConfig:
    encoder = TextEncoderConfig(str(written("llama")), precision="fp32")
    return ItemTextConfig(("title", "brand"), encoder=encoder, store=str(tmp_path / "store"))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What any encoder is asked to encode."""
    asked: list[str] = []
    encode = TextEncoder.encode
    monkeypatch.setattr(TextEncoder, "encode", lambda self, texts: (asked.extend(texts), encode(self, texts))[1])
    return asked


ITEMS = pl.DataFrame(
    {
        "item_id": [1, 2, 3, 4, 5, 6],
        "title": ["rose soap", None, "blue ink", "rose soap", "", "שפתון 🧴"],
        "brand": ["Ada", None, "Bo", "Ada", None, None],
    }
)


def test_texts_are_told_encoded_once_and_counted(config: ItemTextConfig, encoded: list[str]) -> None:
    found = item_vectors(ITEMS, config)
    assert encoded == ["title: rose soap; brand: Ada", "title: blue ink; brand: Bo", "title: שפתון 🧴"]
    assert (found.encoded, found.stored, found.missing, found.shortened) == (3, 0, 2, 0)
    assert found.vectors.name == "text_vector" and found.vectors.dtype == pl.Array(pl.Float32, 32)
    assert found.vectors.is_null().to_list() == [False, True, False, False, True, False]
    own = load_encoder(config.encoder).encode(["title: rose soap; brand: Ada"])[0]
    np.testing.assert_allclose(found.vectors[0], own, atol=1e-6)
    assert found.vectors[0].to_list() == found.vectors[3].to_list()


def test_a_second_look_needs_no_model(config: ItemTextConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    first = item_vectors(ITEMS, config)

    def fails(_: TextEncoderConfig) -> TextEncoder:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(items, "load_encoder", fails)
    again = item_vectors(ITEMS, config)
    assert (again.encoded, again.stored, again.missing) == (0, 3, 2)
    assert again.vectors.to_list() == first.vectors.to_list()
    part = item_vectors(ITEMS[[5, 1, 0]], config)
    assert part.vectors.to_list() == [first.vectors.to_list()[row] for row in (5, 1, 0)]


def test_what_has_changed_is_encoded_alone(config: ItemTextConfig, encoded: list[str]) -> None:
    first = item_vectors(ITEMS, config)
    encoded.clear()
    changed = ITEMS.with_columns(
        pl.when(pl.col("item_id") == 3).then(pl.lit("red ink")).otherwise("title").alias("title")
    )
    again = item_vectors(changed, config)
    assert encoded == ["title: red ink; brand: Bo"] and (again.encoded, again.stored) == (1, 2)
    same = [row for row in range(6) if row != 2]
    assert again.vectors[same].to_list() == first.vectors[same].to_list()
    assert again.vectors[2].to_list() != first.vectors[2].to_list()


@pytest.mark.parametrize("change", [{"dim": 8}, {"pooling": "mean"}, {"max_tokens": 30}])
def test_another_encoder_has_vectors_of_its_own(config: ItemTextConfig, encoded: list[str], change: dict) -> None:
    item_vectors(ITEMS, config)
    encoded.clear()
    other = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, **change))
    assert item_vectors(ITEMS, other).encoded == len(encoded) == 3
    assert item_vectors(ITEMS, config).encoded == 0


def test_another_prefix_is_another_text(config: ItemTextConfig, encoded: list[str]) -> None:
    item_vectors(ITEMS, config)
    encoded.clear()
    assert item_vectors(ITEMS, dataclasses.replace(config, prefix="passage: ")).encoded == 3
    assert encoded[0] == "passage: title: rose soap; brand: Ada"


def test_progress_is_told_at_first_and_after_each_chunk(
    config: ItemTextConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "CHUNK", 2)
    told: list[tuple[int, int]] = []
    item_vectors(ITEMS, config, progress=lambda *counts: told.append(counts))
    assert told == [(0, 3), (2, 3), (3, 3)]
    item_vectors(ITEMS, config, progress=lambda *counts: told.append(counts))
    assert len(told) == 3  # there was nothing to wait for


def test_what_was_encoded_before_a_kill_is_not_encoded_again(
    config: ItemTextConfig, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "CHUNK", 1)

    def killed(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        item_vectors(ITEMS, config, progress=killed)
    encoded.clear()
    found = item_vectors(ITEMS, config)
    assert (found.encoded, found.stored, len(encoded)) == (1, 2, 1)


def test_long_texts_are_shortened_fairly_and_counted(config: ItemTextConfig, encoded: list[str]) -> None:
    long = pl.DataFrame({"title": ["soap " * 10_000, "rose soap"], "brand": ["Ada", "Bo"]})
    found = item_vectors(long, config)
    assert (found.encoded, found.shortened) == (2, 1)
    assert encoded[0].startswith("title: soap soap") and encoded[0].endswith("; brand: Ada")
    encoder = load_encoder(config.encoder)
    assert len(encoder.tokens(encoded[:1])[0]) <= encoder.max_tokens


def test_few_items_are_read_at_once_as_the_store_would_have_them(config: ItemTextConfig) -> None:
    stored, encoder = item_vectors(ITEMS, config).vectors, load_encoder(config.encoder)
    read = read_items(ITEMS, config, encoder)
    assert read.name == stored.name and read.dtype == stored.dtype
    for one, other in zip(read, stored, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, atol=1e-5)
    untold = read_items(pl.DataFrame({"brand": ["Ada"]}), config, encoder)  # a column that is not there
    np.testing.assert_allclose(untold[0], encoder.encode(["brand: Ada"])[0], atol=1e-6)
    nothing = read_items(pl.DataFrame({"price": [3.5, 4.5]}), config, encoder)
    assert nothing.to_list() == [None, None] and nothing.dtype == pl.Array(pl.Float32, 32)
    assert read_items(pl.DataFrame({"title": []}, schema={"title": pl.String}), config, encoder).len() == 0


def test_items_that_say_nothing_at_all(config: ItemTextConfig) -> None:
    with pytest.raises(InputError, match=r"no item has anything to tell in title, brand, the text.columns"):
        item_vectors(ITEMS.with_columns(pl.lit(None, pl.String).alias("title"), pl.lit("").alias("brand")), config)
    with pytest.raises(InputError, match="colour"):
        item_vectors(ITEMS, dataclasses.replace(config, columns=("colour",)))


@pytest.mark.parametrize(
    ("settings", "told"), [({"feature": ""}, "text.feature is empty"), ({"columns": ("a", "a")}, "names 'a' 2 times")]
)
def test_wrong_settings_are_named(settings: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        ItemTextConfig(**settings)


def test_the_configuration_survives_json(config: ItemTextConfig) -> None:
    assert ItemTextConfig.from_json(dataclasses.asdict(config)) == config
    assert ItemTextConfig.from_json({**dataclasses.asdict(config), "columns": ["title", "brand"]}) == config
