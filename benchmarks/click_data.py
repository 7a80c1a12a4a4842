"""The examples of the click benchmarks, each data set under one split for everybody."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import polars as pl

from features.labelled import LabelledExamples, LabelRule
from features.prepared import Prepared
from features.schema import Categorical, FeatureSchema, Id
from features.sources import movielens
from features.sources.libfm import read_libfm
from features.splits import TEST, TRAIN, VALIDATION, random_ratio
from training.ranking_run import labelled_only


@functools.cache
def load(root: str, data: str) -> LabelledExamples:
    """The examples of a data set.

    Args:
        root: The folder that holds the data sets.
        data: "ml-1m" (ratings 1-2 against 4-5 by six fields), "frappe" (ten fields), or "generated".
    """
    if data == "ml-1m":
        dataset = movielens.load(Path(root) / "ml-1m", min_rating=0)
        fields = [Categorical(name) for name in ("gender", "age", "occupation", "zip")]
        schema = FeatureSchema(user=(Id("user_id"), *fields), item=(Id("item_id"),))
        rule = LabelRule("weight", at_least=4, at_most=2)
        dataset = labelled_only(dataclasses.replace(dataset, schema=schema), rule)
        return LabelledExamples.of_prepared(Prepared.of(dataset, random_ratio(dataset)), rule)
    if data == "frappe":
        frame = read_libfm([Path(root) / "frappe" / f"part{number}.libfm" for number in (1, 2)])
    else:
        random = np.random.default_rng(0)
        frame = pl.DataFrame({f"field_{n}": random.integers(size, size=3000) for n, size in enumerate((200, 90, 5))})
        frame = frame.with_columns(label=(pl.col("field_0") + pl.col("field_1")) % 2)
    features = [Categorical(name) for name in frame.columns if name != "label"]
    parts = np.full(frame.height, TRAIN, np.uint8)
    parts[round(frame.height * 0.8) :] = VALIDATION
    parts[round(frame.height * 0.9) :] = TEST
    np.random.default_rng(0).shuffle(parts)
    return LabelledExamples.of_frame(frame, features, LabelRule("label"), parts)
