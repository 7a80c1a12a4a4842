"""What a version of a model is called, where it lies, and errors that say of which one they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from features.errors import InputError
from serving.bundles.sealed import BundleError


@dataclass(frozen=True)
class Resolved:
    """One version of a model.

    Args:
        folder: Of its bundle.
        name: In the registry; the folder's name where it does not come from there.
        version: In the registry.
        model_id: MLflow's id of the logged model, which never changes.
    """

    folder: Path
    name: str
    version: str | None = None
    model_id: str | None = None

    @property
    def told(self) -> str:
        """For people.

        Example:
            >>> Resolved(Path("mlruns/m-1"), "shop", "3").told
            "version 3 of the model 'shop' at mlruns/m-1"
        """
        return f"{self._what} at {self.folder}"

    @property
    def _what(self) -> str:
        return "the bundle" if self.version is None else f"version {self.version} of the model {self.name!r}"

    def is_same(self, other: Resolved | None) -> bool:
        """Whether another one is this version."""
        if other is None:
            return False
        # a model's id never changes; one that was never logged is where it lies
        return self.model_id == other.model_id if self.model_id else self.folder == other.folder

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """What turns out inside to be wrong with the bundle is told as this version's, and with its folder.

        Raises:
            BundleError: In the place of one that does not say so.
        """
        try:
            yield
        except BundleError as error:
            said = str(error)
            if str(self.folder) not in said:
                said = f"{self.told}: {said}"
            elif self.version is not None:
                said = f"{self._what}: {said}"
            raise BundleError(said) from error


class Unfetched(InputError):
    """A version that the registry names, and whose bundle cannot be had.

    Args:
        message: Why.
        named: The version; its folder is none that can be used.
        lasting: Whether it would be the same at another time: what was fetched is no bundle.
    """

    def __init__(self, message: str, named: Resolved, lasting: bool) -> None:
        super().__init__(message)
        self.named, self.lasting = named, lasting
