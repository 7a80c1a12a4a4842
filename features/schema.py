"""Typed feature declarations: which columns of users and items a model reads, and as what kind.

Declared once, they make training batches and serving requests alike. How a feature is *embedded* (table, width,
look-ups) is the model's business, see `recsys.embeddings.EmbeddingPlan`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from features.errors import InputError


@dataclass(frozen=True)
class Feature:
    """One declared feature.

    Args:
        name: What models and batches call it; unique within its side (user or item).
        column: The column that holds it; the name itself where not given.
    """

    name: str
    column: str = ""

    kind: ClassVar[str] = ""
    #: whether the feature's values are looked up in an embedding table
    embedded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("a feature has an empty name")
        if not self.column:
            object.__setattr__(self, "column", self.name)


@dataclass(frozen=True)
class Id(Feature):
    """The entity's own id: strings or 64-bit integers. At most one a side."""

    kind: ClassVar[str] = "id"


@dataclass(frozen=True)
class Categorical(Feature):
    """One value of a set: strings, integers or booleans. A null is a value that is not there (a zero vector)."""

    kind: ClassVar[str] = "categorical"


@dataclass(frozen=True)
class MultiValued(Feature):
    """A set of values: a list column, or a string column split at `separator`.

    Args:
        separator: Where a string is split; ignored for list columns.
    """

    separator: str = "|"

    kind: ClassVar[str] = "multi_valued"


@dataclass(frozen=True)
class Numeric(Feature):
    """A number, standardised with the mean and standard deviation of the data that the model was trained on."""

    kind: ClassVar[str] = "numeric"
    embedded: ClassVar[bool] = False


@dataclass(frozen=True)
class Text(Feature):
    """Text for people and text encoders: carried along (titles in answers), not looked up in a table."""

    kind: ClassVar[str] = "text"
    embedded: ClassVar[bool] = False


@dataclass(frozen=True)
class Vector(Feature):
    """Numbers that an encoder has made of a text or a picture, as many for each item; null where there was none.

    Nothing is standardised or looked up: how a model takes them in is its `recsys.fusion.FusionConfig`.

    Args:
        size: How many numbers; 0 for as many as the column has.
    """

    size: int = 0

    kind: ClassVar[str] = "vector"
    embedded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.size, int) or self.size < 0:
            raise InputError(f"the size of the vector {self.name!r} is a whole number, 0 or more; got {self.size!r}")


@dataclass(frozen=True)
class Sequence(Feature):
    """The items that a user engaged with before, oldest first; made from the interactions, not from a column.

    Args:
        max_length: The most recent so many items are kept; 0 keeps all.
        timed: Models are told when each item came, where they ask for it.
    """

    max_length: int = 0
    timed: bool = False

    kind: ClassVar[str] = "sequence"


KINDS: dict[str, type[Feature]] = {
    cls.kind: cls for cls in (Id, Categorical, MultiValued, Numeric, Text, Vector, Sequence)
}


@dataclass(frozen=True)
class FeatureSchema:
    """The features of both sides of an interaction.

    A user is described by the history alone where nothing is declared: a vector learned for each user's id as well
    makes a model remember its training users, and says nothing of a new one. Declare `Id("user_id")` to have it.

    Example:
        >>> schema = FeatureSchema(user=(Sequence("history"),), item=(Id("item_id"), MultiValued("genres")))
        >>> FeatureSchema.from_json(schema.to_json()) == schema
        True
    """

    user: tuple[Feature, ...] = (Sequence("history"),)
    item: tuple[Feature, ...] = (Id("item_id"),)

    def __post_init__(self) -> None:
        for side, features in (("user", self.user), ("item", self.item)):
            names = [feature.name for feature in features]
            for name in names:
                if names.count(name) > 1:
                    raise InputError(f"the {side} feature {name!r} is declared {names.count(name)} times")
            for cls in (Id, Vector, Sequence):
                if sum(isinstance(feature, cls) for feature in features) > 1:
                    raise InputError(f"the {side} side declares more than one feature of kind {cls.kind!r}")
        if any(isinstance(feature, Sequence) for feature in self.item):
            raise InputError("a feature of kind 'sequence' belongs to the user side")
        if any(isinstance(feature, Vector) for feature in self.user):
            raise InputError("a feature of kind 'vector' belongs to the item side")
        both = {feature.name for feature in self.user} & {feature.name for feature in self.item}
        if both:  # one namespace, because a multiplexed table salts by feature name
            raise InputError(f"the feature {sorted(both)[0]!r} is declared for users and for items; name them apart")

    def __iter__(self) -> Iterator[Feature]:
        return iter((*self.user, *self.item))

    @property
    def vector(self) -> Vector | None:
        """The items' declared vector, if any: what they are besides their ids and attributes."""
        return next((feature for feature in self.item if isinstance(feature, Vector)), None)

    @property
    def history(self) -> Sequence | None:
        """The declared history, if any."""
        return next((feature for feature in self.user if isinstance(feature, Sequence)), None)

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """As plain lists and dictionaries; see `from_json`."""
        return {
            side: [{"kind": feature.kind, **_settings(feature)} for feature in features]
            for side, features in (("user", self.user), ("item", self.item))
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> FeatureSchema:
        """The inverse of `to_json`; also what a hand-written YAML declaration is read with.

        Raises:
            InputError: An unknown side, kind or setting, by name.
        """
        unknown = set(data) - {"user", "item"}
        if unknown:
            raise InputError(f"features are declared for 'user' and 'item', not for {sorted(unknown)[0]!r}")
        return cls(**{side: tuple(_feature(side, one) for one in data[side] or ()) for side in data})


def _settings(feature: Feature) -> dict[str, Any]:
    settings = dataclasses.asdict(feature)
    if not settings.get("timed", True):
        del settings["timed"]  # told only where it is used: other declarations keep the hash that they had before it
    return settings


def _feature(side: str, settings: dict[str, Any]) -> Feature:
    if not isinstance(settings, dict) or "name" not in settings:
        raise InputError(f"a declared {side} feature needs a name and a kind, got {settings!r}")
    settings = dict(settings)
    kind = settings.pop("kind", None)
    if kind not in KINDS:
        raise InputError(
            f"the {side} feature {settings['name']!r} is of kind {kind!r}; the kinds are {', '.join(KINDS)}"
        )
    allowed = {one.name for one in dataclasses.fields(KINDS[kind])}
    unknown = set(settings) - allowed
    if unknown:
        raise InputError(f"the {side} feature {settings['name']!r} has no setting {sorted(unknown)[0]!r}")
    return KINDS[kind](**settings)
