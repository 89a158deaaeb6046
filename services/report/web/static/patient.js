"use strict";
// Vessel masks over photographs: white becomes the chosen colour, everything else transparent.
(function overlays() {
  const stages = [...document.querySelectorAll("[data-stage]")];
  for (const stage of stages) {
    const photo = stage.querySelector("img");
    const missing = () => stage.classList.add("unavailable");
    photo.addEventListener("error", missing);
    if (photo.complete && photo.naturalWidth === 0 && photo.currentSrc) missing();
  }
  const withMask = stages.filter((s) => s.dataset.mask);
  const controls = document.querySelector("[data-overlay-controls]");
  if (!withMask.length || !controls) return;
  controls.hidden = false;
  const toggle = controls.querySelector("[data-overlay-toggle]");
  const opacity = controls.querySelector("[data-overlay-opacity]");
  const colour = controls.querySelector("[data-overlay-colour]");
  const layers = [];
  function paint(layer) {
    const [r, g, b] = colour.value.split(",").map(Number);
    const pixels = layer.context.createImageData(layer.canvas.width, layer.canvas.height);
    for (let i = 0; i < layer.alpha.length; i++) {
      pixels.data[4 * i] = r; pixels.data[4 * i + 1] = g; pixels.data[4 * i + 2] = b; pixels.data[4 * i + 3] = layer.alpha[i];
    }
    layer.context.putImageData(pixels, 0, 0);
  }
  function show() {
    for (const layer of layers) {
      layer.canvas.hidden = !toggle.checked;
      layer.canvas.style.opacity = opacity.value / 100;
    }
  }
  for (const stage of withMask) {
    const mask = new Image();
    mask.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = mask.naturalWidth;
      canvas.height = mask.naturalHeight;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(mask, 0, 0);
      const grey = context.getImageData(0, 0, canvas.width, canvas.height).data;
      const alpha = new Uint8ClampedArray(canvas.width * canvas.height);
      for (let i = 0; i < alpha.length; i++) alpha[i] = grey[4 * i];
      const layer = { canvas, context, alpha };
      layers.push(layer);
      paint(layer);
      stage.append(canvas);
      stage.dataset.ready = "yes";
      show();
    };
    mask.src = stage.dataset.mask;
  }
  toggle.addEventListener("change", show);
  opacity.addEventListener("input", show);
  colour.addEventListener("change", () => layers.forEach(paint));
  document.addEventListener("keydown", (e) => {
    if (e.key.toLowerCase() !== "v" || e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input[type=search],input[type=password]")) return;
    toggle.checked = !toggle.checked;
    show();
  });
})();
