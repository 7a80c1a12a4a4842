"""What this machine and this environment hold, gathered without importing any of it here, and how versions compare.

Everything is standard library: the facts must come out of an environment in which torch is missing, or broken enough to
take the process down. So versions are read from metadata, and imports are tried in another process.
"""

import json
import os
import platform
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO

PROJECT = "recsys-unified"

# Imports its arguments one after the other, so that they share the cost of torch, and reports each on a marked line.
# It ends at the first failure: half-imported modules would spoil the verdict on the next.
_MARK = "@doctor "
_IMPORTER = """
import importlib, json, sys, time
for module in sys.argv[2:]:
    start, error, gpus = time.perf_counter(), "", None
    try:
        loaded = importlib.import_module(module)
        if module == "torch":
            gpus = loaded.cuda.device_count()
    except BaseException as problem:
        while problem.__cause__:  # fbgemm says "could not load", and only the cause says which symbol is undefined
            problem = problem.__cause__
        error = f"{type(problem).__name__}: {(str(problem).strip().splitlines() or [''])[-1].strip()}"
    report = {"module": module, "seconds": time.perf_counter() - start, "error": error, "gpus": gpus}
    print("\\n" + sys.argv[1] + json.dumps(report), flush=True)
    if error:
        break
"""


@dataclass(frozen=True)
class ImportCheck:
    """How one import went: seconds taken, the last line of its error ("" when it went well), GPUs torch can use."""

    seconds: float
    error: str = ""
    gpus: int | None = None


@dataclass(frozen=True)
class Facts:
    """What was found.

    Attributes:
        python: version of the interpreter.
        versions: normalised distribution name to installed version; what is not installed is absent.
        requirements: normalised distribution name to the range this project asks for, from its own metadata.
        stand_in: whether the installed "fbgemm-gpu" is metadata without code.
        imports: module name to how its import went.
        gpus: names of the GPUs the driver shows, whether or not torch can use them.
        threads: processor threads this process may use.
        ram_gib: memory this process may use, in GiB.
    """

    python: str
    versions: Mapping[str, str]
    requirements: Mapping[str, str] = field(default_factory=dict)
    stand_in: bool = False
    imports: Mapping[str, ImportCheck] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    threads: int = 1
    ram_gib: float = 0.0


def gather(packages: Mapping[str, str], timeout: float = 90.0) -> Facts:
    """Look at everything.

    Args:
        packages: distribution name to the module it brings; what is installed of them is imported, in this order.
        timeout: seconds one import may take.
    """
    versions = installed_versions(packages)
    modules = [module for name, module in packages.items() if normalised(name) in versions]
    return Facts(
        python=platform.python_version(),
        versions=versions,
        requirements=project_requirements(),
        stand_in=is_stand_in("fbgemm-gpu"),
        imports=try_imports(dict.fromkeys(modules), timeout),
        gpus=visible_gpus(),
        threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        ram_gib=usable_memory() / 2**30,
    )


def normalised(name: str) -> str:
    """A distribution's name as indexes compare it.

    >>> normalised("fbgemm_gpu-cpu")
    'fbgemm-gpu-cpu'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def minor(version: str) -> tuple[int, ...]:
    """The part of a version that a row is about.

    >>> minor("2.13.0+cpu")
    (2, 13)
    """
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:2])


def within(version: str, specifier: str) -> bool:
    """Whether a release lies in a range such as ">=2.11,<2.14" (the comparisons this project uses, no more).

    >>> within("2.13.0+cpu", ">=2.11,<2.14"), within("2.14.0", ">=2.11,<2.14")
    (True, False)
    """

    def key(text: str) -> tuple[int, ...]:
        numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[+a-zA-Z]", text)[0])]
        return tuple(numbers + [0] * (6 - len(numbers)))

    checks = {
        ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
        ">": lambda a, b: a > b, "<": lambda a, b: a < b,
    }  # fmt: skip
    clauses = re.findall(r"(>=|<=|==|!=|>|<)\s*([\w.+!]+)", specifier)
    return all(checks[sign](key(version), key(bound)) for sign, bound in clauses)


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of those distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[normalised(name)] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def project_requirements(name: str = PROJECT) -> dict[str, str]:
    """The ranges a distribution asks for, extras included; empty where it is not installed."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return {}
    parsed = (re.match(r"([\w.-]+)\s*(?:\[[^]]*\])?\s*\(?([^;)]*)", line) for line in lines)
    return {normalised(m[1]): ",".join(sorted(m[2].replace(" ", "").split(","), reverse=True)) for m in parsed if m}


def is_stand_in(name: str) -> bool:
    """Whether a distribution is installed and holds nothing but its own metadata."""
    try:
        files = metadata.distribution(name).files
    except metadata.PackageNotFoundError:
        return False
    return files is not None and all(".dist-info" in file.parts[0] for file in files)


def try_imports(modules: Iterable[str], timeout: float = 90.0) -> dict[str, ImportCheck]:
    """Import each module in another process; a crash, or one that never returns, is an error of that module."""
    waiting = list(modules)
    results: dict[str, ImportCheck] = {}
    while waiting:
        done = _import_in_one_process(waiting, timeout)
        results |= done
        waiting = [module for module in waiting if module not in done]
    return results


def _import_in_one_process(modules: list[str], timeout: float) -> dict[str, ImportCheck]:
    """Import until something fails; whatever became of it, at least one module gets its verdict."""
    results: dict[str, ImportCheck] = {}
    # -P: the folder the doctor is called from must not lend its own `faiss/` or `mlflow/` to the imports.
    command = [sys.executable, "-P", "-c", _IMPORTER, _MARK, *modules]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with tempfile.TemporaryFile("w+", errors="replace") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment, text=True)
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_pour, args=(process.stdout, lines), daemon=True).start()
        since, overdue = time.monotonic(), False
        try:
            while line := lines.get(timeout=max(0.0, since + timeout - time.monotonic())):
                if line.startswith(_MARK):
                    report = json.loads(line.removeprefix(_MARK))
                    module = report.pop("module")
                    results[module] = ImportCheck(**report)
                    since = time.monotonic()
        except queue.Empty:
            overdue = True
            process.kill()
        status = process.wait()
        stderr.seek(0)
        last_words = [line.strip() for line in stderr if line.strip()][-1:]
    if len(results) < len(modules) and not any(check.error for check in results.values()):
        culprit = next(module for module in modules if module not in results)
        cause = f"no answer within {timeout:g} s" if overdue else _ending(status)
        results[culprit] = ImportCheck(seconds=time.monotonic() - since, error=": ".join([cause, *last_words]))
    return results


def _pour(stdout: IO[str], lines: "queue.Queue[str]") -> None:
    """Pass on what a process prints, and an empty line for its end."""
    with stdout:
        for line in stdout:
            lines.put(line)
    lines.put("")


def _ending(status: int) -> str:
    """Words for the end of a process that should have gone on."""
    if status < 0:
        return f"the process was killed by {signal.Signals(-status).name}"
    return f"the process ended with status {status}"


def visible_gpus() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs the driver shows; none where there is no driver."""
    command = shutil.which("nvidia-smi")
    if not command:
        return ()
    try:
        listing = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(re.findall(r"^GPU \d+: (.*?)(?: \(UUID.*)?$", listing, re.MULTILINE))


def usable_memory() -> int:
    """Bytes of memory this process may use: the machine's, or its container's limit where that is less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return memory
    return min(memory, int(limit)) if limit.isdigit() else memory
