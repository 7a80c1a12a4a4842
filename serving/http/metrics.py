"""What a service tells Prometheus: how long each stage takes, how much waits, what became of requests and of swaps.

Several worker processes keep their figures in one folder (PROMETHEUS_MULTIPROC_DIR, which `serving.workers` sets before
they start), and any of them answers for all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from serving.state.shadow import ShadowFigures

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_USERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Figures:
    """The figures of one application; as many as there are applications in a process, which tests make."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "recsys_requests", "Requests, by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "recsys_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        stages = Histogram(
            "recsys_stage_seconds",
            "Parts of it: wait (for a thread), compute (in it; once for all that are answered together).",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._wait, self._compute = stages.labels("wait"), stages.labels("compute")
        self._together = Histogram(
            "recsys_batch_users", "Users that are answered together.", buckets=_USERS, registry=registry
        )
        self._waiting = Gauge(
            "recsys_waiting_users",
            "Users of requests that wait for a thread.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._refused = Counter(
            "recsys_refused", "Requests that were not computed: busy, late.", ["why"], registry=registry
        )
        self._answers = Counter(
            "recsys_answers",
            "Lists by what they follow from: user, history, popularity.",
            ["source"],
            registry=registry,
        )
        self._unknown = Counter(
            "recsys_unknown_history_items", "Given history items that the catalogue lacks.", registry=registry
        )
        self._given = Counter("recsys_history_items", "Given history items.", registry=registry)
        self._swaps = Counter(
            "recsys_swaps",
            "What became of other versions: swapped, refused, failed. Each process swaps by itself and counts itself, "
            "so one promotion counts once for each of them.",
            ["outcome"],
            registry=registry,
        )
        self._unasked = Counter(
            "recsys_registry_failures",
            "How often the registry could not be asked, by any of the processes.",
            registry=registry,
        )
        self._versions = Gauge(
            "recsys_model_workers",
            "Processes that answer with a version.",
            ["name", "version", "build_id"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._wanted = Gauge(
            "recsys_wanted_workers",
            "Processes that the registry has told, when they asked it last, to answer with a version; where they are "
            "more than recsys_model_workers has of it, some lag behind.",
            ["name", "version"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._wants: tuple[str, str] | None = None
        self._degraded = Counter(
            "recsys_degraded", "Answers that had to do without: events, impressions.", ["what"], registry=registry
        )
        self._trimmed = Counter(
            "recsys_trimmed_events",
            "Acknowledged events that were discarded, because their users had later ones.",
            registry=registry,
        )
        self._shadow = Gauge(
            "recsys_shadow_requests",
            "Requests that a challenger was asked in the shadow, dropped, or failed.",
            ["outcome"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._overlap = Gauge(
            "recsys_shadow_overlap",
            "Mean share of the first k items that the challenger's first k hold too, so far.",
            ["k"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )

    # the watch of a compute queue

    def began(self, waited: Sequence[float], size: int) -> None:
        """Some requests are computed now, after so many seconds each, for so many users together."""
        for one in waited:
            self._wait.observe(one)
        self._together.observe(size)

    def ended(self, seconds: float) -> None:
        """They have been computed."""
        self._compute.observe(seconds)

    def waiting(self, size: int) -> None:
        """So many users are waited for now."""
        self._waiting.set(size)

    # what else happens

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, why: str) -> None:
        """A request was not computed."""
        self._refused.labels(why).inc()

    def answered(self, sources: Sequence[str], unknown: Sequence[int], given: int) -> None:
        """Lists have been made."""
        for source in sources:
            self._answers.labels(source).inc()
        self._unknown.inc(sum(unknown))
        self._given.inc(given)

    def swap(self, outcome: str) -> None:
        """Another version was looked at."""
        self._swaps.labels(outcome).inc()

    def unasked(self) -> None:
        """The registry could not be asked."""
        self._unasked.inc()

    def degraded(self, what: str) -> None:
        """An answer had to do without something."""
        self._degraded.labels(what).inc()

    def trimmed(self, many: int) -> None:
        """Acknowledged events have been discarded."""
        self._trimmed.inc(many)

    def shadowed(self, figures: ShadowFigures) -> None:
        """A challenger has been asked."""
        for outcome in ("asked", "dropped", "failed"):
            self._shadow.labels(outcome).set(getattr(figures, outcome))
        for k, overlap in figures.overlap.items():
            self._overlap.labels(str(k)).set(overlap)

    def serves(self, identity: dict[str, Any], yes: bool = True) -> None:
        """This process answers with a version, or does so no more."""
        labels = [str(identity.get(name) or "") for name in ("name", "version", "build_id")]
        self._versions.labels(*labels).set(1 if yes else 0)

    def wants(self, name: str, version: str | None) -> None:
        """This process has been told which version to answer with."""
        if self._wants is not None:
            self._wanted.labels(*self._wants).set(0)
        self._wants = (name, version or "")
        self._wanted.labels(*self._wants).set(1)

    def text(self) -> bytes:
        """All figures, of all processes, as Prometheus reads them."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)
