// Sends a picture to this machine's own server, and shows what comes back.

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

function show(answer, name) {
  const picture = { ...answer.picture, url: () => answer.picture.src };
  const found = answer.shown === null ? "" : `; it shows ${answer.shown.join(", ") || "no class"}`;
  const title = `${answer.label}: ${(100 * answer.probability).toFixed(1)} %${found}`;
  const sum = { ...answer.sum, singular: "filter", plural: "filters", totalName: `logit of ${answer.label}` };
  document.getElementById("result-title").textContent = title;
  document.querySelector(".answer").replaceChildren(sumPanel(picture, sum, `${name}: ${title}`, []));
  document.querySelector(".maps").replaceChildren(...answer.maps.map((map) => element("li", {},
    element("img", { src: map.src, alt: `Where ${map.name} is` }),
    element("b", {}, `${map.name} ${signed(map.value)}`),
    isNumber(map.hidden) ? element("span", {}, `hidden: ${signed(map.hidden)}`) : null)));
  result.hidden = false;
}

async function explainPicture(file) {
  lastFile = file;
  turn += 1;
  const own = turn;
  say(`Explaining ${file.name} …`);
  const label = form.elements.label.value;
  try {
    const response = await fetch("/explain", { method: "POST", body: file, headers: label ? { "X-Class": label } : {} });
    const answer = await response.json();
    if (own !== turn) return;
    if (!response.ok) return say(answer.error, true);
    show(answer, file.name);
    say(`${file.name}, ${answer.size[0]} × ${answer.size[1]} pixels`);
  } catch {
    if (own === turn) say("The server did not answer: is partcnn view still running? A picture may also be too large.", true);
  }
}

form.elements.picture.addEventListener("change", () => {
  if (form.elements.picture.files.length) explainPicture(form.elements.picture.files[0]);
});
form.elements.label.addEventListener("change", () => {
  if (lastFile) explainPicture(lastFile);
});
for (const kind of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    zone.classList.toggle("is-over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) explainPicture(event.dataTransfer.files[0]);
  });
}
