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
# # From run to champion
#
# Two runs are tracked in MLflow and compared there, one is promoted and served, the other has to be shown to be no
# worse, and one command takes it all back. Everything is local: MLflow's store is an SQLite file, the shop is
# generated.

# %%
# %matplotlib inline
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mlflow
import polars as pl

from features import sources
from features.errors import InputError
from serving.client import Client, ServiceError
from training import plots
from training.config import load_config
from training.data import prepare
from training.promotion.aliases import rollback
from training.promotion.gated import promote
from training.runs import RunOptions, run

folder = Path(tempfile.mkdtemp())
os.chdir(folder)  # where the service keeps its events, and MLflow its files
store = f"sqlite:///{folder}/mlflow.db"
dataset = sources.load("generated", interactions=20_000)

# %% [markdown]
# ## Two runs
#
# Split by time, so that what they are tested on is later than all that they know: only such a window may decide about
# a promotion.

# %%
results = {}
for name, more in {
    "small": ["model.dim=8", "optimiser.max_epochs=3"],
    "large": ["model.dim=64", "optimiser.max_epochs=6"],
}.items():
    config = load_config(settings=["split.name=time", *more])
    options = RunOptions(folder / name, register="shop", experiment="shop", tracking_uri=store)
    results[name] = run(config, options, prepare(config, dataset))

# %% [markdown]
# ## Comparing them in MLflow
#
# Parameters, metrics by epoch, hashes of data and split, pictures and one model are there for every run; `mlflow ui
# --backend-store-uri sqlite:///mlflow.db` shows them in a browser.

# %%
mlflow.set_tracking_uri(store)
runs = pl.from_pandas(mlflow.search_runs(experiment_names=["shop"]))
runs.select(
    "tags.mlflow.runName", "params.model.dim", "metrics.test/ndcg_at_10", "metrics.test/hr_at_10", "metrics.seconds"
)

# %%
points = {name: (one.figures["parameters"], one.figures["ndcg@10"]) for name, one in results.items()}
plots.pareto({"two-tower": points}, cost="parameters")

# %% [markdown]
# ## Promotion
#
# The first version has nobody to be compared with, but popularity:

# %%
promotion = promote("shop", "1", dataset=dataset, why="the first one", uri=store)
print(*(f"{one.name:14} {one.told}" for one in promotion.gates), sep="\n")
promotion

# %% [markdown]
# The second has to pass every gate beside it. What is not shown to be worse passes; a refusal says by how much, and
# nothing has changed then.

# %%
try:
    print(promote("shop", "2", dataset=dataset, why="larger", uri=store))
except InputError as refused:
    print(refused)

# %% [markdown]
# ## Serving it
#
# `recsys serve` loads the version that the alias names, and takes over another one when it moves.

# %%
with socket.create_server(("127.0.0.1", 0)) as free:  # some port that nobody uses
    port = str(free.getsockname()[1])
command = [sys.executable, "-m", "training.cli", "serve", "--model", "models:/shop@champion", "--port", port]
command += ["--tracking-uri", store, "--poll", "1"]
service = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
client = Client(f"http://127.0.0.1:{port}", patience=0)
for _ in range(200):
    try:
        served = client.version()
        break
    except ServiceError:
        time.sleep(0.1)
{key: served[key] for key in ("name", "version", "kind", "created", "n_users", "n_items")}

# %%
somebody = dataset.users["user_id"][0]
client.candidates([somebody, "somebody-new"], histories=[None, [dataset.items["item_id"][0]]], k=3)

# %% [markdown]
# ## Rolling back
#
# The alias goes back to the champion before, and the service follows.

# %%
try:
    print(rollback("shop", why="to see how it is done", uri=store))
except InputError as refused:
    print(refused)

# %%
for _ in range(100):
    if client.version()["version"] != served["version"]:
        break
    time.sleep(0.1)
client.version()["version"]

# %%
service.terminate()
service.wait(20)
