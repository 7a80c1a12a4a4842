"""Runs the benchmarks that fit into a given time, the shortest first, and writes the page of results.

    python -m benchmarks --data-root FOLDER               # all that fit into an hour together
    python -m benchmarks --data-root FOLDER --only parity,swap
    python -m benchmarks --render                         # the page alone, from the JSON that is there

How long a script takes is what it took when its committed results were made. A script that fails is told, the others
run; the page is written from whatever results there are then.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.results_page import HERE, rendered

PAGE = HERE.parent / "docs" / "results.md"


def main(arguments: list[str] | None = None) -> int:
    """Chooses, runs, and writes the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, help="the folder that holds the data sets")
    parser.add_argument("--minutes", type=float, default=60, help="for all together (default: %(default)g)")
    parser.add_argument("--only", default="", metavar="NAMES", help="these scripts alone, however long they take")
    parser.add_argument("--quick", action="store_true", help="the small version of each, which writes no results")
    parser.add_argument("--render", action="store_true", help="only write the page from the results that are there")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page goes (default: docs/results.md)")
    options = parser.parse_args(arguments)
    scripts = {path.stem: path for path in sorted(HERE.glob("[!_]*.py")) if "if __name__" in path.read_text("utf-8")}
    if unknown := [one for one in options.only.split(",") if one and one not in scripts]:
        parser.error(f"--only names {unknown[0]!r}, and the scripts are {', '.join(scripts)}")
    failed = [] if options.render else _run(chosen(options, list(scripts)), options)
    if not options.quick:
        options.page.write_text(rendered(), encoding="utf-8")
        print(f"written to {options.page}")
    for name in failed:
        print(f"benchmarks: {name}.py failed, and its committed results stay", file=sys.stderr)
    return 1 if failed else 0


def chosen(options: argparse.Namespace, names: list[str]) -> list[str]:
    """The scripts that are named, or else those that fit into the time together, the shortest first."""
    if options.only:
        return [one for one in options.only.split(",") if one]
    if options.quick:
        return names
    left, fit = 60 * options.minutes, []
    known = {name: seconds_of(HERE / "results" / f"{name}.json") for name in names}
    for name in sorted(names, key=lambda one: known[one] or float("inf")):
        if known[name] is None or known[name] > left:
            took = "nobody has noted how long it takes" if known[name] is None else f"{known[name] / 60:.0f} minutes"
            print(f"left out: {name} ({took}); --only {name} runs it")
            continue
        left -= known[name]
        fit.append(name)
    return fit


def seconds_of(results: Path) -> float | None:
    """How long a benchmark took when these results were made, where they say so."""
    if not results.exists():
        return None
    return json.loads(results.read_text(encoding="utf-8")).get("seconds")


def _run(names: list[str], options: argparse.Namespace) -> list[str]:
    """Runs scripts one after the other, each as a user would; the names of those that failed."""
    failed = []
    for place, name in enumerate(names, 1):
        print(f"== {place} of {len(names)}: {name}", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py")]
        command += ["--quick"] if options.quick else []
        command += [] if options.data_root is None else ["--data-root", str(options.data_root)]
        began = time.perf_counter()
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(f"   {time.perf_counter() - began:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
