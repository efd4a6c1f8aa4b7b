"""What became of a teacher's explanations: asked, kept and left out, by rule and task."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict

from mmsoc_ray.training.explanations import EXPLANATION_RULES, Verdict


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskCounts(_Strict):
    """What became of a task's explanations.

    Attributes:
        asked: Explanations that the teacher was asked for.
        kept: Those that stand in the file.
        shortened: Those among them without their unfinished last sentence.
        filtered: Rule to those that it left out, in the order of the rules.
    """

    asked: int
    kept: int
    shortened: int
    filtered: dict[str, int]


class AskedQuestion(_Strict):
    """What was asked about a label.

    Attributes:
        question: The question; ``{answer}`` stands for the right answer.
        source: ``MM-Soc``, or ``ours``.
    """

    question: str
    source: str


class ExplanationReport(_Strict):
    """The report beside a file of explanations.

    Attributes:
        run_id: The run that asked the teacher; it holds all that was said.
        teacher: Name of the teacher.
        source: What stands in the file's column ``source``.
        datasets: Dataset to the split whose labels were explained.
        limit: Only the first so many posts of each.
        file: The file below the output root.
        sha256: Digest of its bytes.
        rules: Rule to what it finds.
        questions: Task and label to what was asked; ``*`` is every other answer.
        tasks: Task to its counts.
    """

    run_id: str
    teacher: str
    source: str
    datasets: dict[str, str]
    limit: int | None
    file: str
    sha256: str
    rules: dict[str, str] = {rule.name: rule.statement for rule in EXPLANATION_RULES}
    questions: dict[str, dict[str, AskedQuestion]]
    tasks: dict[str, TaskCounts]

    @property
    def together(self) -> TaskCounts:
        """The counts of all tasks."""
        counts = list(self.tasks.values())
        return TaskCounts(
            asked=sum(count.asked for count in counts),
            kept=sum(count.kept for count in counts),
            shortened=sum(count.shortened for count in counts),
            filtered={name: sum(count.filtered.get(name, 0) for count in counts) for name in self.rules},
        )


class Tally:
    """Counts what becomes of a task's explanations, one by one."""

    def __init__(self) -> None:
        self._by_rule: Counter[str | None] = Counter()
        self._shortened = 0

    def add(self, verdict: Verdict) -> None:
        """Count an explanation."""
        self._by_rule[verdict.rule] += 1
        self._shortened += verdict.shortened

    def counts(self) -> TaskCounts:
        """Return the counts; rules that found nothing are left out."""
        return TaskCounts(
            asked=self._by_rule.total(),
            kept=self._by_rule[None],
            shortened=self._shortened,
            filtered={rule.name: count for rule in EXPLANATION_RULES if (count := self._by_rule[rule.name])},
        )
