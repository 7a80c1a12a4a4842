"""One embedding table, set up for training by this project's strategy, and by TorchRec alone."""

from __future__ import annotations

import logging
import warnings

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.distributed.optim import _apply_optimizer_in_backward
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor
from torchrec.distributed.model_parallel import DistributedModelParallel

from training.optimisers import OptimiserConfig, TableOptimiser
from training.sharding import _FUSED, TorchRecStrategy
from training.sharding_plan import make_plan, sharders, topology_here


class _Module(pl.LightningModule):
    """A strategy wraps LightningModules, whose step is what the wrapper's `forward` is."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: object) -> Tensor:
        return self.model(*inputs)


def strategy_for(model: nn.Module, optimiser: TableOptimiser, batch: int, device: torch.device) -> TorchRecStrategy:
    """The strategy of `training.sharding`, which has placed a model's tables, with optimisers that step in backward.

    What Lightning's trainer does with it, on one process and without the trainer. Its `model` is what to call.
    """
    strategy = TorchRecStrategy(OptimiserConfig(table_lr=0.01), optimiser, batch)
    strategy.parallel_devices = [device]
    strategy.cluster_environment = LightningEnvironment()
    strategy.connect(_Module(model))
    strategy._lightning_module = strategy.model
    with _quiet():
        if not dist.is_initialized():
            strategy.setup_distributed()
        strategy.configure_ddp()
    return strategy


def raw(rows: int, width: int, names: list[str], optimiser: TableOptimiser, device: torch.device) -> nn.Module:
    """One table for all of `names`, as TorchRec's own examples set it up. KeyedJaggedTensor -> (B, F * E)"""
    config = EmbeddingBagConfig(name="table", embedding_dim=width, num_embeddings=rows, feature_names=names)
    model = _Values(EmbeddingBagCollection(tables=[config], device=torch.device("meta")))
    kind, settings = _FUSED[optimiser]
    _apply_optimizer_in_backward(kind, model.parameters(), {"lr": 0.01, **settings})
    with _quiet():
        plan = make_plan(model, optimiser, "table_wise", topology_here(device, 1, 1), 512)
        return DistributedModelParallel(model, device=device, plan=plan, sharders=sharders(), init_data_parallel=False)


class _Values(nn.Module):
    def __init__(self, collection: EmbeddingBagCollection) -> None:
        super().__init__()
        self.collection = collection

    def forward(self, bags: KeyedJaggedTensor) -> Tensor:
        return self.collection(bags).values()


class _quiet(warnings.catch_warnings):
    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        for name in ("pytorch_lightning", "lightning_fabric", "lightning", "torch.fx._symbolic_trace", "torchrec"):
            logging.getLogger(name).setLevel(logging.ERROR)
