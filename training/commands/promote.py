"""`recsys promote`"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.options import (
    configuration,
    data_arguments,
    json_argument,
    say,
    tracking_argument,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.dataset import Dataset
    from training.promotion import Gate, Tolerances


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("name", help="a registered model")
    parser.add_argument(
        "model_version", nargs="?", metavar="VERSION", help="its version (default: the challenger, else the newest)"
    )
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason (recorded; optional, but for --no-gates)")
    parser.add_argument("--by", metavar="NAME", help="who promotes it (default: the user that runs this)")
    group = parser.add_argument_group("gates")
    group.add_argument(
        "--since",
        metavar="TIME",
        help="measure on interactions from this timestamp or date on (default: all that are later than what both "
        "versions know)",
    )
    group.add_argument(
        "--require-better",
        action="store_true",
        help="refuse a version that is not shown to be better than the champion",
    )
    group.add_argument(
        "--gate",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="tolerances",
        help="one tolerance, such as quality=0.05, latency=3 or depth=50; can be repeated",
    )
    group.add_argument(
        "--no-gates",
        action="store_true",
        help="measure nothing, and check only that the version's files are whole and can be loaded; wants --why",
    )
    data_arguments(parser, splits=False)
    tracking_argument(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measures a version, moves the alias if it passes, and says what became of it."""
    from training.promotion.gated import Refused, promote, promote_ungated
    from training.promotion.moments import moment

    name, version, uri = arguments.name, arguments.model_version, arguments.tracking_uri
    if arguments.no_gates:
        if arguments.tolerances or arguments.require_better or arguments.since:
            raise InputError("--no-gates measures nothing, so --gate, --require-better and --since say nothing")
        done = promote_ungated(name, version, why=arguments.why, by=arguments.by, uri=uri)
    else:
        tolerances = _tolerances(arguments)
        dataset = _data(arguments)
        since = arguments.since
        if since is not None:
            since = moment(since, int(dataset.interactions["timestamp"].to_numpy().max()))
        try:
            done = promote(
                name,
                version,
                dataset=dataset,
                since=since,
                tolerances=tolerances,
                why=arguments.why,
                by=arguments.by,
                uri=uri,
                say=say,
            )
        except Refused as refused:
            _print_gates(refused.gates, sys.stderr if arguments.json else sys.stdout)
            if arguments.json:
                print(json.dumps({"model": name, "promoted": False, "gates": _as_json(refused.gates)}))
            # the lines above say by how much
            raise InputError(refused.brief) from refused
        _print_gates(done.gates, sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        facts = {"model": name, "promoted": True, "version": done.champion, "previous": done.previous}
        facts |= {"by": done.by, "at": done.at, "why": done.why, "gates": _as_json(done.gates)}
        print(json.dumps(facts))
    else:
        print(done)
    return 0


def _data(arguments: argparse.Namespace) -> Dataset:
    """The data that the arguments name, as the version reads it."""
    from serving.bundles.manifest import Manifest
    from training.data import load
    from training.families import family_of_kind
    from training.promotion.aliases import candidates
    from training.promotion.registered import recommender

    chosen = candidates(arguments.name, arguments.model_version, arguments.tracking_uri).chosen
    folder = recommender(arguments.name, chosen, arguments.tracking_uri).folder
    if arguments.data is None and arguments.config is None:
        raise InputError(
            f"version {chosen} of {arguments.name!r} is measured before it is promoted: name data that has "
            "interactions which are later than its own with --data or --config; or --no-gates --why TEXT"
        )
    return load(configuration(arguments, family_of_kind(Manifest.read(folder).kind).config).data)


def _tolerances(arguments: argparse.Namespace) -> Tolerances:
    """The tolerances that the arguments state, and the defaults of the others."""
    from training.promotion import Tolerances

    defaults: dict[str, Any] = {
        one.name: one.default for one in dataclasses.fields(Tolerances) if one.name != "require_better"
    }
    given: dict[str, Any] = {}
    for one in arguments.tolerances:
        key, is_there, value = one.partition("=")
        if not is_there or key not in defaults:
            raise InputError(f"--gate takes KEY=VALUE with one of {', '.join(defaults)}, got {one!r}")
        try:
            given[key] = type(defaults[key])(value)
        except ValueError:
            raise InputError(f"--gate {key} is a number such as {defaults[key]}, got {value!r}") from None
    return Tolerances(**given, require_better=arguments.require_better)


def _print_gates(gates: Sequence[Gate], to: Any) -> None:
    """A line for each gate."""
    width = max((len(one.name) for one in gates), default=0)
    for one in gates:
        verdict = {True: "passed", False: "FAILED", None: "-"}[one.passed]
        print(f"   {one.name:<{width}}  {verdict:<6}  {one.told}", file=to)


def _as_json(gates: Sequence[Gate]) -> list[dict[str, Any]]:
    return [one.to_json() for one in gates]
