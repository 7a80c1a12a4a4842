"""How much memory it takes to train a table of 20 million rows of width 64: the weights and their optimiser's state.

A model of one hashed feature with one multiplexed table is set up by `training.sharding`'s strategy as a run sets it
up, and takes some training steps. The first case also writes a checkpoint, reads it back as a run does that goes on,
and last reads whole weights while the sharded ones are still there, as a run does at its end. Each case is a process of
its own. A peak is the largest resident size until then that the operating system has seen; "without libraries" is what
was added to what the process had before the model was made, when a small one had trained. What is aimed at for training
is at most 1.25 times weights and state, without libraries.

On a CUDA device the table is there, and the peaks are those of the device's memory as the allocator has seen it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from report import Report, arguments

if TYPE_CHECKING:  # the parent process needs no torch
    import torch
    from torch import nn

    from features.batches import Jagged
    from features.vocabulary import Vocabulary
    from training.sharding import TorchRecStrategy

ROWS, QUICK_ROWS, WIDTH = 20_000_000, 20_000, 64
BATCH, STEPS = 4_096, 10
CASES = {"rowwise-adagrad": 1, "adagrad": WIDTH}  # numbers of state a row


def main() -> None:
    """Starts a process for each case, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--case", choices=list(CASES), help="be the process of one case, and print its figures as JSON")
    options = parser.parse_args()
    rows = QUICK_ROWS if options.quick else ROWS
    if options.case:
        print(json.dumps(one_case(options.case, rows)))
        return
    report = Report("large_table", quick=options.quick)
    for case in list(CASES)[: 1 if options.quick else None]:
        if options.quick:
            figures = one_case(case, rows)
        else:
            done = subprocess.run([sys.executable, __file__, "--case", case], stdout=subprocess.PIPE, check=True)
            figures = json.loads(done.stdout.splitlines()[-1])
        needed = rows * (WIDTH + CASES[case]) * 4
        settings = {"rows": rows, "width": WIDTH, "device": figures["device"]}
        report.add(case, "weights and state, GB", needed / 1e9, settings=settings)
        report.add(case, "libraries, GB", figures["before"] / 1e9, settings=settings)
        for moment, (peak, seconds) in figures["peaks"].items():
            without = peak - figures["before"]
            report.add(case, f"{moment}: peak, GB", peak / 1e9, seconds=seconds, settings=settings)
            report.add(case, f"{moment}: times weights and state", peak / needed, settings=settings)
            report.add(case, f"{moment}: the same without libraries", without / needed, settings=settings)
    report.finish(options.out)


def one_case(optimiser: str, rows: int) -> dict:
    """What one process comes to: the bytes that it had before, and its peaks so far after each of a run's moments."""
    import polars as pl
    import torch
    from one_table import strategy_for

    from features.batches import Jagged
    from features.vocabulary import Vocabulary
    from training import processes, sharded_checkpoints

    warnings.simplefilter("ignore")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ids = Vocabulary("item_id", pl.Series(range(10_000)))
    peaks, began = {}, time.perf_counter()

    def reached(moment: str) -> None:
        nonlocal began
        peaks[moment] = peak_memory(device), time.perf_counter() - began
        began = time.perf_counter()

    def prepared(rows: int) -> tuple[TorchRecStrategy, torch.optim.Optimizer]:
        strategy = strategy_for(one_feature(ids, rows), optimiser, BATCH, device)
        return strategy, strategy.with_fused(torch.optim.AdamW)

    def train(strategy: TorchRecStrategy, stepping: torch.optim.Optimizer) -> None:
        lengths = torch.ones(BATCH, dtype=torch.int64)
        for _ in range(STEPS):
            batch = {"item_id": Jagged(torch.randint(len(ids), (BATCH,)), lengths).to(device=device)}
            stepping.zero_grad()
            strategy.model(batch).square().sum().backward()
            stepping.step()

    # what a first use of the libraries takes is theirs
    train(*prepared(1_000))
    before = memory_now(device)
    strategy, stepping = prepared(rows)
    reached("set up")
    train(strategy, stepping)
    reached("training")
    if CASES[optimiser] > 1:
        processes.leave()
        return {"before": before, "peaks": peaks, "device": device_name(device)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.ckpt"
        state = {"state_dict": strategy.lightning_module_state_dict(), "optimizer_states": []}
        strategy.save_checkpoint(state, path)
        reached("writing a checkpoint")
        strategy.load_checkpoint(path)
        reached("reading it back")
        weights = {
            name: torch.empty(tuple(weight.size())) for name, weight in strategy.lightning_module_state_dict().items()
        }
        sharded_checkpoints.read_plain(path, weights)
        reached("whole weights beside the sharded ones")
    processes.leave()
    return {"before": before, "peaks": peaks, "device": device_name(device)}


def one_feature(ids: Vocabulary, rows: int) -> nn.Module:
    """A model of one hashed feature and a dense layer."""
    import torch

    from recsys.embeddings import EmbeddingPlan, Embeddings, FeatureLookup

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            plan = EmbeddingPlan("multiplexed", WIDTH, lookups=1, budget=f"{rows * WIDTH * 4}B")
            self.embeddings = Embeddings(plan, [FeatureLookup("item_id", "item_id")], {"item_id": ids}, "sharded")
            self.dense = torch.nn.Linear(WIDTH, 1)

        def forward(self, sparse: dict[str, Jagged]) -> torch.Tensor:
            return self.dense(self.embeddings.joined(sparse))

    return Model()


def peak_memory(device: torch.device) -> int:
    """The largest number of bytes so far: of this process, or on the device if that is no CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_name(device: torch.device) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def memory_now(device: torch.device) -> int:
    if device.type == "cuda":
        import torch

        return torch.cuda.memory_allocated(device)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
