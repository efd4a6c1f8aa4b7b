"""The social-media tasks: what is asked, how it is put into words, how answers are read."""

from mmsoc_ray.tasks.classification import classification
from mmsoc_ray.tasks.explanation import EXPLANATION_MARK, without_explanation
from mmsoc_ray.tasks.few_shot import Example, ExampleChooser, example, right_answer, with_examples
from mmsoc_ray.tasks.kinds import kind_metrics, kind_parser, kind_tokens
from mmsoc_ray.tasks.label_rules import LABEL_RULES, LabelRule, LabelWords, label_words
from mmsoc_ray.tasks.parsing import (
    PARSER_VERSION,
    AnswerParser,
    FreeTextParser,
    LabelParser,
    Parsed,
    ParsePolicy,
    QuotedTextParser,
    TagParser,
    normalise_tag,
)
from mmsoc_ray.tasks.registry import TASKS, get_task
from mmsoc_ray.tasks.self_improve import improve_prompt
from mmsoc_ray.tasks.settings import (
    EXPLAIN,
    FINETUNED,
    FINETUNED_SETTINGS,
    NUMBERED_SETTINGS,
    SETTINGS,
    base_setting,
    check_setting,
    is_finetuned,
    rounds,
    shots,
    shows_picture,
)
from mmsoc_ray.tasks.task import TEXT_WORDS, Task, TaskKind, render, truncate_input
from mmsoc_ray.tasks.why import (
    EXPLANATION_TOKENS,
    explained_task,
    is_explainable,
    is_official,
    why_question,
    why_questions,
)

__all__ = [
    "EXPLAIN",
    "EXPLANATION_MARK",
    "EXPLANATION_TOKENS",
    "FINETUNED",
    "FINETUNED_SETTINGS",
    "LABEL_RULES",
    "NUMBERED_SETTINGS",
    "PARSER_VERSION",
    "SETTINGS",
    "TASKS",
    "TEXT_WORDS",
    "AnswerParser",
    "Example",
    "ExampleChooser",
    "FreeTextParser",
    "LabelParser",
    "LabelRule",
    "LabelWords",
    "ParsePolicy",
    "Parsed",
    "QuotedTextParser",
    "TagParser",
    "Task",
    "TaskKind",
    "base_setting",
    "check_setting",
    "classification",
    "example",
    "explained_task",
    "get_task",
    "improve_prompt",
    "is_explainable",
    "is_finetuned",
    "is_official",
    "kind_metrics",
    "kind_parser",
    "kind_tokens",
    "label_words",
    "normalise_tag",
    "render",
    "right_answer",
    "rounds",
    "shots",
    "shows_picture",
    "truncate_input",
    "why_question",
    "why_questions",
    "with_examples",
    "without_explanation",
]
