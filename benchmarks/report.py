"""What every benchmark shares: its command line, and a table on the screen with the same rows as JSON.

    python benchmarks/NAME.py --data-root FOLDER [--quick] [--out FILE]

The JSON is `{"benchmark", "git", "machine", "threads", "date", "seconds", "rows": [...]}`; a row has `case`, `metric`,
`mean`, `sd`, `n`, `seconds`, `settings` and `source` ("measured", or the paper that a published figure comes from).
"seconds" is what the whole took, and is left out where only a part was run. Rows that were kept from another run also
have `of`, that run's "git", "machine" and "date".
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from training.tracking import git_sha

RESULTS = Path(__file__).resolve().parent / "results"


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has; a script adds its own to the parser."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, help="the folder that holds the data sets")
    parser.add_argument("--quick", action="store_true", help="a small version that ends within 8 seconds")
    parser.add_argument(
        "--out", type=Path, help="where the JSON goes; benchmarks/results/NAME.json if full, else nowhere"
    )
    return parser


class Report:
    """Collects the rows of one benchmark.

    Args:
        name: The benchmark's name; the JSON is called after it.
        quick: Whether these are the figures of a `--quick` run, which never replace the committed ones.
        keep: Whether rows that are written already stay, of data sets (what cases begin with, up to a slash) that
            this run does not measure.
        whole: Whether all of it is measured in this run, so that how long it takes is worth noting; with `--runs`, what
            was measured before is taken from there.
    """

    def __init__(self, name: str, quick: bool = False, keep: bool = False, whole: bool = True) -> None:
        self.name = name
        self.quick = quick
        self.keep = keep
        self.whole = whole and not keep
        self.rows: list[dict[str, Any]] = []
        self._began = time.perf_counter()

    def add(
        self,
        case: str,
        metric: str,
        mean: float,
        sd: float | None = None,
        n: int = 1,
        seconds: float | None = None,
        settings: dict[str, Any] | None = None,
        source: str = "measured",
    ) -> None:
        """One figure.

        Args:
            case: What was measured, such as "ml-1m/multiplexed".
            metric: What the figure is, such as "hr@10".
            mean: The figure, the mean of `n` repetitions.
            sd: Their standard deviation.
            n: How many repetitions there were.
            seconds: How long one took.
            settings: What somebody needs to get the same figure.
            source: "measured", or where a published figure comes from.
        """
        self.rows.append(
            {
                "case": case,
                "metric": metric,
                "mean": float(mean),
                "sd": None if sd is None else float(sd),
                "n": int(n),
                "seconds": None if seconds is None else round(float(seconds), 3),
                "settings": dict(settings or {}),
                "source": source,
            }
        )

    def add_runs(
        self,
        case: str,
        metric: str,
        values: Sequence[float],
        seconds: Iterable[float] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """The mean of several runs, and their deviation where there are two at least.

        Args:
            case: As `add`.
            metric: As `add`.
            values: The figure of each run.
            seconds: How long each took.
            settings: As `add`.
        """
        deviation = statistics.stdev(values) if len(values) > 1 else None
        took = None if seconds is None else statistics.mean(seconds)
        self.add(case, metric, statistics.mean(values), deviation, len(values), took, settings)

    def table(self) -> str:
        """The rows, aligned, for reading."""
        head = ("case", "metric", "mean", "sd", "n", "seconds", "source")
        body = [[_cell(row[column]) for column in head] for row in self.rows]
        widths = [max(len(line[at]) for line in [list(head), *body]) for at in range(len(head))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in body
        ]
        return "\n".join(
            ["  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)).rstrip(),
             "  ".join("-" * width for width in widths), *lines]
        )  # fmt: skip

    def kept(self, path: Path) -> list[dict[str, Any]]:
        """The rows of a file that stay beside this run's, with what is known of the run that measured them."""
        if not self.keep or not path.exists():
            return []
        before = json.loads(path.read_text(encoding="utf-8"))
        run = {name: before[name] for name in ("git", "machine", "date")}
        measured = {_data_set(row) for row in self.rows}
        return [{**row, "of": row.get("of", run)} for row in before["rows"] if _data_set(row) not in measured]

    def finish(self, out: Path | None = None) -> dict[str, Any]:
        """Prints the table and writes the JSON (a full run to `results/NAME.json` where `out` is not given).

        Returns:
            What was written.
        """
        content = {
            "benchmark": self.name,
            "git": git_sha() or "unknown",
            "machine": _machine(),
            "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "rows": self.rows,
        }
        took = time.perf_counter() - self._began
        if self.whole:
            content["seconds"] = round(took, 1)
        print(self.table())
        print(f"{self.name}: {took:.1f} s")
        path = Path(out) if out else None if self.quick else RESULTS / f"{self.name}.json"
        if path:
            content["rows"] = [*self.kept(path), *self.rows]
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            partial.replace(path)
            print(f"written to {path}")
        sys.stdout.flush()
        return content


def _data_set(row: dict[str, Any]) -> str:
    return row["case"].split("/")[0]


def _cell(value: object) -> str:
    if value is None:
        return ""
    return (
        f"{value:,.4g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )


def _machine() -> str:
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            processor = next(
                (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), processor
            )
    except OSError:
        pass
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} x {processor}, Python {platform.python_version()}"
    )
