"""How many requests a second the service answers, and how soon: beside the bare model, and `mlflow models serve`.

Bundles: MovieLens-1M two-tower and sequential, and a generated two-tower bundle of a million items x 64. Each request
names one user and asks for 100 candidates; load is wrk's, on the same machine, with 1, 16 and 64 connections.

- "ours" is `recsys serve` with as many processes as there are processors, asked at /candidates; also at half of its
  peak rate ("ours-half-rate"), where answers should not have to wait.
- "bare" is the model's forward and a bare FAISS search in one process and one thread, one user at a time, with the
  users' features made before the clock starts: no ids, no seen items, no HTTP.
- "mlflow-serve" is `mlflow models serve` of the same bundle with as many workers, asked at /invocations.

Cold start: seconds from the start of `recsys serve` to its first answer, beside the stages that it logs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
import torch
from report import Report, arguments
from serving_data import free_port, generated, running, served, trained

from features.errors import InputError
from recsys.retrievers import encode_histories
from serving.candidates import CandidateGenerator
from serving.lists.asked import read_asked
from serving.lists.user_vectors import user_features

CONNECTIONS = (1, 16, 64)
K = 100

#: a user a request; wrk's threads each begin elsewhere
_SCRIPT = """
local users = {%(users)s}
local n = 0
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
function setup(thread) thread:set("first", math.random(#users)) end
function init() n = first or 1 end
function request()
  n = n %% #users + 1
  return wrk.format(nil, nil, nil, '%(before)s' .. users[n] .. '%(after)s')
end
%(delay)s
"""
#: exponential pauses, so that requests come as strangers send them
_DELAY = "function delay() return -%f * math.log(1 - math.random()) end"


class Load(NamedTuple):
    """What a load generator has seen: requests a second, milliseconds, answers that were no answers."""

    rate: float
    p50: float
    p99: float
    failed: int


def main() -> None:
    """Serves, asks, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=Path, help="a folder that keeps the bundles, so that none is made twice")
    parser.add_argument("--only", default="", help="the bundles whose name contains this; rows of others stay")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load (default: %(default)g)")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("serving_speed.py: --data-root FOLDER is needed (a folder that holds ml-1m)")
    report = Report("serving_speed", options.quick, keep=bool(options.only), whole=not options.runs)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.runs or Path(scratch)
        if options.quick:
            measure_bare(report, "generated-two-tower", trained("generated", "two-tower", folder, None), 50)
            report.finish(options.out)
            return
        if shutil.which("wrk") is None:
            raise SystemExit("serving_speed.py: wrk is not installed (a package of Debian's)")
        makers = {
            "ml-1m-two-tower": lambda: trained("ml-1m", "two-tower", folder, options.data_root),
            "ml-1m-sequential": lambda: trained("ml-1m", "sequential", folder, options.data_root),
            "generated-1m": lambda: generated(folder, 1_000_000),
        }
        for name, make in makers.items():
            if options.only in name:
                bundle = make()
                measure_bare(report, name, bundle, 200 if name == "generated-1m" else 2000)
                measure_ours(report, name, bundle, options.seconds)
                measure_mlflow(report, name, bundle, options.seconds, Path(scratch))
                report.finish(options.out)


def measure_bare(report: Report, name: str, bundle: Path, n: int) -> None:
    """The model and the index, and nothing else."""
    torch.set_num_threads(1)
    generator = CandidateGenerator.load(bundle)
    ids = generator.user_ids.ids(np.arange(min(n, len(generator.bundle.users))))
    batches = []
    for one in ids:
        asked = read_asked(generator.bundle, generator.user_ids, generator.new_items.shelf, [one], None)
        batches.append(user_features(generator.bundle, asked, np.arange(1), None, np.zeros(1, dtype=bool))[0][1])
    index, model = faiss.read_index(str(bundle / "items.faiss")), generator.bundle.model
    faiss.omp_set_num_threads(1)
    seconds = []
    for batch in batches:
        began = time.perf_counter()
        index.search(encode_histories(model, batch).numpy(), K)
        seconds.append(time.perf_counter() - began)
    seconds = np.array(seconds[len(seconds) // 10 :])  # the first ones pay for what is made once
    found = Load(1 / seconds.mean(), *(1000 * np.quantile(seconds, (0.5, 0.99))), 0)
    add(report, f"{name}/c1/bare", found, {"threads": 1, "k": K})


def measure_ours(report: Report, name: str, bundle: Path, seconds: float) -> None:
    """`recsys serve`."""
    users = users_of(bundle)
    workers = os.cpu_count() or 1
    settings = {"workers": workers, "k": K}
    body = ('{"user_ids":["', f'"],"k":{K}}}')
    with served(bundle) as (_, started):
        report.add(f"{name}/c1/ours", "seconds_to_first_answer", started, settings={"workers": 1, **stages(bundle)})
    with served(bundle, "--workers", str(workers)) as (port, _):
        loads = {}
        for connections in CONNECTIONS:
            loads[connections] = load(port, "/candidates", users, body, connections, seconds)
            add(report, f"{name}/c{connections}/ours", loads[connections], settings)
        peak = max(loads.values(), key=lambda one: one.rate)
        # each of them waits for its answer and then rests, so that all of them together ask half as often
        cycle, wait = 1000 * 64 / (peak.rate / 2), loads[1].p50
        for length in (seconds / 3, seconds):  # how long they wait at that rate, the first one tells
            half = load(port, "/candidates", users, body, 64, length, _DELAY % max(cycle - wait, 0.0))
            wait = half.p50
        add(report, f"{name}/c64/ours-half-rate", half, {**settings, "share_of_peak": round(half.rate / peak.rate, 3)})


def measure_mlflow(report: Report, name: str, bundle: Path, seconds: float, scratch: Path) -> None:
    """`mlflow models serve`."""
    model, workers, port = scratch / f"{name}-model", os.cpu_count() or 1, free_port()
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{scratch / 'mlflow.db'}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where it looks for uvicorn
    program = "import sys, mlflow\nfrom serving.pyfunc_model import log_bundle\nfrom mlflow.artifacts import "
    program += "download_artifacts\nwith mlflow.start_run():\n    info = log_bundle(sys.argv[1])\n"
    program += "download_artifacts(artifact_uri=info.model_uri, dst_path=sys.argv[2])"
    subprocess.run(
        [sys.executable, "-c", program, str(bundle), str(model)],
        check=True,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "-p", str(port), "-w", str(workers)]
    body = (
        '{"dataframe_split":{"columns":["user_id","history"],"data":[["',
        f'",[]]]}},"params":{{"k":{K}}}}}',
    )
    with running([*command, "--env-manager", "local"], port, "/health", environment):
        time.sleep(2)  # the other workers
        for connections in CONNECTIONS:
            found = load(port, "/invocations", users_of(bundle), body, connections, seconds)
            add(report, f"{name}/c{connections}/mlflow-serve", found, {"workers": workers, "k": K})


def load(
    port: int, path: str, users: list[str], body: tuple[str, str], connections: int, seconds: float, delay: str = ""
) -> Load:
    """Asks for as long, over as many connections, after a second that does not count."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        told = {"users": ",".join(f"'{one}'" for one in users), "before": body[0], "after": body[1], "delay": delay}
        script.write(_SCRIPT % told)
        script.flush()
        for length in (1.0, seconds):
            command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(length))}s", "--latency", "--timeout", "30s"]
            command += ["-s", script.name, f"http://127.0.0.1:{port}{path}"]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    failed = sum(int(one) for one in re.findall(r"Non-2xx or 3xx responses: (\d+)", told))
    failed += sum(int(one) for line in re.findall(r"Socket errors: (.*)", told) for one in re.findall(r"\d+", line))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1])
    return Load(rate, _milliseconds(told, "50%"), _milliseconds(told, "99%"), failed)


def _milliseconds(told: str, name: str) -> float:
    number, unit = re.search(rf"^\s+{name}\s+([\d.]+)(us|ms|s|m)\s*$", told, re.M).groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def add(report: Report, case: str, found: Load, settings: dict) -> None:
    """The rows of one load."""
    for metric, one in (("requests_per_second", found.rate), ("p50_ms", found.p50), ("p99_ms", found.p99)):
        report.add(case, metric, one, settings=settings)
    print(f"{case}: {found}", flush=True)
    if found.failed:
        report.add(case, "failed", found.failed, settings=settings)


def users_of(bundle: Path) -> list[str]:
    """Ids to ask for, some thousands."""
    generator = CandidateGenerator.load(bundle, mmap=True, hashes=False)
    random = np.random.default_rng(0)
    return generator.user_ids.strings(random.permutation(len(generator.bundle.users))[:2000])


def stages(bundle: Path) -> dict[str, float]:
    """The seconds of each stage of a start, as the service logs them."""
    port = free_port()
    command = [sys.executable, "-m", "training.cli", "serve", "--model", str(bundle), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("{") and json.loads(line)["event"] == "loaded":
                found = json.loads(line)["seconds"]
                break
        began = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60):
            found["answer"] = round(time.perf_counter() - began, 3)
        process.terminate()
        process.stderr.close()
    return found


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"serving_speed.py: {error}") from None
