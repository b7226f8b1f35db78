// The form of a page into which a picture is dropped: calls `explainPicture(file)`, again when another class is asked for.

const form = document.querySelector(".drop");
const zone = document.querySelector(".drop-zone");
const statusLine = document.querySelector(".status");
const result = document.querySelector(".result");
let lastFile = null;
let turn = 0; // answers to older requests are dropped

function say(text, isError = false) {
  statusLine.textContent = text;
  statusLine.classList.toggle("is-error", isError);
}

// The sum of parts of a class; `shown`: the classes that are found, null where one excludes the others; `maps`: list elements.
function showSum({ label, probability, shown, picture, sum, maps }, name) {
  const found = shown === null ? "" : `; it shows ${shown.join(", ") || "no class"}`;
  const title = `${label}: ${(100 * probability).toFixed(1)} %${found}`;
  const named = { ...sum, singular: "filter", plural: "filters", totalName: `logit of ${label}` };
  document.getElementById("result-title").textContent = title;
  document.querySelector(".answer").replaceChildren(sumPanel(picture, named, `${name}: ${title}`, []));
  document.querySelector(".maps").replaceChildren(...maps);
  result.hidden = false;
}

form.elements.picture.addEventListener("change", () => {
  if (form.elements.picture.files.length) takePicture(form.elements.picture.files[0]);
});
form.elements.label.addEventListener("change", () => {
  if (lastFile) takePicture(lastFile);
});
for (const kind of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    zone.classList.toggle("is-over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) takePicture(event.dataTransfer.files[0]);
  });
}

function takePicture(file) {
  lastFile = file;
  turn += 1;
  say(`Explaining ${file.name} …`);
  explainPicture(file, turn);
}
