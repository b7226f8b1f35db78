// The view of one filter, opened by #filter-N: its maps, where its peaks lie, all its pictures, filters like it.

const view = document.getElementById("filter-view");
let opened = null; // place of the filter in view

const swatchMark = (swatch) => (swatch ? element("i", { class: "swatch", style: `background: ${swatch.colour}` }) : "");

function numberList(filter) {
  const one = report.filters[filter];
  const entries = [
    ["category", one.category],
    ...(report.parts.length ? [["R² of its best part", one.part === null ? decimal(one.r2) : `${decimal(one.r2)} (${one.part})`]] : []),
    ...one.figures,
    ...Object.entries(one.r2ByPart).filter(([part]) => part !== one.part).map(([part, r2]) => [`R² ${part}`, decimal(r2)]),
  ];
  return element("dl", { class: "numbers" },
    ...entries.map(([name, value]) => element("div", {}, element("dt", { dir: "auto" }, name), element("dd", { dir: "auto" }, value))));
}

function weightTable(filter) {
  const weights = weightsOf(filter);
  if (!weights.length) return null;
  const order = weights.map((_, index) => index).sort((a, b) => Math.abs(weights[b]) - Math.abs(weights[a]));
  const items = order.map((index) => element("li", {}, element("span", { dir: "auto" }, report.classes[index]), " ",
    element("b", { class: weights[index] >= 0 ? "for" : "against" }, signed(weights[index], 3))));
  const list = element("ul", {}, ...items);
  return element("div", { class: "weights" }, element("p", {}, "adds to the logit of, mean over its category's pictures"),
    order.length > 12 ? element("details", { class: "more" }, element("summary", {}, `${order.length} classes`), list) : list);
}

function mapPanels(filter, rank) {
  const one = report.filters[filter];
  const [place, raw] = [one.top[rank], mapOf(filter, rank)];
  const cell = cellOf(place, filter);
  const panel = (content, caption) => element("figure", { class: "map-panel" }, content, element("figcaption", {}, caption));
  const cells = (values, full, label, name) => {
    const canvas = cellCanvas(values, report.field.map, full, colours);
    canvas.dataset.map = name;
    return element("span", { class: "tile", role: "img", "aria-label": label }, canvas);
  };
  if (report.tiles !== null) {
    const heat = heatCanvas(raw, report.field, colours);
    return element("div", { class: "map-panels" },
      panel(filterTile(place, filter, rank, true), "What it holds"),
      panel(tile(report.pictures[place], "Its share, upsampled", { heat }), "Its share of the picture"),
      panel(cells(raw, 255, `Share of each cell, the largest ${decimal(scoreOf(place, filter))}`, "raw"), "Its share of each cell"),
      panel(tile(report.pictures[place], "What all filters hold", { regions: regionsOf(place) }), "What all filters hold"));
  }
  return element("div", { class: "map-panels" },
    panel(filterTile(place, filter, rank, true), "On the picture"),
    panel(cells(raw, 255, `Raw map, peak ${decimal(scoreOf(place, filter))}`, "raw"), "Raw map"),
    panel(cells(template(cell, one.slope, report.field.map, true), 1, `Template with its peak ${whereIs(cellPlace(cell, report.field))}`, "template"), "Template at the peak"),
    panel(cells(masked(raw, one.slope, cell), 255, "Masked map", "masked"), report.isMasked ? "Masked map" : "What a mask would keep (this network has none)"));
}

function mapSection(filter) {
  const one = report.filters[filter];
  if (!one.top.length) return element("p", { class: "no-picture" }, "No picture of its category.");
  const stage = element("div", {});
  const chooser = element("div", { class: "chooser", role: "group", "aria-label": "Picture whose maps are shown" });
  const choose = (rank) => {
    stage.replaceChildren(mapPanels(filter, rank));
    [...chooser.children].forEach((button, index) => button.setAttribute("aria-pressed", index === rank));
  };
  one.top.forEach((place, rank) => {
    const button = element("button", { type: "button", "aria-label": `Picture ${rank + 1}: ${report.pictures[place].name}` }, frame(report.pictures[place]));
    button.addEventListener("click", () => choose(rank));
    chooser.append(button);
  });
  choose(0);
  return element("div", {}, stage, chooser);
}

// Peaks on its category's pictures, in the frame of the object box where there is one.
function peakScatter(filter) {
  const places = report.pictures.map((_, place) => place).filter((place) => isOwn(place, filter) && peakOf(place, filter) !== null);
  const boxed = places.filter((place) => report.pictures[place].box !== null);
  const isBoxed = boxed.length > 0;
  const drawn = svgElement("svg", { viewBox: "-50 -50 200 200", class: "scatter", role: "img" });
  drawn.append(svgElement("rect", { class: "object", x: 0, y: 0, width: 100, height: 100 }));
  for (const place of isBoxed ? boxed : places) {
    const [x0, y0, x1, y1] = isBoxed ? report.pictures[place].box : [0, 0, 1, 1];
    const [x, y] = peakOf(place, filter);
    const share = scoreOf(place, filter) / report.full[filter];
    const at = [(100 * (x - x0)) / (x1 - x0), (100 * (y - y0)) / (y1 - y0)].map((value) => Math.min(148, Math.max(-48, value)));
    drawn.append(svgElement("circle", { cx: at[0], cy: at[1], r: 2.6, "fill-opacity": (0.2 + 0.7 * share).toFixed(2) }));
  }
  const what = isBoxed ? "the object's box" : "the picture (no object boxes are annotated)";
  drawn.setAttribute("aria-label", `Peaks on ${(isBoxed ? boxed : places).length} pictures, relative to ${what}`);
  return element("figure", { class: "scatter-figure" }, drawn,
    element("figcaption", {}, `The square is ${what}; one dot per picture, darker where the filter is stronger.`));
}

function pictureList(filter) {
  const order = report.pictures.map((_, place) => place).sort((a, b) => scoreOf(b, filter) - scoreOf(a, filter));
  const grid = element("ul", { class: "all-pictures" });
  const ranks = new Map(report.filters[filter].top.map((place, rank) => [place, rank]));
  const fill = (onlyOwn) => {
    const shown = order.filter((place) => !onlyOwn || isOwn(place, filter));
    grid.replaceChildren(...shown.map((place, rank) => {
      const item = element("li", {});
      fillLater(item, () => {
        const isKept = ranks.has(place);
        item.append(isKept ? filterTile(place, filter, ranks.get(place), true) : tile(report.pictures[place], describe(place, filter, rank),
          { regions: regionsOf(place, filter), peak: peakOf(place, filter), shapes: shapesOf(place, report.filters[filter].part) }),
          element("span", { class: "score" }, decimal(scoreOf(place, filter))));
      });
      return item;
    }));
  };
  const box = element("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => fill(box.checked));
  fill(true);
  return element("div", {}, element("label", { class: "check" }, box, ` only pictures of ${report.filters[filter].category}`), grid);
}

function alikeList(filter) {
  const { alike } = report.filters[filter];
  if (!alike.length) return element("p", { class: "note" }, "There is no other filter that fires.");
  return element("ul", { class: "followers" }, ...alike.map(([place, likeness]) => {
    const patch = element("span", { class: "patch" });
    showPatch(patch, place);
    const other = report.filters[place];
    return element("li", {}, element("a", { href: `#filter-${other.id}`, title: `${called(other.id)}: ${other.verdict}` }, patch,
      element("span", { class: "follower-name" }, swatchMark(other.swatch), String(other.id)), " ", element("span", { class: "follower-r2" }, decimal(likeness))));
  }));
}

const section = (title, ...content) => element("section", {}, element("h3", {}, title), ...content.filter(Boolean));

function step(offset) {
  const order = visibleFilters();
  const place = order.indexOf(report.filters[opened].id);
  const next = order[(place + offset + order.length) % order.length];
  if (next !== undefined) location.hash = `filter-${next}`;
}

function openFilter(filter) {
  opened = filter;
  const one = report.filters[filter];
  const button = (text, label, act) => {
    const made = element("button", { type: "button", "aria-label": label, title: label }, text);
    made.addEventListener("click", act);
    return made;
  };
  const patch = element("span", { class: "patch large", role: "img", "aria-label": `Average patch at the peaks of ${called(one.id)}` });
  showPatch(patch, filter);
  const close = button("✕", "Close", () => view.close());
  const head = element("header", { class: "view-head" }, patch,
    element("div", {}, element("h2", { id: "view-title" }, swatchMark(one.swatch), element("span", { "data-called": one.id, "data-plain": `Filter ${one.id}`, dir: "auto" }, called(one.id, `Filter ${one.id}`))),
      element("p", { class: `verdict-tag is-${one.level}`, dir: "auto" }, one.verdict), element("div", { class: "naming" }, nameField(one.id))),
    element("div", { class: "view-buttons" }, button("←", "Previous filter", () => step(-1)), button("→", "Next filter", () => step(1)), close));
  view.className = `view is-${one.level}`;
  view.replaceChildren(head, numberList(filter), weightTable(filter) ?? "",
    section(report.tiles === null ? "Its map, and what the template keeps of it" : "What it holds", mapSection(filter)),
    section("Where its peaks lie", peakScatter(filter)),
    section("Filters like it", element("p", { class: "note" }, "Correlation of their maps with this one's."), alikeList(filter)),
    section("Every test picture, the strongest first", pictureList(filter)));
  if (!view.open) view.showModal();
  view.scrollTop = 0;
  close.focus({ preventScroll: true });
}

function followHash() {
  const found = /^#filter-(\d+)$/.exec(location.hash);
  const filter = found ? filterAt.get(Number(found[1])) : undefined;
  if (filter !== undefined) openFilter(filter);
  else if (view.open) view.close();
}

view.addEventListener("close", () => {
  const id = opened === null ? null : report.filters[opened].id;
  opened = null;
  view.replaceChildren();
  if (location.hash.startsWith("#filter-")) history.replaceState(null, "", "#filters");
  document.querySelector(`#filter-${id}-title a`)?.focus({ preventScroll: true });
});
view.addEventListener("click", (event) => {
  if (event.target === view) view.close(); // the backdrop
});
view.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select")) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
addEventListener("hashchange", followHash);
followHash();
