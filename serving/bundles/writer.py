"""From a trained model and its data to a bundle on disk, in one step that either happens or does not."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from features.batches import JaggedArray
from features.errors import InputError
from features.prepared import Prepared
from features.schema import Feature, Id
from features.splits import TEST, TRAIN
from features.vocabulary import save_vocabularies
from recsys.index import IndexConfig, ItemIndex
from recsys.precision import Precision, check_precision
from recsys.retrievers import (
    Retriever,
    encode_catalogue,
    encode_histories,
    family_of,
    make_retriever,
    reads_asking_time,
    reads_times,
)
from recsys.text_encoders import ItemTextConfig
from serving.bundles.in_place import replaced
from serving.bundles.item_texts import write_text
from serving.bundles.manifest import ALIASES, KIND_OF, Manifest
from serving.bundles.weights import load_weights, save_weights, without_weights
from serving.golden import write_golden

#: users whose features are made at a time
_USERS = 1024


@dataclass(frozen=True)
class BundleConfig:
    """How a trained model is stored and served.

    Args:
        precision: Of the embedding tables and the item vectors, on disk and in memory: "fp32"; "fp16", half the size;
            or "int8", about a quarter. What that costs is measured, and written into the manifest.
    """

    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        check_precision("bundle.precision", self.precision)


def write_bundle(
    folder: Path | str,
    model: Retriever,
    prepared: Prepared,
    index: IndexConfig | None = None,
    precision: Precision = "fp32",
    text: ItemTextConfig | None = None,
    **facts: Any,
) -> Path:
    """Writes a bundle; one that lies there is replaced.

    Histories are the split's test histories, and the users and items that count as trained are those with a training
    interaction: what the bundle serves is what the test part is evaluated with.

    Args:
        folder: Where to. Its parent is made where it does not exist.
        model: A trained model, of either backend.
        prepared: What it was trained on.
        index: How items are searched, exactly where not given; recall is measured with the users' own vectors.
        precision: Of the embedding tables and the item vectors: see `BundleConfig`.
        text: What the items' declared vector was made of, so that the texts of new items become vectors as well.
        facts: Fields of `serving.bundles.manifest.Manifest` that only the caller knows: name, metrics, refitted,
            libraries, git_sha; or that are other than the data says: data, split.

    Returns:
        The folder.

    Raises:
        BundleError: Something else lies at `folder`.
        InputError: Features whose names a bundle cannot hold, or weights that its precision cannot.
    """
    check_precision("precision", precision)
    with replaced(folder) as part:
        written = _write_parts(part, model, prepared, index or IndexConfig(), precision)
        if text is not None and text.columns:
            write_text(part, text, prepared.dataset.items)
        dataclasses.replace(written, **facts).sealed(part).write(part)
        write_golden(part)
    return Path(folder)


def _write_parts(
    folder: Path, model: Retriever, prepared: Prepared, config: IndexConfig, precision: Precision
) -> Manifest:
    family = family_of(model.config)
    schema, users, items = prepared.dataset.schema, prepared.users, prepared.items
    vocabularies = {users.name: users, items.name: items}
    for feature in schema:
        if feature.name in prepared.vocabularies and not isinstance(feature, Id):
            if feature.name in vocabularies:
                raise InputError(f"the feature {feature.name!r} is of kind {feature.kind!r}; only an id is called that")
            vocabularies[feature.name] = prepared.vocabularies[feature.name]
    save_vocabularies(folder / "vocabulary.parquet", list(vocabularies.values()))
    statistics = {**prepared.user_encoder.statistics, **prepared.item_encoder.statistics}
    _write_json(folder / "features.json", {"schema": schema.to_json(), "statistics": statistics})
    _write_json(folder / "model.json", {"family": family, "config": model.config.to_json()})
    save_weights(folder / "weights.safetensors", model, precision)

    histories = prepared.test_histories
    _table(prepared.dataset.users, users.ids, schema.user).write_parquet(folder / "users.parquet")
    _table(prepared.dataset.items, items.ids, schema.item).write_parquet(folder / "items.parquet")
    columns = {"user_id": users.ids, "item_ids": _lists(items.ids_of(histories.values), histories.offsets)}
    if histories.times is not None and reads_times(model.config):
        columns["times"] = _lists(pl.Series(histories.times, dtype=pl.Int64), histories.offsets)
    # what is posted to the service later is told by it from what is in the history already
    columns["until"] = prepared.test_histories_end()
    columns["trained"] = pl.Series(prepared.train.lengths > 0)
    pl.DataFrame(columns).write_parquet(folder / "histories.parquet")
    counts = pl.Series("count", prepared.item_counts, dtype=pl.Int64)
    pl.DataFrame({"item_id": items.ids, "count": counts}).write_parquet(folder / "popularity.parquet")

    if prepared.dataset.aliases is not None:
        prepared.dataset.aliases.write_parquet(folder / ALIASES)

    plain = _unfilled(model, prepared)  # what is served, whatever it was trained with
    plain.load_state_dict({name: weight.detach().cpu() for name, weight in model.state_dict().items()}, assign=True)
    # of the weights before they are quantised: these vectors are quantised themselves, and once is enough
    vectors = encode_catalogue(plain.eval(), prepared.item_table).numpy()
    queries = None
    if config.kind != "exact" or precision != "fp32":
        served = load_weights(folder / "weights.safetensors", _unfilled(model, prepared), precision, "model.json")
        queries = _user_vectors(served, prepared, config.recall_queries)
    index = ItemIndex.build(vectors, config, queries, precision)
    index.save(folder / "items.faiss")

    split, times = prepared.split, prepared.dataset.interactions["timestamp"].to_numpy()
    told = times[split.parts != TEST]  # what settings were chosen by, and what histories hold, is known as well
    stamps = times[split.parts == TRAIN]
    return Manifest(
        kind=KIND_OF[family],
        n_users=len(users),
        n_items=len(items),
        dim=index.dim,
        n_interactions=len(histories.values),
        similarity=model.config.similarity,
        vocabularies={name: one.sha256 for name, one in vocabularies.items()},
        data={
            "name": prepared.dataset.name,
            "sha256": prepared.dataset.sha256,
            "cutoff": int(stamps.max()) if len(stamps) else None,
            "known_until": int(told.max()) if len(told) and prepared.dataset.dated else None,
        },
        split={
            "name": split.name,
            "settings": dict(split.settings),
            "sha256": split.sha256,
            "seen": split.seen,
            "test_history": split.test_history,
            **({"knows_asking_time": True} if reads_asking_time(model.config) else {}),
        },
        index={**dataclasses.asdict(config), "recall": index.recall},
        precision=precision,
        entity_map=prepared.dataset.entity_map,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _user_vectors(model: Retriever, prepared: Prepared, at_most: int) -> np.ndarray:
    """Vectors of a sample of the users who have a history: the queries that the index will see. (B, D) float32."""
    users = np.flatnonzero(prepared.test_histories.lengths)
    if len(users) > at_most:
        users = np.sort(np.random.default_rng(0).choice(users, at_most, replace=False))
    return encoded_users(model, prepared, users, prepared.test_histories, prepared.test)


def encoded_users(
    model: Retriever, prepared: Prepared, users: np.ndarray, histories: JaggedArray, targets: JaggedArray
) -> np.ndarray:
    """The vectors of users who have a history. (B, D) float32

    Args:
        model: In evaluation mode.
        prepared: The data.
        users: Their rows. (B,)
        histories: What is known of all users. (U rows)
        targets: What is asked of them, which tells models that read it when. (U rows)
    """
    device = next(model.parameters()).device
    vectors = [np.empty((0, model.dim), np.float32)]
    for start in range(0, len(users), _USERS):
        some = users[start : start + _USERS]
        batch = prepared.user_features(some, histories.rows(some))
        if histories.times is not None:  # as evaluated; of whom nothing is asked, just after the latest item
            assert targets.times is not None  # as of the same split
            asked_at = histories.times[histories.offsets[some + 1] - 1]
            told = targets.lengths[some] > 0
            asked_at[told] = targets.times[targets.offsets[some[told]]]
            batch.asked_at = torch.from_numpy(asked_at)
        vectors.append(encode_histories(model, batch.to(device=device)).cpu().numpy())
    return np.concatenate(vectors)


def _unfilled(model: Retriever, prepared: Prepared) -> Retriever:
    """The same model in plain torch, without weights."""
    with without_weights():
        return make_retriever(model.config, prepared.dataset.schema, prepared.vocabularies, prepared.item_table)


def _table(frame: pl.DataFrame, ids: pl.Series, features: Sequence[Feature]) -> pl.DataFrame:
    """The id and the declared columns, in the order of the vocabulary."""
    columns = [feature.column for feature in features if feature.column in frame.columns]
    chosen = frame.select(list(dict.fromkeys([ids.name, *columns])))
    return ids.to_frame().join(chosen, on=ids.name, how="left", maintain_order="left")


def _lists(values: pl.Series, offsets: np.ndarray) -> pl.Series:
    """Jagged rows as a column of lists."""
    jagged = JaggedArray(np.arange(len(values)), offsets)
    frame = pl.DataFrame({"row": np.repeat(np.arange(len(jagged)), jagged.lengths), "item_ids": values})
    grouped = frame.group_by("row", maintain_order=True).agg("item_ids")
    every = pl.DataFrame({"row": np.arange(len(jagged))}).join(grouped, on="row", how="left", maintain_order="left")
    return every["item_ids"].fill_null([])


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")
