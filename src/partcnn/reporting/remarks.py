"""What the figures say, in words, and what they do not."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from partcnn.evaluation import COVERAGE_R2, Evaluation, FilterEvaluation
from partcnn.evaluation.result import half_run
from partcnn.foundation.number_text import decimal, is_number
from partcnn.plot.tiling import filter_name
from partcnn.reporting.summary import count
from partcnn.reporting.unannotated import STEADY, is_known, is_steady, is_unannotated

_MANY = 0.6  # of the filters that follow something, on one part: worth a word
_ON_PART = 0.5  # of the pictures that show a part: a filter whose place lies on it on as many lies on it
_NEAR_GUESSING = 1.25  # times the accuracy of a guess among equally frequent classes
_NO_PART = "No part is annotated in these pictures: that a filter keeps to one thing is measured; what thing, one sees."
_FEW_PICTURES = 100  # the paper's protocol takes the 100 strongest of each filter


@dataclass(frozen=True)
class Remark:
    text: str
    is_caution: bool = True


def write_remarks(
    evaluation: Evaluation,
    compare: dict[str, Evaluation],
    groups: Sequence[Sequence[int]] = (),
    *,
    holders: Collection[int] | None = None,
    names: Mapping[int, str] | None = None,
) -> list[Remark]:
    """The most important first.

    Args:
        evaluation: of this network.
        compare: of others, by name.
        groups: filters whose places are within a cell of each other's on most pictures; empty where it is not known.
        holders: where the filters compete, those that hold some of most pictures of objects; None where they do not.
        names: filter → what it is called.
    """
    return [
        *_on_pictures(evaluation),
        *_on_accuracy(evaluation),
        *([] if holders is None else _on_tiles(evaluation, groups, holders, names or {})),
        *_on_parts(evaluation, groups),
        *_on_instability(evaluation),
        *_on_dead(evaluation),
        *_on_weights(evaluation),
        *(remark for name, other in compare.items() for remark in _on_other(evaluation, name, other)),
    ]


def followers(evaluation: Evaluation) -> list[FilterEvaluation]:
    """The filters that follow a part: R² of at least the threshold of coverage."""
    return [one for one in evaluation.filters if one.part_tracking_r2 >= COVERAGE_R2]


def _on_pictures(evaluation: Evaluation) -> list[Remark]:
    half = half_run(evaluation.run)
    remarks = [] if half is None else [Remark(f"This is {half}.")]
    split, num_images = evaluation.data.get("split"), evaluation.data.get("num_images", 0)
    if split == "train":
        remarks.append(Remark("These are training pictures: nothing here says how the network does on others."))
    if split == "all":
        remarks.append(Remark("Training pictures are among these: the figures flatter the network."))
    if num_images < _FEW_PICTURES:
        share = decimal(100 / max(1, num_images), 1)
        remarks.append(
            Remark(f"There are {num_images} pictures in all; one of them is {share} points of accuracy, and the "
                   "figures of a single filter are rough.")
        )  # fmt: skip
    return remarks


def _on_accuracy(evaluation: Evaluation) -> list[Remark]:
    accuracy, num_classes = evaluation.summary.get("accuracy"), len(evaluation.classes)
    if accuracy is None or accuracy >= _NEAR_GUESSING / num_classes:
        return []
    return [Remark(f"The network hardly does better than guessing among its {num_classes} classes: what its filters "
                   "look at says little.")]  # fmt: skip


def _on_tiles(
    evaluation: Evaluation, groups: Sequence[Sequence[int]], holders: Collection[int], names: Mapping[int, str]
) -> list[Remark]:
    num_filters, held = len(evaluation.filters), [one for one in evaluation.filters if one.filter in holders]
    if len(held) < 2:
        few = "No filter holds"
        if held:
            few = f"Only {filter_name(held[0].filter, name=names.get(held[0].filter))} holds"
        return [Remark(f"{few} any of the {_object_name(evaluation)} on most pictures: the filters do not tile.")]
    num_places = sum(any(index in holders for index in group) for group in groups)
    where = "each holds another place"
    if num_places < len(held):
        where = f"each holds cells of its own, at {count(num_places, 'place')} more than a cell apart"
    lying = Counter(part for one in held if (part := _part_below(one)) is not None)
    texts = [f"{number} on the {part}" for part, number in lying.most_common()]
    if texts:
        (part, number), *_ = lying.most_common(1)
        verb = "lies" if number == 1 else "lie"
        texts[0] = f"{'all' if number == len(held) else number} of them {verb} on the {part}"
    on_parts = f"; {_listed(texts, 'and')}" if texts else ""
    if len(held) == num_filters:
        return [Remark(f"{_tiled(evaluation, num_filters)}: {where}{on_parts}.", is_caution=False)]
    return [
        Remark(f"{len(held)} of {_tiled(evaluation, num_filters)}: {where}{on_parts}.", is_caution=False),
        Remark(f"The other {_others(num_filters - len(held))} nothing on most pictures."),
    ]


def _others(number: int) -> str:
    return "filter holds" if number == 1 else f"{number} filters hold"


def _tiled(evaluation: Evaluation, num_filters: int) -> str:
    return f"{count(num_filters, 'filter')} tile the {_object_name(evaluation)}"


def _on_parts(evaluation: Evaluation, groups: Sequence[Sequence[int]]) -> list[Remark]:
    measured = [part for part in evaluation.parts if _is_measured(evaluation, part)]
    if not measured:
        return [*_on_steadiness(evaluation), Remark(_NO_PART)]
    num_filters, found = len(evaluation.filters), followers(evaluation)
    of_part = Counter(one.best_part for one in found)
    remarks = []
    if found:
        first, number = of_part.most_common(1)[0]
        verb = "follow" if number > 1 else "follows"
        text = f"{number} of {num_filters} filters {verb} the {first}{_the_rest(of_part, first)}"
        those = {one.filter for one in found if one.best_part == first}
        together = max((len(those.intersection(group)) for group in groups), default=0)
        is_crowded = number >= _MANY * len(found) and number > 1 and together >= _MANY * number
        remarks = [Remark(f"{text}; most say the same thing." if is_crowded else f"{text}.", is_caution=is_crowded)]
    unfollowed = [part for part in measured if not any(_follows(one, part) for one in evaluation.filters)]
    if found and unfollowed:
        remarks.append(Remark(f"No filter follows the {_listed(unfollowed, 'or the')}."))
    mean = evaluation.summary.get("part_tracking_r2")
    if mean is not None and mean < 0:
        remarks.append(
            Remark(f"The mean R² is {decimal(mean)}: on the average a filter follows even its best part less well than "
                   "a point that never moves.")
        )  # fmt: skip
    return remarks


def _on_steadiness(evaluation: Evaluation) -> list[Remark]:
    """What can be said without annotated parts."""
    if not is_unannotated(evaluation):
        return []
    steady = [one for one in evaluation.filters if is_steady(one)]
    number, num_filters, known = len(steady), len(evaluation.filters), sum(map(is_known, steady))
    text = f"{number or 'None'} of {num_filters} filters {'is' if number <= 1 else 'are'} steady, at {STEADY} or more"
    if not steady or not any(is_number(one.identity) for one in steady):
        return [Remark(f"{text}.", is_caution=not steady)]
    by_what = f"known by what {'it holds' if known <= 1 else 'they hold'}, on half of the pictures or more"
    if number == 1:
        text = f"{text}, and is {by_what if known else f'not {by_what}'}."
    else:
        text = f"{text}; {known or 'none'} of these {'is' if known <= 1 else 'are'} {by_what}."
    return [Remark(text, is_caution=2 * known < number)]


def _on_instability(evaluation: Evaluation) -> list[Remark]:
    value = evaluation.summary.get("location_instability")
    constant = evaluation.summary.get("constant_point_instability")
    if value is None or constant is None or not (is_number(value) and is_number(constant)) or value < constant:
        return []
    return [
        Remark(
            f"Location instability is {decimal(value, 3)}. A filter that always points at the centre of the picture "
            f"gets {decimal(constant, 3)}, {'lower still' if constant < value else 'the same'}: this measure cannot "
            "show that the filters follow anything. Go by R²."
        )
    ]


def _on_dead(evaluation: Evaluation) -> list[Remark]:
    number = sum(one.is_dead for one in evaluation.filters)
    if not number:
        return []
    verb = "is" if number == 1 else "are"
    return [Remark(f"{number} of {len(evaluation.filters)} filters {verb} dead: silent on most of their pictures.")]


def _on_weights(evaluation: Evaluation) -> list[Remark]:
    found = followers(evaluation)
    against = sum(one.class_weight.get(one.category, 0.0) < 0 for one in found)
    if not against:
        return []
    lower = "lowers the logit of its" if against == 1 else "lower the logit of their"
    which = f"Of the {len(found)} filters that follow a part, {against}"
    if len(found) == 1:
        which = "The one filter that follows a part"
    return [Remark(f"{which} {lower} own category: to follow a part is not yet to speak for the class.")]


def _on_other(evaluation: Evaluation, name: str, other: Evaluation) -> list[Remark]:
    half = half_run(other.run)
    remarks = [] if half is None else [Remark(f"“{name}” is {half}.")]
    keys = ("spec", "category", "split", "num_images")
    is_same = all(evaluation.data.get(key) == other.data.get(key) for key in keys)
    if not is_same:
        remarks.append(
            Remark(f"“{name}” was measured on other pictures ({other.data.get('spec')}, {other.data.get('split')}, "
                   f"{other.data.get('num_images')}): the columns cannot be compared.")
        )  # fmt: skip
    mine, others = evaluation.summary.get("accuracy"), other.summary.get("accuracy")
    if mine is not None and others is not None and abs(mine - others) >= 0.0005:
        side = "below" if mine < others else "above"
        points = decimal(100 * abs(mine - others), 1)
        pictures = count(round(abs(mine - others) * evaluation.data["num_images"]), "picture")
        amount = f"{points} points ({pictures})" if is_same else f"{points} points"
        remarks.append(Remark(f"Accuracy is {amount} {side} “{name}”.", is_caution=mine < others))
    return remarks


def _part_below(one: FilterEvaluation) -> str | None:
    """The annotated part on which a filter's place lies on most pictures that show it."""
    shares = {part: share for part, share in one.pointing_by_part.items() if is_number(share)}
    part = max(shares, key=lambda name: shares[name], default=None)
    return part if part is not None and shares[part] >= _ON_PART else None


def _object_name(evaluation: Evaluation) -> str:
    return str(evaluation.data.get("category") or "objects")


def _is_measured(evaluation: Evaluation, part: str) -> bool:
    return any(is_number(one.r2_by_part.get(part)) for one in evaluation.filters)


def _follows(one: FilterEvaluation, part: str) -> bool:
    value = one.r2_by_part.get(part)
    return value is not None and value >= COVERAGE_R2


def _the_rest(of_part: Counter[str | None], first: str | None) -> str:
    rest = [f"{number} the {part}" for part, number in of_part.most_common() if part != first]
    return f", {_listed(rest, 'and')}" if rest else ""


def _listed(words: list[str], last: str) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def lead_sentence(evaluation: Evaluation, *, holders: Collection[int] | None = None) -> str:
    """The result in one sentence; `holders` as of `write_remarks`."""
    num_filters, num_found = len(evaluation.filters), len(followers(evaluation))
    best = evaluation.summary.get("part_tracking_r2_best")
    is_tiling = holders is not None and len(holders) == num_filters > 1
    tiled = _tiled(evaluation, num_filters)
    if is_unannotated(evaluation):
        number, mean = sum(map(is_steady, evaluation.filters)), evaluation.summary.get("steadiness")
        moved = f"{number or 'none'} of them {'is' if number <= 1 else 'are'} steady"
        mean_text = f" (mean steadiness {decimal(mean)})" if is_number(mean) else ""
        whole = tiled if is_tiling else count(num_filters, "filter")
        return f"{whole}; {moved}{mean_text}. No parts are annotated here."
    if not any(_is_measured(evaluation, part) for part in evaluation.parts):
        shown = tiled if is_tiling else f"{count(num_filters, 'filter')} and the pictures each fires on most"
        return f"{shown}; no parts are annotated here."
    verb = "follows" if num_found <= 1 else "follow"
    whole = (
        f"{tiled}; {num_found or 'none'} of them" if is_tiling else f"{num_found or 'None'} of {num_filters} filters"
    )
    text = f"{whole} {verb} a part"
    if best is None or not is_number(best):
        return f"{text} with R² of {COVERAGE_R2} or more."
    return f"{text} with R² of {COVERAGE_R2} or more; the best, chosen on training pictures, reaches {decimal(best)}."
