"""How fast a model's units become durable: what was done, at which rate, how long the rest takes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 60.0
"""Recent rates look back so many seconds, further where fewer than ``WINDOW_UNITS`` units fall into them."""
WINDOW_UNITS = 8
SHORTEST_WINDOW_S = 1.0
"""Over less a rate says nothing: the first baseline unit takes milliseconds."""


@dataclass(frozen=True)
class Receipt:
    """What the sink tells the driver about one durable unit.

    Attributes:
        unit_id: The unit; a second receipt of the same unit and model changes nothing.
        model: The model that answered.
        posts: Posts of the unit.
        requests: Requests answered, over tasks and settings.
        errors: Requests that ended in an error.
        prompt_tokens: Tokens of all prompts.
        output_tokens: Tokens generated.
        seconds: From the start of the unit's first batch to its durable file.
        elsewhere: Another process answered it, or an execution that stalled before it could tell: rates leave it out.
        reused: Requests whose answers were taken over from earlier runs.
        reused_from: The ids of those runs, separated by commas.
    """

    unit_id: str
    model: str
    posts: int
    requests: int
    errors: int
    prompt_tokens: int
    output_tokens: int
    seconds: float
    elsewhere: bool = False
    reused: int = 0
    reused_from: str = ""


@dataclass(frozen=True)
class Rates:
    """Work per second: posts, requests, output tokens."""

    posts: float
    requests: float
    output_tokens: float


@dataclass
class Counts:
    """What this process did, without what a run found done already."""

    posts: int = 0
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0

    def add(self, receipt: Receipt) -> None:
        """Count one unit."""
        self.posts += receipt.posts
        self.requests += receipt.requests
        self.errors += receipt.errors
        self.prompt_tokens += receipt.prompt_tokens
        self.output_tokens += receipt.output_tokens

    def since(self, posts: int, requests: int, output_tokens: int, seconds: float) -> Rates:
        """Return the rates since these earlier counts, ``seconds`` ago."""
        if seconds <= 0:
            return Rates(0.0, 0.0, 0.0)
        return Rates(
            (self.posts - posts) / seconds,
            (self.requests - requests) / seconds,
            (self.output_tokens - output_tokens) / seconds,
        )


@dataclass(frozen=True)
class _Mark:
    """Counts of a model at one moment."""

    at: float
    posts: int = 0
    requests: int = 0
    output_tokens: int = 0


@dataclass
class ModelProgress:
    """How far one model is. Times are those of the run's clock, in seconds."""

    name: str
    posts_total: int
    requests_total: int
    posts_before: int
    requests_before: int
    started: float
    ended: float | None = None
    done: Counts = field(default_factory=Counts)
    units: set[str] = field(default_factory=set)
    marks: deque[_Mark] = field(default_factory=deque)

    def add(self, receipt: Receipt, now: float) -> bool:
        """Count a unit, unless it is counted already; say whether it was new."""
        if receipt.unit_id in self.units:
            return False
        self.units.add(receipt.unit_id)
        if receipt.elsewhere:
            self.posts_before += receipt.posts
            self.requests_before += receipt.requests
            return True
        if not self.marks:  # recent rates start with the first unit's work, not with the loading of the weights
            self.marks.append(_Mark(max(self.started, now - max(0.0, receipt.seconds))))
        self.done.add(receipt)
        self.marks.append(_Mark(now, self.done.posts, self.done.requests, self.done.output_tokens))
        while len(self.marks) > WINDOW_UNITS + 1 and self.marks[1].at <= now - WINDOW_S:
            self.marks.popleft()
        return True

    def elapsed(self, now: float) -> float:
        """Seconds since the model was started, until it ended."""
        return (now if self.ended is None else self.ended) - self.started

    def overall(self, now: float) -> Rates:
        """Rates since the model was started, the loading of its weights included."""
        return self.done.since(0, 0, 0, self.elapsed(now))

    def recent(self, now: float) -> Rates:
        """Rates over the recent window; they fall while nothing arrives. Where it is too short, those of the whole."""
        if not self.marks:
            return Rates(0.0, 0.0, 0.0)
        mark = self.marks[0]
        if now - mark.at < SHORTEST_WINDOW_S:
            return self.overall(now)
        return self.done.since(mark.posts, mark.requests, mark.output_tokens, now - mark.at)

    @property
    def posts(self) -> int:
        """Posts done, by whichever process."""
        return min(self.posts_total, self.posts_before + self.done.posts)

    @property
    def requests(self) -> int:
        """Requests done, by whichever process."""
        return min(self.requests_total, self.requests_before + self.done.requests)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.requests >= self.requests_total and self.posts >= self.posts_total

    def left(self, now: float) -> float | None:
        """Seconds until all requests are answered, at the recent rate; None while there is no rate."""
        remaining = self.requests_total - self.requests
        if remaining == 0:
            return 0.0
        rate = self.recent(now).requests
        return remaining / rate if rate > 0 else None
