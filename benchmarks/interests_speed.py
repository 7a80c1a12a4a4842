"""What several interests cost: a million items, a hundred thousand users, 200 candidates for each.

Items lie around planted centres; a user has taken some of one to five of them, and the user's vector is the mean of
those. "unimodal" asks the index once a user, "mixture" and "smoothed" once an interest, five at the most, all of the
same index, some users at a time, what they have taken left out. "recall" is the share of what the same retriever finds
in an exact index that it finds here; of a sample of users. "fit" is what a catalogue and its users take once: clusters,
the index of users, and then the mixtures of all users, their neighbours looked up and smoothed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from report import Report, arguments

from features.batches import JaggedArray
from features.errors import InputError
from recsys.directions import directions
from recsys.index import IndexConfig, ItemIndex
from recsys.interests import KINDS, Clusters, ClustersConfig, InterestsConfig, KNNEmbed, RetrieverKind, SimilarUsers

DIM, K = 64, 200
_USERS = 1024


def main() -> None:
    """Makes, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--index", default="ivf", choices=("exact", "ivf", "hnsw"), help="kind of both indexes")
    parser.add_argument("--rounds", type=int, default=3, help="how often the retrievers take turns")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1 if options.quick else options.threads)
    n_items, n_users = (2_000, 200) if options.quick else (options.items, options.users)
    report = Report("interests_speed", quick=options.quick)
    items, histories, users = made(n_items, n_users)
    config = InterestsConfig(
        components=5, neighbours=10, mixing=0.5, clusters=ClustersConfig(clusters=20 if options.quick else 1000)
    )
    kind = IndexConfig(kind=options.index)
    facts = {"items": n_items, "users": n_users, "d": DIM, "k": K, "index": kind.kind, "components": config.components}
    seconds, index = timed(lambda: ItemIndex.build(items, kind))
    report.add("build/items", "seconds", seconds, settings=facts)
    report.add("build/items", "recall@100", index.recall)
    print(f"items are indexed: {seconds:.0f} s", flush=True)
    knn_embed = fitted(report, config, items, histories, users, index, kind, facts)
    sample = np.random.default_rng(1).permutation(n_users)[: 100 if options.quick else 20_480]
    compare(report, knn_embed, histories, users, sample, 1 if options.quick else options.rounds, facts)
    recalls(report, knn_embed, histories, users, sample[:1000], items, facts)
    report.finish(options.out)


def made(n_items: int, n_users: int, seed: int = 0) -> tuple[np.ndarray, JaggedArray, np.ndarray]:
    """Items (N, D), histories of 10 to 50 items (U rows), and the users' vectors (U, D)."""
    random = np.random.default_rng(seed)
    n_groups = max(10, n_items // 1000)
    centres = directions(random.normal(size=(n_groups, DIM)))
    group = random.integers(n_groups, size=n_items)  # in no order, as items of a catalogue
    noise = directions(random.normal(size=(n_items, DIM)).astype(np.float32))
    items = directions(centres[group] + 0.7 * noise)
    members = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[members], np.arange(n_groups))
    sizes = np.diff(starts, append=n_items)
    lengths, tastes = random.integers(10, 51, n_users), random.integers(1, 6, n_users)
    owner = np.repeat(np.arange(n_users), lengths)
    liked = random.integers(n_groups, size=(n_users, 5))
    chosen = liked[owner, (random.random(len(owner)) * tastes[owner]).astype(int)]
    rows = starts[chosen] + (random.random(len(owner)) * sizes[chosen]).astype(int)
    rows = members[np.minimum(rows, n_items - 1)]
    histories = JaggedArray(rows, np.concatenate([[0], np.cumsum(lengths)]))
    users = np.add.reduceat(items[histories.values], histories.offsets[:-1], axis=0)
    return items, histories, directions(users)


def fitted(
    report: Report,
    config: InterestsConfig,
    items: np.ndarray,
    histories: JaggedArray,
    users: np.ndarray,
    index: ItemIndex,
    kind: IndexConfig,
    facts: dict[str, Any],
) -> KNNEmbed:
    """All that is done once, and how long it takes."""
    clustered, clusters = timed(lambda: Clusters.fit(items, config.clusters))
    indexed, similar = timed(lambda: SimilarUsers.fit(users, kind))
    knn_embed = KNNEmbed(config, clusters, index, similar, histories)

    def all_mixtures() -> None:
        for start in range(0, len(users), _USERS):
            some = np.arange(start, min(start + _USERS, len(users)))
            knn_embed.mixtures("smoothed", histories.rows(some), users[some], some)

    mixed, _ = timed(all_mixtures)
    for name, seconds in (("clusters", clustered), ("users-index", indexed), ("smoothed-mixtures", mixed)):
        report.add(f"fit/{name}", "seconds", seconds, settings=facts)
    report.add("fit/together", "seconds", clustered + indexed + mixed, settings=facts)
    print(f"fit: clusters {clustered:.0f} s, index of users {indexed:.0f} s, mixtures {mixed:.0f} s", flush=True)
    return knn_embed


def compare(
    report: Report,
    knn_embed: KNNEmbed,
    histories: JaggedArray,
    users: np.ndarray,
    sample: np.ndarray,
    rounds: int,
    facts: dict[str, Any],
) -> None:
    """The retrievers take turns."""
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(rounds):
        for kind in KINDS:
            seconds, _ = timed(lambda kind=kind: found(knn_embed, kind, histories, users, sample))
            rates[kind].append(len(sample) / seconds)
        print(f"turn {turn + 1}: " + ", ".join(f"{kind} {rates[kind][-1]:.0f}/s" for kind in KINDS), flush=True)
    for kind, values in rates.items():
        report.add_runs(f"{facts['index']}/{kind}", "users_per_second", values, settings=facts)
    for kind in KINDS[1:]:
        ratios = [a / b for a, b in zip(rates["unimodal"], rates[kind], strict=True)]
        report.add(f"{facts['index']}/{kind}", "times_unimodal", statistics.median(ratios), n=rounds)


def recalls(
    report: Report,
    knn_embed: KNNEmbed,
    histories: JaggedArray,
    users: np.ndarray,
    sample: np.ndarray,
    items: np.ndarray,
    facts: dict[str, Any],
) -> None:
    """The share of the exact lists that the index finds."""
    exact = ItemIndex.build(items)
    other = KNNEmbed(knn_embed.config, knn_embed.clusters, exact, knn_embed.users, histories)
    for kind in KINDS:
        mine, theirs = (found(one, kind, histories, users, sample) for one in (knn_embed, other))
        offset = np.arange(len(sample))[:, None] * len(items)
        share = float(np.isin(theirs + offset, mine + offset).mean())
        report.add(f"{facts['index']}/{kind}", f"recall@{K}", share, settings={"users": len(sample)})


def found(
    knn_embed: KNNEmbed, kind: RetrieverKind, histories: JaggedArray, users: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """The lists of some users. (B, K)"""
    lists = []
    for start in range(0, len(rows), _USERS):
        some = rows[start : start + _USERS]
        own = histories.rows(some)
        lists.append(knn_embed.retrieve(kind, own, users[some], K, own, some).rows)
    return np.concatenate(lists)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """How many seconds some work took, and what it gave."""
    began = time.perf_counter()
    made = work()
    return time.perf_counter() - began, made


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"interests_speed.py: {error}") from None
