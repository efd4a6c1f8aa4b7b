"""Metrics as pure functions of arrays, and the bootstrap of their intervals.

Every docstring defines its metric, and what an answer counts as that could not be read or that failed.
"""

from mmsoc_ray.metrics.answers import output_tokens_mean, refusal_rate, success_rate
from mmsoc_ray.metrics.averages import MeanStatistic, RatioStatistic
from mmsoc_ray.metrics.bertscore import Encoder, bertscore_f1, bertscore_values
from mmsoc_ray.metrics.bleu import CorpusStatistic, bleu, chrf
from mmsoc_ray.metrics.bootstrap import (
    LEVEL,
    RESAMPLES,
    Statistic,
    intervals,
    percentile_interval,
    resampled_counts,
    resampled_values,
    resampled_weights,
)
from mmsoc_ray.metrics.classification import (
    ClassScores,
    accuracy,
    balanced_accuracy,
    macro_f1,
    macro_precision,
    macro_recall,
    mcc,
    micro_f1,
    micro_precision,
    micro_recall,
    per_class_scores,
    weighted_f1,
    weighted_precision,
    weighted_recall,
)
from mmsoc_ray.metrics.confusion import Counts, Floats, classification_values, confusion_counts, divide
from mmsoc_ray.metrics.drift import drift
from mmsoc_ray.metrics.overlap import rouge_1, rouge_2, rouge_l, rouge_scores
from mmsoc_ray.metrics.paired import bootstrap_p, mcnemar_exact
from mmsoc_ray.metrics.ranking import (
    ProbabilityStatistic,
    RankingStatistic,
    auroc,
    average_precision,
    expected_calibration_error,
    log_loss,
)
from mmsoc_ray.metrics.tagging import (
    TagStatistic,
    hamming_loss,
    jaccard,
    sample_f1,
    tag_exact_match,
    tag_macro_f1,
    tag_micro_f1,
)
from mmsoc_ray.metrics.transcription import (
    character_error_rate,
    edit_counts,
    exact_match,
    normalise_text,
    word_error_rate,
)

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "ClassScores",
    "CorpusStatistic",
    "Counts",
    "Encoder",
    "Floats",
    "MeanStatistic",
    "ProbabilityStatistic",
    "RankingStatistic",
    "RatioStatistic",
    "Statistic",
    "TagStatistic",
    "accuracy",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "bertscore_f1",
    "bertscore_values",
    "bleu",
    "bootstrap_p",
    "character_error_rate",
    "chrf",
    "classification_values",
    "confusion_counts",
    "divide",
    "drift",
    "edit_counts",
    "exact_match",
    "expected_calibration_error",
    "hamming_loss",
    "intervals",
    "jaccard",
    "log_loss",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "mcc",
    "mcnemar_exact",
    "micro_f1",
    "micro_precision",
    "micro_recall",
    "normalise_text",
    "output_tokens_mean",
    "per_class_scores",
    "percentile_interval",
    "refusal_rate",
    "resampled_counts",
    "resampled_values",
    "resampled_weights",
    "rouge_1",
    "rouge_2",
    "rouge_l",
    "rouge_scores",
    "sample_f1",
    "success_rate",
    "tag_exact_match",
    "tag_macro_f1",
    "tag_micro_f1",
    "weighted_f1",
    "weighted_precision",
    "weighted_recall",
    "word_error_rate",
]
