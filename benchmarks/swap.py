"""Another version takes over while requests are answered: what fails, what is mixed, how long it takes, what stays.

Two trained versions of a two-tower model (MovieLens-1M) are registered; `recsys serve` follows the alias champion with
as many processes as there are processors, while 32 connections ask for lists of random users without a pause. The alias
moves 20 times. Each answer names its version, and its lists have to be those that this version gives in process, save
swaps of items whose scores differ by less than 1e-5. Memory is what all processes of the service hold (PSS), before the
first and after the last swap.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from report import Report, arguments
from serving_data import listener_group, memory, served, trained

from features.errors import InputError
from serving.candidates import CandidateGenerator
from serving.pyfunc_model import log_bundle
from training.tracking import connect

SWAPS = 20
CONNECTIONS = 32
K = 20
NAME = "swapped"


def main() -> None:
    """Serves, swaps, asks, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=Path, help="a folder that keeps the bundles, so that none is made twice")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("swap.py: --data-root FOLDER is needed (a folder that holds ml-1m)")
    report = Report("swap", options.quick, whole=not options.runs)
    name = "generated" if options.quick else "ml-1m"
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.runs or Path(scratch)
        bundles = {str(n): trained(name, "two-tower", folder, options.data_root, seed=n) for n in (1, 2)}
        expected = {version: Expected(bundle) for version, bundle in bundles.items()}
        case = f"{name}/two-tower"
        if options.quick:  # registering and serving take longer than a quick form has
            same = sum(one.holds(one.answer(n, n + 5), n) for one in expected.values() for n in range(0, 50, 5))
            other = sum(expected["1"].holds(expected["2"].answer(n, n + 5), n) for n in range(0, 50, 5))
            report.add(case, "told_apart", same / 20 - other / 10)
            report.finish(options.out)
            return
        store = f"sqlite:///{scratch}/mlflow.db"
        client = registered(bundles, store)
        workers = os.cpu_count() or 1
        settings = {"workers": workers, "connections": CONNECTIONS, "swaps": SWAPS}
        environment = {"MLFLOW_TRACKING_URI": store}
        arguments_ = ("--workers", str(workers), "--poll", "0.2")
        with served(f"models:/{NAME}@champion", *arguments_, environment=environment) as (port, _):
            until_all_serve(port, "1", workers)
            asyncio.run(swapping(report, case, settings, client, port, workers, expected))
        report.finish(options.out)


class Expected:
    """The lists of one version, in process.

    Args:
        bundle: Its folder.
    """

    def __init__(self, bundle: Path) -> None:
        generator = CandidateGenerator.load(bundle)
        self.users = generator.user_ids.strings(np.arange(min(1000, len(generator.bundle.users))))
        self._lists = generator.recommend(self.users, k=K).to_json()

    def answer(self, start: int, stop: int) -> list[dict[str, Any]]:
        """The lists of some of the users."""
        return self._lists[start:stop]

    def holds(self, told: list[dict[str, Any]], start: int) -> bool:
        """Whether lists are this version's, those of the users from a place on."""
        mine = self._lists[start : start + len(told)]
        return len(mine) == len(told) and all(map(alike, told, mine))


def alike(told: dict[str, Any], expected: dict[str, Any]) -> bool:
    """The same list, save swaps of items whose scores are the same but for rounding."""
    if told["source"] != expected["source"] or len(told["scores"]) != len(expected["scores"]):
        return False
    scores = dict(zip(expected["item_ids"], expected["scores"], strict=True))
    last = expected["scores"][-1] if expected["scores"] else 0.0
    pairs = zip(told["item_ids"], told["scores"], strict=True)
    return all(abs(scores.get(item, last) - score) < 1e-5 for item, score in pairs)


def registered(bundles: dict[str, Path], store: str) -> Any:
    """The registry's client, with a version of each bundle and the first as champion."""
    mlflow = connect(store, create=True)
    for bundle in bundles.values():
        with mlflow.start_run():
            log_bundle(bundle, registered_model_name=NAME)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias(NAME, "champion", "1")
    return client


async def swapping(
    report: Report, case: str, settings: dict, client: Any, port: int, workers: int, expected: dict[str, Expected]
) -> None:
    """Swaps while all connections ask, and adds up."""
    stop, seen = asyncio.Event(), []
    group = await asyncio.to_thread(listener_group, port)
    asking = [asyncio.create_task(ask(port, seed, stop, expected, seen)) for seed in range(CONNECTIONS)]
    await asyncio.sleep(5)
    before, seconds = memory(group), []
    for n in range(SWAPS):
        version, began = str(2 - n % 2), time.perf_counter()
        await asyncio.to_thread(client.set_registered_model_alias, NAME, "champion", version)
        await asyncio.to_thread(until_all_serve, port, version, workers)
        seconds.append(time.perf_counter() - began)
        await asyncio.sleep(0.5)
    await asyncio.sleep(3)
    after = memory(group)
    stop.set()
    await asyncio.gather(*asking)
    report.add(case, "requests", len(seen), settings=settings)
    for outcome in ("failed", "mixed"):
        report.add(case, outcome, sum(one[0] == outcome for one in seen), settings=settings)
    report.add(case, "answers_of_the_rarer_version", min(sum(one[0] == v for one in seen) for v in expected))
    report.add(case, "seconds_until_all_swapped", float(np.mean(seconds)), float(np.std(seconds)), len(seconds))
    milliseconds = 1000 * np.array([one[1] for one in seen])
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("longest_ms", 1.0)):
        report.add(case, name, float(np.quantile(milliseconds, share)))
    report.add(case, "memory_before_mb", before)
    report.add(case, "memory_after_mb", after)


async def ask(port: int, seed: int, stop: asyncio.Event, expected: dict[str, Expected], seen: list) -> None:
    """One connection: asks, looks at the answer, and asks again."""
    random = np.random.default_rng(seed)
    users = next(iter(expected.values())).users
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not stop.is_set():
        start = int(random.integers(0, len(users) - 4))
        stop_at = start + int(random.integers(1, 5))
        body = json.dumps({"user_ids": users[start:stop_at], "k": K}).encode()
        head = "POST /candidates HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: "
        began = time.perf_counter()
        try:
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", answer)[1])
            told = json.loads(await reader.readexactly(length))
            version = told["model"]["version"] if answer.startswith(b"HTTP/1.1 200") else None
            held = version is not None and expected[version].holds(told["candidates"], start)
            outcome = "failed" if version is None else version if held else "mixed"
        except (OSError, ValueError, KeyError, asyncio.IncompleteReadError):
            outcome = "failed"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        seen.append((outcome, time.perf_counter() - began))
    writer.close()


def until_all_serve(port: int, version: str, workers: int, seconds: float = 60.0) -> None:
    """Waits until all processes answer with a version."""
    wanted, end = f'version="{version}"', time.monotonic() + seconds
    while time.monotonic() < end:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        if any(
            line.startswith("recsys_model_workers{") and wanted in line and line.endswith(f" {workers}.0")
            for line in lines
        ):
            return
        time.sleep(0.02)
    raise SystemExit(f"swap.py: not all processes served version {version} after {seconds:g} s")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"swap.py: {error}") from None
