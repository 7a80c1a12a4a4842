"""The rows of `sequential.py`: what each model's settings are, and what papers report of the same data."""

from __future__ import annotations

from dataclasses import dataclass

DROSS = "Turning Dross Into Gold Loss (arXiv 2309.07602)"
ESASREC = "eSASRec (arXiv 2508.06450)"
GSASREC = "gSASRec's PyTorch port (asash/gsasrec-pytorch)"


@dataclass(frozen=True)
class Case:
    """One row.

    Args:
        settings: What is other than the defaults of `training.sequential_config.SequentialTrainConfig`.
        seeds: How many runs it is the mean of.
        quick: Whether it is of the `--quick` run.
    """

    settings: tuple[str, ...]
    seeds: int = 1
    quick: bool = False


#: what all rows of a data set have in common
COMMON: dict[str, str] = {
    "ml-1m": (
        "windows.windows=all windows.batch_size=32 optimiser.lr=2e-3 optimiser.weight_decay=0.01 "
        "optimiser.max_epochs=10 optimiser.validate_every=2 model.dropout=0.2 model.layers=2"
    ),
    "ml-1m-real-time": (
        "windows.windows=all windows.batch_size=32 optimiser.lr=2e-3 optimiser.weight_decay=0.01 "
        "optimiser.max_epochs=10 optimiser.validate_every=2 model.dropout=0.2 model.layers=2"
    ),
    "amazon-beauty": (
        "windows.windows=last windows.batch_size=64 optimiser.lr=2e-3 optimiser.weight_decay=0.01 "
        "optimiser.max_epochs=12 optimiser.validate_every=2 model.max_length=50 model.layers=4 model.dropout=0.4"
    ),
    "beauty-bert4rec": (
        "windows.windows=last windows.batch_size=64 optimiser.lr=2e-3 optimiser.weight_decay=0.01 "
        "optimiser.max_epochs=12 optimiser.validate_every=2 model.max_length=50 model.layers=4 model.dropout=0.4"
    ),
    "diginetica": (
        "windows.batch_size=256 optimiser.lr=2e-3 model.max_length=20 optimiser.max_epochs=8 model.dropout=0.2 "
        "loss.name=sampled-softmax loss.settings.n_negatives=1024 loss.settings.draw=popularity "
        "loss.settings.logq=true"
    ),
}

WIDE = "model.dim=128 model.embeddings.width=128 model.heads=4 model.layers=2"
HEADLINE = "model.layers=8"

#: what a row differs in, and how many runs it is the mean of
ROWS: dict[str, tuple[str, int]] = {
    "ml-1m/hstu-softmax": (HEADLINE, 3),
    "amazon-beauty/hstu-softmax": ("", 3),
    "beauty-bert4rec/hstu-softmax": ("", 1),
    # one backbone with each loss, and each backbone with one loss
    "ml-1m/ligr-softmax": ("model.backbone=ligr", 1),
    "ml-1m/sasrec-softmax": ("model.backbone=sasrec", 1),
    "ml-1m/ligr-sampled": ("model.backbone=ligr loss.name=sampled-softmax", 1),
    "ml-1m/ligr-gbce": ("model.backbone=ligr loss.name=gbce", 1),
    "ml-1m/ligr-bce": ("model.backbone=ligr loss.name=bce", 1),
    # tables: two of them, one, and look-ups in as many rows
    "ml-1m/untied": (f"{WIDE} model.tie=false", 1),
    "ml-1m/tied": (WIDE, 1),
    "ml-1m/multiplexed-size-of-untied": (
        f"{WIDE} model.embeddings.kind=multiplexed model.embeddings.lookups=2 model.embeddings.budget=2.0",
        1,
    ),
    "ml-1m/multiplexed-half-of-that": (
        f"{WIDE} model.embeddings.kind=multiplexed model.embeddings.lookups=2 model.embeddings.budget=1.0",
        1,
    ),
    # what time is worth, on the users whose timestamps are true
    "ml-1m-real-time/hstu-order-alone": ("", 1),
    "ml-1m-real-time/hstu-event-times": ("model.times=events", 1),
    "ml-1m-real-time/hstu-request-time-known": ("model.times=request", 1),
    "diginetica/hstu-sampled": ("", 1),
}

CASES: dict[str, Case] = {
    name: Case(tuple(f"{COMMON[name.split('/')[0]]} {settings}".split()), seeds)
    for name, (settings, seeds) in ROWS.items()
} | {
    "generated/hstu-softmax": Case(
        ("model.dim=16", "model.embeddings.width=16", "model.layers=1", "optimiser.max_epochs=1"), quick=True
    )
}

#: HR@10, NDCG@10 and who says so
PUBLISHED: dict[str, tuple[float, float, str]] = {
    "ml-1m/sasrec-bce": (0.2500, 0.1341, DROSS),
    "ml-1m/sasrec+": (0.3152, 0.1821, DROSS),
    "ml-1m/sasrec+-3000-negatives": (0.3159, 0.1857, DROSS),
    "ml-1m/gsasrec": (0.3003, 0.1726, GSASREC),
    "ml-1m/esasrec": (0.3133, 0.1772, ESASREC),
    "amazon-beauty/sasrec+ss": (0.0921, 0.0531, ESASREC),
    "amazon-beauty/esasrec": (0.0928, 0.0523, ESASREC),
    "beauty-bert4rec/sasrec+": (0.0533, 0.0327, DROSS),
}
