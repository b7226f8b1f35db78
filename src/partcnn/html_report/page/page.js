"use strict";
(() => {
  const form = document.querySelector(".controls");
  const list = document.querySelector(".cards");
  const cards = [...list.querySelectorAll(".card")];
  const byNumber = (card, name) => {
    const value = Number.parseFloat(card.dataset[name]);
    return Number.isNaN(value) ? Infinity : value; // without a figure: last
  };
  const falling = (card, name) => {
    const value = byNumber(card, name);
    return value === Infinity ? value : -value;
  };
  const keys = {
    r2: (card) => falling(card, "r2"),
    instability: (card) => byNumber(card, "instability"),
    weight: (card) => falling(card, "weight"),
    filter: (card) => byNumber(card, "filter"),
  };
  const chosen = (name) => (form.elements[name] ? form.elements[name].value.trim() : "");

  function sort() {
    const key = keys[chosen("sort")];
    const rank = (one, other) => (key(one) === key(other) ? one.dataset.filter - other.dataset.filter : key(one) - key(other));
    list.append(...cards.sort(rank));
  }
  function filter() {
    const [part, category, number] = ["part", "category", "number"].map(chosen);
    let shown = 0;
    for (const card of cards) {
      const fits =
        (!part || card.dataset.part === part) &&
        (!category || card.dataset.category === category) &&
        (!number || card.dataset.filter === String(Number(number)));
      card.hidden = !fits;
      shown += fits;
    }
    form.querySelector(".shown").value = `${shown} of ${cards.length} filters`;
    document.querySelector(".nothing").hidden = shown > 0;
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    sort();
    filter();
    list.classList.toggle("bare", !form.elements.marks.checked);
  });
  // A dot of the strip leads to its card, also when that is filtered out.
  window.addEventListener("hashchange", () => {
    const card = document.getElementById(location.hash.slice(1));
    if (card && card.hidden) {
      form.reset();
      form.dispatchEvent(new Event("input"));
      card.scrollIntoView();
    }
  });
  window.addEventListener("beforeprint", () => {
    document.querySelector(".how").open = true;
  });
  form.hidden = false;
  sort();
  filter();
})();
