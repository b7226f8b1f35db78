// The cards: sort, search, filter; their pictures are drawn when they come near the window.

const NUM_TILES = 6;
const controls = document.querySelector(".controls");
const cardList = document.querySelector(".cards");
const cards = [...cardList.querySelectorAll(".card")];

const chosen = (name) => (controls.elements[name] ? controls.elements[name].value.trim() : "");
const figure = (card, name) => Number.parseFloat(card.dataset[name]);
const SORT_KEYS = {
  r2: (card) => -figure(card, "r2"),
  instability: (card) => figure(card, "instability"),
  standing: (card) => -figure(card, "standing"),
  steadiness: (card) => -figure(card, "steadiness"),
  identity: (card) => -figure(card, "identity"),
  weight: (card) => -figure(card, "weight"),
  filter: (card) => figure(card, "filter"),
};

function sortCards() {
  const key = SORT_KEYS[chosen("sort")];
  const rank = (card) => (Number.isNaN(key(card)) ? Infinity : key(card)); // without a figure: last
  cards.sort((one, other) => (rank(one) === rank(other) ? one.dataset.filter - other.dataset.filter : rank(one) - rank(other)));
  cardList.append(...cards);
}

// A number finds that filter; words find names, parts, categories and verdicts.
function isFound(card, words) {
  const text = `${names.get(Number(card.dataset.filter)) ?? ""} ${card.dataset.part} ${card.dataset.category} ${card.querySelector(".verdict-tag").textContent}`.toLowerCase();
  return words.every((word) => (/^#?\d+$/.test(word) ? card.dataset.filter === String(Number(word.replace("#", ""))) : text.includes(word)));
}

function filterCards() {
  const words = chosen("search").toLowerCase().split(/\s+/).filter((word) => word && word !== "filter");
  let shown = 0;
  for (const card of cards) {
    const fits = isFound(card, words) && ["part", "category", "level"].every((name) => !chosen(name) || card.dataset[name] === chosen(name));
    card.hidden = !fits;
    shown += fits;
  }
  controls.querySelector(".shown").value = `${shown} of ${cards.length} filters`;
  document.querySelector(".nothing").hidden = shown > 0;
}

function drawTiles(card) {
  const filter = filterAt.get(Number(card.dataset.filter));
  const tiles = report.filters[filter].top.slice(0, NUM_TILES).map((place, rank) => filterTile(place, filter, rank, true));
  const target = card.querySelector(".tiles");
  if (tiles.length) target.replaceChildren(...tiles);
  else target.replaceWith(element("p", { class: "no-picture" }, "No picture of its category."));
}

const visibleFilters = () => cards.filter((card) => !card.hidden).map((card) => Number(card.dataset.filter));

controls.addEventListener("submit", (event) => event.preventDefault());
controls.addEventListener("input", (event) => {
  if (event.target.name === "sort") sortCards();
  filterCards();
  cardList.classList.toggle("bare", !controls.elements.marks.checked);
  cardList.classList.toggle("cold", !controls.elements.heat.checked);
});
addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof Element && event.target.closest("input, select, textarea, dialog");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    controls.elements.search.focus();
  }
});
addEventListener("beforeprint", () => {
  document.querySelector(".how").open = true;
});

for (const card of cards) {
  fillLater(card, drawTiles);
  fillLater(card.querySelector(".patch"), (target) => showPatch(target, filterAt.get(Number(card.dataset.filter))));
}
for (const patch of document.querySelectorAll("[data-patch-of]")) {
  fillLater(patch, (target) => showPatch(target, filterAt.get(Number(target.dataset.patchOf))));
}
// The link of a card spans it; its pictures lie above the link, so that each tells what it is when pointed at.
cardList.addEventListener("click", (event) => {
  const card = event.target.closest(".tiles")?.closest(".card");
  if (card) location.hash = `filter-${card.dataset.filter}`;
});
for (const dot of document.querySelectorAll("[data-opens]")) {
  dot.addEventListener("click", () => {
    location.hash = dot.dataset.opens;
  });
}
addEventListener("named", () => {
  filterCards();
  for (const card of cards) if (card.querySelector(".tiles")) fillLater(card, drawTiles);
});
controls.hidden = false;
sortCards();
filterCards();
