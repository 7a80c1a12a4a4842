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
# # Items that nobody has taken yet
#
# A new item has no past, and an id says nothing of what it is. A language model reads its title instead: the vector
# goes into the recommender beside the id's, and the item is a candidate from the moment it has a title. With
# `RECSYS_DATA` set to a folder that holds `amazon-beauty`, on cosmetics; without, on a generated shop. The language
# model is the small one of the extra `text`.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import numpy as np

from features import sources
from serving.candidates import CandidateGenerator
from training import plots
from training.config import load_config
from training.data import prepare
from training.report import table
from training.runs import RunOptions, run
from training.sequential_config import SequentialTrainConfig

data_root = os.environ.get("RECSYS_DATA")
if data_root:
    dataset = sources.load("tables", Path(data_root) / "amazon-beauty")
else:
    dataset = sources.load("generated", interactions=4_000)
dataset

# %% [markdown]
# ## Withholding items
#
# `cold-items` takes some of the items out of training, with everything that is known of who took them, and asks for
# them afterwards: for validation some, for the test others. `model.items=all` learns words, brands and categories,
# `text.columns` is what the language model reads, and `model.fusion.kind=add` puts both together.

# %%
small = ["model.dim=32", "model.layers=1", "model.max_length=20", "optimiser.max_epochs=4"]
large = ["model.dim=64", "model.layers=2", "model.max_length=50", "optimiser.max_epochs=20"]
settings = [
    *(large if data_root else small),
    "split.name=cold-items",
    "split.settings.history=before",
    "windows.candidates=trained",
    "text.columns=[title]",
]
folder = Path(tempfile.mkdtemp())
results = {}
for name, more in {"ids": [], "words and text": ["model.items=all", "model.fusion.kind=add"]}.items():
    config = load_config(kind=SequentialTrainConfig, settings=[*settings, *more])
    prepared = prepare(config, dataset)
    results[name] = run(config, RunOptions(folder / name.split()[0], track=False), prepared)

# %%
rows = {name: one.comparison["sequential"] for name, one in results.items()}
rows |= {name: one for name, one in results["ids"].comparison.items() if name != "sequential"}
print(table(rows, prepared))

# %% [markdown]
# Every wanted item is one that training has not seen. A model of ids, popularity and item-kNN cannot find them but by
# accident.

# %%
plots.recall_curves({name: {k: one[f"recall@{k}"] for k in (10, 20, 50)} for name, one in rows.items()})

# %% [markdown]
# ## A map of the items
#
# t-SNE puts items near each other whose vectors point the same way. Colours are the largest categories; nobody has
# told the map about them.

# %%
generator = CandidateGenerator.load(results["words and text"].bundle)
bundle = generator.bundle
column = "category" if "category" in bundle.item_table.columns else "attributes"
kinds = bundle.item_table[column].cast(str).fill_null("?").str.split("|").list.last()
shown = np.random.default_rng(0).permutation(len(bundle.items))[: 2000 if data_root else 300]
places = plots.placed(bundle.index.vectors_of(np.sort(shown)), by="tsne")
plots.embedding_map(places, kinds.gather(np.sort(shown)).to_list(), said="category")

# %% [markdown]
# ## New items find their neighbours
#
# Two items that no table has ever had. Nothing is trained: the language model reads what is said of them.

# %%
titles = dict(dataset.items.select("item_id", "title").iter_rows())
if data_root:
    new = [
        ("new-shampoo", {"title": "Rose and argan oil shampoo for dry hair, 250 ml"}),
        ("new-polish", {"title": "Gel nail polish, ruby red, quick dry"}),
    ]
else:
    new = [
        ("new-lamp", {"title": "Minimal oak desk lamp, for small desks"}),
        ("new-quilt", {"title": "Fairtrade wool quilt, king size"}),
    ]
generator.new_items.add(new)
generator.similar([one for one, _ in new], k=5)

# %% [markdown]
# Whoever has taken what is near them is offered them, some earlier, some later. A service that was started with
# `--new-items FILE` does the same by `POST /items`.

# %%
for item, _ in new:
    near = generator.similar([item], k=3).item_ids[0]
    offered = generator.recommend(histories=[near], k=200).item_ids[0]
    place = f"at place {offered.index(item) + 1}" if item in offered else "not among the first 200"
    print(f"{item} is {place} for somebody who has taken")
    print("\n".join(f"    {titles.get(one, one)[:80]}" for one in near))
