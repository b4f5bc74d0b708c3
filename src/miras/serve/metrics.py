"""What is counted, for Prometheus: requests, the queue, seconds of each stage, tokens, sessions.

In: what happened. Out: the text of `/metrics`. Nothing in it says what anybody asked.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Metrics:
    """The counters of one server; a registry of its own, so that several servers fit into one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "miras_requests", "Answers, by route and status.", ["method", "route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "miras_request_seconds",
            "Seconds until an answer is complete.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.turns = Counter("miras_turns", "Jobs of the model, by how they ended.", ["outcome"], registry=registry)
        self.wait = Histogram("miras_wait_seconds", "Seconds in the queue.", buckets=SECONDS, registry=registry)
        self.stage = Histogram(
            "miras_stage_seconds", "Seconds of a turn, by stage.", ["stage"], buckets=SECONDS, registry=registry
        )
        self.tokens = Counter("miras_tokens", "Tokens run through the language model.", registry=registry)
        self.restored = Counter("miras_sessions_restored", "Sessions made again from the disk.", registry=registry)

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A number that is read when somebody asks for it."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)
