"""Many short runs of one benchmark: several at a time, and none that was made before."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def remembered(runs: Path | None, key: list, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `run` gives, kept in the folder under a key that says all it depends on but code and data.

    The folder is for one benchmark that is made in several goes: when a model or the data change, begin a new one.
    """
    if runs is None:
        return run()
    text = json.dumps(key, sort_keys=True)
    path = runs / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        runs.mkdir(parents=True, exist_ok=True)
        figures = run()
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_text(json.dumps({"key": key, "figures": figures}))
        aside.replace(path)
    return json.loads(path.read_text())["figures"]


def run_all(function: Callable[..., Any], jobs: list[tuple], processes: int) -> Iterator[tuple[tuple, Any]]:
    """Each job with its answer, in order, several at a time: small models use one core better than two."""
    if processes == 1:
        yield from ((job, function(*job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=context) as pool:
        answers = [pool.submit(function, *job) for job in jobs]
        yield from ((job, answer.result()) for job, answer in zip(jobs, answers, strict=True))
