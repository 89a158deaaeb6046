"use strict";
// One box chooses all files of a page, another all of their reason; how many are chosen is said.
(function choose() {
  const all = document.querySelector("[data-choose-all]");
  const boxes = [...document.querySelectorAll('input[name="id"]')];
  if (!all || !boxes.length) return;
  const every = document.querySelector("[data-choose-every]");
  const said = document.querySelector("[data-chosen]");
  const tell = () => {
    const chosen = boxes.filter((b) => b.checked).length;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
    said.textContent = every && every.checked ? "All of this reason are chosen." : chosen ? `${chosen} chosen.` : "";
  };
  all.parentElement.hidden = false;
  all.addEventListener("change", () => { boxes.forEach((box) => { box.checked = all.checked; }); tell(); });
  if (every) every.addEventListener("change", () => { boxes.forEach((box) => { box.checked = every.checked; box.disabled = every.checked; }); all.disabled = every.checked; tell(); });
  for (const box of boxes) box.addEventListener("change", tell);
  tell();
})();

// A picture that cannot be shown says so.
(function unavailable() {
  const watch = (photo, missing) => {
    if (!photo) return;
    photo.addEventListener("error", missing);
    if (photo.complete && photo.naturalWidth === 0 && photo.currentSrc) missing();
  };
  for (const stage of document.querySelectorAll("[data-stage]")) watch(stage.querySelector("img"), () => stage.classList.add("unavailable"));
  for (const thumb of document.querySelectorAll(".thumb")) watch(thumb.querySelector("img"), () => { thumb.classList.add("none"); thumb.append("no picture"); });
})();

// Many files are decided about in batches: the page goes on by itself, until all are done or somebody stops it.
(function batches() {
  const main = document.querySelector("#main");
  let form = document.querySelector("form[data-batches]");
  if (!form || !form.querySelector('input[name="all"]')) return;
  let running = false;
  const step = async () => {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("[data-sure]");
    if (!next) throw new Error("signed out");
    main.querySelector("[data-sure]").replaceWith(next);
    form = next.querySelector("form[data-go-on]");
  };
  const run = async (event) => {
    event.preventDefault();
    if (running) return;
    running = true;
    event.submitter && (event.submitter.disabled = true);
    try {
      while (form) await step();
      const heading = main.querySelector("[data-sure] h1");
      heading.tabIndex = -1;
      heading.focus();
    } catch {
      running = false;
      if (form) {
        form.addEventListener("submit", run);
        const button = form.querySelector("button");
        button.disabled = false;
        button.textContent = "It broke off; go on";
      }
    }
  };
  form.addEventListener("submit", run);
})();

// The first field that is wrong has the focus, also where the browser's autofocus came too late.
document.querySelector("[aria-invalid=true]")?.focus();
