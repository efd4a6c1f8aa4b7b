import io
import re
from collections.abc import Iterator

import pytest
from rich.console import Console

from mmsoc_ray.grid.progress import Receipt, RunProgress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """A run's progress on an invented terminal."""

    def __init__(self, *, terminal: bool, width: int = 120) -> None:
        self.clock = Clock()
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=terminal, width=width, height=40, _environ={})
        self.progress = RunProgress(self.console, clock=self.clock)
        self.units = 0

    def unit(
        self, model: str = "demo", *, after: float = 1.0, posts: int = 10, seconds: float = 1.0, errors: int = 0
    ) -> None:
        self.clock.now += after
        self.units += 1
        self.progress.unit_done(
            Receipt(f"u{self.units}", model, posts, posts * 5, errors, posts * 90, posts * 20, seconds)
        )

    def interrupt(self) -> None:
        with self.progress:
            self.progress.start_model("demo", 100, 500)
            self.unit()
            raise KeyboardInterrupt

    def lines(self) -> list[dict[str, str]]:
        found = self.file.getvalue().splitlines()
        return [dict(re.findall(r'(\w+)=("(?:\\.|[^"\\])*"|\S+)', line)) for line in found]

    def screen(self) -> str:
        console = Console(file=io.StringIO(), width=self.console.width, force_terminal=False, _environ={})
        console.print(self.progress.render())
        file = console.file
        assert isinstance(file, io.StringIO)
        return file.getvalue()


@pytest.fixture
def log() -> Iterator[Stage]:
    stage = Stage(terminal=False)
    with stage.progress:
        yield stage


@pytest.fixture
def terminal() -> Iterator[Stage]:
    stage = Stage(terminal=True)
    with stage.progress:
        yield stage


def test_lines_come_at_start_every_ten_seconds_and_at_the_end(log: Stage) -> None:
    log.progress.start_model("demo", 250, 1250)
    for _ in range(25):
        log.unit()
    log.progress.end_model()
    assert [(line["event"], line["t_s"]) for line in log.lines()] == [
        ("start", "0.0"),
        ("progress", "10.0"),
        ("progress", "20.0"),
        ("end", "25.0"),
    ]


def test_a_line_says_how_far_how_fast_and_how_long(log: Stage) -> None:
    log.progress.start_model("demo", 200, 1000)
    for _ in range(10):
        log.unit(errors=1)
    assert log.lines()[-1] == {
        "event": "progress",
        "t_s": "10.0",
        "model": "demo",
        "posts": "100/200",
        "requests": "500/1000",
        "errors": "10",
        "posts_per_s": "10.00",
        "tokens_per_s": "200.0",
        "elapsed_s": "10.0",
        "left_s": "10",
    }


def test_away_from_a_terminal_no_control_character_is_written(log: Stage) -> None:
    log.progress.start_model("evil\x1b[31m\nmodel", 10, 50)
    log.progress.phase("loading\r\x07weights")
    log.progress.note("a note = with \x1b]0;title\x07 and [red]markup[/red]")
    written = log.file.getvalue()
    assert all(character.isprintable() for line in written.split("\n") for character in line)
    assert written.count("\n") == 3
    assert "[red]markup[/red]" in written


def test_a_log_in_ascii_gets_other_characters_as_escapes() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    with RunProgress(Console(file=file, force_terminal=False, _environ={}), clock=Clock()) as progress:
        progress.note("naïve ↓")
    file.flush()
    assert rb"na\xefve \u2193" in raw.getvalue()


def test_a_resumed_run_counts_only_what_this_process_did(log: Stage) -> None:
    log.progress.start_model("demo", 1000, 5000, posts_done_before=900)
    for _ in range(5):
        log.unit(after=2.0, seconds=2.0)
    line = log.lines()[-1]
    assert (line["posts"], line["requests"]) == ("950/1000", "4750/5000")
    assert (line["posts_per_s"], line["left_s"]) == ("5.00", "10")


def test_a_model_with_nothing_left_to_do_ends_complete(log: Stage) -> None:
    log.progress.start_model("demo", 100, 500, posts_done_before=100)
    log.progress.end_model()
    assert (log.lines()[-1]["event"], log.lines()[-1]["left_s"]) == ("end", "0")


def test_a_model_without_posts_ends_complete(log: Stage) -> None:
    log.progress.start_model("demo", 0, 0)
    log.progress.end_model()
    assert log.lines()[-1]["event"] == "end"


def test_loading_the_weights_does_not_count_into_the_time_left(log: Stage) -> None:
    log.progress.start_model("demo", 100, 500)
    log.unit(after=300.0, seconds=2.0)
    assert log.lines()[-1]["left_s"] == "18"


def test_recent_rate_forgets_what_lies_behind_the_window(log: Stage) -> None:
    log.progress.start_model("demo", 10_000, 50_000)
    for _ in range(100):
        log.unit(after=1.0)
    for _ in range(20):
        log.unit(after=10.0, seconds=10.0)
    assert log.lines()[-1]["posts_per_s"] == "1.00"


def test_rate_of_slow_units_looks_further_back_than_the_window(log: Stage) -> None:
    log.progress.start_model("demo", 10_000, 50_000)
    for _ in range(4):
        log.unit(after=200.0, seconds=200.0)
    assert log.lines()[-1]["posts_per_s"] == "0.05"


def test_a_window_too_short_for_a_rate_shows_the_rate_of_the_whole(log: Stage) -> None:
    log.progress.start_model("demo", 100, 500)
    log.unit(after=20.0, seconds=0.001)
    assert log.lines()[-1]["posts_per_s"] == "0.50"


def test_rate_falls_while_nothing_arrives(log: Stage) -> None:
    log.progress.start_model("demo", 100, 500)
    log.unit(after=1.0)
    log.clock.now += 99.0
    assert log.progress.models[0].recent(log.clock.now).posts == pytest.approx(0.1)


def test_overall_rate_stands_at_the_end(log: Stage) -> None:
    log.progress.start_model("demo", 10, 50)
    log.unit(after=40.0, seconds=1.0)
    log.progress.end_model()
    assert log.lines()[-1]["posts_per_s"] == "0.25"


def test_a_unit_reported_twice_counts_once(log: Stage) -> None:
    log.progress.start_model("demo", 100, 500)
    receipt = Receipt("u1", "demo", 10, 50, 0, 1, 1, 1.0)
    log.progress.unit_done(receipt)
    log.progress.unit_done(receipt)
    assert log.progress.models[0].posts == 10


def test_a_receipt_of_a_model_that_was_not_started_is_refused_by_name(log: Stage) -> None:
    log.progress.start_model("demo", 1, 1)
    with pytest.raises(ValueError, match="'u1' for model 'dmeo', which was not started; started are: demo"):
        log.unit("dmeo")


def test_models_may_run_at_the_same_time(log: Stage) -> None:
    log.progress.start_model("a", 10, 50)
    log.progress.start_model("b", 10, 50)
    log.unit("a")
    log.progress.end_model("a")
    assert [(model.name, model.posts, model.ended is not None) for model in log.progress.models] == [
        ("a", 10, True),
        ("b", 0, False),
    ]


def test_a_phase_is_printed_once(log: Stage) -> None:
    log.progress.phase("aggregating")
    log.progress.phase("aggregating")
    assert [line["event"] for line in log.lines()] == ["phase"]


def test_a_run_that_starts_no_model_prints_no_totals(log: Stage) -> None:
    log.progress.__exit__(None, None, None)
    assert log.lines() == []


def test_a_phase_shows_its_own_time(terminal: Stage) -> None:
    terminal.clock.now += 100.0
    terminal.progress.phase("aggregating")
    terminal.clock.now += 7.0
    assert terminal.screen().strip() == "aggregating … 0:00:07"


def test_an_interrupted_run_says_where_it_stopped() -> None:
    stage = Stage(terminal=False)
    with pytest.raises(KeyboardInterrupt):
        stage.interrupt()
    assert [(line["event"], line.get("stopped_by")) for line in stage.lines()] == [
        ("start", None),
        ("stop", None),
        ("total", "KeyboardInterrupt"),
    ]
    assert stage.lines()[-1]["posts"] == "10/100"


def test_an_interrupted_terminal_gets_its_cursor_back() -> None:
    stage = Stage(terminal=True)
    with pytest.raises(KeyboardInterrupt):
        stage.interrupt()
    assert stage.file.getvalue().rstrip().endswith("\x1b[?25h")


def test_the_terminal_shows_a_line_per_model_and_one_for_all(terminal: Stage) -> None:
    terminal.progress.start_model("majority", 100, 500)
    terminal.unit("majority", posts=100)
    terminal.progress.end_model()
    terminal.progress.start_model("demo", 400, 2000)
    for _ in range(10):
        terminal.unit("demo", errors=2)
    lines = terminal.screen().splitlines()
    assert [line.split()[0] for line in lines] == ["model", "majority", "demo", "all"]
    assert lines[1].split()[-2:] == ["took", "0:00:01"]
    assert lines[2].split()[-7:] == ["100/400", "10.0", "10.0", "200", "200", "20", "0:00:30"]
    assert lines[3].split()[1:5] == ["(1", "of", "2", "models)"]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
def test_the_table_fits_the_terminal(width: int) -> None:
    stage = Stage(terminal=True, width=width)
    stage.progress.start_model("a-model-with-a-rather-long-name-7b", 120_000, 600_000, 60_000)
    stage.unit("a-model-with-a-rather-long-name-7b", after=10.0, posts=1000, seconds=10.0)
    lines = stage.screen().splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= width
    assert "61,000/120,000" in lines[1]
    assert lines[1].rstrip().endswith("0:09:50")


def test_the_first_unit_of_a_model_ends_the_phase_on_the_screen(terminal: Stage) -> None:
    terminal.progress.start_model("demo", 100, 500)
    terminal.progress.phase("loading weights")
    assert "loading weights" in terminal.screen()
    terminal.unit()
    assert "loading weights" not in terminal.screen()


def test_models_not_started_yet_make_the_time_left_a_lower_bound() -> None:
    stage = Stage(terminal=True)
    stage.progress.expect_models(3)
    stage.progress.start_model("demo", 100, 500)
    stage.unit()
    total = stage.screen().splitlines()[-1]
    assert "all (0 of 3 models)" in total
    assert total.rstrip().endswith("> 0:00:09")


def test_markup_in_a_models_name_is_shown_not_obeyed(terminal: Stage) -> None:
    terminal.progress.start_model("[red]x[/red]\n", 1, 1)
    assert "[red]x[/red]\\n" in terminal.screen()


def test_units_of_another_driver_are_done_but_raise_no_rate(log):
    log.progress.start_model("demo", 20, 100)
    log.unit(posts=10)
    log.progress.unit_done(Receipt("other", "demo", 10, 50, 0, 0, 0, 0.0, elsewhere=True))
    log.progress.end_model("demo")
    end = log.lines()[-1]
    assert (end["event"], end["posts"], end["requests"]) == ("end", "20/20", "100/100")
    assert end["posts_per_s"] == "10.00"
