"""What `recsys resolve` tells people, and the tables that it writes beside the map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from features.entity_map import EntityMap
    from features.record_pairs import RecordPairs
    from recsys.blocking.candidates import Candidates

#: of records and entities that are gone, so many are named
_NAMED = 5

#: below this precision, which is likely too high, a map needs labels
_SURE = 0.8

#: what has happened to ids, as people are told
_EVENTS = {
    "new": "new",
    "split": "new for what was part of another",
    "merge": "retired, for their records are another's now",
    "gone": "retired with the last of their records",
    "back": "that were gone lead to where their records have come back",
    "moved": "that stay have lost records to others that stay",
}


def gone_records(before: EntityMap, now: EntityMap) -> pl.DataFrame:
    """Records that a map has no more.

    Returns:
        Columns source, record_id, entity_id (what each was of), and now: what that has become, null where all its
        records are gone.
    """
    lost = before.members.join(now.members, on=["source", "record_id"], how="anti", maintain_order="left")
    return lost.with_columns(now=now.current(lost["entity_id"]))


def lost_pairs(found: Candidates, labelled: RecordPairs | None) -> pl.DataFrame:
    """Matches of two sources, or of one, that are no candidates: those that are known, then those that are likely."""
    from recsys.blocking.lost import likely_lost, lost_matches

    lost = likely_lost(found)
    if labelled is None:
        return lost
    known = lost_matches(found, labelled).with_columns(by=pl.lit("known"))
    return pl.concat([known.select(lost.columns), lost])


def told(figures: dict[str, Any], before: EntityMap, gone: pl.DataFrame) -> str:
    """What came of it.

    Args:
        figures: What `--json` prints.
        before: The map as it was.
        gone: What `gone_records` gave.
    """
    lines = [
        f"{figures['records']:,} records ({figures['new_records']:,} new, {figures['changed_records']:,} changed, "
        f"{figures['unchanged_records']:,} as before) are {figures['entities']:,} entities, the largest of "
        f"{figures['largest_entity']:,}"
    ]
    called = "above the threshold" if figures["one_to_one"] else "called the same"
    lines += [
        f"{one['name']}: {one['pairs']:,} pairs judged, {one['same']:,} {called}, in {one['seconds']:.1f} s"
        for one in figures["stages"]
    ]
    if figures["pairs"] > figures["candidates"]:
        lines.append(
            f"with those that were judged before: {figures['pairs']:,} pairs, {figures['pairs_called_same']:,} {called}"
        )
    if figures["one_to_one"]:
        lines.append(
            f"one to one: of {figures['pairs_called_same']:,} pairs above the threshold, {figures['pairs_joined']:,} "
            "are kept"
        )
    if "estimated" in figures:
        lines.append(_estimated(figures["estimated"], "labels" in figures))
    if before.version:
        counts = figures["events"]
        happened = "; ".join(f"{counts[one]:,} {words}" for one, words in _EVENTS.items() if one in counts)
        lines.append(f"ids since the last time: {happened or 'no change'}")
    if gone.height:
        names = gone.select(pl.format("{}:{}", "source", "record_id")).to_series()
        ids = gone.filter(pl.col("now").is_null())["entity_id"].unique().sort()
        lines.append(f"records that are gone: {_some(names)}; entities that are gone with them: {_some(ids)}")
    if "labels" in figures:
        lines.append(_against_labels(figures["labels"]))
        if warning := _warning(figures["labels"], figures["one_to_one"]):
            lines.append(warning)
    if "blocking" in figures:
        lines.append(f"candidates of {blocked(figures['blocking'])}")
    return "\n".join([*lines, f"version {figures['version']}  {figures['into']}"])


def _estimated(estimate: dict[str, Any], labelled: bool) -> str:
    """What the data say of how right they are."""
    if not estimate["called"]:
        return "without a label: no threshold would be right half of the time, so no two records are called the same"
    advice = "" if labelled or estimate["precision"] >= _SURE else "; label some pairs: recsys match label"
    return (
        f"estimated without a label, and likely too high: a precision of {estimate['precision']:.0%}, and a recall of "
        f"{estimate['recall']:.0%} of the matches that are best of each other{advice}"
    )


def _against_labels(said: dict[str, Any]) -> str:
    """How right it is by labels."""
    what = f"{said['pairs']:,} labelled pairs of {' and '.join(said['sources'])}, {said['same']:,} of them the same"
    if "taken_for_the_same" in said:
        what = (
            f"{said['pairs']:,} pairs of {' and '.join(said['sources'])}, all taken for the same since "
            f"{said['taken_for_the_same']} has no column 'label'"
        )
    known = "  ".join(
        f"{words} {said[one]:.4f}"
        for one, words in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
        if said[one] is not None
    )
    if said["precision"] is None:
        known += " (none is known to be different, so nothing is known of precision)"
    if said["recall"] is None:
        known += " (none is labelled the same, so nothing is known of recall)"
    else:
        known += f"; {said['among_candidates']:.2%} of what is the same was among the candidates"
    return f"against {what}: {known}; {said['unlabelled']:,} more pairs of one entity have no label"


def _warning(said: dict[str, Any], one_to_one: bool) -> str | None:
    """That a precision by labels says little, where it does.

    It is that of joined pairs which have a label. Labels are mostly some of many, so that joined pairs without one are
    no fault. But a record whose match is labelled has its partner: where most of what such records are joined with has
    no label, either things have many records and few of their pairs are labelled, or the map joins what nobody has
    been asked about, as one does that has learned from negatives unlike what it is asked. The figure is silent of it.
    """
    if said["precision"] is None or said["besides"] <= said["called"]:
        return None
    joined = said["called"] + said["unlabelled"]
    return (
        f"warning: {said['unlabelled']:,} of the {joined:,} joined pairs have no label, {said['besides']:,} of them of "
        "records that have a labelled match already, so this precision says little: label some of them (recsys "
        f"match label){'' if one_to_one else ', or try --one-to-one'}"
    )


def blocked(blocking: dict[str, Any]) -> str:
    """What blocking came to."""
    return f"{' and '.join(blocking['sources'])}: {blocking['told']}  {blocking['out']}"


def _some(values: pl.Series) -> str:
    """How many, and the first of them."""
    if not len(values):
        return "none"
    first = ", ".join(map(str, values.head(_NAMED).to_list()))
    return f"{len(values):,} ({first}{', ...' if len(values) > _NAMED else ''})"
