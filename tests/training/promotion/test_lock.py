"""One at a time: the lock of a file for SQLite, a lease in a tag for servers."""

import dataclasses
import json
import threading
import time

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from features.errors import InputError
from training.promotion.lock import LEASE, Lease, Patience, promotion_lock

QUICK = Patience(most=20, lease=30, settle=0.3, again=0.02)


def test_of_many_who_want_the_lease_one_has_it_at_a_time(registry):
    inside, most, got = [], [], []

    def promote(number: int) -> None:
        lease = Lease(registry.client, "shop", f"racer {number}", QUICK)
        lease.take()
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.05)
        lease.check()
        got.append(number)
        inside.remove(number)
        lease.give_back()

    racers = [threading.Thread(target=promote, args=[number]) for number in range(4)]
    for one in racers:
        one.start()
    for one in racers:
        one.join()
    assert sorted(got) == [0, 1, 2, 3] and set(most) == {1}
    assert LEASE not in registry.client.get_registered_model("shop").tags


def test_who_holds_the_lease_is_told_to_whoever_waits_too_long(registry):
    impatient = dataclasses.replace(QUICK, most=0.1)
    with (
        promotion_lock(registry.client, "http://registry", "shop", "ada", QUICK) as still_ours,
        pytest.raises(
            InputError, match=r"ada is promoting a version of the model 'shop', and has been for 0\.1 seconds"
        ),
        promotion_lock(registry.client, "http://registry", "shop", "bob", impatient),
    ):
        pass
    with pytest.raises(InputError, match="too slow"):
        still_ours()  # ada's lease is given back by now


@pytest.mark.parametrize("said", ["no JSON", "[]", "{}", '{"token": "x", "by": "ada", "until": 17.5}'])
def test_a_lease_that_has_ended_or_means_nothing_keeps_nobody_out(registry, said):
    registry.client.set_registered_model_tag("shop", LEASE, said)
    lease = Lease(registry.client, "shop", "bob", QUICK)
    lease.take()
    lease.check()
    assert json.loads(registry.client.get_registered_model("shop").tags[LEASE])["by"] == "bob"


def test_a_lease_that_somebody_else_has_taken_over_moves_nothing(registry):
    lease = Lease(registry.client, "shop", "bob", QUICK)
    lease.take()
    stolen = json.dumps({"token": "x", "by": "eve", "until": time.time() + 30})
    registry.client.set_registered_model_tag("shop", LEASE, stolen)
    with pytest.raises(InputError, match="it stays as it is"):
        lease.check()
    lease.give_back()
    assert registry.client.get_registered_model("shop").tags[LEASE] == stolen  # which is not ours to end


def test_whoever_takes_too_long_to_write_has_not_got_it(registry):
    """Somebody who has read that there is no lease, and writes one after another has taken it."""
    has_read, may_write, has_written = threading.Event(), threading.Event(), threading.Event()

    class Slow:
        def __getattr__(self, name: str):
            return getattr(registry.client, name)

        def set_registered_model_tag(self, *arguments: str) -> None:
            has_read.set()
            may_write.wait()
            registry.client.set_registered_model_tag(*arguments)
            has_written.set()

    slow, quick = Lease(Slow(), "shop", "slow", QUICK), Lease(registry.client, "shop", "quick", QUICK)
    held = []
    waiting = threading.Thread(target=lambda: held.append(slow._written()))
    waiting.start()
    has_read.wait()
    quick.take()
    quick.check()
    may_write.set()
    has_written.wait()
    with pytest.raises(InputError):
        quick.check()  # so that none of the two moves anything
    waiting.join()
    assert held == [False]
    slow.take()  # which nobody disturbs now
    slow.check()


@pytest.mark.parametrize("call", ["get_registered_model", "delete_registered_model_tag"])
def test_a_registry_that_goes_away_after_the_move_makes_no_error_of_it(registry, caplog, call):
    class Away:
        """Answers until it is told not to."""

        here = True

        def __getattr__(self, name: str):
            if name == call and not self.here:
                raise MlflowException("API request to http://registry failed\nwith exception: timed out")
            return getattr(registry.client, name)

    client = Away()
    with promotion_lock(client, "http://registry", "shop", "ada", QUICK) as still_ours:
        still_ours()
        registry.client.set_registered_model_alias("shop", "champion", "2")
        client.here = False
    assert registry.aliases() == {"champion": "2"}
    (said,) = caplog.messages
    assert "the lease on the model 'shop' could not be given back, and ends by itself within 30 seconds" in said
    assert "timed out" in said and "\n" not in said
    # what was refused is still what is told
    registry.client.delete_registered_model_tag("shop", LEASE)
    client.here = True
    with (
        pytest.raises(InputError, match="overtaken"),
        promotion_lock(client, "http://registry", "shop", "ada", QUICK),
    ):
        client.here = False
        raise InputError("overtaken")


def test_a_lease_that_somebody_has_ended_already_is_no_news(registry, caplog):
    class Late:
        """Somebody else ends the lease just before it does."""

        def __getattr__(self, name: str):
            return getattr(registry.client, name)

        def delete_registered_model_tag(self, *arguments: str) -> None:
            registry.client.delete_registered_model_tag(*arguments)
            raise MlflowException("no such tag", error_code=RESOURCE_DOES_NOT_EXIST)

    with promotion_lock(Late(), "http://registry", "shop", "ada", QUICK):
        pass
    assert not caplog.messages and LEASE not in registry.client.get_registered_model("shop").tags


def test_an_sqlite_store_is_locked_by_a_file_that_the_system_lets_go_of(registry, tmp_path):
    impatient = dataclasses.replace(QUICK, most=0.05)
    with promotion_lock(registry.client, registry.uri, "shop", "ada"):
        assert (tmp_path / "mlflow.db.promotion.lock").is_file()
        with (
            pytest.raises(InputError, match="somebody else has been promoting in this registry"),
            promotion_lock(registry.client, registry.uri, "shop", "bob", impatient),
        ):
            pass
    with promotion_lock(registry.client, registry.uri, "shop", "bob", impatient) as still_ours:
        still_ours()
    assert LEASE not in registry.client.get_registered_model("shop").tags
