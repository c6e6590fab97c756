/**
 * Other pictures pasted roughly over a photo, and a mask of where: what SinGAN's harmonise and edit take.
 *
 * Two views of the same thing, one at a time: parts are moved, turned and scaled on a canvas of the screen's own
 * sharpness, and the mask is brushed on a `Surface` with the pasted picture under it.
 */

import { Raster } from "./canvas/raster.js";
import { Surface } from "./canvas/surface.js";
import { button, chooseFile, dropFiles, h } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    "layers.stage": "Photo with pasted parts. Arrow keys move the chosen part, plus and minus scale it, [ and ] turn "
      + "it, Delete removes it.",
    "layers.choosing": "Photo. Arrow keys move the cross, Enter sets the corners of what is copied.",
    "layers.mask": "Mask over the photo",
    "layers.tools": "What the pointer does",
    "layers.move": "Move parts",
    "layers.rectangle": "Copy a rectangle",
    "layers.lasso": "Copy with lasso",
    "layers.brush": "Mask brush",
    "layers.eraser": "Mask eraser",
    "layers.add": "Add a picture…",
    "layers.flip": "Flip",
    "layers.remove": "Remove part",
    "layers.size": "Size",
    "layers.turn": "Turn",
    "layers.tip": "Brush size",
    "layers.follow": "Mask from the parts",
    "layers.follow.hint": "Forget what was brushed: the mask is again just where parts were pasted.",
    "layers.in": "repainted",
    "layers.out": "kept",
    "layers.hint.add": "Add a picture, such as one cut out on a transparent ground, or drop it here.",
    "layers.hint.copy": "Drag over the photo to copy a piece of it.",
    "layers.hint.move": "Drag the part to where it belongs; its corners scale it, the knob turns it.",
    "layers.hint.mask": "What is red is repainted. Brush over more, or erase.",
  },
  ja: {
    "layers.stage": "写真と貼り付けた部品。矢印キーで移動、＋と－で拡大・縮小、[ と ] で回転、Deleteで削除。",
    "layers.choosing": "写真。矢印キーで十字を動かし、Enterでコピー範囲の角を決めます。",
    "layers.mask": "写真の上のマスク",
    "layers.tools": "ポインターの働き",
    "layers.move": "部品を動かす",
    "layers.rectangle": "四角でコピー",
    "layers.lasso": "投げ縄でコピー",
    "layers.brush": "マスクブラシ",
    "layers.eraser": "マスク消しゴム",
    "layers.add": "画像を追加…",
    "layers.flip": "左右反転",
    "layers.remove": "部品を削除",
    "layers.size": "大きさ",
    "layers.turn": "回転",
    "layers.tip": "ブラシの太さ",
    "layers.follow": "マスクを部品に合わせる",
    "layers.follow.hint": "手で塗ったマスクを取り消し、貼り付けた部分だけに戻します。",
    "layers.in": "描き直す部分",
    "layers.out": "そのまま残す部分",
    "layers.hint.add": "画像を追加してください。背景が透明な切り抜き画像がおすすめです。ドロップもできます。",
    "layers.hint.copy": "写真の上をドラッグすると、その部分がコピーされます。",
    "layers.hint.move": "部品をドラッグして置き場所を決めます。角で拡大・縮小、丸いつまみで回転します。",
    "layers.hint.mask": "赤い部分が描き直されます。ブラシで足したり、消しゴムで減らしたりできます。",
  },
});

/**
 * A part pasted over the photo.
 * @typedef {object} Part
 * @property {HTMLCanvasElement} image
 * @property {number} x of its centre, in the photo's pixels
 * @property {number} y
 * @property {number} scale the photo's pixels to one of its own
 * @property {number} turn clockwise, radians
 * @property {boolean} flipped left to right
 */

/** @typedef {{x: number, y: number}} Point */
/** What a pointer that is down does; `was`: the part before.
 *  @typedef {{kind: "move"|"scale"|"turn"|"pinch"|"rectangle"|"lasso", from: Point, was: Part|null, path: Point[]}} Drag */
/** @typedef {"move"|"rectangle"|"lasso"|"brush"|"eraser"} Mode */

const REACH = 14; // CSS pixels around a handle that still take hold of it
const STALK = 30; // CSS pixels from a part to the knob that turns it
const LEAST = 0.02;

/** Fires "change" when the picture or the mask is another. */
export class Layers extends EventTarget {
  /** @param {{copying: boolean}} options copying: whether pieces of the photo itself can be taken */
  constructor({ copying }) {
    super();
    this.copying = copying;
    this.width = 1;
    this.height = 1;
    this.base = document.createElement("canvas");
    /** @type {Part[]} */ this.parts = [];
    /** @type {Part|null} */ this.chosen = null;
    /** @type {Mode} */ this.mode = "move";
    // By hand: 1 added to the mask, 2 taken from it. So the rest of the mask still follows the parts as they move.
    this.hand = new Uint8Array(1);
    /** @type {Map<number, Point>} */ this.pointers = new Map();
    /** @type {Drag | null} */
    this.drag = null;
    /** @type {Point} */ this.cross = { x: 0, y: 0 };
    this.frame = 0;
    this.filling = false;
    /** @type {Surface|null} */ this.surface = null;

    this.stage = /** @type {HTMLCanvasElement} */ (
      // An application: arrow keys belong to it, and a screen reader in browse mode would keep them for itself.
      h("canvas", {
        class: "layers-stage", tabindex: "0", role: "application", "data-testid": "layers-stage",
        onpointerdown: (/** @type {PointerEvent} */ e) => this.#down(e),
        onpointermove: (/** @type {PointerEvent} */ e) => this.#move(e),
        onpointerup: (/** @type {PointerEvent} */ e) => this.#up(e),
        onpointercancel: (/** @type {PointerEvent} */ e) => this.#up(e),
        onkeydown: (/** @type {KeyboardEvent} */ e) => this.#key(e),
        onfocus: () => this.#redraw(), onblur: () => this.#redraw(),
      })
    );
    this.stage.addEventListener("wheel", (e) => this.#wheel(e), { passive: false });
    this.maskHolder = h("div", { class: "layers-mask", hidden: true, "data-testid": "layers-mask" });
    this.hint = h("p", { class: "hint", role: "status" });

    /** @type {Map<Mode, HTMLElement>} */ this.tools = new Map();
    /** @type {Mode[]} */
    const modes = ["move", ...(copying ? /** @type {Mode[]} */ (["rectangle", "lasso"]) : []), "brush", "eraser"];
    for (const mode of modes) {
      this.tools.set(mode, button("", t(`layers.${mode}`), () => this.setMode(mode)));
    }
    this.size = slider(t("layers.size"), 5, 400, 1, (v) => this.#adjust((part) => (part.scale = v / 100)), " %");
    this.turn = slider(t("layers.turn"), -180, 180, 1, (v) => this.#adjust((part) => (part.turn = radians(v))), "°");
    this.tip = slider(t("layers.tip"), 1, 80, 1, (v) => this.#tip(v), " px");
    this.tip.input.value = "14";
    this.partRow = h("div", { class: "row wrap" }, this.size.element, this.turn.element,
      button("swap", t("layers.flip"), () => this.#adjust((part) => (part.flipped = !part.flipped))),
      button("trash", t("layers.remove"), () => this.removeChosen()));
    this.maskRow = h("div", { class: "row wrap", hidden: true }, this.tip.element,
      button("again", t("layers.follow"), () => this.followParts(), { title: t("layers.follow.hint") }));
    this.element = h("div", { class: "layers stack" },
      h("div", { class: "row wrap" },
        button("upload", t("layers.add"), () => this.#choose(), { class: copying ? "" : "primary" }),
        h("div", { class: "segmented", role: "group", "aria-label": t("layers.tools") }, ...this.tools.values())),
      this.hint, h("div", { class: "layers-view" }, this.stage, this.maskHolder), this.partRow, this.maskRow);
    dropFiles(this.element, (file) => void this.addFile(file));
    new ResizeObserver(() => this.#redraw()).observe(this.stage);
    this.setMode("move");
  }

  /**
   * Begin anew on a photo.
   * @param {ImageBitmap|HTMLCanvasElement} photo
   */
  setBase(photo) {
    this.width = photo.width;
    this.height = photo.height;
    this.base = copyOf(photo);
    this.parts = [];
    this.chosen = null;
    this.hand = new Uint8Array(this.width * this.height);
    this.cross = { x: Math.round(this.width / 2), y: Math.round(this.height / 2) };
    this.stage.style.aspectRatio = `${this.width} / ${this.height}`;
    for (const view of [this.stage, this.maskHolder]) {
      view.style.setProperty("--ratio", String(this.width / this.height));
    }
    this.surface?.destroy();
    this.surface = null; // made when the mask is first looked at, for a surface fits itself to what is visible
    this.setMode(this.copying ? "rectangle" : "move");
    this.#changed();
  }

  /** @param {Mode} mode */
  setMode(mode) {
    this.mode = mode;
    this.drag = null;
    const masking = mode === "brush" || mode === "eraser";
    for (const [name, button] of this.tools) button.setAttribute("aria-pressed", String(name === mode));
    this.stage.hidden = masking;
    this.maskHolder.hidden = !masking;
    this.maskRow.hidden = !masking;
    this.stage.setAttribute("aria-label", t(mode === "move" ? "layers.stage" : "layers.choosing"));
    if (masking) this.#openMask(mode);
    this.#describe();
    this.#redraw();
  }

  async #choose() {
    const file = await chooseFile("image/*");
    if (file) await this.addFile(file);
  }

  /**
   * A picture as a part, in the middle and at most half as large as the photo.
   * @param {Blob} file
   */
  async addFile(file) {
    /** @type {ImageBitmap} */ let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      this.dispatchEvent(new CustomEvent("unreadable"));
      return;
    }
    // Never kept larger than it can be used: the photo is a few hundred pixels wide, a phone's picture thousands.
    const fit = Math.min(1, (4 * Math.max(this.width, this.height)) / Math.max(bitmap.width, bitmap.height));
    const image = copyOf(bitmap, fit);
    bitmap.close();
    const scale = Math.min(1, this.width / 2 / image.width, this.height / 2 / image.height);
    this.add({ image, x: this.width / 2, y: this.height / 2, scale, turn: 0, flipped: false });
  }

  /** @param {Part} part */
  add(part) {
    this.parts.push(part);
    this.chosen = part;
    this.setMode("move");
    this.#changed();
  }

  removeChosen() {
    this.parts = this.parts.filter((part) => part !== this.chosen);
    this.chosen = this.parts.at(-1) ?? null;
    this.#changed();
    this.stage.focus();
  }

  /** Forget what was brushed by hand. */
  followParts() {
    this.hand.fill(0);
    this.#fillMask();
    this.#changed();
  }

  /** The photo with the parts pasted in, in its own pixels. */
  picture() {
    const canvas = copyOf(this.base);
    const context = contextOf(canvas);
    for (const part of this.parts) drawPart(context, part);
    return canvas;
  }

  /** 1 where it is to be repainted. */
  mask() {
    const mask = this.#pasted();
    for (let i = 0; i < mask.data.length; i++) {
      if (this.hand[i] > 0) mask.data[i] = this.hand[i] === 1 ? 1 : 0;
    }
    return mask;
  }

  /** Whether anything at all is to be repainted. */
  get ready() {
    return this.mask().data.some((value) => value > 0);
  }

  /** 1 where a part is. */
  #pasted() {
    const canvas = document.createElement("canvas");
    canvas.width = this.width;
    canvas.height = this.height;
    const context = contextOf(canvas);
    for (const part of this.parts) drawPart(context, part);
    const rgba = context.getImageData(0, 0, this.width, this.height).data;
    const mask = new Raster(this.width, this.height, 0);
    for (let i = 0; i < mask.data.length; i++) mask.data[i] = rgba[4 * i + 3] > 127 ? 1 : 0;
    return mask;
  }

  // --- the mask -------------------------------------------------------------------------------------------------

  /** @param {"brush"|"eraser"} tool */
  #openMask(tool) {
    if (this.surface === null) {
      this.surface = new Surface(this.maskHolder, {
        width: this.width,
        height: this.height,
        color: (id) => (id === 0 ? [0, 0, 0, 0] : [225, 40, 60, 150]),
        label: (id) => t(id === 0 ? "layers.out" : "layers.in"),
        ariaLabel: t("layers.mask"),
      });
      this.surface.ink = 1;
      this.surface.paper = 0;
      this.surface.addEventListener("change", () => this.#brushed());
      this.#tip(Number(this.tip.input.value));
    }
    this.surface.tool = tool;
    this.#fillMask();
  }

  /** @param {number} size */
  #tip(size) {
    if (this.surface) this.surface.tip = { shape: "circle", size };
  }

  #fillMask() {
    if (this.surface === null) return;
    this.filling = true;
    this.surface.setRaster(this.mask(), { history: false });
    this.surface.setUnderlay(this.picture(), 0);
    this.filling = false;
  }

  #brushed() {
    if (this.filling || this.surface === null) return;
    const { data } = this.surface.raster;
    const pasted = this.#pasted().data;
    for (let i = 0; i < data.length; i++) this.hand[i] = data[i] === pasted[i] ? 0 : data[i] > 0 ? 1 : 2;
    this.dispatchEvent(new CustomEvent("change"));
  }

  // --- parts ----------------------------------------------------------------------------------------------------

  /** @param {(part: Part) => void} change */
  #adjust(change) {
    if (this.chosen === null) return;
    change(this.chosen);
    this.#changed();
  }

  #changed() {
    this.#describe();
    this.#redraw();
    this.dispatchEvent(new CustomEvent("change"));
  }

  /** What can be done now, in words and in enabled controls. */
  #describe() {
    const { chosen, mode } = this;
    const masking = mode === "brush" || mode === "eraser";
    this.partRow.hidden = masking || chosen === null;
    if (chosen) {
      this.size.set(Math.round(chosen.scale * 100));
      this.turn.set(Math.round(((((chosen.turn * 180) / Math.PI + 180) % 360) + 360) % 360) - 180);
    }
    if (masking) this.hint.textContent = t("layers.hint.mask");
    else if (mode !== "move") this.hint.textContent = t("layers.hint.copy");
    else this.hint.textContent = t(chosen ? "layers.hint.move" : this.copying ? "layers.hint.copy" : "layers.hint.add");
  }

  /** CSS pixels to one of the photo's. */
  get #zoom() {
    return this.stage.clientWidth / this.width || 1;
  }

  /**
   * @param {PointerEvent|WheelEvent} event
   * @returns {Point} in the photo's pixels
   */
  #at(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: (event.clientX - box.left) / this.#zoom, y: (event.clientY - box.top) / this.#zoom };
  }

  /**
   * @param {Point} at
   * @returns {"move"|"scale"|"turn"|null} what of the chosen part is there
   */
  #handleAt(at) {
    if (this.chosen === null) return null;
    const reach = REACH / this.#zoom;
    const { corners, knob } = outline(this.chosen, STALK / this.#zoom);
    if (distance(at, knob) < reach) return "turn";
    if (corners.some((corner) => distance(at, corner) < reach)) return "scale";
    return inside(this.chosen, at) ? "move" : null;
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0) return;
    this.stage.setPointerCapture(event.pointerId);
    const at = this.#at(event);
    this.pointers.set(event.pointerId, at);
    if (this.mode === "rectangle" || this.mode === "lasso") {
      this.drag = { kind: this.mode, from: at, was: null, path: [at] };
      this.#redraw();
      return;
    }
    if (this.pointers.size === 2 && this.chosen) {
      this.drag = { kind: "pinch", from: at, was: { ...this.chosen }, path: [...this.pointers.values()] };
      return;
    }
    let kind = this.#handleAt(at);
    if (kind === null) {
      this.chosen = [...this.parts].reverse().find((part) => inside(part, at)) ?? null;
      kind = this.chosen ? "move" : null;
      this.#describe();
    }
    this.drag = kind && this.chosen ? { kind, from: at, was: { ...this.chosen }, path: [] } : null;
    this.#redraw();
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const at = this.#at(event);
    const { drag, chosen } = this;
    if (drag === null) {
      const over = this.mode !== "move" ? "crosshair"
        : { move: "move", scale: "nwse-resize", turn: "grab", none: "default" }[this.#handleAt(at) ?? "none"];
      this.stage.style.cursor = over ?? "default";
      return;
    }
    if (!this.pointers.has(event.pointerId)) return;
    this.pointers.set(event.pointerId, at);
    if (drag.kind === "rectangle" || drag.kind === "lasso") {
      if (drag.kind === "lasso") drag.path.push(at);
      else drag.path[1] = at;
      this.#redraw();
      return;
    }
    const { was } = drag;
    if (chosen === null || was === null) return;
    if (drag.kind === "move") {
      chosen.x = was.x + at.x - drag.from.x;
      chosen.y = was.y + at.y - drag.from.y;
    } else if (drag.kind === "scale") {
      const before = Math.max(1e-3, distance(drag.from, was));
      chosen.scale = Math.max(LEAST, (was.scale * distance(at, was)) / before);
    } else if (drag.kind === "turn") {
      chosen.turn = Math.atan2(at.y - was.y, at.x - was.x) + Math.PI / 2;
      if (event.shiftKey) chosen.turn = radians(15) * Math.round(chosen.turn / radians(15));
    } else if (this.pointers.size === 2) {
      const [a, b] = drag.path;
      const [c, d] = [...this.pointers.values()];
      chosen.scale = Math.max(LEAST, (was.scale * distance(c, d)) / Math.max(1e-3, distance(a, b)));
      chosen.turn = was.turn + Math.atan2(d.y - c.y, d.x - c.x) - Math.atan2(b.y - a.y, b.x - a.x);
      chosen.x = was.x + (c.x + d.x - a.x - b.x) / 2;
      chosen.y = was.y + (c.y + d.y - a.y - b.y) / 2;
    }
    this.#describe();
    this.#redraw();
  }

  /** @param {PointerEvent} event */
  #up(event) {
    this.pointers.delete(event.pointerId);
    const { drag } = this;
    this.drag = null;
    if (drag === null) return;
    if (drag.kind === "rectangle" || drag.kind === "lasso") {
      if (event.type === "pointerup") this.#copy(drag.kind === "lasso" ? drag.path : boxOf(drag.path));
      this.#redraw();
    } else {
      this.#changed();
    }
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    // Only over the part itself, so that the page still scrolls past the photo.
    if (this.mode !== "move" || !this.chosen || !inside(this.chosen, this.#at(event))) return;
    event.preventDefault();
    const factor = Math.exp(-event.deltaY / 600);
    this.#adjust((part) => (part.scale = Math.max(LEAST, part.scale * factor)));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (this.mode !== "move") {
      if (way) {
        this.cross.x = clamp(this.cross.x + way[0] * step, 0, this.width);
        this.cross.y = clamp(this.cross.y + way[1] * step, 0, this.height);
        if (this.drag) this.drag.path[1] = { ...this.cross };
      } else if (event.key === "Enter" || event.key === " ") {
        const { drag } = this;
        if (drag) {
          this.drag = null;
          this.#copy(boxOf([drag.path[0], { ...this.cross }]));
        } else {
          // The lasso too: a free line is for pointers.
          this.drag = { kind: "rectangle", from: { ...this.cross }, was: null, path: [{ ...this.cross }] };
        }
      } else if (event.key === "Escape") {
        this.drag = null;
      } else {
        return;
      }
      event.preventDefault();
      this.#redraw();
      return;
    }
    const { chosen } = this;
    if (chosen === null) return;
    if (way) {
      chosen.x += way[0] * step;
      chosen.y += way[1] * step;
    } else if (event.key === "+" || event.key === "=") chosen.scale *= 1.05;
    else if (event.key === "-") chosen.scale = Math.max(LEAST, chosen.scale / 1.05);
    else if (event.key === "]") chosen.turn += radians(5);
    else if (event.key === "[") chosen.turn -= radians(5);
    else if (event.key === "Delete" || event.key === "Backspace") this.removeChosen();
    else return;
    event.preventDefault();
    this.#changed();
  }

  /**
   * A piece of the photo, with what was pasted so far, as a part a little to its side.
   * @param {Point[]} path around it
   */
  #copy(path) {
    const left = clamp(Math.floor(Math.min(...path.map((p) => p.x))), 0, this.width);
    const top = clamp(Math.floor(Math.min(...path.map((p) => p.y))), 0, this.height);
    const width = clamp(Math.ceil(Math.max(...path.map((p) => p.x))), 0, this.width) - left;
    const height = clamp(Math.ceil(Math.max(...path.map((p) => p.y))), 0, this.height) - top;
    if (path.length < 3 || width < 3 || height < 3) return; // a click, or a slip
    const image = document.createElement("canvas");
    image.width = width;
    image.height = height;
    const context = contextOf(image);
    context.translate(-left, -top);
    context.beginPath();
    for (const p of path) context.lineTo(p.x, p.y);
    context.closePath();
    context.clip();
    context.drawImage(this.picture(), 0, 0);
    const aside = Math.max(6, Math.round(width / 3)) * (left + width / 2 > this.width * 0.6 ? -1 : 1);
    this.add({ image, x: left + width / 2 + aside, y: top + height / 2, scale: 1, turn: 0, flipped: false });
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  #redraw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const { stage, chosen, drag } = this;
    if (stage.hidden || stage.clientWidth === 0) return;
    const sharp = devicePixelRatio;
    const [width, height] = [stage.clientWidth, stage.clientHeight].map((side) => Math.round(side * sharp));
    if (stage.width !== width || stage.height !== height) [stage.width, stage.height] = [width, height];
    const context = contextOf(stage);
    const zoom = this.#zoom;
    context.setTransform(zoom * sharp, 0, 0, zoom * sharp, 0, 0);
    context.imageSmoothingEnabled = zoom * sharp < 3;
    context.drawImage(this.base, 0, 0);
    for (const part of this.parts) drawPart(context, part);
    if (chosen && this.mode === "move") {
      const { corners, top, knob } = outline(chosen, STALK / zoom);
      cased(context, zoom, () => {
        context.beginPath();
        for (const corner of corners) context.lineTo(corner.x, corner.y);
        context.closePath();
        context.moveTo(top.x, top.y);
        context.lineTo(knob.x, knob.y);
      });
      for (const corner of [...corners, knob]) dot(context, corner, zoom);
    }
    if (drag && (drag.kind === "rectangle" || drag.kind === "lasso")) {
      const path = drag.kind === "lasso" ? drag.path : boxOf(drag.path);
      cased(context, zoom, () => {
        context.beginPath();
        for (const p of path) context.lineTo(p.x, p.y);
        if (drag.kind === "rectangle") context.closePath();
      });
    }
    // The cross of the keyboard, only while the keyboard is used.
    if (this.mode !== "move" && stage.matches(":focus-visible")) {
      const arm = 9 / zoom;
      cased(context, zoom, () => {
        context.beginPath();
        context.moveTo(this.cross.x - arm, this.cross.y);
        context.lineTo(this.cross.x + arm, this.cross.y);
        context.moveTo(this.cross.x, this.cross.y - arm);
        context.lineTo(this.cross.x, this.cross.y + arm);
      });
    }
  }
}

/**
 * A labelled range that shows its value.
 * @param {string} label
 * @param {number} least
 * @param {number} most
 * @param {number} step
 * @param {(value: number) => void} use
 * @param {string} unit
 */
function slider(label, least, most, step, use, unit) {
  const output = h("output", { class: "slider-value" });
  const input = /** @type {HTMLInputElement} */ (
    h("input", {
      type: "range", min: String(least), max: String(most), step: String(step), "aria-label": label,
      oninput: () => {
        output.textContent = input.value + unit;
        use(Number(input.value));
      },
    })
  );
  const set = (/** @type {number} */ value) => {
    input.value = String(value);
    output.textContent = value + unit;
  };
  queueMicrotask(() => (output.textContent = input.value + unit));
  return { element: h("label", { class: "slider" }, h("span", {}, label), input, output), input, set };
}

/**
 * @param {ImageBitmap|HTMLCanvasElement} image
 * @param {number} [scale]
 */
function copyOf(image, scale = 1) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  const context = contextOf(canvas);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** @param {HTMLCanvasElement} canvas */
function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("the browser gives no canvas to draw on");
  return context;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Part} part
 */
function drawPart(context, part) {
  context.save();
  context.translate(part.x, part.y);
  context.rotate(part.turn);
  context.scale(part.flipped ? -part.scale : part.scale, part.scale);
  context.imageSmoothingQuality = "high";
  context.drawImage(part.image, -part.image.width / 2, -part.image.height / 2);
  context.restore();
}

/**
 * @param {Part} part
 * @param {number} stalk the photo's pixels from its upper edge to the knob
 */
function outline(part, stalk) {
  const [cos, sin] = [Math.cos(part.turn), Math.sin(part.turn)];
  const [w, v] = [(part.image.width * part.scale) / 2, (part.image.height * part.scale) / 2];
  const at = (/** @type {number} */ x, /** @type {number} */ y) => ({
    x: part.x + x * cos - y * sin, y: part.y + x * sin + y * cos,
  });
  return { corners: [at(-w, -v), at(w, -v), at(w, v), at(-w, v)], top: at(0, -v), knob: at(0, -v - stalk) };
}

/**
 * @param {Part} part
 * @param {Point} p
 */
function inside(part, p) {
  const [cos, sin] = [Math.cos(part.turn), Math.sin(part.turn)];
  const [x, y] = [p.x - part.x, p.y - part.y];
  return Math.abs(x * cos + y * sin) <= (part.image.width * part.scale) / 2
    && Math.abs(y * cos - x * sin) <= (part.image.height * part.scale) / 2;
}

/**
 * A line that is seen on any picture: white, with a dark edge.
 * @param {CanvasRenderingContext2D} context
 * @param {number} zoom
 * @param {() => void} trace
 */
function cased(context, zoom, trace) {
  trace();
  context.lineWidth = 3.5 / zoom;
  context.strokeStyle = "rgb(0 0 0 / 55%)";
  context.stroke();
  context.lineWidth = 1.5 / zoom;
  context.strokeStyle = "white";
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Point} at
 * @param {number} zoom
 */
function dot(context, at, zoom) {
  context.beginPath();
  context.arc(at.x, at.y, 5.5 / zoom, 0, 2 * Math.PI);
  context.fillStyle = "white";
  context.fill();
  context.lineWidth = 1.5 / zoom;
  context.strokeStyle = "rgb(0 0 0 / 70%)";
  context.stroke();
}

/**
 * @param {Point[]} path a corner and the one across
 * @returns {Point[]}
 */
function boxOf(path) {
  const [a, b] = [path[0], path[1] ?? path[0]];
  return [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }];
}

/** @param {Point} a @param {Point} b */
const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

/** @param {number} degrees */
const radians = (degrees) => (degrees * Math.PI) / 180;

/** @param {number} value @param {number} least @param {number} most */
const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
