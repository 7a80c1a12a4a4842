"""The registry in a real PostgreSQL: registered, promoted, found by alias, and followed when the alias moves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import mlflow
import pytest

from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.following import Following
from serving.pyfunc_model import log_bundle
from serving.resolve import resolve
from training.promotion.aliases import candidates, move
from training.promotion.gated import promote_ungated

_BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), Path("/none")).parent

pytestmark = pytest.mark.skipif(not _BINARIES.is_dir(), reason="PostgreSQL is not installed (Debian: postgresql)")


def run(*command: object) -> None:
    """As PostgreSQL's own user, because it refuses to be root."""
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*as_user, *map(str, command)], check=True, capture_output=True, timeout=120, cwd="/")


@pytest.fixture(scope="module")
def database():
    """The address of an empty database, of a server of its own on the loopback."""
    place = Path(tempfile.mkdtemp(prefix="pg-"))  # a short path: sockets have a limit
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    try:
        if os.geteuid() == 0:
            shutil.chown(place, "postgres")
        run(_BINARIES / "initdb", "-D", place / "data", "--auth=trust", "-U", "postgres", "--no-sync")
        settings = f"-p {port} -k {place} -c listen_addresses=127.0.0.1 -c fsync=off"
        run(_BINARIES / "pg_ctl", "-D", place / "data", "-w", "-l", place / "log", "-o", settings, "start")
        yield f"postgresql+pg8000://postgres@127.0.0.1:{port}/postgres"
        run(_BINARIES / "pg_ctl", "-D", place / "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_a_model_is_registered_promoted_and_followed(database, strings, string_folder, tiny, tmp_path):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(database)
    try:
        experiment = mlflow.create_experiment("e", artifact_location=(tmp_path / "artifacts").as_uri())
        other = write_bundle(tmp_path / "other", tiny.model_for(strings, seed=1), strings)
        with mlflow.start_run(experiment_id=experiment):
            logged = [log_bundle(one, registered_model_name="shop") for one in (string_folder, other)]
        promote_ungated("shop", "1", why="the first one", uri=database)
        found = resolve("models:/shop@champion", database)
        assert (found.version, found.model_id) == ("1", logged[0].model_id)
        assert CandidateGenerator.of(found).recommend(["u001"], k=3).item_ids
        follow = Following("models:/shop@champion", database)
        try:
            assert follow().version == "1"
            between = candidates("shop", "2", database)
            move("shop", between, "a better one", uri=database)
            assert follow().version == "2"
        finally:
            follow.close()
        tags = mlflow.MlflowClient().get_model_version("shop", "2").tags
        assert tags["promoted_why"] == "a better one"
        assert str(mlflow.MlflowClient().get_model_version_by_alias("shop", "previous").version) == "1"
    finally:
        mlflow.set_tracking_uri(before)
