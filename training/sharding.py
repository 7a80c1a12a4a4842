"""A Lightning strategy around TorchRec's DistributedModelParallel; a model needs no change for it.

Whatever TorchRec collections the LightningModule holds are sharded by a plan, with an optimiser that steps inside the
backward pass; everything else is data parallel. It is the same on one process, which then holds all the shards: a dense
gradient of a large table costs 70 times a step of its fused kernel.

DistributedModelParallel wraps the LightningModule itself. Lightning sends `training_step` through the wrapper's
`forward`, as it does for DistributedDataParallel, so that a step may call whatever methods its model has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch.distributed.optim import _apply_optimizer_in_backward
from torchrec.distributed.model_parallel import DefaultDataParallelWrapper, DistributedModelParallel
from torchrec.distributed.types import ShardingPlan
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper
from torchrec.optim.optimizers import in_backward_optimizer_filter
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from training import sharded_checkpoints
from training.optimisers import OptimiserConfig, TableOptimiser
from training.processes import PATIENCE, launched
from training.sharding_plan import collections, described, make_plan, sharders, told, topology_here

_FUSED: dict[str, tuple[type[torch.optim.Optimizer], dict[str, float]]] = {
    "rowwise-adagrad": (RowWiseAdagrad, {"eps": 1e-8}),
    "adagrad": (torch.optim.Adagrad, {"eps": 1e-8}),
    "sgd": (torch.optim.SGD, {}),
}


class TorchRecStrategy(DDPStrategy):
    """Shards embedding tables and replicates the rest.

    Args:
        settings: Which sharding, and the tables' learning rate.
        tables: The tables' optimiser; "adamw" leaves them dense, and replicates them.
        batch_size: Rows of a batch over all processes, for the planner's estimates.
        seed: Of the tables' first weights, which each process makes for its own shards.
        initial: Weights to begin with, by their names in a plain model; whole tables, of which each process takes its
            part. None for random ones.
        say: Called with the plan.
    """

    strategy_name = "torchrec"

    # from `configure_ddp` and `with_fused` on
    model: DistributedModelParallel
    _optimiser: CombinedOptimizer

    def __init__(
        self,
        settings: OptimiserConfig,
        tables: TableOptimiser,
        batch_size: int = 512,
        seed: int = 0,
        initial: Mapping[str, torch.Tensor] | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        super().__init__(timeout=PATIENCE)
        self._settings = settings
        self._tables = tables
        self._batch_size = batch_size
        self._seed = seed
        self._initial = initial
        self._say = say
        self.plan: list[dict[str, Any]] = []

    @property
    def _module(self) -> pl.LightningModule:
        assert self.lightning_module is not None  # while it is fitted
        return self.lightning_module

    def model_to_device(self) -> None:
        """Nothing: tables that are to be sharded have no memory yet, and the wrapper places the rest."""

    def configure_ddp(self) -> None:
        """Plans, shards, and wraps the module."""
        module = self._module
        world, local = launched()
        plan = None
        if self._tables != "adamw":
            optimiser, settings = _FUSED[self._tables]
            weights = [weight for one in collections(module) for weight in one.parameters()]
            _apply_optimizer_in_backward(optimiser, weights, {"lr": self._settings.table_lr, **settings})
            topology = topology_here(self.root_device, world, local)
            per_process = max(1, self._batch_size // world)
            plan = make_plan(module, self._tables, self._settings.sharding, topology, per_process)
            self.plan = described(plan)
            self._say(told(self.plan))
        random = torch.get_rng_state()
        # each process draws the first weights of its own shards: with one seed for all, shards would be copies
        torch.manual_seed(self._seed * 1_000_003 + 1 + self.global_rank)
        self.model = DistributedModelParallel(
            module,
            device=self.root_device,
            plan=plan if plan is not None else ShardingPlan(plan={}),
            sharders=sharders() if plan is not None else [],
            # one process has nobody to average gradients with
            init_data_parallel=world > 1,
            data_parallel_wrapper=DefaultDataParallelWrapper(static_graph=False),
        )
        if world == 1:
            module.to(self.root_device)
        torch.set_rng_state(random)
        if self._initial is not None:
            model = {name: one for name, one in self.model.state_dict().items() if name.startswith("model.")}
            sharded_checkpoints.fill(model, self._initial)  # what a module has besides is training's, and begins anew

    def with_fused(self, dense: Callable[[Any], torch.optim.Optimizer]) -> CombinedOptimizer:
        """One optimiser of everything: `dense` for what has gradients, and the fused one for what steps in backward.

        Args:
            dense: Makes the optimiser of a list of weights.
        """
        weights = dict(in_backward_optimizer_filter(self.model.named_parameters()))
        self._dense = KeyedOptimizerWrapper(weights, dense)
        self._optimiser = CombinedOptimizer([self.model.fused_optimizer, self._dense])
        return self._optimiser

    def on_train_start(self) -> None:
        """Puts the learning rates where the schedule is; a resumed run has only been told how far it had come."""
        for config in self._module.trainer.lr_scheduler_configs:
            schedule = config.scheduler
            assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)  # see `training.optimisers.configure`
            for group, base, rate in zip(
                schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
            ):
                group["lr"] = base * rate(schedule.last_epoch)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Hands the learning rate to the kernels, which step before the optimiser is asked to."""
        self.model.fused_optimizer.step()

    def training_step(self, *arguments: Any, **settings: Any) -> Any:
        """Through the wrapper; a pipeline calls that itself."""
        if getattr(self.lightning_module, "pipelined", False):
            return self._module.training_step(*arguments, **settings)
        return super().training_step(*arguments, **settings)

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Tables have shards to be restored into only then."""
        return True

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Nothing here: `save_checkpoint` writes it, each process its own part."""
        return {}

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """All weights; of sharded tables, the parts that are here."""
        return self.model.state_dict()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Writes a folder in place of a file: see `training.sharded_checkpoints`."""
        complete = "optimizer_states" in checkpoint
        state = {"state_dict": checkpoint.pop("state_dict")}
        if complete:
            state["optimiser"] = self._optimiser.state_dict()
            checkpoint["optimizer_states"] = []
        sharded_checkpoints.save(self.broadcast(str(filepath)), state, checkpoint, json.dumps(self.plan, indent=1))

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads a checkpoint of however many processes into this one's shards, optimiser state included."""
        self._dense.init_state()  # state is made by the first step, and only what there is can be read into
        self._dense.zero_grad(set_to_none=True)
        state = {"state_dict": self.model.state_dict(), "optimiser": self._optimiser.state_dict()}
        rest = sharded_checkpoints.load(checkpoint_path, state)
        self.model.load_state_dict(state["state_dict"])
        self._optimiser.load_state_dict(state["optimiser"])
        return rest

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Nothing: `load_checkpoint` has done it."""

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Nothing: `load_checkpoint` has done it."""

    def teardown(self) -> None:
        """Ends; where sharding failed there are tables without memory yet, which cannot be moved to the host."""
        if any(weight.device.type == "meta" for weight in self._module.parameters()):
            self._lightning_module = None
        super().teardown()

    def remove_checkpoint(self, filepath: Any) -> None:
        """Removes a checkpoint's folder."""
        if self.is_global_zero:
            sharded_checkpoints.remove(filepath)
