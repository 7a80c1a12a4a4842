"""How fast sequential models train here and in RecTools: seconds an epoch, seconds to the same quality, and memory.

Both train on the same interactions (leave-one-out, without the test items), on two threads, each run in a process of
its own; both are validated by full ranking after each epoch, which is no part of any figure's seconds.

- *ours-softmax* against *rectools-softmax*, and *ours-sampled* (256 negatives) against *rectools-sampled*: the same
  architecture (LiGR layers), width, length, batch, loss and precision (fp32). RecTools draws negatives for each place
  anew, here a batch shares them, and nothing is computed on padding; these are differences of the implementations.
- *ours-best*: the settings that this project would use.

"seconds_to_target" is the training time until validation NDCG@10 is as good as the best that RecTools reached within
its budget, by the same loss; for ours-best, by any. RecTools spends its budget first, then ours runs until it is as
good; after that the two take turns, so that whatever else the machine does hits both alike. "times_faster_per_epoch" is
the median over turns of the ratio of medians within a turn. Epochs that the budget cut short do not count. "peak_gb" is
the largest resident size of the process, libraries and data included, in any run. RecTools' environment is made by
`make peers`; without it only ours is measured.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kept_runs import remembered
from report import Report, arguments
from sequence_data import load
from training_processes import RECTOOLS, train, train_here

from features import sources
from features.dataset import Dataset
from features.errors import InputError

THREADS = 2

#: what RecTools and this project call the losses
LOSSES = {
    "softmax": ("softmax", ("loss.name=full-softmax",)),
    "sampled": ("sampled_softmax", ("loss.name=sampled-softmax", "loss.settings.n_negatives=256")),
}


@dataclass(frozen=True)
class Case:
    """One data set: RecTools' settings, which ours of the first row are too, and this project's own choice.

    Args:
        losses: The losses that are compared.
        length: Of a window.
        dropout: As eSASRec's published settings have it for this data set.
        best: What this project would train with.
    """

    losses: tuple[str, ...]
    length: int
    dropout: float
    best: tuple[str, ...]


CASES = {
    "ml-1m": Case(
        losses=("softmax", "sampled"),
        length=200,
        dropout=0.1,
        best=("model.layers=2", "windows.windows=all", "windows.batch_size=32", "optimiser.max_epochs=10"),
    ),
    "amazon-beauty": Case(
        losses=("sampled",),
        length=50,
        dropout=0.2,
        best=(
            *("model.max_length=50", "model.layers=2", "model.dropout=0.4"),
            *("windows.windows=last", "windows.batch_size=64", "optimiser.max_epochs=12"),
        ),
    ),
}
QUICK = Case(losses=("softmax",), length=20, dropout=0.1, best=())


def main() -> None:
    """Trains both in turns, prints and writes; after each comparison, so that one that is cut short leaves the rest."""
    parser = arguments(__doc__)
    parser.add_argument("--budget", type=float, default=900.0, help="seconds that RecTools trains to set the target")
    parser.add_argument("--rounds", type=int, default=3, help="how often the two take turns, the long runs included")
    parser.add_argument("--epochs", type=int, default=3, help="of each run after the long ones")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's figures, so that none is made twice")
    parser.add_argument("--only", default="", help="the data sets whose name contains this")
    options = parser.parse_args()
    report = Report("sequential_speed", quick=options.quick, whole=not options.runs)
    if options.quick:
        turns = Turns("generated", QUICK, sources.load("generated", interactions=1000), None, options.budget)
        turns.ours("softmax", 0, epochs=1)
        turns.add(report, "ours-softmax")
        report.finish(options.out)
        return
    if options.data_root is None:
        raise SystemExit("sequential_speed.py: --data-root FOLDER is needed (a folder that holds sequences)")
    peer = RECTOOLS.exists()
    if not peer:
        print("RecTools is not installed, so only ours is measured; `make peers` installs it", flush=True)
    for name, case in CASES.items():
        if options.only not in name:
            continue
        turns = Turns(name, case, load(name, options.data_root), options.runs, options.budget)
        for loss in case.losses:
            for turn in range(options.rounds):
                epochs = options.epochs if turn else None
                if peer:
                    turns.rectools(loss, turn, epochs)
                turns.ours(loss, turn, epochs or (None if peer else options.epochs))
            for side in ("ours", "rectools") if peer else ("ours",):
                turns.add(report, f"{side}-{loss}")
            report.finish(options.out)
        turns.ours("best", 0, None if peer else options.epochs)
        turns.add(report, "ours-best")
        report.finish(options.out)


def same_settings(case: Case) -> tuple[str, ...]:
    """RecTools' settings, in this project's words; RecTools' worker has the other half of them as its defaults."""
    return (
        "model.backbone=ligr",
        "model.dim=64",
        "model.embeddings.width=64",
        "model.layers=2",
        "model.heads=1",
        "model.hidden=4",
        f"model.dropout={case.dropout}",
        f"model.max_length={case.length}",
        "windows.windows=last",
        "windows.batch_size=128",
        "optimiser.lr=1e-3",
        "optimiser.weight_decay=0",
        "optimiser.gradient_clip=0",
        # RecTools' rate is constant; of ours, a schedule this long is nearly so in the epochs that there is time for
        "optimiser.max_epochs=40",
    )


class Turns:
    """The runs of one data set, by row of the table.

    Args:
        name: Of the data set.
        case: How both are trained.
        dataset: What on.
        kept: A folder that keeps the runs' figures; None for none.
        budget: Seconds of training that RecTools has to reach what it can.
    """

    def __init__(self, name: str, case: Case, dataset: Dataset, kept: Path | None, budget: float) -> None:
        self.name, self.case, self.budget = name, case, budget
        self._dataset, self._kept = dataset, kept
        self.runs: dict[str, list[dict[str, Any]]] = {}

    def rectools(self, loss: str, turn: int, epochs: int | None) -> None:
        """One run of RecTools: of all its budget, or of some epochs."""
        settings = {
            "loss": LOSSES[loss][0],
            "n_negatives": 256,
            "session_max_len": self.case.length,
            "dropout_rate": self.case.dropout,
            "budget": self.budget,
            "threads": THREADS,
            "seed": turn,
        }
        self._run("rectools", loss, settings | ({"epochs": epochs} if epochs else {}))

    def ours(self, loss: str, turn: int, epochs: int | None) -> None:
        """One run of ours, until it is as good as RecTools, or of some epochs."""
        ends = {"epochs": epochs} if epochs else {"target": self.target(loss)}
        asked = {"settings": self._settings(loss), "budget": self.budget, "threads": THREADS, "seed": turn}
        self._run("ours", loss, asked | ends)

    def target(self, loss: str) -> float | None:
        """The best validation NDCG@10 of RecTools in its long runs: by this loss, or by any if it is "best"."""
        return None if (found := self._peer(loss)) is None else found["ndcg@10"]

    def add(self, report: Report, row: str) -> None:
        """Adds a row's figures to the report."""
        side, _, loss = row.partition("-")
        runs, peer, ours = self.runs[row], self._peer(loss), side == "ours"
        case = f"{self.name}/{row}"
        seconds = [one for run in runs for one in epoch_seconds(run)]
        told = ("parameters", "threads", "torch", "rectools")
        facts = {name: runs[0]["start"][name] for name in told if name in runs[0]["start"]}
        facts["set"] = self._settings(loss) if ours else runs[0]["asked"]
        settings = {**facts, "min": round(min(seconds), 3), "median": round(statistics.median(seconds), 3)}
        report.add(
            case, "seconds_per_epoch", statistics.mean(seconds), deviation(seconds), len(seconds), None, settings
        )
        report.add(case, "peak_gb", max(run["end"]["peak_gb"] for run in runs), n=len(runs))
        top = best(runs[0])
        report.add(case, "validation_ndcg@10", top["ndcg@10"], seconds=top["spent"], settings={"epoch": top["epoch"]})
        if peer is None:
            return
        first = next((one for one in runs[0]["epochs"] if one["ndcg@10"] >= peer["ndcg@10"]), None)
        if first is not None:
            settings = {"target": round(peer["ndcg@10"], 5), "epoch": first["epoch"]}
            report.add(case, "seconds_to_target", first["spent"], settings=settings)
            if ours:
                report.add(case, "times_faster_to_target", peer["spent"] / first["spent"])
        if ours and loss in self.case.losses:
            turns = zip(self.runs[f"rectools-{loss}"], runs, strict=True)
            ratios = [statistics.median(epoch_seconds(a)) / statistics.median(epoch_seconds(b)) for a, b in turns]
            report.add(case, "times_faster_per_epoch", statistics.median(ratios), deviation(ratios), len(ratios))

    def _settings(self, loss: str) -> list[str]:
        """Of ours."""
        return list(self.case.best if loss == "best" else (*same_settings(self.case), *LOSSES[loss][1]))

    def _peer(self, loss: str) -> dict[str, Any] | None:
        """The best epoch of RecTools' long runs by this loss, or by any if it is "best"; None without such a run."""
        rows = [f"rectools-{one}" for one in (self.case.losses if loss == "best" else (loss,))]
        found = [best(self.runs[row][0]) for row in rows if row in self.runs]
        return max(found, key=lambda one: one["ndcg@10"], default=None)

    def _run(self, side: str, loss: str, asked: dict[str, Any]) -> None:
        key = [self.name, side, loss, asked]
        if self.case is QUICK:  # a process more would take most of the time
            done = train_here(asked | {"threads": 1}, self._dataset)
        else:
            done = remembered(self._kept, key, lambda: train(side, asked, self._dataset, THREADS))
        self.runs.setdefault(f"{side}-{loss}", []).append(done | {"asked": asked})
        last = done["epochs"][-1]
        print(
            f"{self.name}/{side}-{loss}: {last['epoch']} epochs in {last['spent']:.0f} s, the best validation NDCG@10 "
            f"{best(done)['ndcg@10']:.4f}, {done['end']['peak_gb']:.2f} GB",
            flush=True,
        )


def best(run: dict[str, Any]) -> dict[str, Any]:
    """The epoch with the best validation figure."""
    return max(run["epochs"], key=lambda one: one["ndcg@10"])


def epoch_seconds(run: dict[str, Any]) -> list[float]:
    """Of its whole epochs."""
    return [one["seconds"] for one in run["epochs"] if one["complete"]]


def deviation(values: list[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"sequential_speed.py: {error}") from None
