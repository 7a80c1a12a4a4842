"""Asked again and again which version is to be served, without MLflow in this process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from features.errors import InputError
from serving import following
from serving.following import Following
from serving.naming import Unfetched

ROOT = Path(__file__).parents[2]


def test_a_folder_is_always_the_same(string_folder):
    follow = Following(string_folder)
    assert follow().folder == string_folder and follow() == follow()


def test_a_process_of_its_own_asks_what_needs_mlflow(monkeypatch, string_folder):
    monkeypatch.setattr(following, "at_once", lambda source, uri: None)
    follow = Following(string_folder)
    try:
        assert follow().folder == string_folder
        first = follow._process.pid
        assert follow().folder == string_folder and follow._process.pid == first  # and goes on
        follow._process.kill()
        follow._process.wait()
        assert follow().folder == string_folder and follow._process.pid != first  # or begins again
    finally:
        follow.close()


def test_what_it_cannot_find_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(following, "at_once", lambda source, uri: None)
    follow = Following(tmp_path / "nothing")
    try:
        with pytest.raises(InputError, match="there is no bundle at"):
            follow()
    finally:
        follow.close()


def test_a_version_that_cannot_be_had_is_named_by_the_process_too(monkeypatch, plain_registry, string_folder):
    (plain_registry.register(string_folder) / "manifest.json").unlink()
    plain_registry.crown(1)
    follow = Following("models:/shop@champion", plain_registry.uri)
    monkeypatch.setattr(following, "at_once", lambda source, uri: None)  # in this process alone
    try:
        with pytest.raises(Unfetched, match=r"^version 1 of the model 'shop' at .* holds 0 bundles") as told:
            follow("m-1")
        assert told.value.lasting and (told.value.named.version, told.value.named.model_id) == ("1", "m-1")
    finally:
        follow.close()


def test_a_registry_that_thinks_for_too_long_is_given_up(monkeypatch, string_folder):
    monkeypatch.setattr(following, "at_once", lambda source, uri: None)
    follow = Following(string_folder, seconds=0.01)
    with pytest.raises(InputError, match="no answer"):
        follow()
    assert follow._process is None


def test_it_ends_with_the_service(string_folder):
    program = "import sys, time\nfrom serving import following\nfollowing.at_once = lambda source, uri: None\n"
    program += "f = following.Following(sys.argv[1])\nf()\nprint(f._process.pid, flush=True)\ntime.sleep(60)"
    service = subprocess.Popen(
        [sys.executable, "-c", program, str(string_folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    pid = int(service.stdout.readline())
    service.kill()
    service.communicate()
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < end
        time.sleep(0.05)
