// One logit as a sum: the picture with the places of the largest shares, and bars that add up, tied by hover and focus.

const MOST_BARS = 8;
const MOST_SWATCHES = 6; // before a name that filters share
const NEAR = 0.045; // of the picture: places nearer than this share a circle

// sum: {logit, bias, surroundings, remainder, isExact, isFolded, singular, plural, totalName, terms: [{name, value, places, dots, opens, note}]}
// A term of filters that compete has also {colour, ink, held: the regions [{filter, colour, name, path}], marks: of each
// of its places {filter, colour, ink}}; a term of several filters their `number`.
function sumBars(sum) {
  const terms = [...sum.terms].sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
  const shown = terms.slice(0, MOST_BARS);
  const rest = terms.slice(MOST_BARS);
  const rows = shown.map((term, index) => ({ ...term, rank: index + 1 }));
  if (rest.length) {
    const value = rest.reduce((total, term) => total + term.value, 0);
    const number = rest.reduce((total, term) => total + (sum.singular === "filter" ? term.number ?? 1 : 1), 0);
    rows.push({ name: `${number} other ${number > 1 ? sum.plural : sum.singular}`, value, places: [] });
  }
  if (sum.surroundings !== null) rows.push({ name: "surroundings", value: sum.surroundings, places: [] });
  if (sum.isExact) rows.push({ name: "bias", value: sum.bias, places: [] });
  if (sum.isFolded) rows.push({ name: sum.isExact ? "filters not shown" : "filters not shown, and unexplained", value: sum.remainder, places: [] });
  else if (!sum.isExact) rows.push({ name: "unexplained", value: sum.remainder, places: [] });
  // Where bars have their filters' colours, those of none are grey.
  const isColoured = shown.some((term) => term.colour);
  return rows.map((row) => (row.rank ? row : { ...row, isPlain: isColoured }));
}

// axis: {low ≤ 0, high ≥ 0}, the values at its ends.
function barRow(row, axis, isTotal = false) {
  const share = (value) => (axis.high > axis.low ? (value - axis.low) / (axis.high - axis.low) : 0.5);
  const [zero, end] = [share(0), share(row.value)];
  const kind = isTotal || row.isPlain ? "total" : row.value >= 0 ? "for" : "against";
  const own = row.colour ? `; background: ${row.colour}` : "";
  const fill = `left: ${percent(Math.min(zero, end))}; width: ${percent(Math.abs(end - zero))}${own}`;
  const bar = element("span", { class: "sum-bar", "aria-hidden": "true" },
    element("span", { class: `sum-fill ${kind}`, style: fill }), element("span", { class: "sum-zero", style: `left: ${percent(zero)}` }));
  const swatchOf = ({ colour }) => element("i", { class: "swatch", style: `background: ${colour}` });
  const marks = row.colour ? (row.held.length > 1 ? row.held.slice(0, MOST_SWATCHES) : [row]).map(swatchOf) : [row.rank ? `${row.rank}  ` : ""];
  const name = element("span", { class: "sum-name", dir: "auto" }, ...marks, row.name);
  const label = `${row.name}: ${signed(row.value)}${row.note ? `, ${row.note}` : ""}`;
  const inner = [name, bar, element("span", { class: "sum-value" }, signed(row.value))];
  if (isTotal || !row.rank) return element("li", { class: `sum-row ${isTotal ? "is-total" : "is-rest"}` }, ...inner);
  const tag = row.opens ? "a" : "button";
  const made = element(tag, { class: "sum-row", href: row.opens, type: row.opens ? null : "button", "aria-label": label }, ...inner);
  return element("li", { "data-rank": row.rank }, made);
}

// Circles on the picture: rows that look at nearly the same place share one.
function placeGroups(rows) {
  const groups = [];
  for (const row of rows.filter((one) => one.rank)) {
    row.places.forEach((place, index) => {
      const mark = row.marks?.[index];
      const near = groups.find((group) => Math.hypot(group.place[0] - place[0], group.place[1] - place[1]) < NEAR);
      if (near) {
        near.rows.add(row);
        near.marks.push(mark);
      } else groups.push({ place, rows: new Set([row]), marks: [mark] });
    });
  }
  return groups;
}

function sumPanel(picture, sum, label, shapes) {
  const rows = sumBars(sum);
  const values = [0, sum.logit, ...rows.map((row) => row.value)];
  const axis = { low: Math.min(...values), high: Math.max(...values) };
  const list = element("ul", { class: "sum-rows" }, ...rows.map((row) => barRow(row, axis)),
    barRow({ name: sum.totalName ?? "logit", value: sum.logit }, axis, true));
  const held = rows.flatMap((row) => (row.held ?? []).map((region) => ({ ...region, rank: row.rank })));
  const stage = frame(picture, { shapes, regions: held });
  for (const path of stage.querySelectorAll(".region")) path.dataset.ranks = held.find((one) => String(one.filter) === path.dataset.region).rank;
  for (const row of rows.filter((one) => one.rank)) {
    for (const dot of row.dots ?? []) {
      const made = marker(`dot-place ${row.value >= 0 ? "for" : "against"}`, dot);
      made.dataset.ranks = row.rank;
      stage.append(made);
    }
  }
  for (const group of placeGroups(rows)) {
    const ranks = [...group.rows].map((row) => row.rank);
    const value = [...group.rows].reduce((total, row) => total + row.value, 0);
    const circle = marker(`place ${value >= 0 ? "for" : "against"}`, group.place);
    const [mark] = group.marks;
    if (mark) Object.assign(circle.style, { background: mark.colour, color: mark.ink });
    circle.dataset.ranks = ranks.join(" ");
    if (mark) circle.append(group.marks.map(({ filter }) => filter).join("·"));
    else circle.append(ranks.length > 3 ? `${ranks[0]}…${ranks.at(-1)}` : ranks.join("·"));
    stage.append(circle);
  }
  const panel = element("div", { class: "sum-panel" },
    element("div", { class: "tile stage", role: "img", "aria-label": label }, stage), list);
  tieTogether(panel);
  return panel;
}

function tieTogether(panel) {
  const ranksOf = (target) => {
    const row = target.closest("[data-rank]");
    const circle = target.closest("[data-ranks]");
    return row ? [row.dataset.rank] : circle ? circle.dataset.ranks.split(" ") : [];
  };
  const light = (ranks) => {
    panel.classList.toggle("has-light", ranks.length > 0);
    for (const row of panel.querySelectorAll("[data-rank]")) row.classList.toggle("is-lit", ranks.includes(row.dataset.rank));
    for (const circle of panel.querySelectorAll("[data-ranks]")) {
      circle.classList.toggle("is-lit", circle.dataset.ranks.split(" ").some((rank) => ranks.includes(rank)));
    }
  };
  for (const kind of ["pointerover", "focusin"]) panel.addEventListener(kind, (event) => light(ranksOf(event.target)));
  for (const kind of ["pointerleave", "focusout"]) panel.addEventListener(kind, () => light([]));
}
