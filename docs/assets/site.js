// What the theme makes and leaves without a name, or without a way in for the keyboard.
function name_what_has_none() {
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((table) => { table.tabIndex = 0; });
  document.querySelectorAll(".md-code__nav:not([aria-label])").forEach((tools, number) => {
    tools.setAttribute("aria-label", `Code block ${number + 1}`);
  });
  document.querySelectorAll("nav.md-nav nav.md-nav[aria-labelledby]").forEach((within) => {
    within.removeAttribute("aria-labelledby"); // of a section with a page of its own it names an empty label
    within.setAttribute("aria-label", `Pages of ${within.querySelector(".md-nav__title").textContent.trim()}`);
  });
}

new MutationObserver(name_what_has_none).observe(document.documentElement, { childList: true, subtree: true });
name_what_has_none();
