"""What the benchmarks of items' texts compare: ways to take texts in, and the trials that each has on validation.

The way that validation likes best has as many trials as the model of ids alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
from sequential_cases import COMMON

from features.dataset import Dataset
from features.item_text import item_sentences, whole_sentences
from recsys.text_encoders import ItemTextConfig, TextEncoderConfig
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.items import item_vectors

#: what is told of Amazon Beauty's items, and of MovieLens' films
COLUMNS = {
    "amazon-beauty": ("title", "brand", "path"),
    "ml-1m-plots": ("title", "year", "genres", "director", "actors", "plot"),
    "generated": ("title", "brand"),
}

#: the sequential model: that of `sequential.py` with two layers, which take half the time of four
BEAUTY = (*COMMON["amazon-beauty"].split(), "model.layers=2")

#: ways to take texts in, by what their cases are called
WAYS: dict[str, tuple[str, ...]] = {
    "ids": (),
    "add": ("model.fusion.kind=add",),
    "concat": ("model.fusion.kind=concat",),
    "alphafuse": ("model.fusion.kind=alphafuse",),
    "whitened": ("model.fusion.kind=whitened",),
    "text": ("model.fusion.kind=text",),
    "ids-con": ("model.fusion.align=con",),
    "ids-gen": ("model.fusion.align=gen",),
}

#: with what is declared of items, words of titles among it, in learned tables: of sequential models, whose items are
#: ids unless they are told otherwise; two-tower models read what is declared anyway
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "attributes": ("model.items=attributes",),
    "all": ("model.items=all",),
    "all-add": ("model.items=all", "model.fusion.kind=add"),
}


def text_config(data: str, store: Path | None = None, model: str = "") -> ItemTextConfig:
    """What is told of a data set's items, to the bundled model where no other is named."""
    encoder = TextEncoderConfig(model=model) if model else TextEncoderConfig()
    return ItemTextConfig(COLUMNS[data], encoder=encoder, store=str(store or ""))


def with_text(dataset: Dataset, config: ItemTextConfig) -> Dataset:
    """The data set with the vectors of its items' texts; of generated data words stand for meaning, which is quick."""
    if dataset.name == "generated":
        return dataset.with_vectors(_by_words(whole_sentences(dataset.items, config.columns)).alias(config.feature))

    def progress(done: int, total: int) -> None:
        print(f"encoded {done:,} of {total:,} texts", file=sys.stderr, flush=True)

    return dataset.with_vectors(item_vectors(dataset.items, config, progress=progress).vectors, config.feature)


def _by_words(texts: pl.Series) -> pl.Series:
    """Sums of vectors that are drawn for each word. (n,) -> (n,)"""
    words = pl.DataFrame({"row": np.arange(len(texts)), "word": texts.str.split(" ")}).explode("word")
    numbers = words["word"].rank("dense").to_numpy().astype(np.int64) - 1
    drawn = np.random.default_rng(0).normal(size=(numbers.max() + 1, 32)).astype(np.float32)
    vectors = np.zeros((len(texts), drawn.shape[1]), np.float32)
    np.add.at(vectors, words["row"].to_numpy(), drawn[numbers])
    return pl.Series(vectors, dtype=pl.Array(pl.Float32, drawn.shape[1]))


def sentences(items: pl.DataFrame, config: ItemTextConfig, encoder: TextEncoder) -> list[str]:
    """The texts of the items that have one, as the encoder reads them."""
    told = item_sentences(items, config.columns, encoder.room, encoder.token_ends, config.prefix)
    return told.texts.drop_nulls().to_list()
