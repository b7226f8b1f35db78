"""The page of `partcnn benchmark interventions`: the networks, their explanations, and what the figures say."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from partcnn.app.experiments.interventions import AREA, CHANCE
from partcnn.datasets.drawn.figures import PARTS
from partcnn.explanation.spatial import CELLS, GRAD_CAM, INPUT_GRADIENT, PLACES
from partcnn.foundation.files import write_text
from partcnn.foundation.number_text import decimal

_COLUMNS = {  # score → heading
    "completeness": "completeness",
    "csdc": "CSDC",
    "pc": "PC",
    "dc": "DC",
    "distractibility": "D",
    "single_deletion": "single deletion",
    "target_sensitivity": "target sensitivity",
    "target_rise": "rise",
}
_WITH_INTERVAL = ("completeness", "single_deletion", "target_sensitivity", "target_rise")
_BASELINES = (AREA, CHANCE)

_WORDS = f"""## What the columns say

A drawn animal is put together from parts, so it can be drawn again without one, all else equal to the pixel. An
explanation says how much each part counts. Whether it is right can then be seen. All scores lie between 0 and 1,
more is better, and any method may win.

- **CSDC**, controlled synthetic data check: does the explanation call those parts important that suffice? Of a
  smallest set of parts with which the network still names the animal, the share that is called important; of
  several sets the best.
- **PC**, preservation check: with the important parts alone, how often is the animal still named?
- **DC**, deletion check: without the important parts, how often is it not named any more?
- **D**, distractibility: of the parts that do not matter, without which the logit falls by less than 5 %, the share
  that is not called important. The background is one more part here: it does not matter where the logit hardly
  falls before other backgrounds.
- **completeness** is the mean of D and of the mean of CSDC, PC and DC. A part is important if it has more than a
  share *t* of all that the explanation hands out; *t* is the best of 80 from 0.01 to 0.50 for each row, chosen on
  these pictures, as FunnyBirds does. An explanation that calls nothing important has about a half: D is 1 then, the
  checks are near 0.
- **single deletion**: is the part that is said to count more also the one without which the logit falls more? ½ + ½
  Spearman's rank correlation over the parts of a picture. Half is chance.
- **target sensitivity**: one part is another animal's. Does the explanation of that animal lie on that part more
  than the explanation of the first one does, and the other way round on the rest? Half is chance, 0 an explanation
  that is the same for every class.
- **rise**: does the explanation of the other animal rise at the part when the part is drawn in? Ours; half is
  chance.
- **background independence**, of the network and not of an explanation: how often the logit falls by less than 5 %
  before another background.

All means are over pictures that the network gets right. Where a score has no answer (no part that does not matter; a
logit that does not react to the swapped part) the picture does not count for it; the `.json` has the number for each
score. CSDC leaves out pictures that are named without any part; these pass PC and fail DC nearly whatever is called
important.

**Read every figure beside the two baselines.** Where one part is the largest and counts most, an explanation that knows
nothing but sizes ranks parts well.

## The explanations

- **{CELLS}**: what each cell adds to the logit through all filters and the surroundings, exactly
  (`PartNetwork.logit_maps`), around the middle of what the cell sees.
- **{PLACES}**: each filter's whole contribution at the one place where it says that its part is, as `partcnn
  explain` shows it; what the surroundings add lies nowhere.
- **{INPUT_GRADIENT}**: the normalised input times the logit's gradient, by torch, summed over channels.
- **{GRAD_CAM}**: captum's, of the last convolution that all of the logit passes: the top layer of a plain network,
  the trunk's last one where filters compete.
- *{AREA}*: an explanation that does not look: every pixel counts alike. *{CHANCE}*: random numbers.

A part's importance is the sum of the map where the part is to be seen, widened a little, as in FunnyBirds.

## What is not as in FunnyBirds

- Scores are of pictures that the network gets right, so that one class is explained throughout.
- Each part of a drawn animal is its kind's alone and would suffice by itself: CSDC by how the classes are made
  would be won by naming any part. So the sets that suffice are asked of the network.
- There things in the background are taken away one by one; here the whole background is another ({{backgrounds}}
  for each picture), a harder test of background independence. The animal's shadow stays, also where the animal is
  not drawn.
- There two classes share two parts each with the bird; here one part is another animal's, as large as the one in
  its place.
- There networks learn from birds without parts too. Ours saw whole animals alone: an animal without a body is new
  to them.
- The animals have four parts, {", ".join(PARTS)}, of which those count that are to be seen: rank correlations of
  four numbers are coarse.
- Of one category against background no other animal is a class, so that target sensitivity and rise are not there.
"""


def write_page(found: Mapping[str, Any], out: Path) -> str:
    """Write OUT.json and OUT.md; the text of the page."""
    out.parent.mkdir(parents=True, exist_ok=True)
    text = page(found)
    write_text(out.with_suffix(".json"), json.dumps(found, indent=1) + "\n")
    write_text(out.with_suffix(".md"), text)
    return text


def page(found: Mapping[str, Any]) -> str:
    """Markdown of what `interventions` gives."""
    about = found["about"]
    task = "told apart" if about["category"] is None else "against background"
    kinds = about["classes"] if about["category"] is None else [about["category"]]
    seeds = "; ".join(f"{name}: {', '.join(map(str, numbers))}" for name, numbers in about["run_seeds"].items())
    head = f"""# Interventions on drawn animals

Is "the logit is a sum of parts" true of the object, or of the arithmetic alone? {about["pictures"]} drawn animals kept
out of training ({", ".join(kinds)}; {task}; {about["backbone"]}, `{about["data"]}`) were drawn again without parts,
with a part of another animal, and before other backgrounds, after FunnyBirds (Hesse, Schaub-Meyer & Roth, ICCV 2023).
Seeds of the runs: {seeds}; of the changes: {about["seed"]}. In brackets 95 % intervals over pictures. Written by
`partcnn benchmark interventions`.
"""
    words = _WORDS.replace("{backgrounds}", str(about["other_backgrounds"]))
    return "\n".join([head, _networks(found["networks"]), "", _explanations(found["explanations"]), "", words])


def _networks(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = " | ".join(f"without {part}" for part in PARTS)
    lines = [
        "## The networks",
        "",
        "Mean logit of the animal, and by how much it falls; of the pictures that are named right.",
        "",
        "| network | right | background independence | named before other backgrounds | named without any part | logit "
        f"| {parts} | other background |",
        "|---" * (7 + len(PARTS)) + "|",
    ]
    for row in rows:
        figures = row["figures"]
        shares = ["accuracy", "background_independence", "named_elsewhere", "named_without_parts"]
        falls = ["logit", *(f"fall_{part}" for part in (*PARTS, "background"))]
        cells = [row["network"], *(_with_interval(row, name) for name in shares)]
        lines.append(_line([*cells, *(decimal(figures[name]) for name in falls)]))
    return "\n".join(lines)


def _explanations(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "## Their explanations",
        "",
        "**Bold** is the best of a network's explanations; the last two of each do not look at the picture.",
        "",
        _line(["network", "explanation", *_COLUMNS.values(), "*t*"]),
        "|---" * (3 + len(_COLUMNS)) + "|",
    ]
    for row in rows:
        rivals = [one for one in rows if one["network"] == row["network"] and one["explanation"] not in _BASELINES]
        is_baseline = row["explanation"] in _BASELINES
        cells = []
        for name in _COLUMNS:
            value = row["figures"][name]
            best = max((one["figures"][name] for one in rivals if one["figures"][name] is not None), default=None)
            text = _with_interval(row, name) if name in _WITH_INTERVAL else decimal(value)
            is_best = not is_baseline and value is not None and decimal(value) == decimal(best)
            cells.append(f"**{text}**" if is_best else text)
        method = f"*{row['explanation']}*" if is_baseline else row["explanation"]
        lines.append(_line([row["network"], method, *cells, decimal(row["threshold"])]))
    return "\n".join(lines)


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    text = decimal(row["figures"][name])
    if name not in row["intervals"]:
        return text
    low, high = row["intervals"][name]
    return f"{text} [{decimal(low)}, {decimal(high)}]"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
