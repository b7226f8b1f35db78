// Sends a picture to this machine's own server, and shows what comes back.

const mapOf = (map) => element("li", {},
  element("img", { src: map.src, alt: `Where ${map.name} is` }),
  element("b", {}, `${map.name} ${signed(map.value)}`),
  isNumber(map.hidden) ? element("span", {}, `hidden: ${signed(map.hidden)}`) : null);

async function explainPicture(file, own) {
  const label = form.elements.label.value;
  try {
    const response = await fetch("/explain", { method: "POST", body: file, headers: label ? { "X-Class": label } : {} });
    const answer = await response.json();
    if (own !== turn) return;
    if (!response.ok) return say(answer.error, true);
    const picture = { ...answer.picture, url: () => answer.picture.src };
    showSum({ ...answer, picture, maps: answer.maps.map(mapOf) }, file.name);
    say(`${file.name}, ${answer.size[0]} × ${answer.size[1]} pixels`);
  } catch {
    if (own === turn) say("The server did not answer: is partcnn view still running? A picture may also be too large.", true);
  }
}
