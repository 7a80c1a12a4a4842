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
# # Several interests of a user
#
# A user's vector is one point. Of somebody who has had tea and keyboards it lies between the two, where neither is
# near. kNN-Embed (arXiv 2205.06205) makes a user a mixture over clusters of items, smooths it by the users who are
# most alike, and lets each interest ask for its share of the candidates. With `RECSYS_DATA` set to a folder that
# holds `ml-1m`, on films; without, on a generated shop.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from features import sources
from recsys.interests import ClustersConfig, InterestsConfig
from serving.bundles.interests_writer import with_interests
from serving.candidates import CandidateGenerator
from training import plots
from training.bundle_evaluation import served_lists
from training.config import load_config
from training.data import prepare
from training.evaluation import Evaluation
from training.runs import RunOptions, run

data_root = os.environ.get("RECSYS_DATA")
if data_root:
    dataset = sources.load("ml-1m", Path(data_root) / "ml-1m")
else:
    dataset = sources.load("generated", interactions=10_000)
config = load_config(settings=[f"optimiser.max_epochs={40 if data_root else 8}"])
prepared = prepare(config, dataset)
folder = Path(tempfile.mkdtemp())
bundle = run(config, RunOptions(folder / "run", track=False), prepared).bundle

# %% [markdown]
# ## Clusters, mixtures
#
# Nothing is trained for it: items are clustered by their vectors, and what a user has had says how much of each
# cluster the user is. `recsys interests` chooses these numbers on validation; here they are set.

# %%
interests = InterestsConfig(
    components=4, neighbours=10, mixing=0.3, clusters=ClustersConfig(clusters=30 if data_root else 12)
)
generator = CandidateGenerator.load(with_interests(bundle, interests, out=folder / "with-interests"))
histories = prepared.test_histories
row = int(np.argsort(-histories.lengths)[len(histories) // 8])  # somebody who has had much
somebody = prepared.users.ids_of(np.array([row])).to_list()[0]
answer = generator.recommend(user_ids=[somebody], k=12, interests="smoothed")
answer

# %% [markdown]
# Each item says which interest brought it:

# %%
titles, named = answer.titles_of(0), dict(dataset.items.select("item_id", "title").iter_rows())
told = [
    {
        "title": title,
        "interest": n,
        "weight": answer.interests[0][n].weight,
        "because": named.get(answer.interests[0][n].because),
    }
    for title, n in zip(titles, answer.interest_of[0], strict=True)
]
pl.DataFrame(told).sort("interest")

# %% [markdown]
# ## On the map
#
# All items, grey; what this user has had, by its cluster; stars are the candidates. A single query asks from the
# middle, where there may be nothing. t-SNE keeps apart what is apart, and says little of how far.

# %%
vectors = generator.bundle.index.vectors_of(np.arange(len(generator.bundle.items)))
clusters = generator.bundle.interests.clusters.of_item
own = histories.row(row)
groups = [f"cluster {clusters[item]}" if item in set(own.tolist()) else None for item in range(len(vectors))]
places = plots.placed(vectors, by="tsne")
chosen = prepared.items.rows(answer.item_ids[0])
plots.embedding_map(places, groups, said="what the user has had", highlighted=chosen, highlighted_as="candidates")

# %% [markdown]
# ## What it finds
#
# The share of withheld items among 50 candidates, and how many clusters those are in: by a single query, a mixture,
# and a smoothed mixture. Whether several interests find more depends on the data and on how much people differ from
# themselves: on a citation graph they find 14% more in ten candidates, on films the single query of a tower that
# weighs whole histories finds more (`docs/measurements.md`). `recsys interests` measures both on validation before it
# makes one a bundle's default.

# %%
evaluation = Evaluation(prepared, "test")
lines = []
for kind in ("unimodal", "mixture", "smoothed"):
    hits, wanted, variety = 0, 0, []
    for users in evaluation.chunks():
        lists = served_lists(generator, evaluation, users, 50, interests=kind).numpy()
        for user, listed in zip(users, lists, strict=True):
            target = evaluation.targets.row(user)
            hits += np.isin(target, listed).sum()
            wanted += len(target)
            variety.append(len(set(clusters[listed[listed >= 0]].tolist())))
    lines.append({"retriever": kind, "recall@50": hits / wanted, "clusters in a list": float(np.mean(variety))})
pl.DataFrame(lines)
