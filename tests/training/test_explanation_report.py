from mmsoc_ray.training.explanation_report import ExplanationReport, Tally
from mmsoc_ray.training.explanations import Verdict


def tally(*verdicts):
    counted = Tally()
    for verdict in verdicts:
        counted.add(verdict)
    return counted.counts()


def test_each_explanation_is_counted_once_and_rules_stand_in_their_order():
    kept, cut = Verdict("Why."), Verdict("Why.", shortened=True)
    counts = tally(Verdict(None, "too_short"), kept, Verdict(None, "failed"), cut, Verdict(None, "failed"))
    assert (counts.asked, counts.kept, counts.shortened) == (5, 2, 1)
    assert list(counts.filtered.items()) == [("failed", 2), ("too_short", 1)]


def test_all_tasks_together_are_the_sum_of_each():
    tasks = {"humor": tally(Verdict("a"), Verdict(None, "empty")), "sarcasm": tally(Verdict(None, "empty"))}
    report = ExplanationReport(
        run_id="r", teacher="t", source="t@1", datasets={"d": "train"}, limit=None, file="f", sha256="0",
        questions={}, tasks=tasks,
    )  # fmt: skip
    assert (report.together.asked, report.together.kept, report.together.filtered["empty"]) == (3, 1, 2)
    assert ExplanationReport.model_validate_json(report.model_dump_json()) == report
