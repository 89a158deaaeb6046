// The patient page: what is shown over the photographs, both eyes in step, and which photograph of an eye is shown.
import { Viewer, whole } from "/static/viewer.js";

const reading = document.querySelector("[data-reading]");
const controls = document.querySelector("[data-controls]");

// Definitions close with Escape, and come back when they are asked for again.
document.addEventListener("keydown", (e) => {
  if (e.key !== "Escape") return;
  for (const term of document.querySelectorAll(".term")) {
    if (!term.matches(":hover,:focus-within")) continue;
    term.classList.add("dismissed");
    const back = () => term.classList.remove("dismissed");
    term.addEventListener("pointerleave", back, { once: true });
    term.addEventListener("focusout", back, { once: true });
  }
});

if (reading && controls) start();

function start() {
  controls.hidden = false;
  const control = (name) => controls.querySelector(`[data-show="${name}"]`);
  const legend = document.querySelector("[data-legend]"), scaleEnd = document.querySelector("[data-widest]");
  const options = { shades: legend.dataset.shades.split(" "), widest: 1 };
  const read = () => {
    for (const name of ["vessels", "widths", "regions", "disc"]) options[name] = control(name).checked;
    options.opacity = control("opacity").value / 100;
    options.colour = control("colour").value;
  };
  read();
  const step = controls.querySelector("[data-step]"), mirror = controls.querySelector("[data-mirror]"), keys = controls.querySelector("[data-keys]");
  const viewers = [...document.querySelectorAll("[data-stage]")].map((stage) => new Viewer(stage, options, moved));
  const shown = () => viewers.filter((v) => !v.stage.closest("[hidden]"));

  function moved(by) {
    if (!step.checked) return;
    for (const viewer of shown()) {
      if (viewer === by) continue;
      // One eye is the mirror image of the other: what is nasal here lies on the other side there.
      const other = mirror.checked && viewer.stage.dataset.eye !== by.stage.dataset.eye;
      viewer.view = { ...by.view, x: other ? 1 - by.view.x : by.view.x };
      viewer.redraw();
    }
  }

  async function show() {
    read();
    legend.hidden = !options.widths;
    shown().forEach((v) => v.redraw());
    if (!options.widths) return;
    await Promise.all(shown().map((v) => v.loadLines()));
    // One scale for both eyes, so that equal colours are equal widths.
    options.widest = Math.max(0.2, ...shown().map((v) => v.widest ?? 0));
    scaleEnd.textContent = options.widest.toFixed(1) + " % of the field";
    shown().forEach((v) => v.redraw());
  }

  controls.addEventListener("input", show);
  controls.addEventListener("click", (e) => {
    const act = e.target.closest("[data-zoom]")?.dataset.zoom;
    if (!act) return;
    const [first, ...others] = step.checked ? shown().slice(0, 1) : shown();
    for (const viewer of [first, ...others]) viewer?.[act]();
  });
  for (const box of [step, mirror]) box.addEventListener("change", () => { const [first] = shown(); if (first) moved(first); });

  // Letters work where nothing is being typed; who speaks to their computer can turn them off.
  keys.checked = localStorage.getItem("noctua.letters") !== "off";
  keys.addEventListener("change", () => localStorage.setItem("noctua.letters", keys.checked ? "on" : "off"));
  document.addEventListener("keydown", (e) => {
    if (!keys.checked || e.ctrlKey || e.metaKey || e.altKey || e.target.closest?.("input:not([type=checkbox]):not([type=range]),select,textarea")) return;
    const box = { v: control("vessels"), w: control("widths"), r: control("regions"), d: control("disc"), s: step, m: mirror }[e.key.toLowerCase()];
    if (box) box.click();
  });

  // The other photographs of an eye.
  document.addEventListener("click", (e) => {
    const link = e.target.closest("[data-picture]");
    const article = link && document.getElementById(link.dataset.picture);
    if (!article || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    const eye = article.closest(".eye");
    for (const other of eye.querySelectorAll(".image")) other.hidden = other !== article;
    for (const other of eye.querySelectorAll("[data-picture]")) other.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    for (const viewer of shown()) {
      viewer.open().then(show);
      if (eye.contains(viewer.stage)) viewer.look(whole());
    }
  });

  shown().forEach((v) => v.open());
  show();
  document.documentElement.dataset.reading = "ready";
}
