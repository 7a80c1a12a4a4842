"""The files that describe the installation agree with each other, and the set-up does what it says."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from training.doctor import FAISS, FBGEMM, OPTIONAL, REQUIRED, ROWS
from training.doctor_facts import minor

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
STUB = tomllib.loads((ROOT / "stubs/fbgemm-gpu/pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONSTRAINTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "constraints").glob("*.txt"))
TRIED = [row for row in ROWS if row.constraints]


def pins(path):
    lines = (line.partition("#")[0].strip() for line in (ROOT / path).read_text(encoding="utf-8").splitlines())
    parsed = [Requirement(line) for line in lines if line]
    return {canonicalize_name(pin.name): next(iter(pin.specifier)) for pin in parsed}


def requirements():
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    return [Requirement(line) for line in lines]


def test_every_constraints_file_is_a_row_of_the_doctor_and_the_reverse():
    assert sorted(row.constraints for row in TRIED) == CONSTRAINTS


@pytest.mark.parametrize("row", TRIED, ids=lambda row: row.constraints)
def test_constraints_hold_the_versions_of_their_row(row):
    pinned = pins(row.constraints)
    assert [pinned[name].version for name in ("torch", "torchrec", "fbgemm-gpu-cpu")] == [
        row.torch,
        row.torchrec,
        row.fbgemm,
    ]


@pytest.mark.parametrize("path", CONSTRAINTS)
def test_constraints_pin_every_requirement_inside_its_range(path):
    pinned = pins(path)
    assert {pin.operator for pin in pinned.values()} == {"=="}
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        if name == "fbgemm-gpu":
            assert name not in pinned, "a pin of fbgemm-gpu would refuse the stand-in"
        else:
            assert requirement.specifier.contains(pinned[name].version), f"{name} {pinned[name]}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.torch)
def test_rows_follow_the_pairing_of_their_makers_and_lie_in_the_ranges(row):
    assert minor(row.torchrec) == minor(row.fbgemm)
    assert minor(row.torch)[1] == minor(row.fbgemm)[1] + 5
    ranges = {requirement.name: requirement.specifier for requirement in requirements()}
    assert ranges["torch"].contains(row.torch) and ranges["torchrec"].contains(row.torchrec)
    assert ranges["fbgemm-gpu-cpu"].contains(row.fbgemm) and ranges["fbgemm-gpu"].contains(row.fbgemm)


def test_stand_in_depends_on_the_cpu_build_in_the_projects_own_range():
    assert STUB["name"] == "fbgemm-gpu"
    assert STUB["dependencies"] == [line for line in EXTRAS["cpu"] if line.startswith("fbgemm")]
    version = Version(STUB["version"])
    assert version.local == "cpu" and version.public in {row.fbgemm for row in TRIED}


def test_doctor_looks_at_the_requirements_of_the_project():
    asked = {canonicalize_name(requirement.name) for requirement in requirements()}
    assert {canonicalize_name(name) for name in [*FBGEMM, *FAISS, *REQUIRED, *OPTIONAL]} <= asked
    core = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert core == {"torch", "torchrec"} | {canonicalize_name(name) for name in REQUIRED}


def test_makefile_has_its_targets_and_explains_them():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {"setup", "demo", "test", "lint", "docs", "links", "bench", "doctor", "clean", "help"}
    assert targets <= set(re.findall(r"^([a-z]+):.*## ", text, re.MULTILINE))
    assert ".DEFAULT_GOAL := help" in text
    for target in ("demo", "test"):
        assert re.search(rf"^{target}: setup\b", text, re.MULTILINE)


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["title"], cited["version"], cited["license"]) == tuple(
        PROJECT[name] for name in ("name", "version", "license")
    )


def test_scripts_can_be_run():
    assert all(os.access(ROOT / script, os.X_OK) for script in ("scripts/setup.sh", ".ci/run"))


@pytest.fixture
def checkout(tmp_path):
    """What set-up reads, with a Python that makes an empty .venv and a uv that writes down what it is asked."""
    for name in ("pyproject.toml", "constraints", "stubs", "scripts"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    commands = tmp_path / "commands"
    commands.mkdir()
    python = commands / "python"
    python.write_text(
        f"""#!/bin/bash
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit; fi
if [ "$1 $2" = "-m pip" ]; then
    case "$*" in *" uv") exit 1 ;; *" install "*) echo "pip $@" >> {tmp_path}/asked ;; esac
    exit
fi
exec {sys.executable} "$@"
""",
        encoding="utf-8",
    )
    (commands / "uv").write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/asked\n', encoding="utf-8")
    for command in commands.iterdir():
        command.chmod(0o755)

    def run(*arguments, **environment):
        """Run it; returns its exit status, what uv was asked this time, and what was said."""
        asked = tmp_path / "asked"
        asked.unlink(missing_ok=True)
        base = {name: value for name, value in os.environ.items() if name not in {"ROW", "FORCE", "NO_UV"}}
        base |= {"PATH": f"{commands}:{base['PATH']}", "PYTHON": str(python)}
        command = [str(tmp_path / "scripts/setup.sh"), *arguments]
        result = subprocess.run(command, env=base | environment, capture_output=True, text=True, check=False)
        return result.returncode, asked.read_text(encoding="utf-8") if asked.exists() else "", result.stderr

    run.root = tmp_path
    return run


def test_setup_installs_once_and_again_only_when_something_has_changed(checkout):
    status, asked, _ = checkout("cpu", "test")
    assert status == 0
    assert "-c constraints/torch-2.13.txt" in asked and "./stubs/fbgemm-gpu" in asked and "-e .[cpu,test]" in asked
    assert "--compile-bytecode" in asked
    assert checkout("cpu", "test") == (0, "", "")
    assert checkout("auto", "test") == (0, "", "")
    assert ".[cpu,test,lint]" in checkout("cpu", "lint")[1], "what is there stays there"
    assert checkout("cpu", "test,lint") == (0, "", "")
    with (checkout.root / "constraints/torch-2.13.txt").open("a", encoding="utf-8") as file:
        file.write("# a change\n")
    assert checkout("cpu", "test")[1]
    assert checkout("cpu", "test", FORCE="1")[1]


def test_setup_for_another_kind_starts_from_nothing_and_leaves_the_stand_in_out(checkout):
    checkout("cpu", "test")
    left_over = checkout.root / ".venv/left-over"
    left_over.touch()
    status, asked, said = checkout("gpu", "test")
    assert status == 0 and "anew" in said and not left_over.exists()
    assert "fbgemm-gpu==1.8.0" in asked and "stubs" not in asked


def test_setup_of_the_older_row(checkout):
    assert "-c constraints/torch-2.11.txt" in checkout("cpu", "test", ROW="torch-2.11")[1]
    assert checkout("cpu", "test", ROW="torch-2.11")[1] == ""
    assert "fbgemm-gpu==1.6.0" in checkout("gpu", "test", ROW="torch-2.11")[1]


def test_setup_in_another_folder_starts_from_nothing(checkout):
    checkout("cpu", "test")
    stamp = checkout.root / ".venv/.setup-stamp"
    stamp.write_text(stamp.read_text(encoding="utf-8").replace(str(checkout.root), "/elsewhere"), encoding="utf-8")
    status, asked, said = checkout("cpu", "test")
    assert status == 0 and asked and "another folder" in said


def test_setup_goes_on_with_pip_where_uv_cannot_be_had(checkout):
    (checkout.root / "commands/uv").unlink()
    folders = [str(checkout.root / "commands"), *os.environ["PATH"].split(":")]
    path = ":".join(folder for folder in folders if not (Path(folder) / "uv").exists())
    status, asked, said = checkout("cpu", "test", PATH=path)
    assert status == 0 and "going on with pip" in said
    assert "-c constraints/torch-2.13.txt" in asked and "./stubs/fbgemm-gpu" in asked and "--compile" in asked


def test_setup_that_was_cut_short_is_taken_up_again(checkout):
    (checkout.root / "commands/uv").write_text("#!/bin/bash\nexit 3\n", encoding="utf-8")
    assert checkout("cpu", "test")[0] == 3
    assert checkout("cpu", "test")[0] == 3


def test_setup_refuses_what_it_cannot_use(checkout):
    old = checkout.root / "commands/old"
    old.write_text("#!/bin/bash\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    assert checkout("cpu", "test", PYTHON=str(old))[2].endswith("is not a Python 3.11 or newer\n")
    assert "torch-2.11.txt torch-2.13.txt" in checkout("cpu", "test", ROW="torch-9")[2]
    assert checkout("tpu")[0] == 1


def test_the_image_is_installed_as_set_up_installs():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = [one for one in text.splitlines() if one.startswith("RUN /opt/recsys/bin/pip install")]
    row = re.search(r"^row=\$\{ROW:-(.*)\}$", (ROOT / "scripts/setup.sh").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert f"--constraint constraints/{row}.txt" in line and "./stubs/fbgemm-gpu" in line
    extras = re.search(r"'\.\[(.*)\]'", line)[1].split(",")
    assert extras[0] == "cpu" and set(extras) <= set(EXTRAS)
    # what is copied is what there is, and what the context lets through
    copied = {one.split()[1] for one in text.splitlines() if re.match(r"COPY [a-z]", one) and "--from" not in one}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert copied >= {"features", "recsys", "training", "serving", "constraints", "stubs", "pyproject.toml"}
    assert all(f"!{one}" in ignored and (ROOT / one).exists() for one in copied)


COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def test_the_registry_begins_without_a_model_and_a_token():
    # compose asks for what is needed in the whole file, whichever service is begun; "$$" is for the shell inside
    assert not re.findall(r"(?<!\$)\$\{\w+:?\?", (ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert "depends_on" not in COMPOSE["services"]["mlflow"]


@pytest.mark.parametrize("missing", ["MODEL", "RECSYS_TOKEN", None])
def test_the_service_of_the_compose_file_says_what_it_needs(tmp_path, missing):
    recsys = tmp_path / "recsys"
    recsys.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    recsys.chmod(0o755)
    service = COMPOSE["services"]["service"]
    command = [*service["entrypoint"], *(one.replace("$$", "$") for one in service["command"])]
    given = {"MODEL": "movies", "RECSYS_TOKEN": "0123456789abcdef"}
    assert set(given) <= set(service["environment"])
    environment = {**given, **({missing: ""} if missing else {}), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if missing:
        assert done.returncode == 2 and f"{missing}: has to" in done.stderr and not done.stdout
    else:
        assert done.stdout.startswith("serve --model models:/movies@champion --host 0.0.0.0")
