"""`recsys doctor`: does this environment hold together, and which command mends it where it does not.

torch, torchrec and fbgemm are compiled against each other and none says so in its metadata, so an installer will
happily put together three that do not import. `ROWS` is the one place in this project that knows which belong together;
a test keeps `constraints/` in step with it. Only the standard library is imported, so that the doctor works where
nothing else does.
"""

import json as jsonlib
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from training.doctor_facts import PROJECT, Facts, gather, minor, normalised, within
from training.doctor_report import render


@dataclass(frozen=True)
class Row:
    """Versions that belong together, and how that is known. A row without a constraints file has not been tried."""

    torch: str
    torchrec: str
    fbgemm: str
    constraints: str
    evidence: str


ROWS = (
    Row("2.13.0", "1.8.0", "1.8.0", "constraints/torch-2.13.txt", "tests run on CPU"),
    Row("2.12.1", "1.7.0", "1.7.0", "", "by its makers' table; not tried"),
    Row("2.11.0", "1.6.1", "1.6.0", "constraints/torch-2.11.txt", "trained a table on CPU"),
)

# Distribution -> the module it brings, in the order in which they need each other.
FBGEMM = {"fbgemm-gpu-cpu": "fbgemm_gpu", "fbgemm-gpu": "fbgemm_gpu"}
FAISS = {"faiss-cpu": "faiss", "faiss-gpu": "faiss"}
REQUIRED = {
    "numpy": "numpy", "scipy": "scipy", "pandas": "pandas", "polars": "polars", "pydantic": "pydantic",
    "fastapi": "fastapi",
    "uvicorn": "uvicorn", "uvloop": "uvloop", "httptools": "httptools", "httpx": "httpx",
    "prometheus-client": "prometheus_client",
    "lightgbm": "lightgbm", "safetensors": "safetensors", "jsonargparse": "jsonargparse",
    "xxhash": "xxhash", "PyYAML": "yaml",
    "matplotlib": "matplotlib", "tqdm": "tqdm", "shtab": "shtab",
    "pytorch-lightning": "pytorch_lightning", "mlflow": "mlflow",
}  # fmt: skip
OPTIONAL = {"transformers": "transformers", "peft": "peft"}
PACKAGES = {"torch": "torch"} | FBGEMM | {"torchrec": "torchrec"} | FAISS | REQUIRED | OPTIONAL
NEEDS = {
    "fbgemm_gpu": ("torch",), "torchrec": ("torch", "fbgemm_gpu"), "pytorch_lightning": ("torch",),
    "peft": ("torch", "transformers"),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """Something to know: a short code, one sentence, and the command that mends it ("" where nothing needs to be)."""

    code: str
    what: str
    fix: str = ""


@dataclass(frozen=True)
class PackageLine:
    """One line of the table: what is wanted, what is there, and how its import went."""

    name: str
    wanted: str
    installed: str
    state: str


@dataclass(frozen=True)
class Report:
    """All that the doctor says. `build` is "cpu" or "gpu": what this environment is, or should be, made of."""

    facts: Facts
    build: str
    row: Row | None
    packages: tuple[PackageLine, ...]
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing needs mending."""
        return not self.problems


def diagnose(facts: Facts | None = None) -> Report:
    """Judge an environment.

    Args:
        facts: what is installed and what imports; gathered from this process's environment when not given.
    """
    facts = gather(PACKAGES) if facts is None else facts
    have, cuda_fbgemm = facts.versions, "fbgemm-gpu" in facts.versions and not facts.stand_in
    both = cuda_fbgemm and "fbgemm-gpu-cpu" in have
    build = "gpu" if facts.gpus and (cuda_fbgemm or not {"fbgemm-gpu-cpu", "torch"} & set(have)) else "cpu"
    torch = have.get("torch", "")
    row = next((row for row in ROWS if torch and minor(row.torch) == minor(torch)), None)
    problems = [*_builds(facts, build, both, row or ROWS[0])]
    problems += _versions(facts, build, row, swapping=any(found.code.endswith("-fbgemm") for found in problems))
    problems += _imports(facts, {found.code for found in problems})
    return Report(facts, build, row, tuple(_lines(facts, row)), tuple(problems), tuple(_notes(facts, build, row)))


def _python() -> str:
    """This interpreter as one would type it in the project's folder."""
    path, root = Path(sys.executable), Path(__file__).resolve().parents[1]
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _install(*what: str) -> str:
    return " ".join([_python(), "-m pip install", *what])


def _fbgemm(build: str, row: Row) -> str:
    """What to install so that `fbgemm_gpu` is there: on CPU the stand-in too, which meets torchrec's requirement."""
    return f"fbgemm-gpu-cpu=={row.fbgemm} ./stubs/fbgemm-gpu" if build == "cpu" else f"fbgemm-gpu=={row.fbgemm}"


def _everything(build: str, row: Row) -> str:
    constraints = [f"-c {row.constraints}"] if row.constraints else []
    return _install(*constraints, _fbgemm(build, row), f"-e '.[{build}]'")


def _builds(facts: Facts, build: str, both: bool, row: Row) -> Iterator[Finding]:
    """Two builds of one import package, or the build for another kind of machine."""
    have = facts.versions
    swap = f"{_python()} -m pip uninstall -y fbgemm-gpu fbgemm-gpu-cpu && " + _install("--no-deps", _fbgemm(build, row))
    if both:
        yield Finding("both-fbgemm", "fbgemm-gpu and fbgemm-gpu-cpu are both here, each over the other's files.", swap)
    elif "fbgemm-gpu" in have and not facts.stand_in and not facts.gpus:
        yield Finding("cuda-fbgemm", "fbgemm-gpu is a CUDA build, which does not import where there is no GPU.", swap)
    elif {"torchrec", "fbgemm-gpu-cpu"} <= set(have) and "fbgemm-gpu" not in have:
        what = "The stand-in for fbgemm-gpu is missing: the next installation would bring the CUDA build."
        yield Finding("no-stand-in", what, _install("--no-deps ./stubs/fbgemm-gpu"))
    if set(FAISS) <= set(have):
        fix = f"{_python()} -m pip uninstall -y faiss-cpu faiss-gpu && "
        fix += _install(f"--no-deps faiss-{build}=={have[f'faiss-{build}']}")
        yield Finding("both-faiss", "faiss-cpu and faiss-gpu are both here, each over the other's files.", fix)


def _versions(facts: Facts, build: str, row: Row | None, swapping: bool) -> Iterator[Finding]:
    """What is missing, of another row than torch (save an fbgemm to be swapped anyway), or outside the ranges."""
    have, target = facts.versions, row or ROWS[0]
    everything = _everything(build, target)
    if not within(facts.python, ">=3.11"):
        yield Finding("python", f"Python {facts.python} is too old.", "rm -rf .venv && PYTHON=python3.11 make setup")
    missing = [name for name in ("torch", "torchrec", *REQUIRED) if normalised(name) not in have]
    missing += [] if have.keys() & FAISS.keys() else [f"faiss-{build}"]
    if "fbgemm-gpu-cpu" not in have and ("fbgemm-gpu" not in have or facts.stand_in):
        missing.append("fbgemm-gpu-cpu" if build == "cpu" else "fbgemm-gpu")
    if missing:
        yield Finding("missing", f"Not installed: {', '.join(missing)}.", everything)
    elif not facts.requirements:
        yield Finding("project", f"{PROJECT} itself is not installed.", everything)
    if "torch" in have and row is None:
        known = ", ".join(".".join(map(str, minor(row.torch))) for row in ROWS)
        yield Finding("torch", f"torch {have['torch']} is of no known row; the rows have {known}.", everything)
    elif row:
        fbgemm = "fbgemm-gpu-cpu" if facts.stand_in or "fbgemm-gpu-cpu" in have else "fbgemm-gpu"
        parts = {"torchrec": row.torchrec} | ({} if swapping else {fbgemm: row.fbgemm})
        wrong = {name: version for name, version in parts.items() if name in have}
        wrong = {name: version for name, version in wrong.items() if minor(have[name]) != minor(version)}
        if wrong:
            found = " and ".join(f"{name} {have[name]}" for name in wrong)
            fix = _install("--no-deps", *(f"{name}=={version}" for name, version in wrong.items()))
            yield Finding("mismatch", f"torch {have['torch']} does not go with {found}.", fix)
    rowed = {"torch", "torchrec", *FBGEMM}
    for name, version in have.items():
        wanted = facts.requirements.get(name, "")
        if name not in rowed and not within(version, wanted):
            what = f"{name} {version} is outside the range {wanted}."
            yield Finding(
                "range", what, _install(f"-c {target.constraints or ROWS[0].constraints}", f"'{name}{wanted}'")
            )


def _imports(facts: Facts, known: set[str]) -> Iterator[Finding]:
    """Failed imports: not those that another explains, and without a command where an earlier finding has it."""
    failed = {module: check.error for module, check in facts.imports.items() if check.error}
    explained = {"faiss"} if "both-faiss" in known else set()
    if known & {"both-fbgemm", "cuda-fbgemm", "mismatch", "torch", "missing"}:
        explained |= {"torch", "fbgemm_gpu", "torchrec"}
    causes = failed.keys() | ({"torch"} - facts.versions.keys())
    for module, error in failed.items():
        if causes & set(NEEDS.get(module, ())):
            continue
        name = next(
            name for name, brings in PACKAGES.items() if brings == module and normalised(name) in facts.versions
        )
        version = facts.versions[normalised(name)].split("+")[0]
        fix = "" if module in explained else _install(f"--force-reinstall --no-deps {name}=={version}")
        yield Finding("import", f"`import {module}` fails: {error}", fix)


def _notes(facts: Facts, build: str, row: Row | None) -> Iterator[Finding]:
    """What is worth knowing and breaks nothing."""
    torch = facts.imports.get("torch")
    if facts.gpus and (build == "cpu" or (torch and torch.gpus == 0)):
        yield Finding("gpu-idle", "There is a GPU, and this environment does not use it.", "scripts/setup.sh gpu")
    if row and not row.constraints:
        yield Finding("untried", f"torch {row.torch} and its partners are of a row that has not been tried here.")


def _lines(facts: Facts, row: Row | None) -> Iterator[PackageLine]:
    wanted = dict(facts.requirements)
    if row:
        parts = {"torch": row.torch, "torchrec": row.torchrec} | dict.fromkeys(FBGEMM, row.fbgemm)
        wanted |= {name: ".".join(version.split(".")[:2]) + ".*" for name, version in parts.items()}
    for name, module in PACKAGES.items():
        key = normalised(name)
        version, check = facts.versions.get(key, "-"), facts.imports.get(module)
        if version == "-":
            if any(normalised(twin) in facts.versions for twin, brings in PACKAGES.items() if brings == module):
                continue  # the other of two builds is there, which is as it should be
            state = "optional" if name in OPTIONAL else "missing"
        elif key == "fbgemm-gpu" and facts.stand_in:
            wanted[key], state = (
                "any",
                "empty stand-in: torchrec asks for it by this name, and fbgemm-gpu-cpu does its work",
            )
        else:
            state = "" if check is None else "FAILS" if check.error else f"ok {check.seconds:5.1f} s"
        yield PackageLine(name, wanted.get(key, "-"), version, state)


def run(json: bool = False) -> int:
    """Print the diagnosis, as a table or as one JSON object; the exit status is 0 when healthy, else 1."""
    if sys.stderr.isatty():
        print("trying every import, some 10 to 20 seconds ...", file=sys.stderr)
    report = diagnose()
    if json:
        print(jsonlib.dumps(asdict(report) | {"healthy": report.healthy, "rows": [asdict(row) for row in ROWS]}))
    else:
        print(render(report, ROWS, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    return 0 if report.healthy else 1


if __name__ == "__main__":
    sys.exit(run(json="--json" in sys.argv[1:]))
