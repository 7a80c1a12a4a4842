"""The weights of a bundle's model under newer data's vocabularies: each table row goes where its id is now."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor, nn

from features.errors import InputError
from features.prepared import Prepared
from features.schema import Id
from recsys.embeddings.quantised import QuantisedTable, is_table
from recsys.retrievers import Retriever, RetrieverConfig, make_retriever
from serving.bundles.bundle import Bundle


def carried_weights(source: str, bundle: Bundle, config: RetrieverConfig, prepared: Prepared) -> dict[str, Tensor]:
    """The weights to go on with, on the CPU, by their names in a model over the newer data's vocabularies.

    Args:
        source: What the bundle is called, for messages.
        bundle: What is gone on from.
        config: Its model's, with the size of its tables.
        prepared: The newer data.

    Raises:
        InputError: New ids, and tables that cannot take them; or ids of another type than the model's.
    """
    with torch.device("meta"):  # for its shapes
        model = make_retriever(config, prepared.dataset.schema, prepared.vocabularies, prepared.item_table)
    weights = _plain_weights(bundle.model)
    for name, rows in _rows(source, bundle, model, prepared).items():
        weights[name] = weights[name].index_select(0, rows)
    for name, expected in model.state_dict().items():
        if name not in weights or weights[name].shape != expected.shape:
            had = tuple(weights[name].shape) if name in weights else "none"
            raise InputError(
                f"the {config.embeddings.kind} tables of {source} cannot take this data's ids: "
                f"{name.split('.')[-2]!r} has the shape {had}, and these ids need "
                f"{tuple(expected.shape)}; a multiplexed table takes any ids"
            )
    return weights


def _rows(source: str, bundle: Bundle, model: Retriever, prepared: Prepared) -> dict[str, Tensor]:
    """For each table of one identity, by the name of its weight, the old row of each new row.

    Ids are compared on the way: strings and integers have no hash in common, whatever kind of table.
    """
    before = {**bundle.known.encoder.vocabularies, **bundle.item_encoder.vocabularies}
    item_id = next((one.name for one in bundle.schema.item if isinstance(one, Id)), "")
    history = bundle.schema.history
    names = {name.split(".")[-2]: name for name in model.state_dict() if is_table(model, name)}
    rows: dict[str, Tensor] = {}
    for lookup in model.embeddings.lookups.values():
        feature = lookup.feature
        if history is not None:  # whose items may have look-ups of their own, all in one or a feature each
            feature = item_id if feature == history.name else feature.removeprefix(f"{history.name}.")
        now = prepared.vocabularies[feature]
        found = torch.from_numpy(before[feature].rows(now.ids))
        if model.config.embeddings.kind != "collisionless":
            continue
        new = now.ids.filter(pl.Series((found < 0).numpy()))
        if len(new):
            raise InputError(
                f"the collisionless tables of {source} have no row for a new id, and the feature {feature!r} "
                f"has {len(new):,} of them, such as {new[0]!r}; train anew, or go on from multiplexed tables"
            )
        table = model.embeddings.layout.tables[model.embeddings.layout.table_of[lookup.identity][0]].name
        # the row after the last id is that of unknown ones
        rows[names[table]] = torch.cat([found, torch.tensor([len(before[feature])])])
    return rows


def _plain_weights(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights as float32, those of quantised tables restored."""
    weights = {name: weight.detach() for name, weight in model.state_dict().items()}
    for name, module in model.named_modules():
        if isinstance(module, QuantisedTable):
            for part in module.state_dict():
                del weights[f"{name}.{part}"]
            weights[f"{name}.weight"] = module().detach()
    return weights
