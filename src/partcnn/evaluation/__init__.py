"""A network over a data set → how well its filters follow parts: per filter, part, category and split, and in all."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.evaluation.comparison import Comparison, Difference, compare, compare_methods, methods_table
    from partcnn.evaluation.measurement import evaluate
    from partcnn.evaluation.observation import Protocol
    from partcnn.evaluation.result import COVERAGE_R2, SCHEMA_VERSION, Evaluation, FilterEvaluation, TopImage, shown

_HOMES = {
    "Comparison": "comparison",
    "Difference": "comparison",
    "compare": "comparison",
    "compare_methods": "comparison",
    "methods_table": "comparison",
    "evaluate": "measurement",
    "Protocol": "observation",
    "COVERAGE_R2": "result",
    "SCHEMA_VERSION": "result",
    "Evaluation": "result",
    "FilterEvaluation": "result",
    "TopImage": "result",
    "shown": "result",
}

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

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
