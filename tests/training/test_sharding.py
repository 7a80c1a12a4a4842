"""Sharded training on one and on two gloo processes: the same losses, checkpoints that any number reads, and losses of
whole processes."""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest
import torch

#: several processes load TorchRec one after another
pytestmark = pytest.mark.timeout(600)

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "workers"))
from sharded_run import ran, start  # noqa: E402

SHARDED = ("in-batch-rowwise-adagrad", "mixed-two-tables", "full-softmax-adagrad-columns")
SEQUENTIAL = ("sequential-dense", "sequential-adagrad")
FUSED = ("fused-concat-con", "fused-add-gen", "sequential-fused-alphafuse-con", "sequential-fused-text-gen")
SAVED = "mixed-two-tables"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes and one made of the same cases, and of each other's checkpoints."""
    folder = tmp_path_factory.mktemp("sharded")
    cases = [*SHARDED, *SEQUENTIAL, *FUSED, "next-item", "collisionless-dense", "ranker", "pipelined-ranker"]
    ran(2, folder, *cases, f"save:{SAVED}@two")
    shutil.copytree(folder / "two", folder / "two-again")
    ran(1, folder, *cases, f"save:{SAVED}@one", f"resume:{SAVED}@two")
    ran(2, folder, f"resume:{SAVED}@one", f"resume:{SAVED}@two-again")
    return folder


def _found(folder: Path, step: str, world: int) -> dict:
    return json.loads((folder / f"{step}-{world}.json").read_text())


@pytest.mark.parametrize("case", [*SHARDED, *SEQUENTIAL, *FUSED, "next-item", "collisionless-dense"])
def test_two_processes_have_the_losses_of_one(folder: Path, case: str) -> None:
    one, two = (torch.tensor(_found(folder, case, world)["losses"]) for world in (1, 2))
    assert len(one) == 50
    torch.testing.assert_close(two, one, rtol=1e-4, atol=0)
    assert one[-5:-1].mean() < 0.97 * one[:4].mean()  # and they learn; the fifth batch of an epoch is a single user


@pytest.mark.parametrize("case", [*SHARDED, *SEQUENTIAL, *FUSED, "collisionless-dense"])
def test_two_processes_rank_as_one_even_where_one_has_nobody_to_rank_for(folder: Path, case: str) -> None:
    one, two = (_found(folder, case, world)["ranked"] for world in (1, 2))
    assert one.keys() == two.keys() and one["queries"] > 50
    assert two == pytest.approx(one, abs=0.02)  # weights that differ in the last digits swap items of nearly one score


@pytest.mark.parametrize("world", [1, 2])
def test_the_pipeline_trains_every_batch_once(folder: Path, world: int) -> None:
    plain, piped = _found(folder, "ranker", world), _found(folder, "pipelined-ranker", world)
    assert piped["steps"] == plain["steps"] and piped["steps"][0] % 3 == 0
    torch.testing.assert_close(torch.tensor(piped["losses"]), torch.tensor(plain["losses"]), rtol=1e-6, atol=0)
    assert piped["auc"] == pytest.approx(plain["auc"], abs=1e-6)


def test_a_ranker_is_as_good_on_two_processes(folder: Path) -> None:
    one, two = _found(folder, "ranker", 1), _found(folder, "ranker", 2)
    assert two["steps"] == one["steps"]
    torch.testing.assert_close(torch.tensor(two["losses"]), torch.tensor(one["losses"]), rtol=1e-4, atol=0)
    assert two["auc"] == pytest.approx(one["auc"], abs=1e-5)


@pytest.mark.parametrize("case", SHARDED)
@pytest.mark.parametrize("world", [1, 2])
def test_the_fused_optimiser_owns_the_tables(folder: Path, case: str, world: int) -> None:
    found = _found(folder, case, world)
    tables = {line["table"] for line in found["plan"]}
    assert {line["kernel"] for line in found["plan"]} == {"fused"}
    weights = [f"model.embeddings.tables.pooled.embedding_bags.{table}.weight" for table in sorted(tables)]
    assert sorted({name for names in found["fused"] for name in names}) == weights
    assert not set(found["dense"]) & set(weights)
    assert any(name.startswith("model.user_tower") for name in found["dense"])
    state = {name for names in found["state"] for name in names}
    assert state == {f"{table}.momentum1" for table in tables}  # of Adagrad, and none of AdamW's
    assert all(moved > 1e-3 for moved in found["moved"].values())
    assert found["steps"] == 50


def test_plans_are_those_that_were_asked_for(folder: Path) -> None:
    columns = _found(folder, "full-softmax-adagrad-columns", 2)["plan"][0]
    assert (columns["sharding"], sorted(one["rank"] for one in columns["shards"])) == ("column_wise", [0, 1])
    tables = _found(folder, "mixed-two-tables", 2)["plan"]
    assert sorted(one["rank"] for line in tables for one in line["shards"]) == [0, 1]
    rows = _found(folder, "next-item", 2)["plan"][0]
    assert (rows["sharding"], sorted(one["rank"] for one in rows["shards"])) == ("row_wise", [0, 1])


@pytest.mark.parametrize(("written", "read"), [("two", 1), ("one", 2), ("two-again", 2)])
def test_a_checkpoint_of_so_many_processes_goes_on_with_others(folder: Path, written: str, read: int) -> None:
    whole = _found(folder, SAVED, 1)
    resumed = _found(folder, f"resume:{SAVED}@{written}", read)
    # with lost optimiser state, of the tables or of the towers, the first steps would differ in the third digit
    torch.testing.assert_close(torch.tensor(resumed["losses"]), torch.tensor(whole["losses"][25:]), rtol=1e-4, atol=0)
    torch.testing.assert_close(torch.tensor(resumed["items"]), torch.tensor(whole["items"]), rtol=1e-3, atol=1e-4)


def test_a_checkpoint_says_who_held_what(folder: Path) -> None:
    plan = json.loads((folder / "two-again" / "last.ckpt" / "plan.json").read_text())
    assert {line["table"] for line in plan} == {"unified_0", "unified_1"}
    assert not list((folder / "two-again").glob("*.part")) + list((folder / "two-again").glob("*.old"))


def test_a_process_that_loses_another_says_so_and_the_run_goes_on(tmp_path: Path, folder: Path) -> None:
    case = "in-batch-rowwise-adagrad"
    first, second = start(2, tmp_path, f"{case}@run", DIE_AT="1:28")  # in the sixth epoch
    second.communicate(timeout=120)
    assert second.returncode == -9
    died = time.monotonic()
    told, _ = first.communicate(timeout=60)
    assert time.monotonic() - died < 60
    assert first.returncode not in (0, None)
    assert "process 0 lost another process of this run" in told
    ran(2, tmp_path, f"resume:{case}@run")
    resumed = _found(tmp_path, f"resume:{case}@run", 2)["losses"]
    whole = _found(folder, case, 1)["losses"]
    torch.testing.assert_close(torch.tensor(resumed), torch.tensor(whole[25:]), rtol=1e-4, atol=0)
