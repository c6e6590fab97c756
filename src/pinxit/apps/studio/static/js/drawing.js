/** Drawing freely in colours, on white or over a photo: a `Surface` with its tools, inks, brush size and history. */

import { Raster } from "./canvas/raster.js";
import { Surface } from "./canvas/surface.js";
import { button, h, switchBox } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    "drawing.tools": "Tools",
    "drawing.brush": "Brush",
    "drawing.eraser": "Eraser",
    "drawing.line": "Line",
    "drawing.polygon": "Polygon",
    "drawing.rectangle": "Rectangle",
    "drawing.ellipse": "Ellipse",
    "drawing.fill": "Fill",
    "drawing.eyedropper": "Eyedropper",
    "drawing.hand": "Hand",
    "drawing.undo": "Undo",
    "drawing.redo": "Redo",
    "drawing.clear": "Clear",
    "drawing.fit": "Show all of it",
    "drawing.zoomIn": "Zoom in",
    "drawing.zoomOut": "Zoom out",
    "drawing.size": "Brush size",
    "drawing.inks": "Ink",
    "drawing.hollow": "Outlines only",
    "drawing.own": "Own colour",
    "drawing.paper": "Paper",
    "drawing.photo": "Photo",
    "ink.black": "Black",
    "ink.grey": "Grey",
    "ink.white": "White",
    "ink.red": "Red",
    "ink.orange": "Orange",
    "ink.yellow": "Yellow",
    "ink.green": "Green",
    "ink.blue": "Blue",
    "ink.brown": "Brown",
    "ink.colour": "Colour {colour}",
  },
  ja: {
    "drawing.tools": "ツール",
    "drawing.brush": "ブラシ",
    "drawing.eraser": "消しゴム",
    "drawing.line": "直線",
    "drawing.polygon": "多角形",
    "drawing.rectangle": "四角形",
    "drawing.ellipse": "楕円",
    "drawing.fill": "塗りつぶし",
    "drawing.eyedropper": "スポイト",
    "drawing.hand": "手のひら",
    "drawing.undo": "元に戻す",
    "drawing.redo": "やり直す",
    "drawing.clear": "全消去",
    "drawing.fit": "全体を表示",
    "drawing.zoomIn": "拡大",
    "drawing.zoomOut": "縮小",
    "drawing.size": "ブラシの太さ",
    "drawing.inks": "色",
    "drawing.hollow": "図形は輪郭だけ",
    "drawing.own": "好きな色",
    "drawing.paper": "紙",
    "drawing.photo": "写真",
    "ink.black": "黒",
    "ink.grey": "灰色",
    "ink.white": "白",
    "ink.red": "赤",
    "ink.orange": "オレンジ",
    "ink.yellow": "黄",
    "ink.green": "緑",
    "ink.blue": "青",
    "ink.brown": "茶",
    "ink.colour": "色 {colour}",
  },
});

/** @typedef {[number, number, number]} Colour red, green, blue: 0..255 */
/** @typedef {"brush"|"eraser"|"line"|"polygon"|"rectangle"|"ellipse"|"fill"|"eyedropper"|"hand"} Tool */

/** @type {{[name: string]: Colour}} */
const INKS = {
  black: [0, 0, 0], grey: [128, 128, 128], white: [255, 255, 255], red: [200, 40, 40], orange: [235, 130, 40],
  yellow: [240, 205, 60], green: [60, 140, 70], blue: [60, 100, 200], brown: [115, 75, 45],
};

/** @type {Tool[]} */
const TOOLS = ["brush", "eraser", "line", "polygon", "rectangle", "ellipse", "fill", "eyedropper", "hand"];

/** @type {{[key: string]: Tool}} */
const KEYS = {
  b: "brush", e: "eraser", l: "line", p: "polygon", r: "rectangle", o: "ellipse", f: "fill", i: "eyedropper", h: "hand",
};

const GREYS = 16;

/** Fires "stroke" while a line is drawn, and "change" after each edit. */
export class Drawing extends EventTarget {
  /**
   * @param {{ariaLabel: string, inks: string[], tip: number, hollow?: boolean, monochrome?: boolean,
   *   testid?: string}} options inks: names of INKS, the first one is chosen; hollow: shapes are drawn as outlines,
   *   unless that is switched off; monochrome: no ink is offered but the first
   */
  constructor({ ariaLabel, inks, tip, hollow = false, monochrome = false, testid }) {
    super();
    this.ariaLabel = ariaLabel;
    /** @type {Colour[]} */
    this.colours = [[255, 255, 255]]; // by id; 0 is the paper
    /** @type {HTMLCanvasElement | null} */
    this.photo = null;
    /** @type {Surface | null} */
    this.surface = null;
    /** @type {Tool} */
    this.tool = "brush";
    /** @type {{x: number, y: number} | null} */
    this.under = null;
    this.hollow = hollow;
    this.quiet = false; // what changes the surface just now is not the person's tool
    /** @type {Raster | null} */
    this.kept = null; // as it was after the last change, where shapes are hollow
    this.holder = h("div", { class: "drawing-holder", "data-testid": testid });

    /** @type {Map<Tool, HTMLButtonElement>} */
    this.tools = new Map(TOOLS.map((name) => {
      const key = Object.keys(KEYS).find((k) => KEYS[k] === name)?.toUpperCase();
      const made = button(name, t(`drawing.${name}`), () => this.setTool(name), {
        bare: true, class: "quiet", title: `${t(`drawing.${name}`)} (${key})`,
      });
      return [name, made];
    }));
    this.undoButton = button("undo", t("drawing.undo"), () => this.#quietly((s) => s.undo()), { bare: true, class: "quiet" });
    this.redoButton = button("redo", t("drawing.redo"), () => this.#quietly((s) => s.redo()), { bare: true, class: "quiet" });
    this.rail = h(
      "div",
      { class: "drawing-rail", role: "toolbar", "aria-label": t("drawing.tools") },
      ...this.tools.values(),
      h("span", { class: "drawing-gap" }),
      this.undoButton,
      this.redoButton,
      button("clear", t("drawing.clear"), () => this.#quietly((s) => s.clear()), { bare: true, class: "quiet" }),
      h("span", { class: "drawing-gap drawing-zoom" }),
      button("plus", t("drawing.zoomIn"), () => this.surface?.zoomBy(1.5), { bare: true, class: "quiet drawing-zoom" }),
      button("minus", t("drawing.zoomOut"), () => this.surface?.zoomBy(1 / 1.5), {
        bare: true, class: "quiet drawing-zoom",
      }),
      button("fit", t("drawing.fit"), () => this.surface?.fit(), { bare: true, class: "quiet" }),
    );

    this.tip = h("input", {
      type: "range", min: 1, max: 60, value: tip, "aria-label": t("drawing.size"), oninput: () => this.#setTip(),
    });
    this.tipOutput = h("output", { class: "drawing-tip" });
    this.own = h("input", {
      type: "color", value: "#8a5cc2", "aria-label": t("drawing.own"), title: t("drawing.own"),
      oninput: () => this.setInk(colourOf(this.own.value)),
    });
    /** @type {{colour: Colour, button: HTMLButtonElement}[]} */
    this.swatches = inks.map((name) => {
      const swatch = h("button", {
        type: "button", class: "swatch", "aria-label": t(`ink.${name}`), title: t(`ink.${name}`),
        onclick: () => this.setInk(INKS[name]),
      });
      swatch.style.background = `rgb(${INKS[name].join(" ")})`;
      return { colour: INKS[name], button: swatch };
    });
    this.bar = h(
      "div",
      { class: "drawing-bar row wrap" },
      !monochrome && h("div", { class: "swatches", role: "group", "aria-label": t("drawing.inks") },
        ...this.swatches.map((swatch) => swatch.button), this.own),
      h("label", { class: "row" }, h("span", { class: "field-name" }, t("drawing.size")), this.tip, this.tipOutput),
      hollow && switchBox(t("drawing.hollow"), true, (on) => (this.hollow = on)).root,
    );
    this.element = h("div", { class: "drawing" }, this.rail, this.holder, this.bar);
    this.ink = this.idOf(INKS[inks[0]]);
    this.setTool("brush");
    this.setInk(INKS[inks[0]]);
    this.#setTip();
  }

  /**
   * Begin with blank paper.
   * @param {number} width
   * @param {number} height
   */
  reset(width, height) {
    this.surface?.destroy();
    this.holder.style.setProperty("--ratio", String(width / height));
    this.photo = null;
    const surface = new Surface(this.holder, {
      width,
      height,
      color: (id) => (id === 0 && this.photo ? [0, 0, 0, 0] : [...this.colours[id] ?? [0, 0, 0], 255]),
      label: (id) => this.#nameOf(id),
      ariaLabel: this.ariaLabel,
    });
    this.surface = surface;
    this.kept = null;
    surface.paper = 0;
    surface.addEventListener("stroke", () => this.dispatchEvent(new CustomEvent("stroke")));
    surface.addEventListener("change", () => this.#changed());
    surface.addEventListener("hover", (event) => (this.under = /** @type {CustomEvent} */ (event).detail));
    surface.addEventListener("pick", (event) => this.#picked(/** @type {CustomEvent} */ (event).detail.id));
    surface.ink = this.ink;
    surface.tool = this.tool;
    this.#setTip();
    this.#quietly(() => this.#changed());
  }

  /**
   * What is drawn over; null for white paper. What was drawn stays.
   * @param {ImageBitmap | HTMLCanvasElement | null} photo
   */
  setPhoto(photo) {
    if (!this.surface) return;
    const { width, height } = this.surface.raster;
    this.photo = photo && canvasOf(width, height, (context) => {
      context.imageSmoothingQuality = "high";
      context.drawImage(photo, 0, 0, width, height);
    });
    this.surface.setUnderlay(this.photo, 0); // colours cover it, the paper does not
    this.#quietly(() => this.#changed());
  }

  /**
   * A drawing in greys, such as an outline, as if it had been drawn here.
   * @param {ImageBitmap} image
   */
  load(image) {
    if (!this.surface) return;
    const { width, height } = this.surface.raster;
    const canvas = canvasOf(width, height, (context) => {
      context.fillStyle = "white";
      context.fillRect(0, 0, width, height);
      context.imageSmoothingQuality = "high";
      context.drawImage(image, 0, 0, width, height);
    });
    const rgba = contextOf(canvas).getImageData(0, 0, width, height).data;
    // Greys in a few steps keep the smooth edges that outlines are trained with.
    const ids = Array.from({ length: GREYS }, (_, step) => {
      const grey = Math.round((255 * step) / (GREYS - 1));
      return step === GREYS - 1 ? 0 : this.idOf([grey, grey, grey]);
    });
    const raster = new Raster(width, height, 0);
    for (let i = 0; i < raster.data.length; i++) {
      const grey = 0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2];
      raster.data[i] = ids[Math.round((grey / 255) * (GREYS - 1))];
    }
    this.#quietly((surface) => surface.setRaster(raster, { history: true }));
  }

  /** Whether nothing is drawn. */
  get blank() {
    return !this.surface || !this.surface.raster.data.some((id) => id > 0);
  }

  /** What is drawn, over the photo or on white, in its own pixels. */
  picture() {
    if (!this.surface) throw new Error("nothing can be drawn on yet");
    const { width, height, data } = this.surface.raster;
    const { photo } = this;
    return canvasOf(width, height, (context) => {
      const image = photo ? contextOf(photo).getImageData(0, 0, width, height) : context.createImageData(width, height);
      for (let i = 0; i < data.length; i++) {
        if (data[i] === 0 && photo) continue;
        const [red, green, blue] = this.colours[data[i]] ?? [0, 0, 0];
        image.data.set([red, green, blue, 255], 4 * i);
      }
      context.putImageData(image, 0, 0);
    });
  }

  /** @returns {Promise<Blob>} the same as PNG */
  blob() {
    return pngOf(this.picture());
  }

  /** @param {Tool} tool */
  setTool(tool) {
    this.tool = tool;
    if (this.surface) {
      this.surface.cancel();
      this.surface.tool = tool;
    }
    for (const [name, made] of this.tools) made.setAttribute("aria-pressed", String(name === tool));
  }

  /** @param {Colour} colour */
  setInk(colour) {
    this.ink = this.idOf(colour);
    if (this.surface) this.surface.ink = this.ink;
    let known = false;
    for (const swatch of this.swatches) {
      const same = swatch.colour.join() === colour.join();
      known ||= same;
      swatch.button.setAttribute("aria-pressed", String(same));
    }
    this.own.classList.toggle("chosen", !known);
    if (!known) this.own.value = hexOf(colour);
    if (this.tool === "eraser" || this.tool === "eyedropper" || this.tool === "hand") this.setTool("brush");
  }

  /**
   * The keys of a drawing program, for a page to hand on while it is shown.
   * @param {KeyboardEvent} event
   */
  key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.altKey || target.closest("input:not([type=range]), select, textarea, dialog")) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key === "z" && !event.shiftKey) this.#quietly((s) => s.undo());
      else if (key === "y" || key === "z") this.#quietly((s) => s.redo());
      else return;
      event.preventDefault();
    } else if (KEYS[key] && !event.shiftKey) {
      this.setTool(KEYS[key]);
    } else if (event.key === "[" || event.key === "]") {
      this.tip.value = String(Number(this.tip.value) + (event.key === "]" ? 1 : -1));
      this.#setTip();
    } else if (event.key === "Escape") {
      this.surface?.cancel();
    }
  }

  /**
   * The id of a colour; a new one where it was not used before, the nearest where all ids are.
   * @param {Colour} colour
   */
  idOf(colour) {
    const far = (/** @type {Colour} */ other) => Math.hypot(...other.map((value, i) => value - colour[i]));
    const known = this.colours.findIndex((other, id) => id > 0 && far(other) === 0);
    if (known > 0) return known;
    if (this.colours.length < 256) return this.colours.push(colour) - 1;
    return this.colours.reduce((best, other, id) => (id > 0 && far(other) < far(this.colours[best]) ? id : best), 1);
  }

  /** @param {number} id */
  #nameOf(id) {
    if (id === 0) return t(this.photo ? "drawing.photo" : "drawing.paper");
    const hex = hexOf(this.colours[id] ?? [0, 0, 0]);
    const name = Object.keys(INKS).find((each) => hexOf(INKS[each]) === hex);
    return name ? t(`ink.${name}`) : t("ink.colour", { colour: hex });
  }

  /** @param {number} id */
  #picked(id) {
    if (id > 0) {
      this.setInk(this.colours[id]);
    } else if (this.photo && this.under) {
      const [red, green, blue] = contextOf(this.photo).getImageData(this.under.x, this.under.y, 1, 1).data;
      this.setInk([red, green, blue]);
    } else if (!this.photo) {
      this.setInk(INKS.white);
    }
  }

  #setTip() {
    this.tipOutput.textContent = `${this.tip.value} px`;
    if (this.surface) this.surface.tip = { shape: "circle", size: Number(this.tip.value) };
  }

  /** @param {(surface: Surface) => unknown} act */
  #quietly(act) {
    this.quiet = true;
    if (this.surface) act(this.surface);
    this.quiet = false;
  }

  /** What a tool has filled, as its outline, as thick as the brush. */
  #hollowOut() {
    const { surface, kept } = this;
    if (!surface || kept?.width !== surface.raster.width || kept.height !== surface.raster.height) return;
    const { width, height, data } = surface.raster;
    const thick = surface.tip.size;
    // How far each pixel of the ink is from one that is none, counted as a king walks, in two passes.
    const far = new Uint16Array(width * height);
    const at = (/** @type {number} */ x, /** @type {number} */ y) =>
      x < 0 || y < 0 || x >= width || y >= height ? 0 : far[y * width + x];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (data[y * width + x] !== this.ink) continue;
        far[y * width + x] = 1 + Math.min(at(x - 1, y), at(x - 1, y - 1), at(x, y - 1), at(x + 1, y - 1));
      }
    }
    const hollow = surface.raster.clone();
    for (let y = height - 1; y >= 0; y--) {
      for (let x = width - 1; x >= 0; x--) {
        const i = y * width + x;
        if (far[i] === 0) continue;
        far[i] = Math.min(far[i], 1 + Math.min(at(x + 1, y), at(x + 1, y + 1), at(x, y + 1), at(x - 1, y + 1)));
        if (far[i] > thick) hollow.data[i] = kept.data[i];
      }
    }
    // One step to undo, not two.
    surface.undo();
    surface.setRaster(hollow, { history: true });
  }

  #changed() {
    if (this.hollow) {
      if (!this.quiet && ["rectangle", "ellipse", "polygon"].includes(this.tool)) {
        this.#quietly(() => this.#hollowOut());
        if (this.surface) this.kept = this.surface.raster.clone();
        return; // that was a change, and told
      }
      this.kept = this.surface?.raster.clone() ?? null;
    }
    this.undoButton.disabled = !this.surface?.canUndo;
    this.redoButton.disabled = !this.surface?.canRedo;
    this.dispatchEvent(new CustomEvent("change"));
  }
}

/**
 * @param {number} width
 * @param {number} height
 * @param {(context: CanvasRenderingContext2D) => void} draw
 */
function canvasOf(width, height, draw) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  draw(contextOf(canvas));
  return canvas;
}

/** @param {HTMLCanvasElement} canvas */
function contextOf(canvas) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("the browser gives no canvas to draw on");
  return context;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {Promise<Blob>}
 */
export function pngOf(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the browser made no PNG"))), "image/png");
  });
}

/** @param {Colour} colour */
const hexOf = (colour) => `#${colour.map((value) => value.toString(16).padStart(2, "0")).join("")}`;

/**
 * @param {string} hex
 * @returns {Colour}
 */
const colourOf = (hex) => [parseInt(hex.slice(1, 3), 16), parseInt(hex.slice(3, 5), 16), parseInt(hex.slice(5), 16)];
