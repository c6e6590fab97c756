/**
 * The sketch over the map: a second surface that shows the same part of the canvas, and the one history of both.
 *
 * Its ids are how dark a pixel is: 0 paper, 255 the pencil's black. Paper is transparent.
 */

import { encodeGrey } from "./canvas/png.js";
import { Raster, difference } from "./canvas/raster.js";
import { Surface } from "./canvas/surface.js";
import { h, switchBox } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    "layer.surface": "Sketch to draw on", "layer.which": "What is drawn on", "layer.map": "Map",
    "layer.sketch": "Sketch",
    "layer.show": "Show sketch", "layer.opacity": "Opacity of the sketch", "layer.line": "Line", "layer.paper": "Paper",
    "layer.pencil": "Drawing with the pencil", "layer.rubber": "Rubbing out the sketch",
    "layer.pixel": "{what} · {x}, {y}", "layer.swap": "Map or sketch",
  },
  ja: {
    "layer.surface": "スケッチのキャンバス", "layer.which": "描く対象", "layer.map": "マップ", "layer.sketch": "スケッチ",
    "layer.show": "スケッチを表示", "layer.opacity": "スケッチの不透明度", "layer.line": "線", "layer.paper": "紙",
    "layer.pencil": "鉛筆で描いています", "layer.rubber": "スケッチを消しています",
    "layer.pixel": "{what} · {x}, {y}", "layer.swap": "マップとスケッチの切り替え",
  },
});

/** @typedef {"map" | "sketch"} Layer */

const PENCIL = 255;
const THIN = 2; // px

/** Fires "layer" when the other one is drawn on, and "history" when there is more or less to undo. */
export class SketchLayer extends EventTarget {
  /**
   * @param {HTMLElement} box where both lie, one over the other
   * @param {(box: HTMLElement) => Surface} makeMap
   */
  constructor(box, makeMap) {
    super();
    this.boxes = { map: h("div", { class: "layer" }), sketch: h("div", { class: "layer sketch-lines" }) };
    box.append(this.boxes.map, this.boxes.sketch);
    this.map = makeMap(this.boxes.map);
    const { width, height } = this.map.raster;
    this.surface = new Surface(this.boxes.sketch, {
      width,
      height,
      color: (id) => [0, 0, 0, id],
      label: (id) => t(id ? "layer.line" : "layer.paper"),
      ariaLabel: t("layer.surface"),
      description: t("paint.surfaceHelp"),
    });
    this.surface.canvas.dataset.testid = "sketch-layer";
    this.surface.ink = PENCIL;
    this.surface.tip = { shape: "circle", size: THIN };
    for (const name of /** @type {Layer[]} */ (["map", "sketch"])) {
      this.#surface(name).addEventListener("change", () => this.#changed(name));
      this.#surface(name).addEventListener("view", () => {
        if (name === this.layer) this.#surface(name === "map" ? "sketch" : "map").view = this.#surface(name).view;
      });
    }
    this.buttons = /** @type {Layer[]} */ (["map", "sketch"]).map((name) =>
      h("button", { type: "button", "data-layer": name, onclick: () => this.setLayer(name) }, t(`layer.${name}`)));
    this.show = switchBox(t("layer.show"), true, () => this.#showBoxes());
    this.slider = h("input", {
      type: "range", min: 0.1, max: 1, step: 0.05, value: 1,
      "aria-label": t("layer.opacity"), title: t("layer.opacity"),
      oninput: () => this.#showBoxes(),
    });
    this.row = h("div", { class: "row layer-row" },
      h("div", { class: "segments", role: "group", "aria-label": t("layer.which") }, ...this.buttons),
      this.show.root, this.slider);
    this.#showBoxes();
  }

  /** @type {Layer} */
  layer = "map";
  #offered = { map: true, sketch: false };
  /** @type {Layer[][]} steps that can be undone: the layers that each has changed */
  #done = [];
  /** @type {Layer[][]} */
  #undone = [];
  /** @type {Set<Layer> | null} what changed in the step that is being made */
  #step = null;
  #quiet = false;

  /** What is drawn on now. */
  get active() {
    return this.#surface(this.layer);
  }

  get canUndo() {
    return this.active.busy || this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** Whether nothing is drawn. */
  get blank() {
    return !this.surface.raster.data.some((id) => id > 0);
  }

  /** The sketch as a file: grey, lines dark on white. */
  file() {
    return encodeGrey(inverted(this.surface.raster));
  }

  /**
   * Which layers can be drawn on; where the one that is can no longer, the other is.
   *
   * @param {{map: boolean, sketch: boolean}} layers
   */
  offer(layers) {
    this.#offered = { ...layers };
    for (const each of this.buttons) each.disabled = !layers[/** @type {Layer} */ (each.dataset.layer)];
    this.row.hidden = !layers.sketch;
    this.setLayer(layers[this.layer] ? this.layer : layers.map ? "map" : "sketch");
  }

  /** @param {Layer} name */
  setLayer(name) {
    const another = name !== this.layer;
    if (another) this.active.cancel();
    this.layer = name;
    // What is drawn on unseen would be lost work.
    if (name === "sketch") this.show.input.checked = true;
    for (const each of this.buttons) each.setAttribute("aria-pressed", String(each.dataset.layer === name));
    this.#showBoxes();
    if (another) this.dispatchEvent(new CustomEvent("layer"));
  }

  /** Draw on the other layer, where that is offered. */
  swap() {
    const other = this.layer === "map" ? "sketch" : "map";
    if (this.#offered[other]) this.setLayer(other);
  }

  /**
   * Another map, perhaps of another size, which the sketch is stretched to. One step to undo.
   *
   * @param {Raster} raster
   * @param {{history?: boolean}} [options] history: false: what was done before is forgotten
   */
  setMap(raster, { history = true } = {}) {
    if (history && same(raster, this.map.raster)) return;
    this.together(() => {
      this.map.setRaster(raster, { history });
      const { width, height } = raster;
      const sketch = this.surface.raster;
      if (!history || sketch.width !== width || sketch.height !== height) {
        this.surface.setRaster(resized(sketch, width, height), { history });
      }
    });
    if (!history) this.#forget();
  }

  /**
   * Another sketch, stretched to the canvas; null for none.
   *
   * @param {Raster | null} picture grey, lines dark
   * @param {{history?: boolean}} [options] as `setMap`
   */
  setSketch(picture, { history = true } = {}) {
    const { width, height } = this.map.raster;
    const lines = picture ? resized(inverted(picture), width, height) : new Raster(width, height);
    if (history && same(lines, this.surface.raster)) return;
    this.surface.setRaster(lines, { history });
    if (!history) this.#forget();
  }

  /**
   * Changes of both layers as one step to undo.
   *
   * @param {() => void} act
   */
  together(act) {
    if (this.#step) return act();
    const step = this.#step = new Set();
    act();
    this.#step = null;
    if (step.size) this.#push([...step]);
  }

  undo() {
    if (this.active.busy && this.active.undo()) return this.#told();
    this.#go(this.#done, this.#undone, (surface) => surface.undo());
  }

  redo() {
    this.#go(this.#undone, this.#done, (surface) => surface.redo());
  }

  /** @param {Layer} name */
  #surface(name) {
    return name === "map" ? this.map : this.surface;
  }

  /** @param {Layer} name */
  #changed(name) {
    if (this.#quiet) return;
    if (this.#step) this.#step.add(name);
    else this.#push([name]);
  }

  /** @param {Layer[]} step */
  #push(step) {
    this.#done.push(step);
    this.#undone = [];
    this.#told();
  }

  /**
   * @param {Layer[][]} from
   * @param {Layer[][]} to
   * @param {(surface: Surface) => boolean} act
   */
  #go(from, to, act) {
    this.map.cancel();
    this.surface.cancel();
    this.#quiet = true;
    // A layer forgets its oldest steps when they are many: then there is nothing left of them to do here.
    for (let step = from.pop(); step; step = from.pop()) {
      if (step.filter((name) => act(this.#surface(name))).length === 0) continue;
      to.push(step);
      break;
    }
    this.#quiet = false;
    this.#told();
  }

  #forget() {
    this.#step?.clear();
    this.#done = [];
    this.#undone = [];
    this.#told();
  }

  #told() {
    this.dispatchEvent(new CustomEvent("history"));
  }

  #showBoxes() {
    const seen = this.#offered.sketch && this.show.input.checked;
    this.boxes.sketch.style.visibility = seen ? "visible" : "hidden";
    this.boxes.sketch.style.opacity = this.slider.value;
    this.slider.disabled = !this.show.input.checked;
    // Only one of them takes the pointer and the keyboard.
    this.boxes.map.inert = this.layer !== "map";
    this.boxes.sketch.inert = this.layer !== "sketch" || !seen;
    if (!seen && this.layer === "sketch" && this.#offered.map) this.setLayer("map");
  }
}

/**
 * The same map or sketch with more or fewer pixels; each takes what is nearest to it.
 *
 * @param {Raster} raster
 * @param {number} width
 * @param {number} height
 */
export function resized(raster, width, height) {
  const made = new Raster(width, height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * raster.height) / height) * raster.width;
    for (let x = 0; x < width; x++) {
      made.data[y * width + x] = raster.data[row + Math.floor(((x + 0.5) * raster.width) / width)];
    }
  }
  return made;
}

/** @param {Raster} a @param {Raster} b */
function same(a, b) {
  return a.width === b.width && a.height === b.height && difference(a, b, a.rect) === null;
}

/** @param {Raster} raster */
function inverted(raster) {
  return Raster.from(raster.width, raster.height, raster.data.map((value) => 255 - value));
}
