"""Configuration of a training run: frozen dataclasses, filled by YAML and by `--set a.b=c`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from features.errors import InputError
from recsys.index import IndexConfig
from recsys.text_encoders import ItemTextConfig
from recsys.two_tower import TwoTowerConfig
from serving.bundles.writer import BundleConfig
from training.optimisers import OptimiserConfig


@dataclass(frozen=True)
class EntitiesConfig:
    """Items that are entities of several feeds: see `features.entity_items.through_entities`.

    Args:
        folder: Of `recsys resolve`, whose records are the data's items; empty where items are what they are.
        version: Of the map; the current one, where 0. A run writes down which that was.
        fuse: A rule for attributes whose records differ, such as {"title": "longest"}.
        sources: In which order sources count; by name, where not given.
        unknown: "refuse" items that the map lacks, or "drop" them with their interactions, and tell how many.
    """

    folder: str = ""
    version: int = 0
    fuse: dict[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    unknown: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        if self.unknown not in ("refuse", "drop"):
            raise InputError(f"data.entities.unknown is {self.unknown!r}, not 'refuse' or 'drop'")


@dataclass(frozen=True)
class DataConfig:
    """Which data.

    Args:
        name: A source: see `features.sources`.
        root: Its folder or file; empty for the source's default (a download, or data made on the spot).
        settings: What else the source takes, such as `min_rating` of ml-1m or `interactions` of generated.
        entities: Of which the items are records, if they are.
        new_items: A file of items that a service was told of (`recsys serve --new-items`): those that the data lacks
            become items like the others. Targets are then told from what is "trained": see `candidates`.
    """

    name: str = "generated"
    root: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    entities: EntitiesConfig = field(default_factory=EntitiesConfig)
    new_items: str = ""


@dataclass(frozen=True)
class SplitConfig:
    """How interactions are split: see `features.splits`.

    Args:
        name: "random", "leave-one-out", "time", "cold-items", "sessions" or "given".
        settings: What else that split takes.
    """

    name: str = "random"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LossConfig:
    """The loss: see `recsys.losses`.

    Args:
        name: One of the table of `recsys.losses`, such as "full-softmax" or "sampled-softmax".
        settings: What else that loss takes.
    """

    name: str = "full-softmax"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExamplesConfig:
    """What one training example is.

    Args:
        unit: "users": a row a user, some of whose items are to be found from the others; an epoch costs a row a user.
            "interactions": a row an interaction, to be found from the user's other items.
        batch_size: Rows of a batch. 0 takes a twentieth of the rows, so that an epoch of a small data set has steps
            enough to learn from, but 16 at least, and at most 256 users or 4,096 interactions.
        target_share: Of unit "users": each item is a target with this probability, else it stays in the history.
        history_dropout: Each item of a history is left out with this probability, so that the model works from part
            of a history, too.
        max_history: At most so many items of a history are used in training, drawn anew each time; 0 for all.
        candidates: What a target is told from: the whole "catalogue", or only what is "trained", that is, has a
            training interaction. Scored down by every user in every step, items that nobody has taken yet lose to all
            others; left out, they are ranked by their attributes, at a small cost for the others (about 1% of NDCG@10
            on ml-1m). A split that withholds items always leaves them out, and so does `data.new_items`.
    """

    unit: Literal["users", "interactions"] = "users"
    batch_size: int = 0
    target_share: float = 0.2
    history_dropout: float = 0.0
    max_history: int = 0
    candidates: Literal["catalogue", "trained"] = "catalogue"

    def __post_init__(self) -> None:
        if self.unit not in ("users", "interactions"):
            raise InputError(f"examples.unit is {self.unit!r}, not 'users' or 'interactions'")
        if self.candidates not in ("catalogue", "trained"):
            raise InputError(f"examples.candidates is {self.candidates!r}, not 'catalogue' or 'trained'")
        if self.batch_size < 0:
            raise InputError(f"examples.batch_size is 0 or more, got {self.batch_size}")
        if not 0 < self.target_share <= 1:
            raise InputError(f"examples.target_share is in (0, 1], got {self.target_share}")
        if self.max_history < 0:
            raise InputError(f"examples.max_history is 0 or more, got {self.max_history}")
        if not 0 <= self.history_dropout < 1:
            raise InputError(f"examples.history_dropout is in [0, 1), got {self.history_dropout}")


@dataclass(frozen=True)
class TrainConfig:
    """All that a two-tower run depends on. It is written beside the run and logged with it."""

    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    text: ItemTextConfig = field(default_factory=ItemTextConfig)
    model: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    bundle: BundleConfig = field(default_factory=BundleConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is 0 or more, got {self.seed}")


def load_config(
    path: str | Path | None = None, settings: Sequence[str] = (), kind: type = TrainConfig, **given: Any
) -> Any:
    """A configuration from a YAML file, overridden by "a.b=c" settings, overridden by keyword arguments.

    Args:
        path: A YAML file with (part of) a configuration; none for the defaults.
        settings: "key=value" with dotted keys; values are YAML.
        kind: The frozen dataclass to fill: `TrainConfig`, or `training.ranking.RankingConfig`.
        given: Dotted keys with "__" for the dot (`data__name="ml-1m"`); None is passed over.

    Raises:
        InputError: An unknown key, a value of the wrong type, or a file that is not YAML, by name.

    Example:
        >>> load_config(settings=["model.dim=32"], data__name="ml-1m").model.dim
        32
    """
    import jsonargparse
    import yaml

    parser = jsonargparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(kind)
    arguments = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise InputError(f"a setting reads key=value, got {setting!r}")
        arguments.append(f"--{key.strip()}={value}")
    try:
        base = None
        if path is not None:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
            if not isinstance(content, dict):
                raise InputError(f"the configuration {path} is not a YAML mapping")
            base = parser.parse_object(content)
        for key, value in given.items():
            if value is not None:
                arguments.append(f"--{key.replace('__', '.')}={value}")
        filled = parser.instantiate(parser.parse_args(arguments, namespace=base))
    except OSError as error:
        raise InputError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise InputError(f"the configuration {path} is not YAML: {' '.join(str(error).split())}") from error
    except InputError:
        raise
    except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, InputError):
            raise cause from None
        shown_by = getattr(kind, "shown_by", "recsys train MODEL --print-config")
        raise InputError(_told(str(error), shown_by, vars(parser.get_defaults().as_flat()))) from None
    return kind(**{one.name: getattr(filled, one.name) for one in dataclasses.fields(kind)})


def _told(message: str, shown_by: str, known: Iterable[str]) -> str:
    """The parser's complaint, without its own vocabulary; settings that are known may be named."""
    message = " ".join(message.split())
    unknown = re.search(r"nrecognized arguments: --([^= ]+)|does not accept option '([^']+)'|Key '([^']+)'", message)
    if unknown:
        name = next(one for one in unknown.groups() if one)
        near = get_close_matches(name, known, n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        return f"there is no setting {name!r}{meant}; '{shown_by}' shows all of them"
    wrong = re.search(r'key "([^"]+)": Expected an? (.+?)\. Got value: (.*)', message)
    if wrong:
        name, kind, value = wrong.groups()
        kind = re.sub(r"<class '(\w+)'>|typing\.", r"\1", kind)
        kind = re.sub(r"^int$", "a whole number", kind)
        kind = re.sub(r"^float$", "a number", kind)
        kind = re.sub(r"^tuple$", "a list, such as [one,two]", kind)
        kind = re.sub(r"Literal\[(.*)\]", lambda found: f"one of {found[1]}".replace("'", ""), kind)
        return f"the setting {name!r} is {kind}, got {value!r}"
    group = re.match(r'Parser key "([^"]+)": Unable to load config (.*?) - ', message)
    if group:
        name, value = group.groups()
        return f"{name!r} is a group of settings, got {value}; '{shown_by}' shows what is in it"
    return f"configuration: {message}"


def as_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain dictionaries and lists, as `load_config` reads them."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        return [plain(one) for one in value] if isinstance(value, list | tuple) else value

    return plain(dataclasses.asdict(config))


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """A configuration as dotted keys and values, as experiment trackers want them."""
    out: dict[str, Any] = {}
    for key, value in (config if isinstance(config, dict) else as_dict(config)).items():
        if isinstance(value, dict):
            out.update(flat(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = value
    return out
