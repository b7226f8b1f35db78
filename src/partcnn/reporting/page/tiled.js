// The head of the page: pictures tiled by filters that compete, and the legend of their colours.

const LEAST_ROOM_PX = 7; // around the place of a number
const tiledFigure = document.querySelector(".tiled");

function tiledTile(place) {
  const [picture, regions] = [report.pictures[place], regionsOf(place)];
  const label = `${picture.name}: ${regions.map((one) => one.name).join(", ")}`;
  const made = element("span", { class: "tile", role: "img", "aria-label": label }, frame(picture, { regions }));
  made.firstChild.append(...regions.map(numberMark));
  return made;
}

// A number that would cover its region is left out.
function showTiled(target) {
  target.replaceChildren(...report.first.map(tiledTile));
  for (const mark of target.querySelectorAll(".region-number")) {
    const { clientWidth, clientHeight } = mark.parentElement;
    mark.hidden = Number(mark.dataset.room) * Math.min(clientWidth, clientHeight) < LEAST_ROOM_PX;
  }
}

if (tiledFigure) {
  fillLater(tiledFigure.querySelector(".tiled-pictures"), showTiled);
  addEventListener("named", () => fillLater(tiledFigure.querySelector(".tiled-pictures"), showTiled));
  lightRegions(tiledFigure);
  tiledFigure.querySelector(".tiled-pictures").addEventListener("click", (event) => {
    const region = event.target.closest("[data-region]");
    if (region) location.hash = `filter-${region.dataset.region}`;
  });
}
