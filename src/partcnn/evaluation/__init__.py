"""A network over a data set → how well its filters follow parts: per filter, part, category and split, and in all."""

from partcnn.evaluation.comparison import Comparison, Difference, compare, compare_methods, methods_table
from partcnn.evaluation.measurement import evaluate
from partcnn.evaluation.result import COVERAGE_R2, SCHEMA_VERSION, Evaluation, FilterEvaluation, TopImage, shown
from partcnn.observation import Protocol

__all__ = [
    "COVERAGE_R2",
    "SCHEMA_VERSION",
    "Comparison",
    "Difference",
    "Evaluation",
    "FilterEvaluation",
    "Protocol",
    "TopImage",
    "compare",
    "compare_methods",
    "evaluate",
    "methods_table",
    "shown",
]
