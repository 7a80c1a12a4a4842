"""What `interests.py` compares: data sets, and the trials of each way of retrieving, about as many of each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from sequence_data import load

from features.dataset import Dataset
from features.prepared import Prepared
from features.schema import FeatureSchema, Id, Sequence
from features.splits import make_split
from training.interests import InterestsSpace

#: vectors of a graph: a user and an item are a vector each, no more (TwHIN: El-Kishky et al., KDD 2022)
TWHIN = (
    "model.similarity=dot",
    "model.embeddings.kind=collisionless",
    "examples.unit=interactions",
    "examples.batch_size=1024",
    "loss.name=sampled-softmax",
    "loss.settings.n_negatives=2048",
    "optimiser.lr=1e-2",
)

#: for many interactions: an epoch over all items would cost four times as much, and ranking all of them more than that
SAMPLED = ("loss.name=sampled-softmax", "loss.settings.n_negatives=4096", "optimiser.validate_every=4")
SHORT, SHORTER = (*SAMPLED, "optimiser.max_epochs=20"), (*SAMPLED, "optimiser.max_epochs=12")


@dataclass(frozen=True)
class Case:
    """What is compared on a data set.

    Args:
        data: The data set.
        users: "ids" or "histories": what a user of its vectors is.
        settings: What its vectors are trained with.
        comirec: What ComiRec is trained with.
        trials: So many of each way's, where not all.
    """

    data: str
    users: str = "histories"
    settings: tuple[str, ...] = ()
    comirec: tuple[str, ...] = ()
    trials: int | None = None


CASES: dict[str, Case] = {
    "cit-hepth": Case("cit-hepth", "ids", TWHIN, SHORT),
    "cit-hepth-histories": Case("cit-hepth", comirec=SHORT),
    "ml-1m": Case("ml-1m-plots"),
    "gowalla": Case("gowalla", settings=SHORTER, comirec=SHORTER, trials=4),
    "generated": Case("generated", settings=("model.dim=16", "optimiser.max_epochs=1")),
}

#: what vectors are tried with; each trial serves all retrievers, and is chosen by what the single query finds
VECTORS: dict[str, tuple[str, ...]] = {
    "ids": (
        "",
        "optimiser.weight_decay=0.1",
        "model.similarity=cosine",
        "model.similarity=cosine optimiser.weight_decay=0.3",
        "model.similarity=cosine optimiser.lr=3e-3",
        "model.similarity=cosine model.temperature=0.05",
        "model.similarity=cosine model.dim=128 model.embeddings.width=128",
        "model.similarity=cosine loss.settings.n_negatives=8192",
    ),
    "histories": (
        "",
        "model.dim=128 model.embeddings.width=128",
        "model.temperature=0.05",
        "model.dropout=0.3",
        "optimiser.weight_decay=0.1",
        "optimiser.weight_decay=0.3",
        "model.tie_history=true",
        "model.tie_history=true optimiser.weight_decay=0.1",
    ),
}

#: eight trials of a mixture, and eight of a smoothed one, which begins at the best of those
MIXTURE = InterestsSpace(clusters=(50, 200, 1000, 5000), components=(1, 3, 15, 50))
SMOOTHED = InterestsSpace(clusters=(), mixing=(0.2, 0.5, 0.8), neighbours=(5, 20, 50), components=(15, 50))

#: of ComiRec, and of item-kNN
COMIREC = (
    "",
    "model.interests=2",
    "model.interests=8",
    "model.dim=128",
    "model.dropout=0.3",
    "optimiser.lr=1e-3",
    "examples.target_share=0.4",
    "loss.settings.temperature=0.5",
)
#: as many of each where a case has half as many
MIXTURE_4 = InterestsSpace(clusters=(200, 1000), components=(3, 50))
SMOOTHED_4 = InterestsSpace(clusters=(), mixing=(0.5, 0.8), neighbours=(20,), components=(50,))
ITEM_KNN = tuple((neighbours, shrinkage) for neighbours in (50, 100, 200, 500) for shrinkage in (0.0, 10.0))


def prepared_of(data_root: str, case: str, users: str = "") -> Prepared:
    """A case's data, split.

    Args:
        data_root: The folder that holds the data sets.
        case: Of `CASES`.
        users: "ids" or "histories", where not as the case has them.
    """
    dataset = load(CASES[case].data, Path(data_root))
    user = Id("user_id") if (users or CASES[case].users) == "ids" else Sequence("history")
    dataset = dataclasses.replace(dataset, schema=FeatureSchema(user=(user,), item=(Id("item_id"),)))
    return Prepared.of(dataset, _split(CASES[case].data, dataset))


def _split(data: str, dataset: Dataset) -> object:
    if data == "gowalla":  # as it is published; validation is a part of its training interactions
        return make_split("given", dataset, validation=0, seen="train+validation")
    return make_split("random", dataset, of="users")
