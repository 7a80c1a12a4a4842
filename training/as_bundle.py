"""Data as a bundle sees it that was made from other data: what it does not know is unknown."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from features.batches import FeatureBatch, JaggedArray
from features.dataset import Dataset
from features.feature_table import FeatureTable
from features.prepared import Prepared
from serving.bundles.bundle import Bundle
from training.texts import text_vectors


@dataclass(frozen=True)
class AsBundle(Prepared):
    """Newer data as a bundle that knows nothing of it answers on it: new ids and values are unknown.

    Rows of users and items are the newer data's; what the model is given are rows of the bundle's vocabularies.

    Args:
        bundle: The bundle.
    """

    bundle: Bundle = field(kw_only=True)

    @classmethod
    def seen_by(cls, prepared: Prepared, bundle: Bundle) -> AsBundle:
        """The same data and split, seen by the bundle."""
        fields = {one.name: getattr(prepared, one.name) for one in dataclasses.fields(Prepared)}
        return cls(**fields, bundle=bundle)

    @cached_property
    def old_rows(self) -> np.ndarray:
        """The bundle's row of each item, -1 where it has none. (N,) int64"""
        return self.bundle.items.rows(self.items.ids)

    @cached_property
    def item_counts(self) -> np.ndarray:
        """How often the bundle's training has seen each item. (N,) int64"""
        return np.where(self.old_rows >= 0, self.bundle.item_counts[self.old_rows], 0)

    @cached_property
    def test_histories(self) -> JaggedArray:
        """Without the items that the bundle has not. (U rows)"""
        histories = super().test_histories
        return histories.only(self.old_rows[histories.values] >= 0)

    @cached_property
    def item_table(self) -> FeatureTable:
        """The items' features by the bundle's encoder. (N rows)"""
        return self.bundle.item_encoder.encode(self.item_frame, known=self.item_counts > 0)

    @cached_property
    def user_table(self) -> FeatureTable:
        """The users' features by the bundle's encoder. (U rows)"""
        rows = self.bundle.users.rows(self.users.ids)
        return self.bundle.known.encoder.encode(self.user_frame, known=(rows >= 0) & self.bundle.known.trained[rows])

    def user_features(self, users: np.ndarray, histories: JaggedArray) -> FeatureBatch:
        """See `Prepared.user_features`; the histories hold items of the bundle only."""
        known = JaggedArray(self.old_rows[histories.values], histories.offsets, histories.times)
        return super().user_features(users, known)


def declared_as(bundle: Bundle, prepared: Prepared) -> Prepared:
    """The same data and split with the features that a bundle's model reads, whatever the data's own declare.

    What the model reads of items' texts is made of the columns and by the language model that it was trained with.

    Raises:
        InputError: Data that lacks a column which the model reads, or another language model under the same name.
    """
    dataset, schema = prepared.dataset, bundle.schema
    if dataset.schema == schema:
        return prepared
    items, derived, text = dataset.items, dataset.derived, bundle.text
    vector = schema.vector
    if text is not None and vector is not None and vector.column not in items.columns:
        text.check_model()
        items = items.with_columns(text_vectors(items, text.config).alias(vector.column))
        derived = (*derived, vector.column)
    made = Dataset.construct(dataset.name, dataset.interactions, items, dataset.users, schema, dated=dataset.dated)
    return dataclasses.replace(prepared, dataset=dataclasses.replace(made, orphans=dataset.orphans, derived=derived))
