"use strict";
// The slash goes to the search, arrows walk over the rows, and filters apply.
(function list() {
  const search = document.querySelector("#q");
  const form = search && search.form;
  if (!form) return;
  const names = [...document.querySelectorAll("a.name")];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      search.focus();
      search.select();
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const at = names.indexOf(document.activeElement);
    if (!step || !(at >= 0 || event.target === search) || !names.length) return;
    event.preventDefault();
    const next = at + step;
    (next < 0 ? search : names[Math.min(next, names.length - 1)]).focus();
  });
  // With the mouse or a finger a filter applies as it is chosen; by the keyboard several are chosen first, and Enter applies them.
  let pointed = false;
  document.addEventListener("pointerdown", () => { pointed = true; }, true);
  document.addEventListener("keydown", () => { pointed = false; }, true);
  for (const field of form.querySelectorAll("select, input[type=checkbox]")) field.addEventListener("change", () => { if (pointed) form.requestSubmit(); });
})();
