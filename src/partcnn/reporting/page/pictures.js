// Test pictures: one in the viewer with its logit as a sum, all of them below it.

const viewer = document.querySelector(".viewer");
const grid = document.querySelector(".picture-grid");
const pictureControls = document.querySelector(".picture-controls");
const hasFollowers = report.filters.some((one) => one.level === "follows");
const isTiled = report.tiles !== null; // then a filter is a part
const choice = { place: 0, isByPart: hasFollowers && !isTiled, why: "largest" };

const named = (labels) => labels.map((label) => report.classes[label]).join(" + ") || "no class";
const isRight = (picture) => named(picture.labels) === named(picture.predictions);
const outcome = (picture) =>
  isRight(picture) ? `${named(picture.labels)}, predicted right` : `${named(picture.labels)}, predicted as ${named(picture.predictions)}`;

// The largest logit, the one of the class `why`, or "contrast", the largest less the true class's, as a sum. Shares are
// linear in the logits, so those of a difference are the differences of the shares.
function sumOf(place, why) {
  const largest = { ...report.sums[place], shares: array("shares").subarray(place * numFilters, (place + 1) * numFilters) };
  if (why === "largest") return { ...largest, totalName: `logit of ${report.classes[largest.label]}` };
  const others = report.otherSums[place];
  const chosen = why === "contrast" ? others[0] : others.find((one) => one.label === why);
  const other = { ...chosen, shares: unpacked(chosen.shares).values };
  const totalName = `logit of ${report.classes[other.label]}`;
  if (why !== "contrast") return { ...other, totalName };
  return {
    logit: largest.logit - other.logit,
    bias: largest.bias - other.bias,
    surroundings: largest.surroundings === null ? null : largest.surroundings - other.surroundings,
    remainder: largest.remainder - other.remainder,
    shares: largest.shares.map((share, filter) => share - other.shares[filter]),
    totalName: `logit of ${report.classes[largest.label]} − ${totalName}`,
  };
}

function filterTerms(place, shares) {
  return report.filters.map((one, filter) => {
    const peak = peakOf(place, filter);
    if (isTiled) {
      const [region] = regionsOf(place, filter);
      const seen = peak ? {} : { name: `${one.swatch.name}, not seen` };
      const [places, marks, held] = region ? [[region.place], [region], [region]] : [[], [], []];
      return { ...one.swatch, ...seen, id: one.id, value: shares[filter], places, marks, held, opens: `#filter-${one.id}`, note: one.verdict };
    }
    const name = called(one.id, `filter ${one.id}${one.level === "follows" ? `, ${one.part}` : ""}`);
    return { id: one.id, name, value: shares[filter], places: peak ? [peak] : [], opens: `#filter-${one.id}`, note: one.verdict };
  });
}

// Filters that follow a part, summed by part; the others together. The circle lies at the mean of the filters' peaks,
// each weighing as much as its share.
function partTerms(place, shares) {
  const terms = new Map();
  report.filters.forEach((one, filter) => {
    const name = one.level === "follows" ? one.part : "filters that follow no part";
    if (!terms.has(name)) terms.set(name, { name, value: 0, dots: [], weights: [], number: 0 });
    const term = terms.get(name);
    term.value += shares[filter];
    term.number += 1;
    const peak = peakOf(place, filter);
    if (!peak || one.level !== "follows") return;
    term.dots.push(peak);
    term.weights.push(Math.abs(shares[filter]));
  });
  return [...terms.values()].map((term) => ({ ...term, places: meanPlace(term), name: `${term.name} (${term.number})`, note: `${term.number} filters` }));
}

function meanPlace({ dots, weights }) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (!(total > 0)) return dots.slice(0, 1);
  return [[0, 1].map((axis) => dots.reduce((sum, dot, i) => sum + dot[axis] * weights[i], 0) / total)];
}

// Of the class with the largest logit: its share of all, or, where a picture may show several classes, against its absence.
function probability(place) {
  const { label, logit } = report.sums[place];
  if (report.isMultilabel) return 1 / (1 + Math.exp(-logit));
  const numClasses = report.classes.length;
  const logits = array("logits").subarray(place * numClasses, (place + 1) * numClasses);
  const largest = Math.max(...logits);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
  return Math.exp(logits[label] - largest) / total;
}

function toggle(texts, current, act) {
  const group = element("div", { class: "toggle", role: "group" });
  texts.forEach(([text, value]) => {
    const button = element("button", { type: "button", "aria-pressed": String(value === current) }, text);
    button.addEventListener("click", () => act(value));
    group.append(button);
  });
  return group;
}

function showPicture(changes = {}) {
  Object.assign(choice, changes);
  const { place, isByPart } = choice;
  const picture = report.pictures[place];
  const sum = { ...sumOf(place, choice.why), isExact: report.isExact, isFolded: report.isFolded };
  sum.terms = isByPart ? partTerms(place, sum.shares) : joinedByName(filterTerms(place, sum.shares));
  [sum.singular, sum.plural] = isByPart ? ["part", "parts"] : ["filter", "filters"];
  const head = element("header", { class: "viewer-head" },
    element("h3", { dir: "auto" }, picture.name),
    element("p", { class: `verdict-tag ${isRight(picture) ? "right" : "wrong"}`, dir: "auto" }, `${outcome(picture)} (${report.isMultilabel ? `${report.classes[report.sums[place].label]} ` : ""}${(100 * probability(place)).toFixed(1)} %)`));
  const toggles = element("div", { class: "toggles" });
  if (hasFollowers) toggles.append(toggle(isTiled ? [["by filter", false], ["by annotated part", true]] : [["by part", true], ["by filter", false]], isByPart, (value) => showPicture({ isByPart: value })));
  if (place in report.otherSums) {
    const [said, others] = [report.classes[report.sums[place].label], report.otherSums[place]];
    const questions = [[`why ${said}`, "largest"], ...others.map((one) => [`why ${report.classes[one.label]}`, one.label])];
    if (!report.isMultilabel) questions.push([`why ${said}, not ${report.classes[others[0].label]}`, "contrast"]);
    toggles.append(toggle(questions, choice.why, (value) => showPicture({ why: value })));
  }
  const label = `${picture.name}: ${outcome(picture)}; circles mark where the filters with the largest shares look`;
  const focused = viewer.contains(document.activeElement) ? document.activeElement.textContent : null;
  viewer.replaceChildren(head, toggles, sumPanel(picture, sum, label, Object.values(picture.parts).flat()));
  if (focused !== null) [...toggles.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
  for (const button of grid.querySelectorAll("button")) button.setAttribute("aria-pressed", String(Number(button.dataset.place) === place));
}

// Pictures of the categories that own filters first.
const categories = new Set(report.filters.flatMap((one) => one.serves));
const isOwned = (place) => report.pictures[place].labels.some((label) => categories.has(report.classes[label]));
const gridOrder = report.pictures.map((_, place) => place).sort((a, b) => isOwned(b) - isOwned(a) || a - b);

function fillGrid() {
  const { outcome: kind, label } = Object.fromEntries(new FormData(pictureControls));
  const shown = gridOrder.filter((place) => {
    const picture = report.pictures[place];
    return (!kind || (kind === "right") === isRight(picture)) && (!label || picture.labels.includes(Number(label)));
  });
  grid.replaceChildren(...shown.map((place) => {
    const picture = report.pictures[place];
    const text = `${picture.name}: ${outcome(picture)}`;
    const button = element("button", { type: "button", class: isRight(picture) ? "right" : "wrong", "data-place": place, "aria-pressed": String(place === choice.place), "aria-label": text, title: text });
    button.addEventListener("click", () => {
      showPicture({ place, why: "largest" });
      viewer.scrollIntoView({ block: "nearest" });
    });
    fillLater(button, () => button.append(frame(picture)));
    return element("li", {}, button);
  }));
  pictureControls.querySelector(".shown").value = `${shown.length} of ${report.pictures.length} pictures, ${shown.filter((place) => !isRight(report.pictures[place])).length} predicted wrong`;
}

pictureControls.addEventListener("input", fillGrid);
pictureControls.addEventListener("submit", (event) => event.preventDefault());
pictureControls.hidden = false;
// First a picture of a category that owns filters, predicted right, with the largest logit.
const first = gridOrder.filter((place) => isRight(report.pictures[place]) && isOwned(place))
  .sort((a, b) => report.sums[b].logit - report.sums[a].logit)[0] ?? 0;
fillGrid();
fillLater(viewer, () => showPicture({ place: first }));
addEventListener("named", () => {
  if (viewer.childElementCount) showPicture();
});
