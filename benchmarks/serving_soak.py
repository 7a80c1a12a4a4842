"""Ten minutes of requests without a pause: what the service holds at the end beside what it held at the beginning.

`recsys serve` of a MovieLens-1M two-tower bundle, with as many processes as there are processors, an event store and an
impression log; wrk asks over 16 connections: half of what it asks names users, half gives histories, while events are
posted. Every ten seconds the memory of all its processes (PSS), their open files and their threads are counted; the
first minute is not, in which caches fill. Slopes are least squares, in MB an hour.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
from report import Report, arguments
from serving_data import listener_group, memory, served, trained

from features.errors import InputError
from serving.candidates import CandidateGenerator

TOKEN = "a-token-of-this-benchmark"
_SCRIPT = """
local users = {%s}
local items = {%s}
local n = 0
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
function request()
  n = n + 1
  local user, one, other = users[n %% #users + 1], items[n * 7 %% #items + 1], items[n * 13 %% #items + 1]
  if n %% 2 == 0 then
    return wrk.format(nil, "/candidates", nil, '{"user_ids":["' .. user .. '"],"k":50}')
  end
  return wrk.format(nil, "/candidates", nil, '{"histories":[["' .. one .. '","' .. other .. '"]],"k":50}')
end
"""


def main() -> None:
    """Serves, asks, counts, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=Path, help="a folder that keeps the bundle")
    parser.add_argument("--minutes", type=float, default=10.0, help="for how long (default: %(default)g)")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("serving_soak.py: --data-root FOLDER is needed (a folder that holds ml-1m)")
    report = Report("serving_soak", options.quick, whole=not options.runs)
    name = "generated" if options.quick else "ml-1m"
    with tempfile.TemporaryDirectory() as scratch:
        bundle = trained(name, "two-tower", options.runs or Path(scratch), options.data_root)
        if options.quick:  # in process: how much a hundred answers leave behind
            generator = CandidateGenerator.load(bundle)
            before = memory(os.getpgid(0))
            for n in range(100):
                generator.recommend([f"u{n:05d}"], k=50)
            report.add(f"{name}/in-process", "memory_gained_mb", memory(os.getpgid(0)) - before)
            report.finish(options.out)
            return
        if shutil.which("wrk") is None:
            raise SystemExit("serving_soak.py: wrk is not installed (a package of Debian's)")
        soak(report, f"{name}/two-tower", bundle, 60 * options.minutes, Path(scratch))
    report.finish(options.out)


def soak(report: Report, case: str, bundle: Path, seconds: float, scratch: Path) -> None:
    """Asks for as long, and counts."""
    generator = CandidateGenerator.load(bundle, mmap=True, hashes=False)
    users = generator.user_ids.strings(np.arange(2000))
    items = generator.item_ids.strings(np.arange(2000))
    script = scratch / "ask.lua"
    script.write_text(_SCRIPT % tuple(",".join(f"'{one}'" for one in ids) for ids in (users, items)))
    workers = os.cpu_count() or 1
    kept = ("--events", str(scratch / "events.sqlite"), "--impressions", str(scratch / "impressions"))
    with served(bundle, "--workers", str(workers), *kept, environment={"RECSYS_TOKEN": TOKEN}) as (port, _):
        group, counts, stop = listener_group(port), [], threading.Event()
        posting = threading.Thread(target=post, args=(port, users, items, stop))
        command = ["wrk", "-t1", "-c16", f"-d{seconds:g}s", "--latency", "-s", str(script), f"http://127.0.0.1:{port}"]
        asking = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        posting.start()
        began = time.perf_counter()
        while asking.poll() is None:
            counts.append((time.perf_counter() - began, memory(group), *opened(group)))
            time.sleep(10)
        stop.set()
        posting.join()
        told = asking.stdout.read()
    rate = float(told.partition("Requests/sec:")[2].split()[0])
    failed = sum(line.strip().startswith(("Non-2xx", "Socket errors")) for line in told.splitlines())
    kept_from = [one for one in counts if one[0] >= min(60.0, seconds / 2)]
    at, *figures = map(np.array, zip(*kept_from, strict=True))
    settings = {"workers": workers, "connections": 16, "minutes": seconds / 60}
    report.add(case, "requests_per_second", rate, settings=settings)
    report.add(case, "lines_of_failures", failed, settings=settings)
    for name, values in zip(("memory_mb", "open_files", "threads"), figures, strict=True):
        report.add(case, f"{name}_at_first", float(values[0]))
        report.add(case, f"{name}_at_last", float(values[-1]))
        report.add(case, f"{name}_an_hour", 3600 * float(np.polyfit(at, values, 1)[0]))


def post(port: int, users: list[str], items: list[str], stop: threading.Event) -> None:
    """Events, some a second."""
    n = 0
    while not stop.wait(0.2):
        n += 1
        told = {"events": [{"user_id": users[n % 200], "item_id": items[n * 17 % len(items)], "event_id": str(n)}]}
        headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/events", json.dumps(told).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()


def opened(group: int) -> tuple[int, int]:
    """Open files and threads of the processes of a group."""
    files = threads = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == group:
                    files += len(list((entry / "fd").iterdir()))
                    threads += len(list((entry / "task").iterdir()))
            except OSError:
                continue
    return files, threads


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"serving_soak.py: {error}") from None
