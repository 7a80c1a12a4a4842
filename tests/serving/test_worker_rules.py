"""When processes are begun again, and when there is no use: small programs in the place of services."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys, time
from pathlib import Path
from features.errors import InputError
from serving.workers import run_workers
notes = Path(sys.argv[1])

def work(worker):
    n = len(list(notes.iterdir()))
    (notes / f"{os.getpid()}").write_text(str(n))
{body}

sys.exit(run_workers(2, work, end_seconds=5))
"""


def run(body: str, notes: Path, seconds: float | None = None) -> int | None:
    """The exit status, or None where it still ran after so long."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    process = subprocess.Popen([sys.executable, "-c", PROGRAM.replace("{body}", lines), str(notes)], cwd=ROOT)
    try:
        return process.wait(seconds or 60)
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.terminate()
        process.wait(20)


def test_what_never_starts_is_given_up(tmp_path):
    assert run("raise InputError('there is no model')", tmp_path) == 2


def test_what_dies_again_and_again_before_it_answers_is_given_up(tmp_path):
    assert run("os._exit(7)", tmp_path, 60) == 1
    assert 6 <= len(list(tmp_path.iterdir())) <= 8


def test_one_that_cannot_start_again_does_not_end_those_that_answer(tmp_path):
    body = """
if n >= 2:
    raise InputError('the registry is away')
worker.ready()
if n == 0:
    time.sleep(0.5)
    os._exit(9)
time.sleep(60)
"""
    began = time.monotonic()
    assert run(body, tmp_path, 6) is None  # it goes on
    assert time.monotonic() - began > 5
    assert len(list(tmp_path.iterdir())) >= 4  # and has tried more than once
