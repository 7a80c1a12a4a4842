"""What `recsys resolve` tells people, and the tables that it writes beside the map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from features.entity_map import EntityMap
    from features.record_pairs import RecordPairs
    from features.records import Records
    from recsys.blocking.blocker import BlockingConfig, Encode

#: of records and entities that are gone, so many are named
_NAMED = 5

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


def lost_pairs(
    tables: dict[str, Records], config: BlockingConfig, encode: Encode | None, labelled: RecordPairs | None
) -> pl.DataFrame:
    """Matches of two sources, or of one, that are no candidates: those that are known, then those that are likely."""
    from recsys.blocking.blocker import block
    from recsys.blocking.lost import likely_lost, lost_matches

    both = list(tables.values())
    found = block(both[0], both[-1], config, encode)
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
    lines += [
        f"{one['name']}: {one['pairs']:,} pairs judged, {one['same']:,} called the same, in {one['seconds']:.1f} s"
        for one in figures["stages"]
    ]
    if figures["pairs"] > figures["candidates"]:
        lines.append(
            f"with those that were judged before: {figures['pairs']:,} pairs, {figures['pairs_called_same']:,} called "
            "the same"
        )
    if "estimated" in figures:
        lines.append(_estimated(figures["estimated"]))
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
    return "\n".join([*lines, f"version {figures['version']}  {figures['into']}"])


def _estimated(estimate: dict[str, Any]) -> str:
    """What the data say of how right they are."""
    if not estimate["called"]:
        return "without a label: no threshold would be right half of the time, so no two records are called the same"
    return (
        f"estimated without a label, and likely too high: a precision of {estimate['precision']:.0%}, and a recall of "
        f"{estimate['recall']:.0%} of the matches that are best of each other"
    )


def _against_labels(said: dict[str, Any]) -> str:
    """How right it is by labels."""
    what = f"{said['pairs']:,} labelled pairs of {' and '.join(said['sources'])}, {said['same']:,} of them the same"
    known = "  ".join(
        f"{words} {said[one]:.4f}"
        for one, words in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
        if said[one] is not None
    )
    if said["precision"] is None:
        known += " (none is labelled different, so nothing is known of precision)"
    if said["recall"] is None:
        known += " (none is labelled the same, so nothing is known of recall)"
    else:
        known += f"; {said['among_candidates']:.2%} of what is the same was among the candidates"
    return f"against {what}: {known}; {said['unlabelled']:,} more pairs of one entity have no label"


def _some(values: pl.Series) -> str:
    """How many, and the first of them."""
    if not len(values):
        return "none"
    first = ", ".join(map(str, values.head(_NAMED).to_list()))
    return f"{len(values):,} ({first}{', ...' if len(values) > _NAMED else ''})"
