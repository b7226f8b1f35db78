// Pictures with a heat map, a peak and part outlines. Places are shares of the picture, from its top left corner.

const MAP_PX = 72; // side of a heat map's canvas, stretched over the picture

// Middle of what a cell sees.
function cellPlace(cell, field) {
  const cols = field.map[1];
  return [field.first[0] + (cell % cols) * field.stride[0], field.first[1] + Math.floor(cell / cols) * field.stride[1]];
}

// max(T, 0) of the positive template with its peak at `cell`, one value per cell; with `isWhole` down to −1.
function template(cell, slope, [rows, cols], isWhole = false) {
  const values = new Float32Array(rows * cols);
  const [peakRow, peakCol] = [Math.floor(cell / cols), cell % cols];
  for (let i = 0; i < values.length; i += 1) {
    const distance = Math.abs(Math.floor(i / cols) - peakRow) + Math.abs((i % cols) - peakCol);
    values[i] = Math.max(1 - (slope * distance) / Math.sqrt(rows * cols), isWhole ? -1 : 0);
  }
  return values;
}

// The value of a map at a place, bilinear between the middles of the cells, constant beyond the outermost.
function mapValue(values, [rows, cols], col, row) {
  const c = Math.min(cols - 1, Math.max(0, col));
  const r = Math.min(rows - 1, Math.max(0, row));
  const [c0, r0] = [Math.floor(c), Math.floor(r)];
  const [c1, r1] = [Math.min(cols - 1, c0 + 1), Math.min(rows - 1, r0 + 1)];
  const upper = values[r0 * cols + c0] * (1 - (c - c0)) + values[r0 * cols + c1] * (c - c0);
  const lower = values[r1 * cols + c0] * (1 - (c - c0)) + values[r1 * cols + c1] * (c - c0);
  return upper * (1 - (r - r0)) + lower * (r - r0);
}

// `values` between 0 and 255 in colours that grow brighter and less transparent.
function heatCanvas(values, field, colours) {
  const canvas = element("canvas", { width: MAP_PX, height: MAP_PX, class: "heat-map" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(MAP_PX, MAP_PX);
  for (let y = 0; y < MAP_PX; y += 1) {
    const row = ((y + 0.5) / MAP_PX - field.first[1]) / field.stride[1];
    for (let x = 0; x < MAP_PX; x += 1) {
      const col = ((x + 0.5) / MAP_PX - field.first[0]) / field.stride[0];
      const value = Math.round(mapValue(values, field.map, col, row));
      image.data.set(colours.subarray(4 * value, 4 * value + 4), 4 * (y * MAP_PX + x));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// One pixel per cell, without the picture: positive values in the heat colours, negative ones in blue.
function cellCanvas(values, [rows, cols], full, colours) {
  const canvas = element("canvas", { width: cols, height: rows, class: "cell-map" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(cols, rows);
  for (let i = 0; i < values.length; i += 1) {
    const share = Math.max(-1, Math.min(1, values[i] / full));
    const colour = colours.subarray(4 * Math.round(255 * Math.max(0, share)));
    const [ground, cold] = [[24, 26, 30], [46, 92, 140]];
    for (let k = 0; k < 3; k += 1) {
      image.data[4 * i + k] = share > 0 ? colour[k] : ground[k] - share * (cold[k] - ground[k]);
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function outlines(shapes) {
  const drawn = svgElement("svg", { class: "outlines", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const shape of shapes.filter((one) => one.length === 4)) {
    const [x0, y0, x1, y1] = shape.map((value) => 100 * value);
    for (const kind of ["part seam", "part"]) {
      drawn.append(svgElement("rect", { class: kind, x: x0, y: y0, width: x1 - x0, height: y1 - y0 }));
    }
  }
  return drawn;
}

const REGION_STEPS = 500; // a side of the picture, in the paths of partcnn.plot.tiling.svg_path

// What filters hold, each in its colour. region: {path, filter, name, colour}
function regionLayer(regions) {
  const side = REGION_STEPS;
  const drawn = svgElement("svg", { class: "regions", viewBox: `0 0 ${side} ${side}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const { path, filter, name, colour } of regions) {
    const made = svgElement("path", { class: "region", d: path, fill: colour, "data-region": filter });
    const title = svgElement("title", {});
    title.textContent = name;
    made.append(title);
    drawn.append(made);
  }
  return drawn;
}

function numberMark({ filter, colour, ink, place: [x, y], room }) {
  const style = `left: ${percent(x)}; top: ${percent(y)}; background: ${colour}; color: ${ink}`;
  return element("i", { class: "region-number", "data-region": filter, "data-room": room, style }, String(filter));
}

// Pointing at a filter, in a picture or in the legend, leaves its regions alone in colour.
function lightRegions(panel) {
  const light = (filter) => {
    panel.classList.toggle("has-lit-region", filter !== undefined);
    for (const one of panel.querySelectorAll("[data-region]")) one.classList.toggle("is-lit", one.dataset.region === filter);
  };
  for (const kind of ["pointerover", "focusin"]) panel.addEventListener(kind, (event) => light(event.target.closest("[data-region]")?.dataset.region));
  for (const kind of ["pointerleave", "focusout"]) panel.addEventListener(kind, () => light(undefined));
}

const marker = (kind, [x, y]) => element("i", { class: kind, style: `left: ${percent(x)}; top: ${percent(y)}` });

// The picture itself, with what lies on it; fits into whatever square it is put in.
function frame(picture, { heat = null, regions = [], peak = null, shapes = [] } = {}) {
  const ratio = picture.width / picture.height;
  const style = `width: ${percent(Math.min(1, ratio))}; height: ${percent(Math.min(1, 1 / ratio))}`;
  const made = element("span", { class: "frame", style }, element("img", { src: picture.url(), alt: "", decoding: "async" }));
  if (heat) made.append(heat);
  if (regions.length) made.append(regionLayer(regions));
  if (shapes.length) made.append(outlines(shapes));
  for (const point of shapes.filter((one) => one.length === 2)) made.append(marker("part-point", point));
  if (peak) made.append(marker("peak", peak));
  return made;
}

function tile(picture, label, layers) {
  return element("span", { class: "tile", role: "img", "aria-label": label, title: label }, frame(picture, layers));
}

// "the top left", "the middle"
function whereIs([x, y]) {
  const third = (value) => Math.min(2, Math.max(0, Math.floor(3 * value)));
  const across = ["left", "middle", "right"][third(x)];
  const down = ["top", "middle", "bottom"][third(y)];
  return across === down ? "the middle" : `the ${down} ${across}`;
}
