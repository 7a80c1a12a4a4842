# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One multiplexed table: quality against memory
#
# The embedding tables are where a recommender's parameters are. A multiplexed table (Unified Embedding, arXiv
# 2305.12102) has one row space for all features: an id is looked up several times, at rows that follow from hashing
# (feature, look-up, id), and the results stand side by side. One number, the budget, says how large it is, and the
# tables of a model with ten features need no tuning of ten sizes.
#
# Here a DCN-V2 click model is trained at several budgets, with one multiplexed table, with a hashed table a feature,
# and with a row for every id. With `RECSYS_DATA` set, on MovieLens-1M (a rating of 4 or 5 is a click, one of 1 or 2
# is none); without, on a generated shop (what was taken is a click, items that were not are none).

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import polars as pl

from features import sources
from features.labelled import LabelledExamples
from features.prepared import Prepared
from training import plots
from training.config import load_config
from training.data import split
from training.ranking import RankingConfig
from training.ranking_run import labelled_only, train_ranker

data_root = os.environ.get("RECSYS_DATA")
if data_root:
    dataset = sources.load("ml-1m", Path(data_root) / "ml-1m", min_rating=0)
else:
    dataset = sources.load("generated", interactions=2_000)
labels = ["labels.column=weight", "labels.at_least=4", "labels.at_most=2"] if data_root else []
base = load_config(kind=RankingConfig, settings=[*labels, f"optimiser.max_epochs={3 if data_root else 2}"])
dataset = labelled_only(dataset, base.labels)  # ratings of 3 say neither
examples = LabelledExamples.of_prepared(Prepared.of(dataset, split(base.split, dataset)), base.labels)
f"{len(examples):,} examples, {examples.labels.mean():.0%} of them positive"

# %% [markdown]
# ## The runs
#
# `budget=0.1` is a tenth of what a row for every id would take.

# %%
folder, rows = Path(tempfile.mkdtemp()), []
for kind in ("multiplexed", "hashed", "collisionless"):
    for budget in (1.0,) if kind == "collisionless" else (0.02, 0.1, 0.5) if data_root else (0.1, 0.3):
        settings = [f"model.embeddings.kind={kind}", f"optimiser.max_epochs={base.optimiser.max_epochs}", *labels]
        if kind != "collisionless":
            settings.append(f"model.embeddings.budget={budget}")
        config = load_config(kind=RankingConfig, settings=settings)
        found = train_ranker(config, examples, folder / f"{kind}-{budget}", progress=False)
        rows.append({"kind": kind, "budget": budget, **found.figures})
table = pl.DataFrame(rows).select("kind", "budget", "embedding_parameters", "auc", "logloss")
table

# %% [markdown]
# ## AUC against budget
#
# The dotted line joins the models that no other one beats in both. One seed each: differences of a thousandth are
# within what seeds differ by; `benchmarks/multiplexed_ctr.py` has the same with five.

# %%
groups = {
    kind: {f"{one['budget']:g}": (one["embedding_parameters"], one["auc"]) for one in part.iter_rows(named=True)}
    for (kind,), part in table.group_by("kind", maintain_order=True)
}
plots.pareto(groups, cost="weights in embedding tables", quality="test AUC")

# %% [markdown]
# ## What the budget was spent on
#
# Which rows each feature looks up, and which share of its ids meets another of its own, or of other features. Ids
# that meet in one look-up seldom meet in the next one.

# %%
from recsys.embeddings.plan import FeatureLookup
from recsys.embeddings.report import spent

plan = load_config(kind=RankingConfig, settings=["model.embeddings.budget=0.1"]).model.embeddings
sizes = {name: len(vocabulary) for name, vocabulary in examples.vocabularies.items()}
spent(plan, [FeatureLookup(name, name) for name in sizes], sizes)
