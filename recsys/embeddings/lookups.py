"""Look-ups: jagged vocabulary rows in, one embedding a feature out; by plain torch or by TorchRec, same weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from features.batches import Jagged
from features.hashing import hashed_rows, salt_of, string_keys
from features.vocabulary import Vocabulary
from recsys.embeddings.layout import Layout
from recsys.embeddings.plan import EmbeddingPlan, FeatureLookup
from recsys.embeddings.tables import PlainTables

if TYPE_CHECKING:
    from recsys.embeddings.torchrec_tables import TorchRecTables

#: the raw id that stands for "an id that training has not seen"; hashed like any other
_UNKNOWN = "\x00unknown"


class Embeddings(nn.Module):
    """The embeddings of all features of a model.

    Args:
        plan: How features are embedded.
        lookups: The features, with their identities and poolings.
        vocabularies: For each identity, the ids that its rows stand for.
        backend: "torch" looks up with plain torch kernels (serving); "torchrec" with TorchRec's collections (training);
            "sharded" leaves these without memory, for `training.sharding` to allocate where they belong. The state
            dictionaries are the same.

    Attributes:
        widths: Width E of each feature's embedding.
        layout: The tables.

    Example:
        >>> items = Vocabulary.fit("item_id", pl.Series(range(9)))
        >>> embed = Embeddings(EmbeddingPlan(width=4), [FeatureLookup("item_id", "item_id")], {"item_id": items})
        >>> embed({"item_id": Jagged(torch.tensor([3, 8, -1]), torch.tensor([2, 1]))})["item_id"].shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        plan: EmbeddingPlan,
        lookups: Sequence[FeatureLookup],
        vocabularies: Mapping[str, Vocabulary],
        backend: Literal["torch", "torchrec", "sharded"] = "torch",
    ) -> None:
        super().__init__()
        self.plan = plan
        self.lookups = {lookup.feature: lookup for lookup in lookups}
        self.sizes = {lookup.identity: len(vocabularies[lookup.identity]) for lookup in lookups}
        self.layout = Layout.of(plan, lookups, self.sizes)
        self.widths = {lookup.feature: plan.width_of(lookup.identity) for lookup in lookups}
        self._unpooled = {
            bag.rpartition("/")[0] for table in self.layout.tables if table.sequence for bag in table.bags
        }
        self.tables: PlainTables | TorchRecTables
        if backend == "torch":
            self.tables = PlainTables(self.layout.tables, plan.initial_range)
        else:
            from recsys.embeddings.torchrec_tables import TorchRecTables

            self.tables = TorchRecTables(self.layout.tables, plan.initial_range, deferred=backend == "sharded")
        self._buffers_of: dict[str, list[str]] = {}
        if plan.kind != "collisionless":
            for n, identity in enumerate(self.sizes):
                rows = [self.layout.tables[table].rows for table in self.layout.table_of[identity]]
                self._buffers_of[identity] = [f"_addresses_{n}_{lookup}" for lookup in range(len(rows))]
                # hashed once, not at each look-up; it follows from the vocabulary, so it is not a weight
                found = _addresses(identity, vocabularies[identity], rows)
                for name, addresses in zip(self._buffers_of[identity], found, strict=True):
                    self.register_buffer(name, addresses, persistent=False)

    def addresses(self, feature: str, rows: Tensor) -> list[Tensor]:
        """The table rows of a feature's values, one tensor a look-up.

        Args:
            feature: A feature's name.
            rows: Vocabulary rows, -1 for unknown. (T,) int64
        """
        identity = self.lookups[feature].identity
        if self.plan.kind == "collisionless":
            return [torch.where(rows < 0, self.sizes[identity], rows)]  # the default row comes after the last id
        return [one.long() for one in self._gathered(feature, rows + 1)]

    def forward(self, sparse: Mapping[str, Jagged]) -> dict[str, Tensor]:
        """Embeds the features that are given, of B users or B items.

        Args:
            sparse: Feature name to vocabulary rows, jagged. A feature that is not declared is an error.

        Returns:
            Feature name to embedding, zero where a row has no value (B, E); for the pooling "none", a vector for each
            value (T, E).
        """
        found = self.tables(self.bags(sparse))
        embedded = {}
        for feature, jagged in sparse.items():
            lookup = self.lookups[feature]
            parts = [found[bag] for bag in self._bags_of(feature)]
            vectors = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
            if feature in self._unpooled and lookup.pooling != "none":
                vectors = vectors.new_zeros(len(jagged), vectors.shape[1]).index_add(0, jagged.row_of_value, vectors)
            embedded[feature] = _scaled(vectors, jagged.lengths, lookup.pooling)
        return embedded

    def bags(self, sparse: Mapping[str, Jagged]) -> dict[str, Jagged]:
        """The look-ups of features, "feature/number", as rows of tables; in training, with a share of ids forgotten.

        Args:
            sparse: Feature name to vocabulary rows, jagged.
        """
        if not sparse:
            return {}
        # all features together where it can be: an operation on many numbers has threads to wake and to wait for
        sizes = [jagged.values.numel() for jagged in sparse.values()]
        rows = torch.cat([jagged.values for jagged in sparse.values()])  # (sum of T,), new memory
        if self.training and self.plan.unknown_rate:
            self._forget(rows, list(sparse), sizes)
        parts = dict(zip(sparse, rows.split(sizes), strict=True))
        if self.plan.kind == "collisionless":
            return {
                f"{name}/0": Jagged(self.addresses(name, part)[0], sparse[name].lengths) for name, part in parts.items()
            }
        rows += 1
        found = [one for name, part in parts.items() for one in self._gathered(name, part)]
        found = torch.cat(found).long().split([len(one) for one in found])
        bags = [(bag, sparse[name].lengths) for name in sparse for bag in self._bags_of(name)]
        return {bag: Jagged(address, lengths) for (bag, lengths), address in zip(bags, found, strict=True)}

    def divisors(self, feature: str, lengths: Tensor) -> Tensor:
        """What sums of a feature's rows are divided by to be pooled as declared, for each column. (B,) -> (B, E)"""
        divisor = _divisor(lengths, self.lookups[feature].pooling)
        divisor = torch.ones(len(lengths), device=lengths.device) if divisor is None else divisor
        return divisor[:, None].expand(-1, self.widths[feature])

    def joined(self, sparse: Mapping[str, Jagged]) -> Tensor:
        """The embeddings of `forward`, side by side in the order given, as a network's first layer reads them.

        TorchRec answers with such a matrix, which this leaves as it is, where `forward` takes it apart.

        Args:
            sparse: As `forward`'s, none of the pooling "none".

        Returns:
            (B, sum of E)
        """
        if self.plan.kind == "collisionless" or self._unpooled:
            return torch.cat(list(self(sparse).values()), dim=1)
        matrix = self.tables.matrix(self.bags(sparse))  # (B, bags * row width)
        divisors = {name: _divisor(jagged.lengths, self.lookups[name].pooling) for name, jagged in sparse.items()}
        if all(one is None for one in divisors.values()):
            return matrix
        ones = matrix.new_ones(len(matrix))
        each = [ones if one is None else one for name, one in divisors.items() for _ in self._bags_of(name)]
        by_bag = matrix.unflatten(1, (len(each), self.plan.row_width))
        return (by_bag / torch.stack(each, dim=1).to(matrix.dtype)[:, :, None]).flatten(1)

    def _bags_of(self, feature: str) -> list[str]:
        return [f"{feature}/{n}" for n in range(self.plan.lookups_of(self.lookups[feature].identity))]

    def _gathered(self, feature: str, entries: Tensor) -> list[Tensor]:
        """Addresses by entry, of which the default one is the first. (T,) -> (T,) int32, one a look-up"""
        # apart, because torch gathers numbers six times faster than rows of numbers
        buffers = self._buffers_of[self.lookups[feature].identity]
        return [getattr(self, name).index_select(0, entries) for name in buffers]

    def _forget(self, rows: Tensor, features: Sequence[str], sizes: Sequence[int]) -> None:
        """Takes the declared share of the ids for unknown, in place, by so few draws as that needs.

        Args:
            rows: Of all features, one after the other. (sum of T,)
            features: Their names.
            sizes: How many of the rows are each feature's.
        """
        places = []
        for feature, size, end in zip(features, sizes, itertools.accumulate(sizes), strict=True):
            if self.lookups[feature].unknowns:
                # n draws with replacement miss a place with probability e^(-n / T)
                count = int(-math.log1p(-self.plan.unknown_rate) * size + torch.rand(()).item())
                places.append(torch.randint(max(1, size), (count,), device=rows.device) + (end - size))
        if places:
            rows.index_fill_(0, torch.cat(places), -1)


def _scaled(summed: Tensor, lengths: Tensor, pooling: str) -> Tensor:
    """From the sum of a row's values to the declared pooling. (B, E)"""
    divisor = _divisor(lengths, pooling)
    return summed if divisor is None else summed / divisor.to(summed.dtype)[:, None]


def _divisor(lengths: Tensor, pooling: str) -> Tensor | None:
    """What the sum of each row's values is divided by; None for ones. (B,) float32"""
    if pooling in ("sum", "none"):
        return None
    # most features have one value a row; a GPU would have to be waited for to know
    if lengths.device.type == "cpu" and not (lengths.numel() and int(lengths.max()) > 1):
        return None
    count = lengths.clamp(min=1).float()
    return count if pooling == "mean" else count.sqrt()


def _addresses(identity: str, vocabulary: Vocabulary, rows: Sequence[int]) -> list[Tensor]:
    """Where the look-ups of the unknown id, and then of each id, are in tables of so many rows. (V + 1,) int32 each"""
    unknown = string_keys(pl.Series([_UNKNOWN]))
    keys = torch.from_numpy(np.concatenate([unknown, vocabulary.keys]))
    return [hashed_rows(keys, salt_of(identity, n), count) for n, count in enumerate(rows)]
