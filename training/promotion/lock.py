"""One promotion of a model at a time: MLflow's aliases have no compare-and-swap, so whoever moves one holds a lock.

Beside a store that is an SQLite file lies a file that is locked: the system lets go of it whatever becomes of the
process. On a server, a tag of the registered model is a lease. Servers cannot write a tag only if it is not there, so
that two may both find none and both write; the lease is therefore Fischer's (Lamport, "A fast mutual exclusion
algorithm", 1987): write, wait for longer than anybody may take from reading to writing, and have the lock if what one
wrote is still there. Whoever took longer than that has not got it.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import InputError

#: of the registered model: who is promoting a version of it
LEASE = "promotion_lease"

LOG = logging.getLogger("recsys.promotion")


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds.

    Args:
        most: For somebody else to be done.
        lease: Until a lease ends whose holder was never heard of again.
        settle: Between writing a lease and reading it again: longer than anybody may take from reading to writing.
        again: Between two looks.
    """

    most: float = 30.0
    lease: float = 60.0
    settle: float = 2.0
    again: float = 0.2


@contextmanager
def promotion_lock(
    client: Any, store: str, name: str, by: str, patience: Patience | None = None
) -> Iterator[Callable[[], None]]:
    """Holds the lock of a model; gives what raises if it has been lost since, to be called before anything is moved.

    Args:
        client: An MlflowClient.
        store: The address of its registry.
        name: Of the registered model.
        by: Who takes it, for others to read.
        patience: How long is waited.

    Raises:
        InputError: Somebody else holds it for longer than is waited.
    """
    patience = patience or Patience()
    if store.startswith("sqlite:///"):
        path = Path(store.removeprefix("sqlite:///").partition("?")[0])
        with _locked_file(path.with_name(path.name + ".promotion.lock"), name, patience):
            yield lambda: None
        return
    lease = Lease(client, name, by, patience)
    lease.take()
    try:
        yield lease.check
    finally:
        lease.give_back()


@contextmanager
def _locked_file(path: Path, name: str, patience: Patience) -> Iterator[None]:
    """Holds the lock of a file. It stays: were it removed, somebody could wait for the one that is gone."""
    import fcntl

    try:
        file = open(path, "a", encoding="utf-8")  # noqa: SIM115  closed below, when the lock is let go
    except OSError as error:
        raise InputError(f"the lock {path.name} beside the registry cannot be made: {error.strerror}") from error
    with file:
        ends = time.monotonic() + patience.most
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise InputError(
                        f"somebody else has been promoting in this registry for {patience.most:g} seconds; the model "
                        f"{name!r} stays as it is"
                    ) from None
                time.sleep(patience.again)
        yield


class Lease:
    """A tag of a registered model, which says who is promoting a version of it, and until when.

    Args:
        client: An MlflowClient.
        name: Of the registered model.
        by: Who takes it.
        patience: How long is waited.
    """

    def __init__(self, client: Any, name: str, by: str, patience: Patience) -> None:
        self._client, self._name, self._by, self._patience = client, name, by, patience
        self._token = secrets.token_hex(8)
        self._ends = 0.0

    def take(self) -> None:
        """Waits for the lease.

        Raises:
            InputError: Somebody else has it for longer than is waited.
        """
        until = time.monotonic() + self._patience.most
        while True:
            holder = self._holder()
            if holder is None and self._written():
                return
            if time.monotonic() > until:
                who = (holder or self._read() or {}).get("by", "somebody")
                raise InputError(
                    f"{who} is promoting a version of the model {self._name!r}, and has been for "
                    f"{self._patience.most:g} seconds; it stays as it is"
                )
            time.sleep(self._patience.again * (1 + secrets.randbelow(100) / 100))  # not in step with others

    def _written(self) -> bool:
        """Writes a lease where there was none a moment ago, and says whether it is the one that counts."""
        from mlflow.exceptions import MlflowException

        began = time.monotonic()
        if self._holder() is not None:
            return False
        self._ends = began + self._patience.lease
        mine = {"token": self._token, "by": self._by, "until": time.time() + self._patience.lease}
        try:
            self._client.set_registered_model_tag(self._name, LEASE, json.dumps(mine))
        except MlflowException:  # a database that two write the same new row to refuses the second
            return False
        in_time = time.monotonic() - began < self._patience.settle
        time.sleep(self._patience.settle)
        if in_time and self._is_mine():
            return True
        self.give_back()
        return False

    def check(self) -> None:
        """Refuses to go on with a lease that is over.

        Raises:
            InputError: It is over.
        """
        left = self._ends - time.monotonic()
        if left < self._patience.lease / 4 or not self._is_mine():
            raise InputError(f"the registry was too slow to promote a version of {self._name!r}; it stays as it is")

    def give_back(self) -> None:
        """Ends the lease, if it is still ours; a registry that does not let go is told of, and no error.

        What was done under the lease is done, and what was refused has its own error.
        """
        from mlflow.exceptions import MlflowException

        try:
            if self._is_mine():
                self._client.delete_registered_model_tag(self._name, LEASE)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # it was over, and somebody else has ended it
                return
            LOG.warning(
                "the lease on the model %r could not be given back, and ends by itself within %g seconds: %s",
                self._name,
                self._patience.lease,
                " ".join(str(error).split()),
            )

    def _is_mine(self) -> bool:
        return (self._read() or {}).get("token") == self._token

    def _holder(self) -> dict[str, Any] | None:
        """Who else has the lease; None where nobody has, or it has ended."""
        found = self._read()
        if found is None or found.get("token") == self._token:
            return None
        until = found.get("until")
        return found if isinstance(until, int | float) and until > time.time() else None

    def _read(self) -> dict[str, Any] | None:
        said = self._client.get_registered_model(self._name).tags.get(LEASE)
        try:
            found = json.loads(said) if said else None
        except ValueError:
            return None
        return found if isinstance(found, dict) else None
