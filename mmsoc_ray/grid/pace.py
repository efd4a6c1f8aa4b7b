"""How fast a model's units become durable: what was done, at which rate, how long the rest takes."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass, field

from mmsoc_ray.grid.usage import EngineUse

WINDOW_S = 60.0
"""Recent rates look back so many seconds, further where fewer than ``WINDOW_UNITS`` units fall into them."""
WINDOW_UNITS = 8
SHORTEST_WINDOW_S = 1.0
"""Over less a rate says nothing: the first baseline unit takes milliseconds."""


@dataclass(frozen=True)
class CellWork:
    """What an engine was asked of one cell; answers that were taken over are left out.

    Attributes:
        dataset: Dataset of the cell.
        setting: Its setting.
        task: Its task.
        requests: Requests, those that ended in an error included.
        prompt_tokens: Tokens of their prompts.
        cached_tokens: Those of them that were not computed again.
        output_tokens: Tokens generated.
    """

    dataset: str
    setting: str
    task: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Receipt:
    """What an engine's actor tells the driver about one durable unit.

    Attributes:
        unit_id: The unit; a second receipt of the same unit and model changes nothing.
        model: The model that answered.
        posts: Posts of the unit.
        requests: Requests answered, over tasks and settings.
        errors: Requests that ended in an error.
        prompt_tokens: Tokens of all prompts.
        output_tokens: Tokens generated.
        seconds: From the start of the unit's first batch to its last answer.
        elsewhere: Another process answered it, or an execution that stalled before it could tell: rates leave it out.
        repeated: Requests with the key of another one of the unit, with which its answer came.
        reused: Requests whose answers were taken over from earlier runs.
        reused_from: The ids of those runs, separated by commas.
        work: What the engine was asked, by cell.
        version: The engine's version.
        use: What its engine did since the last unit of that engine; None where it was not asked.
        ended_at: When the engine had answered it, in seconds since 1970 by the clock of its node; 0 where none has. The
            driver may hear of a unit only with the next.
        sink_s: Seconds of making the unit durable.
        prepare_peak_bytes: Highest resident memory of the process that prepared the unit.
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
    repeated: int = 0
    reused: int = 0
    reused_from: str = ""
    work: tuple[CellWork, ...] = ()
    version: str = ""
    use: EngineUse | None = None
    ended_at: float = 0.0
    sink_s: float = 0.0
    prepare_peak_bytes: int = 0

    @property
    def json(self) -> str:
        """The receipt as one column of a row of Ray Data."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        """Read a receipt back."""
        content = json.loads(text)
        work = tuple(CellWork(**cell) for cell in content.pop("work"))
        use = content.pop("use")
        return cls(**content, work=work, use=use and EngineUse(**use))


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
