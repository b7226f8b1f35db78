"""Scores of pictures → a row of figures for each network and explanation, with intervals over the pictures."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from partcnn.app.experiments.intervention_scores import (
    BACKGROUND,
    THRESHOLDS,
    Answers,
    HybridImportance,
    Importance,
    deletion_check,
    distractibility,
    preservation_check,
    single_deletion,
    sufficient_sets,
    synthetic_data_check,
    target_rise,
    target_sensitivity,
    unimportant,
)
from partcnn.datasets.drawn.figures import PARTS
from partcnn.metrics.significance import bootstrap_intervals

CHECKED = ("csdc", "pc", "dc", "distractibility")  # at a threshold
SCORES = ("completeness", *CHECKED, "single_deletion", "target_sensitivity", "target_rise")

Values = dict[str, list[float]]  # score → its value, or those at each threshold


@dataclass(frozen=True)
class OfPicture:
    """What one network and its explanations make of a picture: scores by explanation, none where it is wrong."""

    is_right: bool
    logit: float
    falls: dict[str, float]  # part or background → fall of the logit
    background_independence: float
    stays: float  # share of other backgrounds before which the animal is still named
    is_empty_named: bool  # whether it is named without any part
    scores: dict[str, Values]


def picture_scores(answers: Answers, importance: Importance, of_hybrid: HybridImportance | None) -> Values:
    """All scores of one explanation of one picture; those of `CHECKED` at each of `THRESHOLDS`."""
    sufficient, ignored = sufficient_sets(answers), unimportant(answers)
    found: Values = {name: [] for name in CHECKED}
    for threshold in THRESHOLDS:
        important = importance.important(threshold)
        found["csdc"].append(synthetic_data_check(important, sufficient))
        found["pc"].append(preservation_check(answers, important))
        found["dc"].append(deletion_check(answers, important))
        found["distractibility"].append(distractibility(important, ignored))
    found["single_deletion"] = [single_deletion(answers, importance)]
    found["target_sensitivity"] = found["target_rise"] = [math.nan]
    if answers.hybrid is not None and of_hybrid is not None:
        found["target_sensitivity"] = [target_sensitivity(answers.hybrid, of_hybrid, answers.label)]
        found["target_rise"] = [target_rise(answers, of_hybrid)]
    return found


def network_row(name: str, runs: Sequence[Sequence[OfPicture]], seed: int) -> dict[str, Any]:
    """Of a network of this name: means over the pictures that it gets right, over all runs."""

    def of(value: Callable[[OfPicture], float]) -> list[list[float]]:
        return [[value(one) if one.is_right else math.nan for one in found] for found in runs]

    values = {
        "accuracy": [[float(one.is_right) for one in found] for found in runs],
        "background_independence": of(lambda one: one.background_independence),
        "named_elsewhere": of(lambda one: one.stays),
        "named_without_parts": of(lambda one: float(one.is_empty_named)),
        "logit": of(lambda one: one.logit),
    }
    for part in (*PARTS, BACKGROUND):
        values[f"fall_{part}"] = of(lambda one, part=part: one.falls.get(part, math.nan))  # type: ignore[misc]
    table = torch.tensor(list(values.values()), dtype=torch.float64)  # [score, run, picture]
    return {"network": name, "runs": len(runs)} | _with_intervals(list(values), table, seed)


def explanation_row(name: str, method: str, runs: Sequence[Sequence[OfPicture]], seed: int) -> dict[str, Any]:
    """Of one explanation of a network of this name, at its best threshold: means over pictures and runs."""
    empty = {score: [math.nan] * (len(THRESHOLDS) if score in CHECKED else 1) for score in SCORES[1:]}
    values = {
        score: torch.tensor(
            [[one.scores.get(method, empty)[score] for one in found] for found in runs], dtype=torch.float64
        )
        for score in SCORES[1:]
    }  # each [run, picture, threshold or 1]
    at = best_threshold({score: values[score].nanmean(dim=(0, 1)) for score in CHECKED})
    table = torch.stack([values[score][..., at if score in CHECKED else 0] for score in SCORES[1:]])
    figures = _with_intervals(list(SCORES[1:]), table, seed, _with_completeness)
    return {"network": name, "explanation": method, "runs": len(runs), "threshold": THRESHOLDS[at]} | figures


def completeness(checked: Mapping[str, Tensor]) -> Tensor:
    """Com = ½ ( (CSDC + PC + DC) / 3 + D ); a check that no picture has is left out of its mean."""
    checks = torch.stack([checked[name] for name in ("csdc", "pc", "dc")]).nanmean(dim=0)
    return torch.stack([checks, checked["distractibility"]]).nanmean(dim=0)


def best_threshold(checked: Mapping[str, Tensor]) -> int:
    """The index of the threshold with the highest completeness, the lowest of equal ones; 0 where there is none."""
    return int(completeness(checked).nan_to_num(nan=-1.0).argmax())


def _with_completeness(means: Tensor) -> Tensor:  # [score, resample] → one more
    of_scores = dict(zip(SCORES[1:], means, strict=True))
    return torch.cat([completeness(of_scores)[None], means])


def _with_intervals(
    names: list[str], table: Tensor, seed: int, more: Callable[[Tensor], Tensor] | None = None
) -> dict[str, Any]:
    """Means over runs and pictures of [score, run, picture], nan left out, with 95 % intervals over pictures.

    A picture is drawn with what all runs make of it; what `more` puts first has a name of its own.
    """
    known, sums = (~table.isnan()).double().sum(dim=1), table.nan_to_num(nan=0.0).sum(dim=1)

    def means(counts: Tensor) -> Tensor:  # [resample, picture] → [score, resample]
        found = (sums @ counts.T) / (known @ counts.T)  # 0 / 0 is nan
        return found if more is None else more(found)

    figures = means(torch.ones(1, table.shape[2], dtype=torch.float64))[:, 0].tolist()
    intervals = bootstrap_intervals(means, [table.shape[2]], seed=seed)
    counted = known.sum(dim=1).long().tolist()
    all_names = names if more is None else ["completeness", *names]
    return {
        "figures": {name: _or_none(value) for name, value in zip(all_names, figures, strict=True)},
        "intervals": {
            name: [low, high] for name, (low, high) in zip(all_names, intervals, strict=True) if math.isfinite(low)
        },
        "counted": dict(zip(names, counted, strict=True)),
    }


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
