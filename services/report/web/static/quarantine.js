"use strict";
// One box chooses all files of a list.
(function chooseAll() {
  const all = document.querySelector("[data-choose-all]");
  if (!all) return;
  const boxes = [...document.querySelectorAll('input[name="id"]')];
  all.parentElement.hidden = false;
  all.addEventListener("change", () => boxes.forEach((box) => { box.checked = all.checked; }));
  for (const box of boxes) box.addEventListener("change", () => { all.checked = boxes.every((b) => b.checked); });
})();

// A picture that cannot be shown says so.
(function unavailable() {
  for (const stage of document.querySelectorAll("[data-stage]")) {
    const photo = stage.querySelector("img");
    const missing = () => stage.classList.add("unavailable");
    photo.addEventListener("error", missing);
    if (photo.complete && photo.naturalWidth === 0 && photo.currentSrc) missing();
  }
})();
