// What filters are called: shown all over the page, typed on their cards, and saved as names.yaml, which
// `partcnn names RUN --import` takes. Nothing is kept beyond the page.

const MOST_LETTERS = 40; // as of partcnn.model.naming
const MOST_NUMBERS = 6; // of filters beside a name that they share
const names = new Map(Object.entries(report.names).map(([id, name]) => [Number(id), name])); // of filters not shown too
const saveButton = document.querySelector(".save-names");
const savedLine = document.querySelector(".saved-names");

// Letters that can be seen, composed, with single spaces.
function cleanName(text) {
  const clean = text.normalize("NFC").replace(/\p{Z}+/gu, " ").replace(/\p{C}/gu, "").trim();
  return [...clean].slice(0, MOST_LETTERS).join("").trim();
}

function sharedName(name, ids) {
  const more = ids.length > MOST_NUMBERS ? `, … ${ids.length} filters` : "";
  return `${name} (${ids.slice(0, MOST_NUMBERS).join(", ")}${more})`;
}

const called = (id, plain = `filter ${id}`) => (names.has(id) ? sharedName(names.get(id), [id]) : plain);

// Terms of filters that share a name are one, whose value is their sum; it opens the one that adds most.
// term: {id, name, value, places, marks, held, opens, note}
function joinedByName(terms) {
  const groups = new Map();
  for (const term of terms) {
    const key = names.get(term.id) ?? term.id;
    groups.set(key, [...(groups.get(key) ?? []), term]);
  }
  return [...groups.entries()].map(([name, group]) => {
    if (group.length === 1) return group[0];
    const [first] = group.sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
    const ids = group.map((one) => one.id).sort((one, other) => one - other);
    return {
      ...first,
      name: sharedName(name, ids),
      value: group.reduce((sum, one) => sum + one.value, 0),
      places: group.flatMap((one) => one.places),
      marks: group.flatMap((one) => one.marks ?? []),
      held: group.flatMap((one) => one.held ?? []),
      note: `${ids.length} filters`,
      number: ids.length,
    };
  });
}

function nameField(id) {
  const input = element("input", {
    class: "name-field", type: "text", maxlength: MOST_LETTERS, autocomplete: "off", dir: "auto", list: "known-names",
    placeholder: "name it", "aria-label": `Name of filter ${id}`, "data-names": id,
  });
  input.value = names.get(id) ?? "";
  input.addEventListener("change", () => {
    const name = cleanName(input.value);
    if (name) names.set(id, name);
    else names.delete(id);
    saveButton.classList.add("is-unsaved");
    savedLine.value = "";
    showNames();
  });
  return input;
}

function showNames() {
  for (const one of document.querySelectorAll("[data-called]")) {
    one.dataset.plain ??= one.textContent;
    one.textContent = called(Number(one.dataset.called), one.dataset.plain);
  }
  for (const one of document.querySelectorAll("[data-patch-named]")) {
    one.setAttribute("aria-label", `Average patch at the peaks of ${called(Number(one.dataset.patchNamed))}`);
  }
  for (const one of document.querySelectorAll("[data-follower]")) one.title = called(Number(one.dataset.follower));
  for (const dot of document.querySelectorAll("[data-opens] > title")) {
    dot.dataset.figures ??= dot.textContent.replace(/^filter \d+/, "");
    dot.textContent = called(Number(dot.parentElement.dataset.opens.replace("filter-", ""))) + dot.dataset.figures;
  }
  for (const field of document.querySelectorAll(".name-field")) field.value = names.get(Number(field.dataset.names)) ?? "";
  for (const { id, swatch } of report.filters) {
    if (!swatch) continue;
    swatch.plain ??= swatch.name;
    swatch.name = called(id, swatch.plain);
  }
  const known = [...new Set([...names.values(), ...report.parts])];
  document.getElementById("known-names").replaceChildren(...known.map((name) => element("option", { value: name })));
  dispatchEvent(new Event("named"));
}

// JSON's texts are YAML's too.
function namesYaml() {
  const lines = [...names].sort(([one], [other]) => one - other).map(([id, name]) => `${id}: ${JSON.stringify(name)}\n`);
  return `# Filters of the top part layer, NUMBER: NAME. partcnn names RUN --import names.yaml\n${lines.join("")}`;
}

saveButton.addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([namesYaml()], { type: "application/yaml" }));
  element("a", { href: url, download: "names.yaml" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
  saveButton.classList.remove("is-unsaved");
  savedLine.value = "names.yaml: partcnn names RUN --import names.yaml keeps them";
});
addEventListener("beforeunload", (event) => {
  if (saveButton.classList.contains("is-unsaved")) event.preventDefault();
});
for (const place of document.querySelectorAll("[data-naming]")) place.append(nameField(Number(place.dataset.naming)));
showNames();
