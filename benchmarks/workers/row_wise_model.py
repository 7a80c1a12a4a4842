"""A sequence model over unpooled look-ups, which alone can be cut by rows on CPUs; `sharded_run.py` trains it."""

from pathlib import Path

import pytorch_lightning as pl
import torch

from features.batches import Jagged
from features.prepared import Prepared
from recsys.embeddings import Embeddings, FeatureLookup
from training import processes
from training.config import TrainConfig, load_config
from training.data import prepare
from training.examples import TwoTowerData
from training.fit import fit_module
from training.optimisers import configure


class NextItem(pl.LightningModule):
    """A sequence model, as small as can be: the mean of the history's vectors against every item's."""

    def __init__(self, config: TrainConfig, prepared: Prepared, backend: str) -> None:
        super().__init__()
        self.config, self.losses = config, []
        lookups = [FeatureLookup(name, "item_id", "none", unknowns=False) for name in ("history", "item_id")]
        self.model = torch.nn.Module()
        vocabularies = {"item_id": prepared.items}
        self.model.embeddings = Embeddings(config.model.embeddings, lookups, vocabularies, backend)
        self.model.head = torch.nn.Linear(config.model.embeddings.width, config.model.embeddings.width)
        self._n = len(prepared.items)

    def training_step(self, batch, _):
        history = batch.users.sparse["history"]
        items = Jagged(torch.arange(self._n), torch.ones(self._n, dtype=torch.int64))
        vectors = self.model.embeddings({"history": history})["history"]
        pooled = vectors.new_zeros(len(history), vectors.shape[1]).index_add(0, history.row_of_value, vectors)
        logits = self.model.head(pooled) @ self.model.embeddings({"item_id": items})["item_id"].T  # (B, N)
        targets = batch.targets
        loss = torch.nn.functional.cross_entropy(logits[targets.row_of_value], targets.values, reduction="sum")
        n = len(targets.values)
        loss = loss / max(1, n) * processes.weight(n, self.device)
        self.losses.append(sum(processes.gathered_objects(float(loss.detach()))) / processes.world_size())
        self.log("train/loss", loss, on_epoch=True, on_step=False, batch_size=max(1, n))
        return loss

    def configure_optimizers(self):
        return configure(self, self.config.optimiser)


def next_item(folder: Path, settings: list[str]) -> dict:
    """The sequence model over a table that is cut by rows."""
    rows = ["optimiser.tables=rowwise-adagrad", "optimiser.sharding=row_wise"]
    config = load_config(settings=[*settings, *rows])
    prepared = prepare(config)
    torch.manual_seed(5)
    initial = NextItem(config, prepared, "torch").model.state_dict()
    module = NextItem(config, prepared, "sharded")
    data = TwoTowerData(prepared, config.examples, config.seed)
    fit_module(
        module, data, config.optimiser, folder, tables="rowwise-adagrad", monitor=None, initial=initial,
        progress=False,
    )  # fmt: skip
    return {"losses": module.losses, "plan": module.trainer.strategy.plan}
