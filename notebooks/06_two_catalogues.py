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

# %% [markdown]
# # Matching two catalogues
#
# Two shops name one thing in two ways. Which pairs are worth a look (blocking), which of them are the same (a matcher
# that was fine-tuned on labelled pairs, after Ditto), whether its probabilities mean what they say, why it thinks so,
# and which records are one entity. With `RECSYS_DATA` set to a folder that holds `em-tables`, on two catalogues of
# beers; without, on a generated shop and a supplier who writes its titles in another way. The language model is the
# small one of the extra `text`.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from features import sources
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.records import Records
from features.sources import load_pairs

data_root = os.environ.get("RECSYS_DATA")


def supplier_writes(title: str, random: np.random.Generator) -> str:
    """The same words in another order, some of them gone, some with a slip."""
    words = title.lower().replace(",", "").split()
    words = [word for word in random.permutation(words) if random.random() > 0.1] or words
    return " ".join(word[:-1] if random.random() < 0.1 else word for word in words)


if data_root:
    data = load_pairs("deepmatcher", Path(data_root) / "em-tables" / "Beer")
    left, right = data.train.left, data.train.right
else:
    random = np.random.default_rng(0)
    things = sources.load("generated", interactions=1_000).items
    left = Records.of("shop", things, id_column="item_id", attributes={"title": "title", "brand": "brand"})
    told = things.with_columns(title=pl.Series([supplier_writes(one, random) for one in things["title"]]))
    right = Records.of("supplier", told, id_column="item_id", attributes={"title": "title", "brand": "brand"})
    n = np.arange(len(left))
    other = (n + random.integers(1, len(n), len(n))) % len(n)
    lefts, rights = np.concatenate([n, n])[::2], np.concatenate([n, other])[::2]
    data = LabelledPairs.drawn("two shops", RecordPairs(left, right, lefts, rights, lefts == rights))
data

# %%
left.values.head(3)

# %%
right.values.head(3)

# %% [markdown]
# ## Blocking: which pairs are worth a look
#
# Of all pairs a few are kept for each record, those that are nearest by n-grams of characters. What blocking loses
# nobody finds again, so the report says what share of the known matches is among the candidates, and what fewer would
# have kept.

# %%
from recsys.blocking.blocker import BlockingConfig, block
from recsys.blocking.report import report

known = pl.concat([pairs.frame().filter(pl.Series(pairs.labels)) for pairs in data.parts.values()])
rows_left, rows_right = (dict(zip(one.ids.to_list(), range(len(one)), strict=True)) for one in (left, right))
matches = RecordPairs(
    left,
    right,
    np.array([rows_left[one] for one in known["left_id"]]),
    np.array([rows_right[one] for one in known["right_id"]]),
)
found = report(block(left, right, BlockingConfig(candidates=10)), matches)
print(found)

# %%
from training.plots.style import BLUE, canvas

figure, axes = canvas()
axes.plot(found.curve["per_record"], found.curve["recall"], color=BLUE, marker="o", markersize=3)
axes.set(xlabel="candidates for each record", ylabel="share of known matches among them", ylim=(0, 1.02))
figure

# %% [markdown]
# ## A matcher
#
# A pair becomes one sequence, and the language model reads both records together; trees learn from the same pairs
# which words, numbers and codes are shared or lacking, and both opinions are joined. Epoch, weights, threshold and
# calibration are chosen on validation pairs; the test pairs are read once.

# %%
from serving.matching.matcher import Matcher
from training.config import load_config
from training.matching.config import MatchTrainConfig
from training.matching.run import measure, run
from training.runs import RunOptions

folder = Path(tempfile.mkdtemp())
settings = [f"optimiser.max_epochs={15 if data_root else 2}", *([] if data_root else ["model.max_tokens=48"])]
config = load_config(kind=MatchTrainConfig, settings=settings)
result = run(config, RunOptions(folder / "run", track=False, progress=False), data)
result

# %%
matcher = Matcher.load(result.bundle)
matcher.score(data.test).frame().sort("probability", descending=True).head(5)

# %% [markdown]
# ## Do probabilities mean what they say?
#
# Of the pairs that are given .9, nine in ten should be the same. A point is as large as it has pairs; on the dotted
# line it is as often the same as stated.

# %%
from training import plots

_, reliability = measure(matcher, data)
plots.reliability(reliability)

# %% [markdown]
# ## Why?
#
# By how much the log-odds fall without each attribute, and without each word. They are those before calibration, which
# takes back what a model that was trained on few pairs is too sure of.

# %%
closest = matcher.score(data.test)
place = int(np.argmax(np.where(closest.same, closest.log_odds, -np.inf)))
pair = data.test.take(np.array([place]))
one, another = (
    left.values.row(int(pair.left_rows[0]), named=True),
    right.values.row(int(pair.right_rows[0]), named=True),
)
explanation = matcher.explain(one, another)
explanation.picture(words=10)

# %% [markdown]
# ## Entities
#
# Records of the test pairs: candidates among them, judged by the matcher, become clusters. Each record belongs to one
# entity, whose id stays when other records come later. `recsys resolve` does all of this from the command line, and
# without any label if there is none.

# %%
from recsys.blocking.blocker import BlockingConfig
from serving.entities.judges import MatcherJudge
from training.entities.config import ResolveConfig
from training.entities.resolve import resolve

shelves = {}
for name, shelf, rows in (("shop", left, data.test.left_rows), ("supplier", right, data.test.right_rows)):
    rows = np.unique(rows)
    shelves[name] = Records(shelf.name, shelf.ids[rows], shelf.values[rows])
resolved = resolve(shelves, ResolveConfig(blocking=BlockingConfig(candidates=2)), MatcherJudge(matcher))
told = ("records", "candidates", "pairs_called_same", "entities")
pl.DataFrame({name: resolved.figures[name] for name in told})

# %%
table = resolved.resolved.table()
table.filter(pl.len().over("entity_id") > 1).sort("entity_id").head(8)
