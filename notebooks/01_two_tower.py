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
# # A two-tower recommender in ten lines
#
# From a data frame of who took what to titles that somebody would like, and what that is worth. With `RECSYS_DATA`
# set to a folder that holds MovieLens-1M as `ml-1m`, it is films; without, a shop that is generated on the spot.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

from IPython.display import Image

from features import sources

data_root = os.environ.get("RECSYS_DATA")
if data_root:
    loaded = sources.load("ml-1m", Path(data_root) / "ml-1m")
else:
    loaded = sources.load("generated", interactions=20_000)
interactions, items, users = loaded.interactions, loaded.items, loaded.users
interactions.head(3)

# %%
items.head(3)

# %% [markdown]
# ## The ten lines
#
# Tables, which of their columns the model reads, and how long it trains. Everything has a default: `recsys train
# two-tower --print-config` shows all of them.

# %%
from features.dataset import Dataset
from serving.candidates import CandidateGenerator
from training.config import load_config
from training.data import prepare
from training.runs import RunOptions, run

folder = Path(tempfile.mkdtemp())
dataset = Dataset.construct("notebook", interactions, items, users, loaded.schema)
config = load_config(settings=[f"optimiser.max_epochs={40 if data_root else 6}"])
prepared = prepare(config, dataset)
result = run(config, RunOptions(folder / "run", track=False), prepared)
generator = CandidateGenerator.load(result.bundle)
somebody = interactions["user_id"][0]
generator.recommend(user_ids=[somebody], k=5)

# %% [markdown]
# A stranger is whoever comes with a history:

# %%
taken = interactions.filter(interactions["user_id"] == somebody)["item_id"][:3].to_list()
generator.recommend(histories=[taken], k=5)

# %% [markdown]
# ## What it is worth
#
# Every ranking is of the whole catalogue, the test part was read once, and popularity and item-kNN had the same test.
# The figures are those of the written bundle, loaded again: what was measured is what will be served.

# %%
from training.report import table

print(table(result.comparison, prepared))

# %% [markdown]
# The run has drawn its pictures. Loss and validation over the epochs; the epoch with the best validation is kept:

# %%
Image(folder / "run" / "learning_curves.png", width=600)

# %% [markdown]
# Which share of the withheld items is found, by the length of the list. The band is where the figure would lie, 95
# times in 100, had other users been drawn:

# %%
Image(folder / "run" / "recall.png", width=600)

# %% [markdown]
# Popular items are easier to find. A model that finds only those is worth little more than a list of best-sellers:

# %%
Image(folder / "run" / "popularity.png", width=600)

# %% [markdown]
# ## What is like what
#
# The nearest items by the cosine of their vectors:

# %%
generator.similar([taken[0]], k=5)
