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
# # Your own data: from three CSV files to a service
#
# What a shop exports: who clicked what, the products, the customers. Columns have other names than this library's,
# ids are strings, and a little is wrong with them. (The files are generated here; put your own in their place.)

# %%
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from features import sources

folder = Path(tempfile.mkdtemp())
shop = sources.load("generated", interactions=15_000)
data = folder / "my-shop"
data.mkdir()
clicks = shop.interactions.rename({"user_id": "visitor", "item_id": "sku", "timestamp": "seen_at"})
clicks.write_csv(data / "clicks.csv")
shop.items.rename({"item_id": "sku"}).write_csv(data / "products.csv")
shop.users.rename({"user_id": "visitor"}).write_csv(data / "customers.csv")
print((data / "clicks.csv").read_text()[:160])

# %% [markdown]
# ## Saying what is what
#
# `schema.yaml` beside the files names their columns, and the features that models read, once: training and serving
# have the same ones.

# %%
(data / "schema.yaml").write_text("""
interactions: {file: clicks.csv, columns: {user_id: visitor, item_id: sku, timestamp: seen_at}}
items: {file: products.csv, columns: {item_id: sku}}
users: {file: customers.csv, columns: {user_id: visitor}}
features:
  user:
    - {kind: categorical, name: region}
    - {kind: sequence, name: history}
  item:
    - {kind: id, name: item_id}
    - {kind: categorical, name: category}
    - {kind: multi_valued, name: tags, separator: "|"}
    - {kind: numeric, name: price}
    - {kind: text, name: title}
""")


def recsys(*arguments: str) -> None:
    """As the console script does."""
    command = [sys.executable, "-m", "training.cli", *arguments]
    found = subprocess.run(
        command, cwd=folder, env=os.environ | {"COLUMNS": "120"}, capture_output=True, text=True, check=False
    )
    print(found.stdout[-4000:] + found.stderr[-1500:] * (found.returncode != 0))


recsys("data", "--data", "tables", "--root", "my-shop")

# %% [markdown]
# ## What is wrong is told
#
# In one sentence, with the column and an example:

# %%
broken = folder / "broken"
broken.mkdir()
for file in data.iterdir():
    (broken / file.name).write_text(file.read_text())
lines = (data / "clicks.csv").read_text().splitlines()
lines[3] = "," + lines[3].split(",", 1)[1]
(broken / "clicks.csv").write_text("\n".join(lines))
recsys("data", "--data", "tables", "--root", "broken")

# %% [markdown]
# ## Training, with everything kept

# %%
recsys(
    "train", "two-tower", "--data", "tables", "--root", "my-shop", "--set", "optimiser.max_epochs=5", "--split", "time",
    "--register", "shop", "--run-dir", "runs/first",
)  # fmt: skip

# %%
recsys("promote", "shop", "--no-gates", "--why", "the first one")

# %% [markdown]
# ## Asking it
#
# In process:

# %%
from serving.candidates import CandidateGenerator

generator = CandidateGenerator.load("models:/shop@champion", tracking_uri=f"sqlite:///{folder}/mlflow.db")
generator.recommend(user_ids=[shop.users["user_id"][0]], k=5)

# %% [markdown]
# Or over HTTP, as programs in other languages do (`curl -s localhost:8766/candidates -d '{"user_ids": [...]}'`):

# %%
with socket.create_server(("127.0.0.1", 0)) as free:  # some port that nobody uses
    port = str(free.getsockname()[1])
command = [sys.executable, "-m", "training.cli", "serve", "--model", "models:/shop@champion", "--port", port]
service = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

# %%
import httpx

url = f"http://127.0.0.1:{port}"
for _ in range(200):
    try:
        if httpx.get(f"{url}/readyz").status_code == 200:
            break
    except httpx.TransportError:
        pass
    time.sleep(0.1)
asked = {"user_ids": [shop.users["user_id"][1], None], "histories": [None, [shop.items["item_id"][5]]], "k": 3}
httpx.post(f"{url}/candidates", json=asked).json()

# %%
service.terminate()
service.wait(20)
