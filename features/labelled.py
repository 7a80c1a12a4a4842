"""Labelled examples, for ranking: which user met which item (or in which context), and whether it was taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import torch

from features.batches import FeatureBatch, JaggedArray, RankingBatch
from features.errors import InputError
from features.feature_table import FeatureEncoder, FeatureTable
from features.negatives import Negatives
from features.prepared import Prepared
from features.schema import Feature, Id, Sequence, Text
from features.splits import CONTEXT, TEST, TRAIN, VALIDATION
from features.vocabulary import Vocabulary


@dataclass(frozen=True)
class LabelRule:
    """Which interactions are positive and which negative; those between, and those without a value, are no examples.

    Args:
        column: Of the interactions; empty where interactions are all positive, and unseen items are drawn against them.
        at_least: A value of at least so much is positive.
        at_most: One of at most so much is negative.
        negatives: Without a column: how many unseen items are drawn for each positive.

    Example:
        >>> LabelRule("stars", at_least=4, at_most=2).labels(pl.DataFrame({"stars": [5, 3, 2]})).tolist()
        [1.0, nan, 0.0]
    """

    column: str = ""
    at_least: float = 1.0
    at_most: float = 0.0
    negatives: int = 4

    def __post_init__(self) -> None:
        if self.column and not self.at_most < self.at_least:
            raise InputError(f"labels.at_most {self.at_most} is not below labels.at_least {self.at_least}")
        if not self.column and (self.at_least, self.at_most) != (1.0, 0.0):
            raise InputError("labels.at_least and labels.at_most are for a label column; set labels.column, too")
        if self.negatives < 1:
            raise InputError(f"labels.negatives is at least 1, got {self.negatives}")

    def labels(self, frame: pl.DataFrame) -> np.ndarray:
        """1, 0, or NaN for what is no example. (n,) float32

        Raises:
            InputError: The column is missing or holds no numbers.
        """
        if self.column not in frame.columns:
            raise InputError(
                f"labels.column {self.column!r} is none of the columns: {', '.join(frame.columns)}; of tables, "
                "name it under 'interactions: columns' in schema.yaml"
            )
        values = frame[self.column]
        if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
            raise InputError(
                f"the label column {self.column!r} holds {values.dtype}, such as {values[0]!r}, no numbers"
            )
        numbers = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
        labels = np.full(len(numbers), np.nan, np.float32)
        labels[numbers >= self.at_least] = 1
        labels[numbers <= self.at_most] = 0
        return labels


@dataclass(frozen=True)
class ExampleHistories:
    """What each example's user took before, without the item of the example: it must not give the answer away.

    Nor may its absence: a drawn negative was never in the history, so that histories from which only positives' items
    are missing would tell the two apart in training, and nothing when serving. A drawn negative has its positive's.

    Args:
        feature: The declared sequence.
        items: The training items of each user, oldest first, and the split's context. (U rows)
        users: The user of each example. (n,)
        targets: The item that is left out for each example. (n,)
    """

    feature: Sequence
    items: JaggedArray
    users: np.ndarray
    targets: np.ndarray

    def take(self, index: np.ndarray) -> JaggedArray:
        """The histories of some examples, each as long as declared at most. (B rows)"""
        positions, lengths = self.items.positions(self.users[index])
        row_of = np.repeat(np.arange(len(index)), lengths)
        items = self.items.values[positions]
        kept = items != np.repeat(self.targets[index], lengths)
        return JaggedArray.from_pairs(row_of[kept], items[kept], len(index)).last(self.feature.max_length)


@dataclass(frozen=True)
class LabelledExamples:
    """n examples as rows of feature tables, so that a batch is a slice.

    Args:
        tables: Encoded features, such as those of all users and those of all items.
        rows: The row of each example in each table. (n,) each
        labels: 1 for taken, 0 for not. (n,) float32
        parts: TRAIN, VALIDATION or TEST. (n,) uint8
        features: What the tables and the history hold, as declared.
        vocabularies: The vocabulary of each embedded feature; of a history, the item ids.
        histories: The declared history, if any.
        negatives: Where negatives are drawn: how training's are drawn anew.
    """

    tables: tuple[FeatureTable, ...]
    rows: tuple[np.ndarray, ...]
    labels: np.ndarray
    parts: np.ndarray
    features: tuple[Feature, ...] = ()
    vocabularies: dict[str, Vocabulary] = field(default_factory=dict)
    histories: ExampleHistories | None = None
    negatives: Negatives | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> RankingBatch:
        """The given examples, in the given order. (B,) -> B rows"""
        features = FeatureBatch(size=len(index))
        for table, rows in zip(self.tables, self.rows, strict=True):
            found = table.take(rows[index])
            features.sparse.update(found.sparse)
            features.dense.update(found.dense)
        if self.histories is not None:
            features.sparse[self.histories.feature.name] = self.histories.take(index).tensors()
        return RankingBatch(features, torch.from_numpy(self.labels[index]))

    def part(self, part: int) -> np.ndarray:
        """Which examples belong to a part, in order. (n of the part,)"""
        return np.flatnonzero(self.parts == part)

    def drawn(self, random: np.random.Generator) -> LabelledExamples:
        """With training's negatives drawn anew; itself, where negatives are data and are not drawn."""
        if self.negatives is None:
            return self
        users, items = self.rows
        items = items.copy()
        again = (self.parts == TRAIN) & (self.labels == 0)
        items[again] = self.negatives.draw(users[again], random)
        return dataclasses.replace(self, rows=(users, items))

    @classmethod
    def of_frame(
        cls, frame: pl.DataFrame, features: Iterable[Feature], rule: LabelRule, parts: np.ndarray
    ) -> LabelledExamples:
        """Examples from one table, a row an example: context, user and item columns side by side.

        Vocabularies and statistics are those of the training part; a value that only others have is unknown.

        Args:
            frame: The declared columns and the label's.
            features: Categorical, multi-valued and numeric ones; an id is declared categorical here.
            rule: Where the labels come from.
            parts: TRAIN, VALIDATION or TEST. (rows of the frame,)

        Raises:
            InputError: A column that is missing or of the wrong type, or a feature that one table cannot have.

        Example:
            >>> from features.schema import Categorical
            >>> frame = pl.DataFrame({"app": ["mail", "maps", "mail"], "taken": [1, 0, 1]})
            >>> parts = np.array([TRAIN, TRAIN, TEST])
            >>> LabelledExamples.of_frame(frame, [Categorical("app")], LabelRule("taken"), parts).labels.tolist()
            [1.0, 0.0, 1.0]
        """
        features = tuple(feature for feature in features if not isinstance(feature, Text))
        for feature in features:
            if isinstance(feature, Id | Sequence):
                raise InputError(
                    f"the feature {feature.name!r} of a table of examples cannot be of kind {feature.kind}"
                )
            if feature.column not in frame.columns:
                raise InputError(f"the feature {feature.name!r} reads column {feature.column!r}, which is not there")
        if len(parts) != frame.height:
            raise InputError(f"the table has {frame.height} rows, and parts are given for {len(parts)}")
        labels = rule.labels(frame)
        there = ~np.isnan(labels)
        frame, labels, parts = frame.filter(pl.Series(there)), labels[there], parts[there].astype(np.uint8)
        fitting = frame.filter(pl.Series(parts == TRAIN))
        encoder = FeatureEncoder.fit(features, fitting, Vocabulary("", pl.Series([], dtype=pl.Int64)))
        rows = (np.arange(len(labels)),)
        return cls((encoder.encode(frame),), rows, labels, parts, features, dict(encoder.vocabularies))

    @classmethod
    def of_prepared(cls, prepared: Prepared, rule: LabelRule, seed: int = 0) -> LabelledExamples:
        """Examples from interactions, with the declared features of their users and items.

        With a label column, an example is an interaction. Without one, interactions are positive, and for each of them
        unseen items are drawn, each as likely as any other: in training what the user has no training interaction with,
        drawn anew each epoch; in validation and test, once, what it has no interaction with at all.

        Args:
            prepared: Interactions, split.
            rule: Where the labels come from.
            seed: Of the draws for validation and test.
        """
        users, items, parts = prepared.user_rows, prepared.item_rows, prepared.split.parts
        there = parts != CONTEXT  # which is history, and no example
        if rule.column:
            labels = rule.labels(prepared.dataset.interactions)
            there &= ~np.isnan(labels)
            labels = labels[there]
        users, items, parts = users[there], items[there], parts[there]
        negatives, left_out = None, items
        if not rule.column:
            labels = np.repeat(np.array([1, 0], np.float32), [len(users), len(users) * rule.negatives])
            asked, part_of = np.tile(users, rule.negatives), np.tile(parts, rule.negatives)
            negatives, drawn = _first_draw(prepared, asked, part_of, seed)
            left_out = np.tile(items, 1 + rule.negatives)
            users, items = np.concatenate([users, asked]), np.concatenate([items, drawn])
            parts = np.concatenate([parts, part_of])
        schema = prepared.dataset.schema
        vocabularies = dict(prepared.vocabularies)
        histories = None
        if schema.history is not None:
            histories = ExampleHistories(schema.history, prepared.validation_histories, users, left_out)
            vocabularies[schema.history.name] = prepared.items
        features = tuple(feature for feature in schema if not isinstance(feature, Text))
        tables = (prepared.user_table, prepared.item_table)
        return cls(tables, (users, items), labels, parts, features, vocabularies, histories, negatives)


def _first_draw(prepared: Prepared, users: np.ndarray, parts: np.ndarray, seed: int) -> tuple[Negatives, np.ndarray]:
    """How training draws, and a first item for each negative of every part. (n,)"""
    known = np.flatnonzero(prepared.item_counts) if prepared.split.withholds_items else None
    of_training = Negatives.of(prepared.train, len(prepared.items), known)
    of_all = Negatives.of(prepared.part(TRAIN, VALIDATION, TEST, CONTEXT), len(prepared.items))
    random = np.random.default_rng(seed)
    items = np.empty(len(users), np.int64)
    training = parts == TRAIN
    items[training] = of_training.draw(users[training], random)
    items[~training] = of_all.draw(users[~training], random)
    return of_training, items
