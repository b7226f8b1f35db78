"use strict";
// Small things that the scripts after this one share. Text from outside reaches the page as text nodes only.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function svgElement(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const ARRAY_TYPES = { u8: Uint8Array, u16: Uint16Array, f32: Float32Array };

function unpacked({ type, shape, data }) {
  return { shape, values: new ARRAY_TYPES[type](bytesOf(data).buffer) };
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function decimal(value, digits = 2) {
  if (!isNumber(value)) return "–";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

function signed(value, digits = 2) {
  const text = decimal(value, digits);
  return isNumber(value) && Number(text.replace("−", "-")) > 0 ? `+${text}` : text;
}

const percent = (share) => `${(100 * share).toFixed(2)}%`;

// Calls `fill` once, when the element comes near the window, or before the page is printed.
const waiting = new Map();
const whenNear = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) fillNow(target);
  },
  { rootMargin: "400px" },
);

function fillLater(target, fill) {
  waiting.set(target, fill);
  whenNear.observe(target);
}

function fillNow(target) {
  const fill = waiting.get(target);
  waiting.delete(target);
  whenNear.unobserve(target);
  if (fill) fill(target);
}

addEventListener("beforeprint", () => {
  for (const target of [...waiting.keys()]) if (target.offsetParent !== null) fillNow(target);
});
