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


#: what all rows of a data set have in common; the search chose it
COMMON: dict[str, tuple[str, ...]] = {
    "ml-1m": (),
    "amazon-beauty": (),
    "beauty-bert4rec": (),
}

#: what a row differs in; the best of them are repeated
ROWS: dict[str, tuple[tuple[str, ...], int]] = {
    "ml-1m/hstu-softmax": (("model.backbone=hstu",), 3),
    "ml-1m/sasrec-softmax": (("model.backbone=sasrec",), 1),
    "ml-1m/ligr-softmax": (("model.backbone=ligr",), 1),
    "ml-1m/ligr-sampled": (("model.backbone=ligr", "loss.name=sampled-softmax"), 1),
    "ml-1m/hstu-sampled": (("model.backbone=hstu", "loss.name=sampled-softmax"), 1),
    "ml-1m/hstu-gbce": (("model.backbone=hstu", "loss.name=gbce"), 1),
    "ml-1m/hstu-bce": (("model.backbone=hstu", "loss.name=bce"), 1),
    "amazon-beauty/hstu-softmax": (("model.backbone=hstu",), 3),
    "beauty-bert4rec/hstu-softmax": (("model.backbone=hstu",), 1),
}

CASES: dict[str, Case] = {
    name: Case((*COMMON[name.split("/")[0]], *settings), seeds) for name, (settings, seeds) in ROWS.items()
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
