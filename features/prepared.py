"""A data set and its split as arrays of rows: what training and evaluation slice their batches from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from features.batches import FeatureBatch, JaggedArray
from features.dataset import Dataset
from features.feature_table import FeatureEncoder, FeatureTable
from features.histories import from_the_first, histories
from features.schema import Feature
from features.splits import CONTEXT, TEST, TRAIN, VALIDATION, Split
from features.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Earlier:
    """What a training that goes on from an earlier one takes over.

    Args:
        trained_items: Ids of the items whose vectors it has trained; in the new data they are known, bought or not.
        statistics: Mean and standard deviation of each numeric feature, so that the towers see numbers as before.
    """

    trained_items: pl.Series
    statistics: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Prepared:
    """Interactions as rows of two vocabularies, with the features of both sides.

    Args:
        dataset: Where it all comes from.
        split: Which interactions are for training, validation and test.
        users: The vocabulary of user ids, U entries.
        items: The vocabulary of item ids: the whole catalogue, N entries.
        user_rows: (n,) int64
        item_rows: (n,) int64
        earlier: What an earlier training knew, where one is gone on with.
    """

    dataset: Dataset
    split: Split
    users: Vocabulary
    items: Vocabulary
    user_rows: np.ndarray
    item_rows: np.ndarray
    earlier: Earlier | None = None

    def __repr__(self) -> str:
        return f"Prepared({self.dataset!r}, {self.split!r})"

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> Prepared:
        """Maps ids to rows. The vocabularies cover the whole catalogue, whatever the split."""
        users = Vocabulary.fit("user_id", dataset.users["user_id"])
        items = Vocabulary.fit("item_id", dataset.items["item_id"])
        interactions = dataset.interactions
        return cls(
            dataset, split, users, items, users.rows(interactions["user_id"]), items.rows(interactions["item_id"])
        )

    def part(self, *parts: int) -> JaggedArray:
        """Each user's items of the given parts, oldest first, with their times if those are declared. (U rows)"""
        return self._items(np.isin(self.split.parts, parts))

    def _known(self, asked: int, *parts: int) -> JaggedArray:
        """What is known of each user's items of the given parts when those of another are asked for. (U rows)"""
        return self._items(self._chosen(asked, *parts))

    def _chosen(self, asked: int, *parts: int) -> np.ndarray:
        """Which interactions that is. (n,) bool"""
        chosen = np.isin(self.split.parts, parts)
        if self.split.histories == "cut":
            times = self.dataset.interactions["timestamp"].to_numpy()
            chosen &= ~from_the_first(self.user_rows, times, self.split.parts == asked)
        return chosen

    def _items(self, chosen: np.ndarray) -> JaggedArray:
        """Each user's items of some interactions. (n,) bool -> (U rows)"""
        history = self.dataset.schema.history
        return histories(
            self.user_rows,
            self.item_rows,
            self.dataset.interactions["timestamp"].to_numpy(),
            len(self.users),
            chosen=chosen,
            timed=history is not None and history.timed,
        )

    @cached_property
    def train(self) -> JaggedArray:
        """Each user's training items, oldest first. (U rows)"""
        return self.part(TRAIN)

    @cached_property
    def validation(self) -> JaggedArray:
        """Each user's validation items. (U rows)"""
        return self.part(VALIDATION)

    @cached_property
    def test(self) -> JaggedArray:
        """Each user's test items. (U rows)"""
        return self.part(TEST)

    @cached_property
    def validation_histories(self) -> JaggedArray:
        """What a user's history is when the validation items are asked for. (U rows)"""
        if self.split.histories != "cut" and not self.split.counts["context"]:
            return self.train
        return self._known(VALIDATION, TRAIN, CONTEXT)

    @cached_property
    def test_histories(self) -> JaggedArray:
        """What it is when the test items are asked for; the split says whether validation is in it. (U rows)"""
        if self.split.test_history == "train+validation":
            return self._known(TEST, TRAIN, VALIDATION, CONTEXT)
        return self._known(TEST, TRAIN, CONTEXT) if self.split.histories == "cut" else self.validation_histories

    def test_histories_end(self) -> pl.Series:
        """When the latest item of each test history came; null for none, whether times are declared or not. (U,)"""
        known = (TRAIN, VALIDATION, CONTEXT) if self.split.test_history == "train+validation" else (TRAIN, CONTEXT)
        chosen = self._chosen(TEST, *known)
        ends = np.full(len(self.users), np.iinfo(np.int64).min)
        np.maximum.at(ends, self.user_rows[chosen], self.dataset.interactions["timestamp"].to_numpy()[chosen])
        has_any = np.zeros(len(self.users), dtype=bool)
        has_any[self.user_rows[chosen]] = True
        return pl.Series(ends).set(pl.Series(~has_any), None)

    def seen(self, part: str) -> JaggedArray | None:
        """What is removed from each user's ranking of `part`, as the split says. (U rows)"""
        if self.split.seen == "none":
            return None
        if part == "test" and self.split.seen == "train+validation":
            return self._known(TEST, TRAIN, VALIDATION, CONTEXT)
        return self._known(TEST, TRAIN, CONTEXT) if part == "test" else self.validation_histories

    @cached_property
    def item_counts(self) -> np.ndarray:
        """How often each item occurs in training; one that an earlier training knew, once at least. (N,) int64"""
        counts = np.bincount(self.train.values, minlength=len(self.items))
        if self.earlier is not None:
            rows = self.items.rows(self.earlier.trained_items)
            known = rows[rows >= 0]
            counts[known] = np.maximum(counts[known], 1)
        return counts

    @cached_property
    def user_encoder(self) -> FeatureEncoder:
        """Fitted on the attributes of the users that training sees: a value only others have is an unknown one."""
        known = self.train.lengths[self.users.rows(self.dataset.users["user_id"])] > 0
        return self._encoder(self.dataset.schema.user, self.dataset.users.filter(known), self.users)

    @cached_property
    def item_encoder(self) -> FeatureEncoder:
        """Fitted on the attributes of the items that training sees: a value only others have is an unknown one."""
        known = self.item_counts[self.items.rows(self.dataset.items["item_id"])] > 0
        return self._encoder(self.dataset.schema.item, self.dataset.items.filter(known), self.items)

    def _encoder(self, features: tuple[Feature, ...], frame: pl.DataFrame, entity: Vocabulary) -> FeatureEncoder:
        """Fitted, but for the statistics that an earlier training has fitted."""
        encoder = FeatureEncoder.fit(features, frame, entity)
        if self.earlier is None:
            return encoder
        kept = {name: self.earlier.statistics.get(name, one) for name, one in encoder.statistics.items()}
        return dataclasses.replace(encoder, statistics=kept)

    @property
    def user_frame(self) -> pl.DataFrame:
        """The users' columns in row order. (U rows)"""
        return self.dataset.users[np.argsort(self.users.rows(self.dataset.users["user_id"]))]

    @property
    def item_frame(self) -> pl.DataFrame:
        """The items' columns in row order. (N rows)"""
        return self.dataset.items[np.argsort(self.items.rows(self.dataset.items["item_id"]))]

    @cached_property
    def user_table(self) -> FeatureTable:
        """The users' features in row order; ids without a training interaction are unknown."""
        return self.user_encoder.encode(self.user_frame, known=self.train.lengths > 0)

    @cached_property
    def item_table(self) -> FeatureTable:
        """The items' features in row order; ids without a training interaction are unknown."""
        return self.item_encoder.encode(self.item_frame, known=self.item_counts > 0)

    def user_features(self, users: np.ndarray, histories: JaggedArray) -> FeatureBatch:
        """The features of known users, with the end of the given histories where a history is declared.

        Args:
            users: User rows. (B,)
            histories: Item rows, oldest first. (B rows)
        """
        features = self.user_table.take(users)
        history = self.dataset.schema.history
        if history is not None:
            features.sparse[history.name] = histories.last(history.max_length).tensors()
        return features

    @property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """Every vocabulary that the model looks ids up in, by feature name."""
        return {**self.user_encoder.vocabularies, **self.item_encoder.vocabularies}
