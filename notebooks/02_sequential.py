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
# # What comes next: a sequential model
#
# A sequential model reads a history in its order, and learns at each place of it which item comes after. Here two of
# its backbones stand beside popularity and item-kNN, each user's last item withheld (leave-one-out), the whole
# catalogue ranked. With `RECSYS_DATA` set to a folder that holds `ml-1m`, on films; without, on a generated shop.

# %%
# %matplotlib inline
import json
import os
import tempfile
from pathlib import Path

from features import sources
from training import plots
from training.config import load_config
from training.data import prepare
from training.report import table
from training.runs import RunOptions, run
from training.sequential_config import SequentialTrainConfig

data_root = os.environ.get("RECSYS_DATA")
if data_root:
    dataset = sources.load("ml-1m", Path(data_root) / "ml-1m")
else:
    dataset = sources.load("generated", interactions=6_000)
dataset

# %% [markdown]
# ## Two backbones
#
# HSTU's attention is pointwise and learns how much a distance in the history counts; LiGR is a gated transformer.
# Each is one setting away from the other.

# %%
small = ["model.dim=32", "model.max_length=20", "model.layers=1"]
large = ["model.dim=64", "model.max_length=100", "model.layers=2"]
size = large if data_root else small
epochs = 15 if data_root else 5
folder, results, epochs_of = Path(tempfile.mkdtemp()), {}, {}
for backbone in ("hstu", "ligr"):
    settings = [*size, f"model.backbone={backbone}", f"optimiser.max_epochs={epochs}", "optimiser.validate_every=1"]
    config = load_config(kind=SequentialTrainConfig, settings=settings)
    prepared = prepare(config, dataset)
    results[backbone] = run(config, RunOptions(folder / backbone, track=False), prepared)
    epochs_of[backbone] = json.loads((folder / backbone / "state.json").read_text())["epochs"]

# %% [markdown]
# ## Learning curves
#
# The loss falls for longer than the model gets better: the dotted line is the epoch that validation likes best, and
# its weights are the ones that are kept.

# %%
plots.learning_curves(epochs_of["hstu"], results["hstu"].figures["best_epoch"])

# %%
plots.learning_curves(epochs_of["ligr"], results["ligr"].figures["best_epoch"])

# %% [markdown]
# ## The full-ranking table
#
# Read once, after everything was chosen. Rankings of a hundred sampled items are not the same thing, and do not even
# agree on which of two models is better (Krichene and Rendle, 2020).

# %%
rows = {name: one.comparison["sequential"] for name, one in results.items()}
rows |= {name: one for name, one in results["hstu"].comparison.items() if name != "sequential"}
print(table(rows, prepared))

# %%
plots.comparison(rows)

# %% [markdown]
# How good a longer list would be, for a ranker that comes after:

# %%
plots.recall_curves({name: {k: one[f"recall@{k}"] for k in (10, 20, 50)} for name, one in rows.items()})

# %% [markdown]
# ## Asking it
#
# It knows no users, only histories, so that whoever comes is answered from what they bring.

# %%
from serving.candidates import CandidateGenerator

generator = CandidateGenerator.load(results["hstu"].bundle)
history = dataset.interactions.filter(dataset.interactions["user_id"] == dataset.interactions["user_id"][0])
generator.recommend(histories=[history["item_id"][:5].to_list()], k=5)

# %% [markdown]
# The same items in another order are another history:

# %%
generator.recommend(histories=[history["item_id"][:5].to_list()[::-1]], k=5)
