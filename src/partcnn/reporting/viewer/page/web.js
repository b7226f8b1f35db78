// Explains a picture within the browser: onnxruntime-web runs the network, what its file gives is shown as a sum of parts.

const page = JSON.parse(document.getElementById("data").textContent);
const MOST_PIXELS = 50_000_000; // of a picture
const MOST_MAPS = 8; // of the strongest contributions
const RED_GREEN_BLUE = [0.2989, 0.587, 0.114]; // shares of grey: ITU-R 601, as torchvision's
const HELD = 0.5; // a filter that has no cell by more is not seen, where filters compete
const STEPS = 64; // a side of the picture, between which outlines of regions run straight
const LEAST_AREA = 2e-4; // of the picture: a smaller piece is no more than a corner that two outlines leave

// ---- From a file to the network's input

async function pixelsOf(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) throw new RangeError("too large");
  const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, values: context.getImageData(0, 0, width, height).data };
}

// For each of `size` pixels the first of `given` that it takes something from, and the weights from there on: a triangle
// as wide as a pixel of the result, so that shrinking averages, in whole numbers that add up to 2 ** bits. As torchvision
// resizes bytes, and a canvas does not.
function resizeWeights(given, size) {
  const scale = given / size;
  const reach = Math.max(1, scale);
  const pixels = Array.from({ length: size }, (_, index) => {
    const center = scale * (index + 0.5);
    const first = Math.max(0, Math.floor(center - reach + 0.5));
    const end = Math.min(given, Math.floor(center + reach + 0.5));
    const weights = Array.from({ length: end - first }, (_, step) => Math.max(0, 1 - Math.abs(first + step + 0.5 - center) / reach));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
  const largest = Math.max(...pixels.map(({ weights }) => Math.max(...weights)));
  const bits = Math.min(22, Math.ceil(Math.log2((2 ** 15 - 0.5) / largest)) - 1); // each weight has 15
  for (const pixel of pixels) pixel.weights = pixel.weights.map((weight) => Math.round(weight * 2 ** bits));
  return { pixels, bits };
}

// RGBA → RGB of another size: across, then down.
function resized({ width, height, values }, [rows, cols]) {
  const [line, stripe] = [3 * cols, new Uint8ClampedArray(3 * cols * height)];
  const across = resizeWeights(width, cols);
  across.pixels.forEach(({ first, weights }, col) => {
    for (let row = 0; row < height; row += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        let sum = 2 ** (across.bits - 1);
        for (let step = 0; step < weights.length; step += 1) sum += weights[step] * values[4 * (row * width + first + step) + channel];
        stripe[row * line + 3 * col + channel] = sum >> across.bits;
      }
    }
  });
  const down = resizeWeights(height, rows);
  const small = new Uint8ClampedArray(rows * line);
  down.pixels.forEach(({ first, weights }, row) => {
    for (let place = 0; place < line; place += 1) {
      let sum = 2 ** (down.bits - 1);
      for (let step = 0; step < weights.length; step += 1) sum += weights[step] * stripe[(first + step) * line + place];
      small[row * line + place] = sum >> down.bits;
    }
  });
  return small;
}

// [channel, row, col], normalised.
function networkInput(pixels) {
  const { input_size: size, mean, std, channels = 3 } = page.preprocessing;
  const rgb = resized(pixels, size);
  const area = size[0] * size[1];
  const grey = (colour) => RED_GREEN_BLUE.reduce((sum, share, channel) => sum + share * colour[channel], 0);
  const input = new Float32Array(channels * area);
  for (let place = 0; place < area; place += 1) {
    const colour = rgb.subarray(3 * place, 3 * place + 3);
    if (channels === 1) input[place] = (grey(colour) / 255 - grey(mean)) / grey(std);
    else for (let channel = 0; channel < 3; channel += 1) input[channel * area + place] = (colour[channel] / 255 - mean[channel]) / std[channel];
  }
  return input;
}

// ---- The network

async function openedNetwork() {
  const runtime = await import(`./${page.runtime}`);
  runtime.env.wasm.numThreads = 1; // more need headers that not every server sends
  const session = await runtime.InferenceSession.create(`./${page.network}`, { executionProviders: ["wasm"] });
  let last = Promise.resolve();
  return (input) => {
    const { input_size: size, channels = 3 } = page.preprocessing;
    const images = new runtime.Tensor("float32", input, [1, channels, ...size]);
    last = last.catch(() => {}).then(() => session.run({ images })); // one picture after the other
    return last;
  };
}

const answers = new WeakMap(); // by file: another class of the same picture needs no other pass

async function answered(file) {
  if (answers.has(file)) return answers.get(file);
  const start = performance.now();
  const pixels = await pixelsOf(file);
  const runNetwork = await network;
  const outputs = await runNetwork(networkInput(pixels));
  const read = (name) => outputs[name]?.data ?? null;
  const answer = {
    width: pixels.width,
    height: pixels.height,
    logits: [...read("logits")],
    contributions: read("contributions"),
    surroundings: read("surroundings"),
    peaks: read("peaks"),
    maps: mapsOf(outputs.masked_feature_maps),
    seconds: (performance.now() - start) / 1000,
  };
  answers.set(file, answer);
  return answer;
}

function mapsOf({ data, dims: [, filters, rows, cols] }) {
  return Array.from({ length: filters }, (_, filter) => data.subarray(filter * rows * cols, (filter + 1) * rows * cols));
}

const highest = (values) => values.reduce((most, value) => Math.max(most, value), -Infinity);
const isSeen = (map) => highest(map) > (page.swatches ? HELD : 0);

function probabilityOf(logits, label) {
  if (page.multilabel) return 1 / (1 + Math.exp(-logits[label]));
  const most = highest(logits);
  return Math.exp(logits[label] - most) / logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
}

// ---- What filters that compete hold

// Of each filter that is seen, and last of the rest, its share at STEPS × STEPS places of the picture.
function sampledShares(maps) {
  const rest = new Float32Array(maps[0].length).fill(1);
  const known = maps.map((map) => (isSeen(map) ? map : map.map(() => 0)));
  for (const map of known) map.forEach((share, cell) => { rest[cell] -= share; });
  const { first, stride, map: size } = page.field;
  return [...known, rest].map((map) => Float32Array.from({ length: STEPS * STEPS }, (_, place) => {
    const [x, y] = [((place % STEPS) + 0.5) / STEPS, (Math.floor(place / STEPS) + 0.5) / STEPS];
    return mapValue(map, size, (x - first[0]) / stride[0], (y - first[1]) / stride[1]);
  }));
}

// How far a filter's share is above the largest other one, at each place.
function leadsOf(shares) {
  const leads = shares.map(() => new Float32Array(STEPS * STEPS));
  for (let place = 0; place < STEPS * STEPS; place += 1) {
    let [holder, second] = [0, -Infinity];
    for (let filter = 1; filter < shares.length; filter += 1) {
      const share = shares[filter][place];
      if (share > shares[holder][place]) [second, holder] = [shares[holder][place], filter];
      else second = Math.max(second, share);
    }
    leads.forEach((lead, filter) => { lead[place] = shares[filter][place] - (filter === holder ? second : shares[holder][place]); });
  }
  return leads.slice(0, -1);
}

// Closed lines of points [x, y] around where the lead is above 0 (marching squares), in shares of the picture's sides.
function outlineOf(lead) {
  const side = STEPS + 4; // the picture's edge, and beyond it a ring without any lead, lie around the places
  const inner = (index) => Math.min(STEPS - 1, Math.max(0, index - 2));
  const place = (index) => (index < 2 ? 0 : index >= side - 2 ? 1 : (index - 1.5) / STEPS);
  const value = (row, col) => (Math.min(row, col) === 0 || Math.max(row, col) === side - 1 ? -1 : lead[inner(row) * STEPS + inner(col)]);
  const following = new Map(); // from each crossed edge of the grid to the next one along the line
  const points = new Map();
  for (let row = 0; row + 1 < side; row += 1) {
    for (let col = 0; col + 1 < side; col += 1) {
      const corners = [[row, col], [row, col + 1], [row + 1, col + 1], [row + 1, col]];
      const held = corners.map((corner) => value(...corner) > 0);
      const crossed = [0, 1, 2, 3].filter((corner) => held[corner] !== held[(corner + 1) % 4]);
      const edges = crossed.map((corner) => {
        const [from, to] = [corners[corner], corners[(corner + 1) % 4]];
        const key = 2 * (Math.min(from[0], to[0]) * side + Math.min(from[1], to[1])) + (from[0] === to[0] ? 0 : 1);
        const share = value(...from) / (value(...from) - value(...to));
        const between = (axis) => place(from[axis]) + share * (place(to[axis]) - place(from[axis]));
        points.set(key, [between(1), between(0)]);
        return { key, leaves: held[corner] };
      });
      edges.forEach(({ key, leaves }, index) => { if (leaves) following.set(key, edges[(index + 1) % edges.length].key); });
    }
  }
  const lines = [];
  while (following.size) {
    const line = [];
    for (let key = following.keys().next().value; following.has(key);) {
      line.push(points.get(key));
      const next = following.get(key);
      following.delete(key);
      key = next;
    }
    lines.push(line);
  }
  return lines.filter((line) => Math.abs(areaOf(line)) >= LEAST_AREA);
}

const areaOf = (line) => line.reduce((sum, [x, y], index) => {
  const [nextX, nextY] = line[(index + 1) % line.length];
  return sum + (x * nextY - nextX * y) / 2;
}, 0);

const pathOf = (lines) => lines.map((line) => `M${line.map(([x, y]) => `${(REGION_STEPS * x).toFixed(1)} ${(REGION_STEPS * y).toFixed(1)}`).join("L")}z`).join("");

// A place deep within what is held, found by taking its edge away until nothing is left; null where nothing is held.
function innerPlace(lead) {
  let core = null;
  let left = Array.from(lead, (value) => value > 0);
  const stays = (place) => left[place] && left[place - STEPS] && left[place + STEPS]
    && place % STEPS > 0 && left[place - 1] && place % STEPS < STEPS - 1 && left[place + 1];
  while (left.includes(true)) {
    core = left;
    left = core.map((_, place) => Boolean(stays(place)));
  }
  if (core === null) return null;
  const places = core.flatMap((isCore, place) => (isCore ? [place] : []));
  const middle = places[places.length >> 1];
  return [((middle % STEPS) + 0.5) / STEPS, (Math.floor(middle / STEPS) + 0.5) / STEPS];
}

// {place, path} of each filter; null of one that holds nothing.
function regionsOf(maps) {
  return leadsOf(sampledShares(maps)).map((lead) => {
    const place = innerPlace(lead);
    return { place, path: (place && pathOf(outlineOf(lead))) || null };
  });
}

// ---- What is shown

function placeOf(answer, filter) {
  const [row, col] = answer.peaks.subarray(2 * filter, 2 * filter + 2);
  const { first, stride } = page.field;
  return [first[0] + Number(col) * stride[0], first[1] + Number(row) * stride[1]];
}

function heatOf(answer, filter) {
  const full = highest(answer.maps[filter]);
  return heatCanvas(answer.maps[filter].map((value) => Math.max(0, 255 * value / full)), page.field, heatColours);
}

const heatColours = page.colours ? unpacked(page.colours).values : null;

// The terms of a class's logit; filters that share a name are one.
function sumOf(answer, label) {
  const valueOf = (filter) => answer.contributions[label * answer.maps.length + filter];
  if (page.swatches) answer.regions ??= regionsOf(answer.maps);
  const terms = page.terms.map(({ name, filters }) => {
    const seen = filters.filter((filter) => isSeen(answer.maps[filter]));
    const value = filters.reduce((sum, filter) => sum + valueOf(filter), 0);
    const term = { name, value, number: filters.length, note: filters.length > 1 ? `${filters.length} filters` : null };
    if (!page.swatches) return { ...term, places: seen.map((filter) => placeOf(answer, filter)) };
    const held = filters.filter((filter) => answer.regions[filter].path);
    const { colour, ink } = page.swatches[filters[0]];
    return {
      ...term,
      name: seen.length ? name : `${name}, not seen`,
      colour,
      ink,
      places: held.map((filter) => answer.regions[filter].place),
      marks: held.map((filter) => page.swatches[filter]),
      held: held.map((filter) => ({ ...page.swatches[filter], path: answer.regions[filter].path })),
    };
  });
  const surroundings = answer.surroundings ? answer.surroundings[label] : null;
  return { logit: answer.logits[label], bias: page.bias[label], surroundings, remainder: 0, isExact: true, terms, valueOf };
}

function mapTiles(answer, picture, sum) {
  const isShown = (map, filter) => (page.swatches ? Boolean(answer.regions[filter].path) : isSeen(map));
  const drawn = answer.maps.flatMap((map, filter) => (isShown(map, filter) ? [filter] : []));
  const strongest = drawn.sort((one, other) => Math.abs(sum.valueOf(other)) - Math.abs(sum.valueOf(one))).slice(0, MOST_MAPS);
  return strongest.map((filter) => {
    const name = page.filters[filter];
    const layers = page.swatches ? { regions: [{ ...page.swatches[filter], path: answer.regions[filter].path }] }
      : { heat: heatOf(answer, filter), peak: placeOf(answer, filter) };
    return element("li", {}, tile(picture, `Where ${name} is`, layers), element("b", {}, `${name} ${signed(sum.valueOf(filter))}`));
  });
}

let lastUrl = null;

function show(file, answer, wanted) {
  const label = wanted === "" ? answer.logits.indexOf(highest(answer.logits)) : Number(wanted);
  if (lastUrl) URL.revokeObjectURL(lastUrl);
  lastUrl = URL.createObjectURL(file);
  const picture = { width: answer.width, height: answer.height, url: () => lastUrl };
  const sum = sumOf(answer, label);
  const shown = page.multilabel ? page.classes.filter((_, index) => answer.logits[index] > 0) : null;
  const found = { label: page.classes[label], probability: probabilityOf(answer.logits, label), shown };
  showSum({ ...found, picture, sum, maps: mapTiles(answer, picture, sum) }, file.name);
}

const pause = () => new Promise((resolve) => { setTimeout(resolve, 30); }); // so that the status line is drawn

async function explainPicture(file, own) {
  const label = form.elements.label.value;
  try {
    await network;
  } catch (error) {
    return sayWhyNot(error);
  }
  try {
    await pause();
    const answer = await answered(file);
    if (own !== turn) return;
    show(file, answer, label);
    say(`${file.name}, ${answer.width} × ${answer.height} pixels, in ${answer.seconds.toFixed(1)} s`);
  } catch (error) {
    if (own !== turn) return;
    if (error instanceof RangeError) say(`Expected a picture of at most ${MOST_PIXELS / 1e6} million pixels, which this browser's memory holds.`, true);
    else if (error instanceof DOMException) say("Expected a picture that this browser can read, such as a JPEG, PNG or WebP file.", true);
    else say(`The network could not be run: ${error.message}`, true);
  }
}

function sayWhyNot(error) {
  say(location.protocol === "file:"
    ? "A browser loads the network from a server only: start “python -m http.server” in this folder and open http://localhost:8000/."
    : `The network could not be loaded: ${error.message}`, true);
}

say(`Loading the network, ${page.megabytes} MB …`);
const network = openedNetwork();
network.then(() => { if (!lastFile) say(""); }, sayWhyNot);
