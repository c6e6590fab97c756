/** A pad to sketch on, and the list of 1 to 30 sketches that a generator is customised by. */

import { ApiError } from "./api.js";
import { button, chooseFiles, dropFiles, fill, h, openDialog } from "./dom.js";
import { Drawing, pngOf } from "./drawing.js";
import { t } from "./i18n.js";
import { reduced } from "./photo.js";
import { messageOf } from "./results.js";
import "./sketch_words.js";

/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./main.js").App} App */
/** @typedef {{picture: string, seen: string, notes: string[]}} Sketch ids of how it came, and how the network sees it */

const MOST = 30;
const SIDE = 512; // px of the pad: lines stay smooth when they are made smaller
const SVG_SIDE = 1024;
const ACCEPT = "image/*,.svg";
const KEPT = "pinxit.sketches";

/** What the server remarks, by words that are in it alone. */
const NOTES = {
  "another aspect": "aspect", "light on dark": "dark", "uneven or grey light": "paper", "has lines of": "thin",
  "like a photo": "photo",
};

/** Fires "change" when the list is another. */
export class SketchPad extends EventTarget {
  /** @param {App} app */
  constructor(app) {
    super();
    this.app = app;
    /** @type {Model | null} */
    this.model = null;
    /** @type {Sketch[]} */
    this.sketches = [];
    /** @type {Promise<unknown>} one after the other, in the order they came */
    this.queue = Promise.resolve();
    this.earlier = kept(); // before a reload
    this.drawing = new Drawing({
      ariaLabel: t("sketch.pad"), inks: ["black"], tip: 8, hollow: true, monochrome: true, testid: "sketch-canvas",
    });
    this.add = button("plus", t("sketch.add"), () => void this.#addDrawn(), { class: "primary" });
    this.status = h("p", { class: "status", role: "status" });
    this.count = h("span", { class: "hint", "aria-live": "polite" });
    this.list = h("ul", { class: "sketches", "data-testid": "sketches" });
    this.pad = h("div", { class: "stack" }, this.drawing.element,
      h("div", { class: "row wrap" }, this.add, button("upload", t("sketch.files"), () => void this.#choose())),
      h("p", { class: "hint" }, t("sketch.filesHint")), this.status);
    this.chosen = h("div", { class: "stack" },
      h("div", { class: "row between" }, h("h3", null, t("sketch.list")), this.count), this.list);
    dropFiles(this.pad, (file) => this.take(file), { many: true });
    this.#show();
  }

  /** The sketches' ids on the server. */
  get pictures() {
    return this.sketches.map((sketch) => sketch.picture);
  }

  /** @param {Model} model */
  setModel(model) {
    const before = this.model;
    this.model = model;
    if (!this.drawing.surface) this.drawing.reset(SIDE, SIDE);
    // In the queue, so that none that is being added is lost.
    if (!before) this.queue = this.queue.then(() => this.#again(this.earlier));
    else if (before.size?.[0] !== model.size?.[0]) this.queue = this.queue.then(() => this.#again(this.pictures));
  }

  /** @param {File} file */
  take(file) {
    this.queue = this.queue.then(async () => {
      let blob;
      try {
        const svg = file.type === "image/svg+xml" || file.name.toLowerCase().endsWith(".svg");
        blob = svg ? await rasterised(file) : await reduced(file, this.app.status.limits.bytes);
      } catch {
        this.#tell(t("sketch.unreadable", { name: file.name }), true);
        return;
      }
      await this.#add(blob);
    });
  }

  async #choose() {
    for (const file of await chooseFiles(ACCEPT)) this.take(file);
  }

  async #addDrawn() {
    if (this.drawing.blank) return this.#tell(t("sketch.empty"), true);
    this.queue = this.queue.then(async () => {
      if (await this.#add(await this.drawing.blob())) this.drawing.surface?.clear();
    });
    await this.queue;
  }

  /**
   * @param {Blob} blob
   * @returns {Promise<boolean>} whether it is in the list
   */
  async #add(blob) {
    const { model } = this;
    if (!model) return false;
    this.#tell("");
    try {
      if (this.sketches.length >= MOST) throw new Error(t("sketch.full", { most: MOST }));
      const { id } = await this.app.api.upload(blob, "sketch");
      if (this.pictures.includes(id)) throw new Error(t("sketch.known"));
      const { picture, notes } = await this.app.api.seenSketch(model.id, id);
      this.sketches.push({ picture: id, seen: picture, notes });
      this.#show();
      return true;
    } catch (error) {
      this.#tell(messageOf(error), true);
      return false;
    }
  }

  /**
   * Have sketches looked at for the model that is chosen now; those that the server no longer has are gone.
   * @param {string[]} pictures
   */
  async #again(pictures) {
    const { model } = this;
    if (!model) return;
    /** @type {Sketch[]} */
    const found = [];
    for (const picture of pictures) {
      try {
        const seen = await this.app.api.seenSketch(model.id, picture);
        found.push({ picture, seen: seen.picture, notes: seen.notes });
      } catch (error) {
        // 404: the server was started anew meanwhile, and has forgotten what was not used.
        if (!(error instanceof ApiError) || error.status !== 404) this.#tell(messageOf(error), true);
      }
    }
    this.sketches = found;
    this.#show();
  }

  /** @param {string} words @param {boolean} [wrong] */
  #tell(words, wrong = false) {
    this.status.textContent = words;
    this.status.classList.toggle("error", wrong);
  }

  #show() {
    fill(this.count, t("sketch.count", { n: this.sketches.length, most: MOST }));
    fill(this.list, ...this.sketches.map((sketch, i) => this.#item(sketch, i + 1)));
    if (!this.sketches.length) fill(this.list, h("li", { class: "hint sketches-empty" }, t("sketch.listEmpty")));
    remember(this.pictures);
    this.dispatchEvent(new CustomEvent("change"));
  }

  /**
   * @param {Sketch} sketch
   * @param {number} n
   */
  #item(sketch, n) {
    const name = t(sketch.notes.length ? "sketch.itemNotes" : "sketch.item", { n });
    const open = h("button", {
      type: "button", class: "sketch-open", "aria-label": name, title: name, onclick: () => this.#look(sketch, n),
    }, h("img", { src: this.app.api.pictureUrl(sketch.seen), alt: "" }));
    if (sketch.notes.length) open.append(h("span", { class: "sketch-mark", "aria-hidden": "true" }, "!"));
    const remove = button("clear", t("sketch.remove", { n }), () => {
      this.sketches = this.sketches.filter((each) => each !== sketch);
      this.#show();
      /** @type {HTMLElement | null} */
      const next = this.list.querySelectorAll("button")[0] ?? this.add;
      next.focus();
    }, { bare: true, class: "quiet" });
    return h("li", null, open, remove);
  }

  /**
   * @param {Sketch} sketch
   * @param {number} n
   */
  #look(sketch, n) {
    const figure = (/** @type {string} */ id, /** @type {string} */ words) => {
      const image = h("img", { src: this.app.api.pictureUrl(id), alt: t(words) });
      return h("figure", null, image, h("figcaption", null, t(words)));
    };
    openDialog(t("sketch.item", { n }),
      h("div", { class: "sketch-looks" }, figure(sketch.picture, "sketch.yours"), figure(sketch.seen, "sketch.seen")),
      ...sketch.notes.map((note) => h("p", null, inWords(note))));
  }
}

/** @param {string} note the server's */
function inWords(note) {
  const known = Object.entries(NOTES).find(([words]) => note.includes(words));
  return known ? t(`sketch.note.${known[1]}`) : note;
}

/**
 * An SVG as a picture, in the browser, which runs nothing in it and fetches nothing for it.
 * @param {File} file
 */
async function rasterised(file) {
  const parsed = new DOMParser().parseFromString(await file.text(), "image/svg+xml");
  const root = parsed.documentElement;
  const box = (root.getAttribute("viewBox") ?? "").trim().split(/[\s,]+/).map(Number);
  const wide = box[2] || parseFloat(root.getAttribute("width") ?? "") || SVG_SIDE;
  const tall = box[3] || parseFloat(root.getAttribute("height") ?? "") || SVG_SIDE;
  const scale = SVG_SIDE / Math.max(wide, tall);
  const [width, height] = [wide, tall].map((side) => Math.max(1, Math.round(side * scale)));
  if (box.length < 4) root.setAttribute("viewBox", `0 0 ${wide} ${tall}`);
  root.setAttribute("width", String(width));
  root.setAttribute("height", String(height));
  const text = new XMLSerializer().serializeToString(parsed);
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  try {
    await image.decode();
    const canvas = h("canvas", { width, height });
    canvas.getContext("2d")?.drawImage(image, 0, 0, width, height);
    return await pngOf(canvas);
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

/** @returns {string[]} */
function kept() {
  try {
    const ids = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(ids) ? ids.filter((id) => typeof id === "string").slice(0, MOST) : [];
  } catch {
    return [];
  }
}

/** @param {string[]} pictures */
function remember(pictures) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(pictures));
  } catch {
    // Without storage a reload begins with none.
  }
}
