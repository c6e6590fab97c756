// The canvas that is painted on: a raster of label ids, shown in their colours, perhaps over a photo.
//
// Three kinds of coordinates meet here, each real-valued, with x to the right and y downwards:
//   raster px  what the tools take. Pixel (i, j) of the raster covers i <= x < i + 1, j <= y < j + 1.
//   CSS px     of the page, from the surface's top left corner: what pointers tell and what the view is kept in.
//              css = raster * scale + left (or top); `scale` is CSS px per raster px, the zoom.
//   device px  of the screen and of the backing store of the two visible canvases. device = CSS * ratio, where
//              ratio is the device-pixel ratio. `left` and `top` are held to whole device pixels, so that a pixel of
//              the raster has sharp edges whenever the zoom is whole.
//
// Three canvases: `#colors`, never shown, has a pixel for each pixel of the raster, in its label's colour; `#view`
// shows the photo beneath and `#colors` over it, enlarged without smoothing; `#over`, above it, has what is no part of
// the picture (tip, crosshair, outline of an unfinished polygon) and takes the pointer and the keyboard.
// Nothing is painted in an event: each notes what changed, and the next frame paints that rectangle.

import { History } from "./history.js";
import { Raster, cut, difference, paste, union } from "./raster.js";
import { constrained, ellipse, floodFill, line, polygon, rectangle, stroke } from "./tools.js";
import { tipRows, tipStart, wholeSize } from "./tools.js";

/** @typedef {import("./raster.js").Rect} Rect */
/** @typedef {import("./tools.js").Point} Point */
/** @typedef {import("./tools.js").StrokePoint} StrokePoint */
/** @typedef {import("./tools.js").Tip} Tip */
/** @typedef {"brush"|"eraser"|"line"|"polygon"|"rectangle"|"ellipse"|"fill"|"eyedropper"|"hand"} Tool */
/** @typedef {HTMLImageElement | HTMLCanvasElement | ImageBitmap | OffscreenCanvas} Picture */

/**
 * @typedef {object} SurfaceOptions
 * @property {number} width of the raster, in pixels
 * @property {number} height
 * @property {(id: number) => ArrayLike<number> | null | undefined} color red, green, blue, alpha (255 if not given) of
 *   an id, each 0 to 255; is asked for all 256 ids, and one that has none is shown grey
 * @property {(id: number) => string} label what an id is called
 * @property {string} ariaLabel what the canvas is called
 * @property {string} [description] how it is painted on with the keyboard, for screen readers
 * @property {number} [paper] the id that the raster is filled with and that the eraser writes
 */

/** A drag, a held key or a tap that changes the raster and is not finished. `seed` is where it began.
 *  @typedef {{before: Raster, touched: Rect | null, tool: Tool, id: number, seed: StrokePoint,
 *  last: StrokePoint}} Edit */
/** A finger, pen or mouse button that is down. @typedef {{id: number, kind: string, at: Point, start: Point,
 *  time: number}} Finger */

const LEAST_ZOOM = 1 / 8;
const MOST_ZOOM = 32;
/** A second finger within this time after the first makes a pinch of both, ms. */
const PINCH_TIME = 80;
/** A finger that has moved less than this is still at its place, CSS px. */
const STILL = 6;
/** After a pen was seen, touches are a palm for so long, ms. */
const PALM_TIME = 600;
/** A pen that has been silent for so long is no longer near, ms. */
const LOST_TIME = 10000;
/** The least part of the tip's size that a pen's pressure leaves. */
const LEAST_PRESSURE = 0.2;
/** Two clicks within this time and `STILL` px are a double click, ms. */
const DOUBLE_CLICK = 350;
/** A click within so many CSS px of a polygon's first point closes it. */
const CLOSING = 9;

/**
 * Events, all CustomEvent:
 *   "stroke"  while something is drawn, at most one a frame
 *   "change"  a finished edit, undo, redo, clear, setRaster; not sent where no id changed
 *   "hover"   detail {x, y, id} of the pixel under the pointer or crosshair, or null
 *   "pick"    detail {id} of the eyedropper; `ink` is that id by then
 *   "view"    zoom or position changed; detail {scale}
 */
export class Surface extends EventTarget {
  /**
   * @param {HTMLElement} container is filled, and its size followed; one without a height gets the raster's shape
   * @param {SurfaceOptions} options
   */
  constructor(container, options) {
    super();
    this.color = options.color;
    this.label = options.label;
    /** The id that the eraser and `clear` write. */
    this.paper = options.paper ?? 0;
    /** @type {Raster} The ids; to replace them, `setRaster`. */
    this.raster = new Raster(options.width, options.height, this.paper);

    /** @type {Tool} */
    this.#tool = "brush";
    /** @type {Tip} */
    this.#tip = { shape: "circle", size: 16 };
    /** @type {number} */
    this.#ink = 0;

    this.#root = document.createElement("div");
    this.#root.className = "surface";
    this.#colors = document.createElement("canvas");
    this.#view = document.createElement("canvas");
    this.#over = document.createElement("canvas");
    this.#said = document.createElement("span");
    this.#help = document.createElement("span");
    this.#layOut(options);
    container.append(this.#root);
    this.#resizeColors();
    this.#listen();
  }

  /** @type {Tool} */
  #tool;
  /** @type {Tip} */
  #tip;
  /** @type {number} */
  #ink;
  #root;
  #colors;
  #view;
  #over;
  #said;
  #help;
  #history = new History(200);
  #stop = new AbortController();
  /** @type {ResizeObserver | null} */
  #observer = null;

  /** @type {Picture | null} */
  #underlay = null;
  #opacity = 0.5;
  /** Colour of each id as it lies in an ImageData. */
  #table = new Uint32Array(256);

  // View, in CSS px
  #scale = 1;
  #left = 0;
  #top = 0;
  #width = 0;
  #height = 0;
  #ratio = 1;
  #fitted = true;

  // What the next frame paints and sends
  #frame = 0;
  /** @type {Rect | null} ids changed: in raster px */
  #dirty = null;
  #allDirty = true;
  #strokeDue = false;
  #hoverDue = false;
  /** @type {{x: number, y: number, id: number} | null} */
  #hoverSent = null;

  // What is going on
  /** @type {Edit | null} */
  #edit = null;
  /** @type {Point[]} corners of an unfinished polygon, raster px */
  #corners = [];
  /** @type {Map<number, Finger>} */
  #fingers = new Map();
  /** @type {"none" | "draw" | "pan" | "pinch" | "pick" | "click"} */
  #gesture = "none";
  /** @type {{scale: number, middle: Point, far: number} | null} the pinch's last state, CSS px */
  #pinch = null;
  /** @type {Point | null} where the pointer is, CSS px; null: not over the canvas */
  #pointer = null;
  #pointerSize = 1;
  #penSeen = -Infinity;
  #penNear = false;
  #spaceHeld = false;
  #shift = false;
  /** @type {Point | null} the keyboard's place, in whole raster px; null: not in use */
  #cross = null;
  /** The keyboard key that draws. */
  #heldKey = "";
  /** @type {{at: Point, time: number}} */
  #lastClick = { at: { x: -1e9, y: -1e9 }, time: -Infinity };

  // ---- What pages use

  get tool() {
    return this.#tool;
  }

  set tool(tool) {
    if (tool === this.#tool) return;
    this.cancel();
    this.#tool = tool;
    this.#showCursor();
    this.#ask();
  }

  get tip() {
    return this.#tip;
  }

  set tip(tip) {
    this.#tip = { shape: tip.shape, size: wholeSize(tip.size) };
    this.#pointerSize = this.#tip.size;
    this.#ask();
  }

  /** The id that tools write. */
  get ink() {
    return this.#ink;
  }

  set ink(id) {
    this.#ink = id;
    this.#ask();
  }

  /**
   * How much of the underlay is seen through opaque colours: 0 nothing, 1 the photo alone. Colours that are translucent
   * by themselves (a mask over a photo) stay as they are, whatever it is.
   */
  get opacity() {
    return this.#opacity;
  }

  set opacity(opacity) {
    this.#opacity = Math.min(1, Math.max(0, opacity));
    this.recolor();
  }

  get canUndo() {
    return this.#history.canUndo || this.#corners.length > 0;
  }

  get canRedo() {
    return this.#history.canRedo;
  }

  /** What part is seen: for another surface of the same size, to show the same. */
  get view() {
    return { scale: this.#scale, left: this.#left, top: this.#top, fitted: this.#fitted };
  }

  set view({ scale, left, top, fitted }) {
    this.#fitted = fitted;
    this.#look(scale, left, top);
  }

  /** CSS px per raster px. */
  get scale() {
    return this.#scale;
  }

  /** The element that takes pointer and keyboard. */
  get canvas() {
    return this.#over;
  }

  /** Whether something is being drawn that `cancel` would drop. */
  get busy() {
    return this.#edit !== null || this.#corners.length > 0;
  }

  /** How it is painted on with the keyboard, for screen readers. @param {string} text */
  set description(text) {
    this.#help.textContent = text;
  }

  /**
   * Show a copy of another raster, perhaps of another size.
   * @param {Raster} raster
   * @param {{history?: boolean}} [options] history: it can be undone (the default); without, the history is emptied
   */
  setRaster(raster, { history = true } = {}) {
    this.cancel();
    const sameSize = raster.width === this.raster.width && raster.height === this.raster.height;
    if (!history) {
      this.#history.clear();
    } else if (!sameSize) {
      this.#history.push({ whole: this.raster.clone() });
    } else {
      const rect = difference(this.raster, raster, raster.rect);
      if (rect) this.#history.push({ rect, ids: cut(this.raster, rect) });
    }
    this.raster.width = raster.width;
    this.raster.height = raster.height;
    this.raster.data = raster.data.slice();
    this.#changed(this.raster.rect);
  }

  /**
   * A photo beneath, stretched over the whole raster.
   * @param {Picture | null} image
   * @param {number} [opacity] see `opacity`
   */
  setUnderlay(image, opacity = this.#opacity) {
    this.#underlay = image;
    this.opacity = opacity;
  }

  /**
   * Take the last edit back. What is not finished is dropped instead; of a polygon, its last corner.
   * @returns {boolean} whether there was something
   */
  undo() {
    if (this.#corners.length) {
      this.#corners.pop();
      this.#ask();
      return true;
    }
    if (this.cancel()) return true;
    const rect = this.#history.undo(this.raster);
    if (rect) this.#changed(rect);
    return rect !== null;
  }

  /** @returns {boolean} whether there was one to make again */
  redo() {
    this.cancel();
    const rect = this.#history.redo(this.raster);
    if (rect) this.#changed(rect);
    return rect !== null;
  }

  /** Fill all with the paper; can be undone. */
  clear() {
    this.cancel();
    this.#begin("rectangle", { x: 0, y: 0 }, this.paper);
    this.#extend([{ x: this.raster.width - 1, y: this.raster.height - 1 }]);
    this.#end();
  }

  /** Drop what is not finished: a drag, a polygon. @returns {boolean} whether there was something */
  cancel() {
    const was = this.busy;
    this.#corners = [];
    this.#drop();
    this.#heldKey = "";
    if (this.#gesture === "draw") this.#gesture = "none";
    this.#ask();
    return was;
  }

  /** The colours of ids changed: ask `color` again. */
  recolor() {
    const bytes = new Uint8Array(this.#table.buffer);
    // An opaque colour would hide the photo.
    const seen = this.#underlay ? 1 - this.#opacity : 1;
    for (let id = 0; id < 256; id++) {
      const [red, green, blue, alpha = 255] = Array.from(this.color(id) ?? [128, 128, 128]);
      bytes.set([red, green, blue, alpha === 255 ? Math.round(255 * seen) : alpha], 4 * id);
    }
    this.#dirty = this.raster.rect;
    this.#allDirty = true;
    this.#ask();
  }

  /**
   * @param {number} factor
   * @param {Point} [at] what stays in its place, CSS px; the middle where not given
   */
  zoomBy(factor, at = { x: this.#width / 2, y: this.#height / 2 }) {
    const least = Math.min(LEAST_ZOOM, this.#fittingScale());
    const scale = Math.min(MOST_ZOOM, Math.max(least, this.#scale * factor));
    const by = scale / this.#scale;
    this.#fitted = false;
    this.#look(scale, at.x - (at.x - this.#left) * by, at.y - (at.y - this.#top) * by);
  }

  /** Move the picture. @param {number} dx CSS px @param {number} dy */
  panBy(dx, dy) {
    this.#fitted = false;
    this.#look(this.#scale, this.#left + dx, this.#top + dy);
  }

  /** Show all of it, as large as it goes. */
  fit() {
    const scale = this.#fittingScale();
    this.#fitted = true;
    this.#look(
      scale,
      (this.#width - scale * this.raster.width) / 2,
      (this.#height - scale * this.raster.height) / 2,
    );
  }

  focus() {
    this.#over.focus({ preventScroll: true });
  }

  /** Take everything off the page. */
  destroy() {
    this.#stop.abort();
    this.#observer?.disconnect();
    cancelAnimationFrame(this.#frame);
    this.#root.remove();
  }

  // ---- Elements

  /** @param {SurfaceOptions} options */
  #layOut(options) {
    const root = this.#root.style;
    root.position = "relative";
    root.width = "100%";
    root.height = "100%";
    root.overflow = "hidden";
    // Only counts where the container has no height.
    root.aspectRatio = `${options.width} / ${options.height}`;
    for (const canvas of [this.#view, this.#over]) {
      canvas.style.position = "absolute";
      canvas.style.inset = "0";
      canvas.style.width = "100%";
      canvas.style.height = "100%";
      canvas.style.imageRendering = "pixelated";
    }
    this.#view.setAttribute("aria-hidden", "true");
    const over = this.#over;
    over.style.touchAction = "none";
    over.style.userSelect = "none";
    over.style.outlineOffset = "-3px"; // within: what lies outside the surface is cut off
    over.tabIndex = 0;
    // "application": the arrow keys go to the canvas. With "img" a screen reader would keep them for reading, and
    // nobody who uses one could paint.
    over.setAttribute("role", "application");
    over.setAttribute("aria-label", options.ariaLabel);
    const id = `surface-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    this.#help.id = id;
    this.#help.textContent = options.description ?? "";
    over.setAttribute("aria-describedby", id);
    this.#help.hidden = true;
    // What is under the crosshair is said aloud as it moves.
    this.#said.setAttribute("aria-live", "polite");
    const said = this.#said.style;
    said.position = "absolute";
    said.width = "1px";
    said.height = "1px";
    said.overflow = "hidden";
    said.clipPath = "inset(50%)";
    said.whiteSpace = "nowrap";
    this.#root.append(this.#view, over, this.#help, this.#said);
    this.#showCursor();
  }

  #showCursor() {
    const panning = this.#tool === "hand" || this.#spaceHeld;
    this.#over.style.cursor = this.#gesture === "pan" ? "grabbing" : panning ? "grab" : "crosshair";
  }

  #listen() {
    const over = this.#over;
    const signal = this.#stop.signal;
    /**
     * @template {keyof HTMLElementEventMap} K
     * @param {K} name @param {(event: HTMLElementEventMap[K]) => unknown} on
     */
    const when = (name, on) => over.addEventListener(name, on, { signal, passive: false });
    when("pointerdown", (event) => this.#down(event));
    when("pointermove", (event) => this.#move(event));
    when("pointerup", (event) => this.#up(event));
    when("pointercancel", (event) => this.#lost(event));
    when("pointerenter", (event) => this.#near(event));
    when("pointerleave", (event) => this.#leave(event));
    when("wheel", (event) => this.#wheel(event));
    when("keydown", (event) => this.#key(event));
    when("keyup", (event) => this.#keyUp(event));
    when("blur", () => this.#unfocus());
    when("focus", () => this.#ask());
    // A long press is a stroke, a middle click pans: neither opens a menu.
    when("contextmenu", (event) => event.preventDefault());
    // The middle button scrolls in some browsers.
    when("mousedown", (event) => event.button === 1 && event.preventDefault());
    this.#observer = new ResizeObserver((entries) => this.#resize(entries[entries.length - 1]));
    try {
      this.#observer.observe(this.#view, { box: "device-pixel-content-box" });
    } catch {
      // Not known to this browser: whole CSS px times the ratio then, which is asked again when the window changes.
      this.#observer.observe(this.#view);
      window.addEventListener("resize", () => this.#resize(null), { signal });
    }
  }

  /** @param {ResizeObserverEntry | null} entry */
  #resize(entry) {
    const width = this.#view.clientWidth;
    const height = this.#view.clientHeight;
    if (!width || !height) return; // hidden: what is known is kept for when it is shown again
    const ratio = window.devicePixelRatio || 1;
    const box = entry?.devicePixelContentBoxSize?.[0];
    // The browser knows to which side it rounded. Where it emulates another screen, it tells of the true one.
    const exact = (/** @type {number | undefined} */ told, /** @type {number} */ css) =>
      told !== undefined && Math.abs(told - css * ratio) < 1.5 ? told : Math.round(css * ratio);
    const columns = exact(box?.inlineSize, width);
    const rows = exact(box?.blockSize, height);
    for (const canvas of [this.#view, this.#over]) {
      canvas.width = columns;
      canvas.height = rows;
    }
    const [dx, dy] = [(width - this.#width) / 2, (height - this.#height) / 2];
    this.#width = width;
    this.#height = height;
    this.#ratio = ratio;
    if (this.#fitted) this.fit();
    else this.#look(this.#scale, this.#left + dx, this.#top + dy);
    this.#paint(); // now: a canvas that got a new size is empty, and would flash
  }

  #resizeColors() {
    this.#colors.width = this.raster.width;
    this.#colors.height = this.raster.height;
    this.#root.style.aspectRatio = `${this.raster.width} / ${this.raster.height}`;
    this.recolor();
    this.fit();
  }

  // ---- View

  #fittingScale() {
    if (!this.#width) return 1;
    return Math.min(MOST_ZOOM, this.#width / this.raster.width, this.#height / this.raster.height);
  }

  /** @param {number} scale @param {number} left CSS px @param {number} top */
  #look(scale, left, top) {
    // Some of the picture stays in view, or it could be lost.
    const [w, h] = [scale * this.raster.width, scale * this.raster.height];
    const kept = (/** @type {number} */ at, /** @type {number} */ side, /** @type {number} */ room) =>
      Math.min(room - Math.min(room, side) / 4, Math.max(Math.min(room, side) / 4 - side, at));
    const whole = (/** @type {number} */ at) => Math.round(at * this.#ratio) / this.#ratio;
    this.#scale = scale;
    this.#left = whole(kept(left, w, this.#width));
    this.#top = whole(kept(top, h, this.#height));
    this.#allDirty = true;
    this.#hoverDue = true;
    this.#ask();
    this.#send("view", { scale });
  }

  /** @param {PointerEvent | WheelEvent} event @returns {Point} CSS px of the surface */
  #place(event) {
    const box = this.#over.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** @param {Point} css @returns {Point} raster px */
  #onRaster(css) {
    return { x: (css.x - this.#left) / this.#scale, y: (css.y - this.#top) / this.#scale };
  }

  // ---- Frames

  #ask() {
    if (this.#frame || this.#stop.signal.aborted) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
      if (this.#strokeDue) {
        this.#strokeDue = false;
        this.#send("stroke", null);
      }
      if (this.#hoverDue) this.#sendHover();
    });
  }

  /** @param {string} name @param {unknown} detail */
  #send(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Where pixels will be read next. @returns {Point | null} raster px */
  #spot() {
    if (this.#cross) return { x: this.#cross.x + 0.5, y: this.#cross.y + 0.5 };
    return this.#pointer && this.#onRaster(this.#pointer);
  }

  #sendHover() {
    this.#hoverDue = false;
    const spot = this.#spot();
    const id = spot ? this.raster.at(spot.x, spot.y) : null;
    const hover = spot && id !== null ? { x: Math.floor(spot.x), y: Math.floor(spot.y), id } : null;
    const was = this.#hoverSent;
    if (hover?.x === was?.x && hover?.y === was?.y && hover?.id === was?.id) return;
    this.#hoverSent = hover;
    this.#send("hover", hover);
    if (this.#cross && hover) this.#said.textContent = `${this.label(hover.id)}, ${hover.x}, ${hover.y}`;
  }

  #paint() {
    const dirty = this.#dirty;
    this.#dirty = null;
    if (dirty) this.#paintColors(dirty);
    if (!this.#width) return;
    if (this.#allDirty) this.#paintView(null);
    else if (dirty) this.#paintView(dirty);
    this.#allDirty = false;
    this.#paintOver();
  }

  /** @param {Rect} rect */
  #paintColors(rect) {
    const context = /** @type {CanvasRenderingContext2D} */ (this.#colors.getContext("2d"));
    const image = context.createImageData(rect.w, rect.h);
    const pixels = new Uint32Array(image.data.buffer);
    const { data, width } = this.raster;
    for (let y = 0, to = 0; y < rect.h; y++) {
      const from = (rect.y + y) * width + rect.x;
      for (let x = 0; x < rect.w; x++) pixels[to++] = this.#table[data[from + x]];
    }
    context.putImageData(image, rect.x, rect.y);
  }

  /** @param {Rect | null} rect raster px; null: all */
  #paintView(rect) {
    const { width, height } = this.raster;
    const context = /** @type {CanvasRenderingContext2D} */ (this.#view.getContext("2d"));
    const zoom = this.#scale * this.#ratio;
    const [left, top] = [this.#left * this.#ratio, this.#top * this.#ratio];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.save();
    if (rect) {
      // Whole device px, and the picture drawn as a whole under the clip: drawn in parts, a zoom that is not whole
      // would show where they meet.
      const [x, y] = [Math.floor(left + rect.x * zoom) - 2, Math.floor(top + rect.y * zoom) - 2];
      context.beginPath();
      context.rect(x, y, Math.ceil(rect.w * zoom) + 5, Math.ceil(rect.h * zoom) + 5);
      context.clip();
    }
    context.clearRect(0, 0, this.#view.width, this.#view.height);
    context.setTransform(zoom, 0, 0, zoom, left, top);
    if (this.#underlay) {
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.#underlay, 0, 0, width, height);
    }
    // Made smaller without smoothing, thin things would vanish.
    context.imageSmoothingEnabled = zoom < 1;
    context.drawImage(this.#colors, 0, 0);
    context.restore();
  }

  #paintOver() {
    const context = /** @type {CanvasRenderingContext2D} */ (this.#over.getContext("2d"));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#over.width, this.#over.height);
    context.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0);
    this.#pathCorners(context);
    const spot = this.#spot();
    const drawsTip = this.#tool === "brush" || this.#tool === "eraser" || this.#tool === "line";
    const active = this.#gesture !== "pan" && this.#gesture !== "pinch" && !this.#spaceHeld;
    if (spot && drawsTip && active) this.#pathTip(context, spot);
    if (this.#cross) this.#pathCross(context, this.#cross);
  }

  /** A line that is seen on any colour. @param {CanvasRenderingContext2D} context */
  #outline(context) {
    context.lineWidth = 3;
    context.strokeStyle = "rgb(0 0 0 / 0.6)";
    context.stroke();
    context.lineWidth = 1;
    context.strokeStyle = "#fff";
    context.stroke();
  }

  /** The tip in its true size, pixel by pixel. @param {CanvasRenderingContext2D} context @param {Point} spot */
  #pathTip(context, spot) {
    const size = wholeSize(this.#cross ? this.#tip.size : this.#pointerSize);
    const rows = tipRows(this.#tip.shape, size);
    const x = (/** @type {number} */ column) => this.#left + (tipStart(spot.x, size) + column) * this.#scale;
    const y = (/** @type {number} */ row) => this.#top + (tipStart(spot.y, size) + row) * this.#scale;
    context.beginPath();
    rows.forEach(([, right], row) => {
      context.lineTo(x(right), y(row));
      context.lineTo(x(right), y(row + 1));
    });
    for (let row = size - 1; row >= 0; row--) {
      context.lineTo(x(rows[row][0]), y(row + 1));
      context.lineTo(x(rows[row][0]), y(row));
    }
    context.closePath();
    this.#outline(context);
  }

  /** @param {CanvasRenderingContext2D} context @param {Point} cross */
  #pathCross(context, cross) {
    const [x, y] = [this.#left + (cross.x + 0.5) * this.#scale, this.#top + (cross.y + 0.5) * this.#scale];
    const gap = Math.max(3, this.#scale / 2);
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * gap, y + dy * gap);
      context.lineTo(x + dx * (gap + 12), y + dy * (gap + 12));
    }
    this.#outline(context);
  }

  /** @param {CanvasRenderingContext2D} context */
  #pathCorners(context) {
    if (!this.#corners.length) return;
    const shown = this.#corners.map((corner) => ({
      x: this.#left + corner.x * this.#scale,
      y: this.#top + corner.y * this.#scale,
    }));
    const spot = this.#spot();
    context.beginPath();
    for (const corner of shown) context.lineTo(corner.x, corner.y);
    if (spot) context.lineTo(this.#left + spot.x * this.#scale, this.#top + spot.y * this.#scale);
    this.#outline(context);
    context.beginPath();
    // Its radius is what a click must hit to close it.
    context.arc(shown[0].x, shown[0].y, this.#corners.length > 2 ? CLOSING : 4, 0, 2 * Math.PI);
    this.#outline(context);
  }

  // ---- Edits

  /** @param {Tool} tool @param {StrokePoint} at raster px @param {number} id */
  #begin(tool, at, id) {
    this.#edit = { before: this.raster.clone(), touched: null, tool, id, seed: at, last: at };
    this.#extend([at]);
  }

  /** @param {StrokePoint[]} points raster px */
  #extend(points) {
    const edit = this.#edit;
    if (!edit || !points.length) return;
    const to = points[points.length - 1];
    /** @type {Rect | null} */
    let painted = null;
    if (edit.tool === "brush" || edit.tool === "eraser") {
      painted = stroke(this.raster, [edit.last, ...points], this.#tip, edit.id);
    } else if (edit.tool === "line" || edit.tool === "rectangle" || edit.tool === "ellipse") {
      // The preview is the raster itself, so what is shown is what will be.
      const old = edit.touched;
      if (old) paste(this.raster, old, cut(edit.before, old));
      this.#note(old);
      edit.touched = null;
      const end = this.#shift ? constrained(edit.tool, edit.seed, to) : to;
      if (edit.tool === "line") painted = line(this.raster, edit.seed, end, this.#tip, edit.id);
      else if (edit.tool === "rectangle") painted = rectangle(this.raster, edit.seed, end, edit.id);
      else painted = ellipse(this.raster, edit.seed, end, edit.id);
    } else if (edit.tool === "fill" && to === edit.seed) {
      painted = floodFill(this.raster, to.x, to.y, edit.id);
    }
    edit.last = to;
    edit.touched = union(edit.touched, painted);
    this.#note(painted);
    this.#strokeDue = true;
  }

  /** What is being drawn is finished. */
  #end() {
    const edit = this.#edit;
    this.#edit = null;
    if (!edit?.touched) return;
    const rect = difference(edit.before, this.raster, edit.touched);
    if (!rect) return;
    this.#history.push({ rect, ids: cut(edit.before, rect) });
    this.#changed(rect);
  }

  /** What is being drawn is taken off again, as if it had never been. */
  #drop() {
    const edit = this.#edit;
    this.#edit = null;
    if (!edit) return;
    if (edit.touched) paste(this.raster, edit.touched, cut(edit.before, edit.touched));
    this.#note(edit.touched);
    this.#strokeDue = true; // who followed the stroke sees that it is gone
  }

  /** Ids in it are others now. @param {Rect | null} rect */
  #note(rect) {
    this.#dirty = union(this.#dirty, rect);
    this.#hoverDue = true;
    this.#ask();
  }

  /** @param {Rect} rect */
  #changed(rect) {
    if (this.#colors.width !== this.raster.width || this.#colors.height !== this.raster.height) {
      this.#cross = null;
      this.#resizeColors();
    }
    this.#strokeDue = false;
    this.#note(rect);
    this.#send("change", { rect });
  }

  #closePolygon() {
    const corners = this.#corners;
    this.#corners = [];
    this.#begin("polygon", corners[0], this.#ink);
    const edit = /** @type {Edit} */ (this.#edit);
    edit.touched = polygon(this.raster, corners, this.#ink);
    this.#end();
    this.#ask();
  }

  /**
   * A corner of a polygon, or its end.
   * @param {Point} at raster px
   * @param {boolean} closes a double click
   */
  #corner(at, closes) {
    const first = this.#corners[0];
    const near = first && Math.hypot(first.x - at.x, first.y - at.y) * this.#scale <= CLOSING;
    if (this.#corners.length > 2 && (near || closes)) return this.#closePolygon();
    if (!closes || !first) this.#corners.push(at);
    this.#ask();
  }

  /** @param {Point} at raster px */
  #pick(at) {
    const id = this.raster.at(at.x, at.y);
    if (id === null) return;
    this.ink = id;
    this.#send("pick", { id });
  }

  // ---- Pointers

  /** @param {PointerEvent} event */
  #near(event) {
    if (event.pointerType !== "pen") return;
    this.#penNear = true;
    this.#penSeen = event.timeStamp;
  }

  /** A touch while a pen is at work is the palm that lies on the screen. @param {PointerEvent} event */
  #isPalm(event) {
    if (event.pointerType !== "touch") return false;
    const ago = event.timeStamp - this.#penSeen;
    // A pen that is near is heard of all the time. One that was not for long has gone without a word.
    return ago < (this.#penNear ? LOST_TIME : PALM_TIME);
  }

  /** @param {PointerEvent} event @returns {StrokePoint} */
  #strokePoint(event) {
    const point = this.#onRaster(this.#place(event));
    if (event.pointerType !== "pen") return point;
    return { ...point, size: this.#tip.size * Math.max(LEAST_PRESSURE, event.pressure) };
  }

  /** @param {PointerEvent} event */
  #down(event) {
    this.#near(event);
    if (this.#isPalm(event)) return event.preventDefault();
    if (event.pointerType === "pen") this.#dropTouches();
    const first = this.#fingers.values().next().value;
    if (first && !this.#makesPinch(first, event)) return;
    this.#shift = event.shiftKey;
    this.#cross = null;
    const at = this.#place(event);
    this.#pointer = at;
    this.#fingers.set(event.pointerId, {
      id: event.pointerId,
      kind: event.pointerType,
      at,
      start: at,
      time: event.timeStamp,
    });
    try {
      this.#over.setPointerCapture(event.pointerId);
    } catch {
      // The pointer is gone already, or was made by a test.
    }
    // A mouse gives it the focus by itself, and then no ring is drawn around what is being painted.
    if (event.pointerType !== "mouse") this.focus();
    if (first) return this.#startPinch();
    const pans = event.button === 1 || this.#spaceHeld || this.#tool === "hand";
    if (!pans && event.button > 0 && !isEraser(event)) {
      this.#fingers.delete(event.pointerId);
      return;
    }
    this.#heldKey = "";
    this.#startGesture(event, pans);
    this.#showCursor();
  }

  /**
   * Whether a second finger is there to zoom. It is where it comes soon, or before the first has gone anywhere; later
   * it is a slip, and what is being drawn goes on.
   * @param {Finger} first @param {PointerEvent} event
   */
  #makesPinch(first, event) {
    if (first.kind !== "touch" || event.pointerType !== "touch" || this.#fingers.size > 1) return false;
    const still = Math.hypot(first.at.x - first.start.x, first.at.y - first.start.y) < STILL;
    return still || event.timeStamp - first.time <= PINCH_TIME || this.#gesture === "pan";
  }

  /** @param {PointerEvent} event @param {boolean} pans */
  #startGesture(event, pans) {
    const tool = isEraser(event) ? "eraser" : this.#tool;
    this.#drop(); // a shape that the keyboard began
    if (pans) {
      this.#gesture = "pan";
    } else if (tool === "polygon") {
      this.#gesture = "click";
    } else if (tool === "eyedropper") {
      this.#gesture = "pick";
    } else {
      this.#gesture = "draw";
      const point = this.#strokePoint(event);
      this.#pointerSize = point.size ?? this.#tip.size;
      this.#begin(tool, point, tool === "eraser" ? this.paper : this.#ink);
    }
  }

  #dropTouches() {
    for (const finger of [...this.#fingers.values()]) {
      if (finger.kind !== "touch") continue;
      this.#fingers.delete(finger.id);
      this.#drop();
      this.#gesture = "none";
    }
  }

  #startPinch() {
    this.#drop(); // the first finger's dab was the beginning of the pinch
    this.#gesture = "pinch";
    this.#pinch = this.#pinchNow();
    this.#ask();
  }

  #pinchNow() {
    const [a, b] = [...this.#fingers.values()];
    return {
      scale: this.#scale,
      middle: { x: (a.at.x + b.at.x) / 2, y: (a.at.y + b.at.y) / 2 },
      far: Math.max(1, Math.hypot(a.at.x - b.at.x, a.at.y - b.at.y)),
    };
  }

  /** @param {PointerEvent} event */
  #move(event) {
    this.#near(event);
    if (this.#isPalm(event) && !this.#fingers.has(event.pointerId)) return;
    const at = this.#place(event);
    const finger = this.#fingers.get(event.pointerId);
    if (!finger && this.#fingers.size) return; // another pointer than the one that draws
    this.#shift = event.shiftKey;
    this.#cross = null;
    this.#hoverDue = true;
    this.#pointer = at;
    this.#ask();
    if (!finger) {
      this.#pointerSize = this.#tip.size;
      return;
    }
    const [dx, dy] = [at.x - finger.at.x, at.y - finger.at.y];
    finger.at = at;
    if (this.#gesture === "pan") {
      this.panBy(dx, dy);
    } else if (this.#gesture === "pinch" && this.#pinch && this.#fingers.size === 2) {
      const was = this.#pinch;
      const now = this.#pinchNow();
      this.panBy(now.middle.x - was.middle.x, now.middle.y - was.middle.y);
      this.zoomBy(now.far / was.far, now.middle);
      this.#pinch = now;
    } else if (this.#gesture === "draw") {
      // A frame may hold many places of a fast pointer: all of them, or a curve would have corners.
      const events = event.getCoalescedEvents?.() ?? [];
      const points = (events.length ? events : [event]).map((one) => this.#strokePoint(one));
      this.#pointerSize = points[points.length - 1].size ?? this.#tip.size;
      this.#extend(points);
    }
  }

  /** @param {PointerEvent} event */
  #up(event) {
    this.#near(event);
    const finger = this.#fingers.get(event.pointerId);
    if (!finger) return;
    this.#fingers.delete(event.pointerId);
    this.#shift = event.shiftKey;
    const at = this.#place(event);
    if (this.#gesture === "pinch") {
      // The finger that stays does not begin to draw; it pans until it is lifted.
      this.#gesture = this.#fingers.size ? "pan" : "none";
      this.#pinch = null;
      return;
    }
    if (this.#fingers.size) return;
    const gesture = this.#gesture;
    this.#gesture = "none";
    if (gesture === "draw") this.#end();
    else if (gesture === "pick") this.#pick(this.#onRaster(at));
    else if (gesture === "click") this.#click(at, event.timeStamp);
    if (event.pointerType === "touch") this.#pointer = null;
    this.#hoverDue = true;
    this.#showCursor();
    this.#ask();
  }

  /** @param {Point} at CSS px @param {number} time ms */
  #click(at, time) {
    const last = this.#lastClick;
    const near = Math.hypot(at.x - last.at.x, at.y - last.at.y) < STILL;
    const double = near && time - last.time < DOUBLE_CLICK;
    this.#lastClick = double ? { at, time: -Infinity } : { at, time };
    this.#corner(this.#onRaster(at), double);
  }

  /** The system took the pointer away (a palm, a gesture of its own): it was no stroke. @param {PointerEvent} event */
  #lost(event) {
    this.#penNear &&= event.pointerType !== "pen";
    if (!this.#fingers.delete(event.pointerId)) return;
    if (!this.#fingers.size || this.#gesture === "pinch") {
      this.#drop();
      this.#gesture = this.#fingers.size ? "pan" : "none";
      this.#pinch = null;
    }
    this.#showCursor();
    this.#ask();
  }

  /** @param {PointerEvent} event */
  #leave(event) {
    if (event.pointerType === "pen") {
      this.#penNear = false;
      this.#penSeen = event.timeStamp;
    }
    if (this.#fingers.size) return;
    this.#pointer = null;
    this.#spaceHeld = false;
    this.#hoverDue = true;
    this.#showCursor();
    this.#ask();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    // In lines or pages with some mice.
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? this.#height : 1;
    // A pinch on a touchpad comes as a wheel with Ctrl and small steps.
    const speed = event.ctrlKey ? 0.01 : 0.0015;
    this.zoomBy(Math.exp(-Math.max(-400, Math.min(400, event.deltaY * unit)) * speed), this.#place(event));
  }

  // ---- Keyboard

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "Shift") return this.#setShift(true);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (this.cancel()) handled(event);
      return;
    }
    /** @type {Record<string, [number, number]>} */
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[event.key];
    if (arrow) {
      handled(event);
      this.#moveCross(arrow[0] * (event.shiftKey ? 10 : 1), arrow[1] * (event.shiftKey ? 10 : 1));
    } else if (event.key === " " || event.key === "Enter") {
      if (event.key === "Enter" && this.#corners.length > 2) {
        handled(event);
        this.#closePolygon();
      } else if (event.key === " " && this.#pointer && !this.#cross) {
        handled(event);
        this.#spaceHeld = true;
        this.#showCursor();
        this.#ask();
      } else {
        handled(event);
        if (!event.repeat) this.#press(event.key);
      }
    }
  }

  /** Shift pressed or released amid a drag. @param {boolean} held */
  #setShift(held) {
    this.#shift = held;
    if (this.#edit && this.#gesture === "draw" && this.#edit.tool !== "brush" && this.#edit.tool !== "eraser") {
      this.#extend([this.#edit.last]);
    }
  }

  /** @param {number} dx raster px @param {number} dy */
  #moveCross(dx, dy) {
    if (this.#gesture !== "none") return;
    const { width, height } = this.raster;
    if (this.#cross) {
      this.#cross = {
        x: Math.min(width - 1, Math.max(0, this.#cross.x + dx)),
        y: Math.min(height - 1, Math.max(0, this.#cross.y + dy)),
      };
    } else {
      // It begins where the mouse was, or in the middle of what is seen.
      const at = this.#onRaster(this.#pointer ?? { x: this.#width / 2, y: this.#height / 2 });
      this.#cross = {
        x: Math.min(width - 1, Math.max(0, Math.floor(at.x) + dx)),
        y: Math.min(height - 1, Math.max(0, Math.floor(at.y) + dy)),
      };
    }
    this.#keepInView(this.#cross);
    this.#shift = false; // held for longer steps, not to constrain
    if (this.#edit) this.#extend([{ x: this.#cross.x + 0.5, y: this.#cross.y + 0.5 }]);
    this.#hoverDue = true;
    this.#ask();
  }

  /** @param {Point} cross raster px */
  #keepInView(cross) {
    const [x, y] = [this.#left + (cross.x + 0.5) * this.#scale, this.#top + (cross.y + 0.5) * this.#scale];
    const margin = Math.min(24, this.#width / 4, this.#height / 4);
    const need = (/** @type {number} */ at, /** @type {number} */ room) =>
      at < margin ? margin - at : at > room - margin ? room - margin - at : 0;
    const [dx, dy] = [need(x, this.#width), need(y, this.#height)];
    if ((dx || dy) && !this.#fitted) this.panBy(dx, dy);
  }

  /**
   * Space or Enter at the crosshair. Brush and eraser draw while it is held and the arrows move; line, rectangle and
   * ellipse begin with one press and end with the next.
   * @param {string} key
   */
  #press(key) {
    if (!this.#cross) this.#moveCross(0, 0);
    const cross = this.#cross;
    if (!cross || this.#gesture !== "none") return;
    const at = { x: cross.x + 0.5, y: cross.y + 0.5 };
    const tool = this.#tool;
    if (tool === "polygon") {
      this.#corner(at, false);
    } else if (tool === "eyedropper") {
      this.#pick(at);
    } else if (this.#edit && this.#edit.tool !== "brush" && this.#edit.tool !== "eraser") {
      this.#end();
    } else if (tool !== "hand" && !this.#edit) {
      this.#begin(tool, at, tool === "eraser" ? this.paper : this.#ink);
      if (tool === "fill") this.#end();
      else if (tool === "brush" || tool === "eraser") this.#heldKey = key;
    }
    this.#hoverDue = true;
    this.#ask();
  }

  /** @param {KeyboardEvent} event */
  #keyUp(event) {
    if (event.key === "Shift") return this.#setShift(false);
    if (event.key === " " && this.#spaceHeld) {
      this.#spaceHeld = false;
      this.#showCursor();
      this.#ask();
    }
    if (event.key === this.#heldKey) {
      this.#heldKey = "";
      this.#end();
    }
  }

  #unfocus() {
    this.#spaceHeld = false;
    this.#cross = null;
    if (this.#heldKey) this.#end();
    else if (this.#gesture === "none") this.#drop(); // a shape that the keyboard began
    this.#heldKey = "";
    this.#hoverDue = true;
    this.#showCursor();
    this.#ask();
  }
}

/** A pen held upside down. @param {PointerEvent} event */
function isEraser(event) {
  return event.pointerType === "pen" && (event.buttons & 32) !== 0;
}

/** The key did something here: nobody else need look at it. @param {KeyboardEvent} event */
function handled(event) {
  event.preventDefault();
  event.stopPropagation();
}
