// A photograph in tiles and what was found on it, drawn on one canvas by one transform, so that nothing lies beside what it belongs to.
// Units: a picture's place is in its own pixels; a view is in shares of the picture, so that two pictures can be looked at in step.

const LARGEST = 8; // device pixels a pixel of the photograph has at most
const STEP = 1.5; // zoom of a key or button
const PAN = 0.15; // of the window, of an arrow key
const IN_FLIGHT = 6; // requests at a time, as many as browsers make to one host anyway
const MAX_TILES = 120; // a viewer keeps: at most 120 MB of pixels
const RETRIES = 3;

// view is what is looked at: zoom 1 shows the whole picture; x and y are the place in the middle, in shares of width and height.
export const whole = () => ({ zoom: 1, x: 0.5, y: 0.5 });

const waiting = [];
let running = 0;

function pump() {
  while (running < IN_FLIGHT && waiting.length) {
    const job = waiting.pop(); // what was asked for last is what is looked at
    if (job.wanted()) {
      running++;
      job.run().finally(() => { running--; pump(); });
    } else job.drop();
  }
}

// fetched asks again where the service has too much to do.
export async function fetched(address) {
  for (let n = 0; ; n++) {
    const answer = await fetch(address);
    if (answer.ok) return answer;
    if (n < RETRIES && (answer.status === 429 || answer.status === 503)) {
      await new Promise((done) => setTimeout(done, 1000 * (Number(answer.headers.get("Retry-After")) || 1)));
      continue;
    }
    if (answer.status === 401) throw new Error("You are signed out; sign in again and reload this page.");
    let message = "The photograph cannot be shown.";
    try { message = (await answer.json()).error.message; } catch { /* the answer was no sentence of the service */ }
    throw new Error(message[0].toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? "" : "."));
  }
}

// Layer is the photograph or the mask.
class Layer {
  constructor(viewer, name, kind, maxLevel) {
    Object.assign(this, { viewer, name, kind, maxLevel });
    this.tiles = new Map();
  }

  tile(level, column, row) {
    const key = level + "/" + column + "_" + row;
    let tile = this.tiles.get(key);
    if (tile) {
      this.tiles.delete(key); // the map's order is that of use
    } else {
      tile = { bitmap: null, state: "new", seen: 0 };
    }
    this.tiles.set(key, tile);
    tile.seen = this.viewer.frame;
    if (tile.state === "new") this.load(tile, key);
    return tile;
  }

  load(tile, key) {
    tile.state = "waiting";
    const { viewer } = this;
    waiting.push({
      wanted: () => tile.seen >= viewer.frame,
      drop: () => { tile.state = "new"; },
      run: async () => {
        try {
          const answer = await fetched(viewer.address + "tiles/" + this.name + "/" + key + this.kind);
          tile.bitmap = await createImageBitmap(await answer.blob());
          tile.state = "here";
        } catch (problem) {
          tile.state = "failed";
          viewer.loading = false;
          viewer.say(problem.message);
        }
        viewer.redraw();
      },
    });
    pump();
  }

  forget() {
    for (const [key, tile] of this.tiles) {
      if (this.tiles.size <= MAX_TILES) break;
      if (tile.state === "waiting" || tile.seen === this.viewer.frame) continue;
      tile.bitmap?.close();
      this.tiles.delete(key);
    }
  }

  // draw draws the part that is seen; true if all of it was there in its own level.
  draw(context, at) {
    const { width, height, tile_px: side, full_level: full } = this.viewer.picture;
    const coarse = Math.max(0, Math.floor(Math.log2(1 / at.scale) + 1e-6));
    const level = Math.max(0, Math.min(this.maxLevel, full - coarse));
    const size = side * 2 ** (full - level); // of a tile, in pixels of the photograph
    const columns = Math.ceil(width / size), rows = Math.ceil(height / size);
    const first = (offset) => Math.max(0, Math.floor(-offset / at.scale / size));
    const last = (offset, window, count) => Math.min(count - 1, Math.floor((window - offset) / at.scale / size));
    let complete = true;
    for (let row = first(at.y); row <= last(at.y, at.height, rows); row++) {
      for (let column = first(at.x); column <= last(at.x, at.width, columns); column++) {
        const tile = this.tile(level, column, row);
        if (tile.state !== "here" && tile.state !== "failed") complete = false;
        // Where it is not here yet, a part of a larger one stands for it.
        for (let up = level, c = column, r = row; up >= 0; up--, c >>= 1, r >>= 1) {
          const standing = up === level ? tile : this.tiles.get(up + "/" + c + "_" + r);
          if (!standing || standing.state !== "here") continue;
          const k = 2 ** (full - up); // pixels of the photograph to one of the tile
          const left = column * size, top = row * size;
          const right = Math.min(width, left + size), bottom = Math.min(height, top + size);
          // Edges lie on whole pixels of the screen, so that there is no seam; all layers round alike.
          const x0 = Math.round(at.x + left * at.scale), y0 = Math.round(at.y + top * at.scale);
          const x1 = Math.round(at.x + right * at.scale), y1 = Math.round(at.y + bottom * at.scale);
          context.drawImage(standing.bitmap, left / k - c * side, top / k - r * side, (right - left) / k, (bottom - top) / k, x0, y0, x1 - x0, y1 - y0);
          break;
        }
      }
    }
    return complete;
  }
}

export class Viewer {
  // options: what is shown, shared by all viewers of the page; moved(viewer) is called when somebody moves this one.
  constructor(stage, options, moved) {
    Object.assign(this, { stage, options, moved, address: stage.dataset.at, view: whole(), frame: 0, layers: [], lines: null });
    this.note = stage.querySelector("[data-note]");
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.context = this.canvas.getContext("2d");
    this.ink = document.createElement("canvas"); // the mask before it is coloured
    stage.append(this.canvas);
    this.gestures();
  }

  // open asks for the picture. It may be called again.
  open() {
    this.opened ??= this.load();
    return this.opened;
  }

  async load() {
    try {
      this.picture = await (await fetched(this.address + "view.json")).json();
    } catch (problem) {
      this.stage.classList.add("unavailable");
      this.stage.dataset.ready = "failed";
      this.say(problem.message);
      return;
    }
    this.layers = [new Layer(this, "photo", ".jpg", this.picture.max_level)];
    if (this.picture.mask) this.layers.push(new Layer(this, "mask", ".png", this.picture.mask.max_level));
    this.loading = true; // the note stands until all is here
    this.watcher = new ResizeObserver(() => this.redraw());
    this.watcher.observe(this.stage);
    this.redraw();
    if (this.options.widths) await this.loadLines();
  }

  async loadLines() {
    if (this.lines || !this.picture?.mask || this.asking) return;
    this.asking = true;
    try {
      const traced = await (await fetched(this.address + "lines.json")).json();
      this.lines = traced.lines;
      this.widest = traced.widest_percent;
    } catch (problem) {
      this.say(problem.message);
    }
    this.asking = false;
    this.redraw();
  }

  say(text) {
    if (this.note) { this.note.textContent = text; this.note.hidden = !text; }
  }

  // place is where the picture lies on the canvas: pixels of the screen.
  place() {
    const { width, height } = this.canvas, p = this.picture;
    const fit = Math.min(width / p.width, height / p.height);
    const scale = Math.min(fit * this.view.zoom, Math.max(fit, LARGEST));
    const along = (share, size, window) => {
      const length = size * scale;
      if (length <= window) return (window - length) / 2;
      return Math.min(0, Math.max(window - length, window / 2 - share * length));
    };
    return { scale, fit, width, height, x: along(this.view.x, p.width, width), y: along(this.view.y, p.height, height) };
  }

  redraw() {
    if (this.queued) return;
    this.queued = true;
    delete this.stage.dataset.ready; // what is seen is of before
    requestAnimationFrame(() => { this.queued = false; this.draw(); });
  }

  draw() {
    if (!this.picture || !this.stage.clientWidth) return;
    const dense = Math.min(2, devicePixelRatio || 1); // finer than two is not seen, and costs four times the tiles
    const width = Math.round(this.stage.clientWidth * dense), height = Math.round(this.stage.clientHeight * dense);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.frame++;
    const at = this.place(), { context, options } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = at.scale < 4; // far in, pixels are shown as they are
    context.imageSmoothingQuality = "high";
    const [photo, mask] = this.layers;
    let complete = photo.draw(context, at);
    if (mask && options.vessels) complete = this.drawMask(mask, at) && complete;
    if (options.widths && this.lines) this.drawLines(at, dense);
    if (options.regions) this.drawField(at, dense);
    if (options.disc) this.drawDisc(at, dense);
    this.layers.forEach((layer) => layer.forget());
    if (complete && this.loading) {
      this.loading = false;
      this.say((this.picture.notes ?? []).join(" "));
    }
    this.stage.classList.toggle("zoomed", this.view.zoom > 1);
    if (complete && !(options.widths && this.asking)) this.stage.dataset.ready = "yes";
    else delete this.stage.dataset.ready;
    this.stage.dataset.zoom = this.view.zoom.toFixed(2);
    this.stage.dataset.place = this.view.x.toFixed(3) + " " + this.view.y.toFixed(3);
  }

  drawMask(layer, at) {
    const { ink, context, options } = this;
    if (ink.width !== at.width || ink.height !== at.height) Object.assign(ink, { width: at.width, height: at.height });
    const pen = ink.getContext("2d");
    pen.globalCompositeOperation = "source-over";
    pen.clearRect(0, 0, ink.width, ink.height);
    pen.imageSmoothingEnabled = context.imageSmoothingEnabled;
    pen.imageSmoothingQuality = "high";
    const complete = layer.draw(pen, at);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = options.colour;
    pen.fillRect(0, 0, ink.width, ink.height);
    context.globalAlpha = options.opacity;
    context.drawImage(ink, 0, 0);
    context.globalAlpha = 1;
    return complete;
  }

  drawLines(at, dense) {
    const { context, options } = this;
    context.lineWidth = Math.max(2 * dense, at.scale * 1.5);
    context.lineCap = "round";
    const shades = 24; // few enough to draw all lines of one shade at once
    const paths = Array.from({ length: shades + 1 }, () => new Path2D());
    for (const line of this.lines) {
      for (let i = 3; i < line.length; i += 3) {
        const width = line[i + 2];
        const path = paths[width < 0 ? shades : Math.min(shades - 1, Math.floor((shades * width) / options.widest))];
        path.moveTo(at.x + line[i - 3] * at.scale, at.y + line[i - 2] * at.scale);
        path.lineTo(at.x + line[i] * at.scale, at.y + line[i + 1] * at.scale);
      }
    }
    // A dark edge keeps their colours apart from the mask's.
    const width = context.lineWidth;
    context.lineWidth = width + 2 * dense;
    context.strokeStyle = "rgb(0 0 0 / 70%)";
    paths.forEach((path) => context.stroke(path));
    context.lineWidth = width;
    paths.forEach((path, n) => {
      context.strokeStyle = n === shades ? "#9aa3ad" : shade(options.shades, (n + 0.5) / shades);
      context.stroke(path);
    });
  }

  // drawField draws the borders of the field's quadrants and rings.
  drawField(at, dense) {
    const f = this.picture.field;
    if (!f) return;
    const { context } = this, x = at.x + f.x * at.scale, y = at.y + f.y * at.scale, radius = f.radius * at.scale;
    const path = new Path2D();
    for (const share of this.picture.rings) ring(path, x, y, share * radius);
    path.moveTo(x - radius, y); path.lineTo(x + radius, y);
    path.moveTo(x, y - radius); path.lineTo(x, y + radius);
    contrasted(context, path, "#ffffff", 1.2 * dense, [6 * dense, 5 * dense]);
  }

  // drawDisc draws the optic disc, and the zones about it by name.
  drawDisc(at, dense) {
    const d = this.picture.disc;
    if (!d) return;
    const { context } = this, x = at.x + d.x * at.scale, y = at.y + d.y * at.scale, diameter = 2 * d.radius * at.scale;
    const zones = this.picture.zones, disc = new Path2D(), others = new Path2D(), f = this.picture.field;
    context.save();
    if (f) { // outside the field there is nothing to measure
      const field = new Path2D();
      ring(field, at.x + f.x * at.scale, at.y + f.y * at.scale, f.radius * at.scale);
      context.clip(field);
    }
    ring(disc, x, y, zones[0] * diameter);
    zones.slice(1).forEach((z) => ring(others, x, y, z * diameter));
    contrasted(context, others, "#ffe08a", 1.2 * dense, [3 * dense, 4 * dense]);
    contrasted(context, disc, "#ffe08a", 2 * dense, []);
    context.font = `600 ${13 * dense}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.lineWidth = 3 * dense;
    context.strokeStyle = "#000000";
    context.fillStyle = "#ffe08a";
    for (let i = 1; i < zones.length; i++) {
      const from = y - ((zones[i - 1] + zones[i]) / 2) * diameter + 5 * dense;
      const up = from > 12 * dense;
      const baseline = up ? from : y + ((zones[i - 1] + zones[i]) / 2) * diameter + 5 * dense;
      const name = "ABC"[i - 1];
      context.strokeText(name, x, baseline);
      context.fillText(name, x, baseline);
    }
    context.restore();
  }

  // look changes the view by a person's hand.
  look(view) {
    this.view = { zoom: Math.max(1, Math.min(64, view.zoom)), x: Math.max(0, Math.min(1, view.x)), y: Math.max(0, Math.min(1, view.y)) };
    if (this.view.zoom === 1) Object.assign(this.view, { x: 0.5, y: 0.5 });
    this.redraw();
    this.moved(this);
  }

  // zoomBy zooms about a point of the canvas, screen pixels; without one about the middle.
  zoomBy(factor, px, py) {
    if (!this.picture) return;
    const at = this.place(), p = this.picture;
    const x = px ?? at.width / 2, y = py ?? at.height / 2;
    const largest = Math.max(1, LARGEST / at.fit);
    const zoom = Math.max(1, Math.min(largest, this.view.zoom * factor));
    const scale = at.fit * zoom;
    // The place under the point stays there.
    const u = (x - at.x) / at.scale, v = (y - at.y) / at.scale;
    this.look({ zoom, x: (u + (at.width / 2 - x) / scale) / p.width, y: (v + (at.height / 2 - y) / scale) / p.height });
  }

  // panBy moves the picture by pixels of the screen.
  panBy(dx, dy) {
    if (!this.picture || this.view.zoom === 1) return;
    const at = this.place(), p = this.picture;
    const middle = (offset, window, size) => (window / 2 - offset) / at.scale / size;
    this.look({ zoom: this.view.zoom, x: middle(at.x + dx, at.width, p.width), y: middle(at.y + dy, at.height, p.height) });
  }

  zoomIn() { this.zoomBy(STEP); }
  zoomOut() { this.zoomBy(1 / STEP); }
  reset() { this.look(whole()); }

  gestures() {
    const { stage, canvas } = this, held = new Map();
    const point = (e) => {
      const box = canvas.getBoundingClientRect(), dense = canvas.width / box.width;
      return { x: (e.clientX - box.left) * dense, y: (e.clientY - box.top) * dense };
    };
    stage.addEventListener("wheel", (e) => {
      const out = e.deltaY > 0;
      if (!this.picture || (out && this.view.zoom === 1)) return; // then the page scrolls
      e.preventDefault();
      const { x, y } = point(e);
      const notches = Math.max(-3, Math.min(3, e.deltaY / (e.deltaMode === 0 ? 100 : 3)));
      this.zoomBy(1.25 ** -notches, x, y);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (e) => {
      if (e.button > 0) return;
      canvas.setPointerCapture(e.pointerId);
      held.set(e.pointerId, point(e));
    });
    canvas.addEventListener("pointermove", (e) => {
      const before = held.get(e.pointerId);
      if (!before) return;
      const now = point(e);
      held.set(e.pointerId, now);
      if (held.size === 1) {
        this.panBy(now.x - before.x, now.y - before.y);
      } else if (held.size === 2) {
        const [other] = [...held].filter(([id]) => id !== e.pointerId).map(([, p]) => p);
        const apart = (p) => Math.max(1, Math.hypot(p.x - other.x, p.y - other.y));
        this.zoomBy(apart(now) / apart(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
        this.panBy((now.x - before.x) / 2, (now.y - before.y) / 2);
      }
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, (e) => held.delete(e.pointerId));
    canvas.addEventListener("dblclick", (e) => {
      const { x, y } = point(e);
      this.zoomBy(e.shiftKey ? 0.5 : 2, x, y);
    });
    stage.addEventListener("keydown", (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      const pan = PAN * Math.min(canvas.width, canvas.height);
      const act = {
        "+": () => this.zoomIn(), "=": () => this.zoomIn(), "-": () => this.zoomOut(), 0: () => this.reset(),
        ArrowLeft: () => this.panBy(pan, 0), ArrowRight: () => this.panBy(-pan, 0), ArrowUp: () => this.panBy(0, pan), ArrowDown: () => this.panBy(0, -pan),
      }[e.key];
      if (!act || (e.key.startsWith("Arrow") && this.view.zoom === 1)) return; // then arrows scroll the page
      e.preventDefault();
      act();
    });
  }
}

function ring(path, x, y, radius) {
  path.moveTo(x + radius, y);
  path.arc(x, y, radius, 0, 2 * Math.PI);
}

// contrasted draws a line that is seen on dark and on bright ground.
function contrasted(context, path, colour, width, dash) {
  context.setLineDash([]);
  context.lineWidth = width + 2;
  context.strokeStyle = "rgb(0 0 0 / 55%)";
  context.stroke(path);
  context.setLineDash(dash);
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke(path);
  context.setLineDash([]);
}

// shade is the colour of a share of a scale of colours "#rrggbb".
export function shade(colours, share) {
  const at = Math.max(0, Math.min(1, share)) * (colours.length - 1), i = Math.min(Math.floor(at), colours.length - 2), t = at - i;
  const part = (colour, n) => parseInt(colour.slice(1 + 2 * n, 3 + 2 * n), 16);
  const mix = (n) => Math.round(part(colours[i], n) * (1 - t) + part(colours[i + 1], n) * t);
  return `rgb(${mix(0)} ${mix(1)} ${mix(2)})`;
}
