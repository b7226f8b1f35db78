// What the page holds: the JSON beside this script, with its arrays unpacked when they are first asked for.

const report = JSON.parse(document.getElementById("data").textContent);
report.field.map = [...report.field.map];
const colours = unpacked(report.colours).values;
const numFilters = report.filters.length;
const filterAt = new Map(report.filters.map((one, place) => [one.id, place]));

const arrays = {};
function array(name) {
  arrays[name] ??= unpacked(report[name]).values;
  return arrays[name];
}

for (const picture of report.pictures) {
  picture.url = () => {
    picture.made ??= URL.createObjectURL(new Blob([bytesOf(picture.src)], { type: "image/jpeg" }));
    return picture.made;
  };
}

const cellOf = (place, filter) => array("cells")[place * numFilters + filter];
const scoreOf = (place, filter) => (array("scores")[place * numFilters + filter] / 65535) * report.full[filter];
const peakOf = (place, filter) => (scoreOf(place, filter) > 0 ? cellPlace(cellOf(place, filter), report.field) : null);
const isOwn = (place, filter) => report.pictures[place].labels.some((label) => report.filters[filter].serves.includes(report.classes[label]));
const shapesOf = (place, part) => (part === null ? [] : report.pictures[place].parts[part] ?? []);

// The map before the mask of a filter on the picture of this rank among its strongest, 0 to 255.
function mapOf(filter, rank) {
  const [numTop, rows, cols] = report.maps.shape.slice(1);
  const start = (filter * numTop + rank) * rows * cols;
  return array("maps").subarray(start, start + rows * cols);
}

// `cell` is the peak's: values of 8 bits may have several that are highest.
function masked(values, slope, cell) {
  const kept = template(cell, slope, report.field.map);
  return Float32Array.from(values, (value, i) => value * kept[i]);
}

// What the layers above see of it.
function seenMap(filter, rank) {
  const values = mapOf(filter, rank);
  if (!report.isMasked) return values;
  const { slope, top } = report.filters[filter];
  return masked(values, slope, cellOf(top[rank], filter));
}

// The strongest filters of each place first.
const weightsOf = (filter) => {
  const numClasses = report.weights.shape[1];
  return [...array("weights").subarray(filter * numClasses, (filter + 1) * numClasses)];
};

// What the filters hold of a picture, where they compete; of one filter with `only`.
function regionsOf(place, only = null) {
  if (report.tiles === null) return [];
  const shown = report.tiles[place].filter(({ filter }) => only === null || filter === only);
  return shown.map((one) => ({ ...report.filters[one.filter].swatch, ...one }));
}

function describe(place, filter, rank) {
  const [picture, one, peak] = [report.pictures[place], report.filters[filter], peakOf(place, filter)];
  const name = `${picture.name}, number ${rank + 1} for ${called(one.id)}`;
  if (peak === null) return `${name}, which does not fire here`;
  const text = `${name}: activation ${decimal(scoreOf(place, filter))}, peak at ${whereIs(peak)}`;
  const boxes = shapesOf(place, one.part).filter((shape) => shape.length === 4);
  if (!boxes.length) return text;
  const isInside = boxes.some(([x0, y0, x1, y1]) => x0 <= peak[0] && peak[0] <= x1 && y0 <= peak[1] && peak[1] <= y1);
  return `${text}, ${isInside ? "inside" : "outside"} the ${one.part}`;
}

function filterTile(place, filter, rank, withHeat) {
  const heat = withHeat && report.tiles === null ? heatCanvas(seenMap(filter, rank), report.field, colours) : null;
  const layers = { heat, regions: regionsOf(place, filter), peak: peakOf(place, filter), shapes: shapesOf(place, report.filters[filter].part) };
  return tile(report.pictures[place], describe(place, filter, rank), layers);
}

// The average patches lie in one sheet; the element shows its piece.
const sheetUrl = URL.createObjectURL(new Blob([bytesOf(report.patches.src)], { type: "image/jpeg" }));
function showPatch(target, filter) {
  const { columns, rows } = report.patches;
  const [row, col] = [Math.floor(filter / columns), filter % columns];
  const place = (index, count) => (count > 1 ? percent(index / (count - 1)) : "0");
  target.style.background = `url(${sheetUrl}) ${place(col, columns)} ${place(row, rows)} / ${100 * columns}% ${100 * rows}%`;
}
