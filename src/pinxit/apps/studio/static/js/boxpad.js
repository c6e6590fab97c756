/** A box in a square, drawn by pointer or told in numbers: where in a picture something is to be. */

import { button, field, h } from "./dom.js";
import { t } from "./i18n.js";
import "./text_words.js";

/** @typedef {[number, number, number, number]} Box x, y, width, height, in parts of the side */

/** @type {Box} */
const MIDDLE = [0.15, 0.15, 0.7, 0.7];
const SMALLEST = 0.05;
const SIDES = /** @type {const} */ (["x", "y", "width", "height"]);

/** Its "change" event tells of each new box. */
export class BoxPad extends EventTarget {
  constructor() {
    super();
    /** @type {Box} */
    this.box = MIDDLE;
    /** @type {[number, number] | null} */
    this.from = null;
    this.frame = h("div", { class: "boxpad-box" });
    this.pad = h("div", {
      class: "boxpad-pad", "data-testid": "boxpad",
      onpointerdown: (/** @type {PointerEvent} */ event) => {
        if (event.button !== 0) return;
        event.preventDefault();
        this.pad.setPointerCapture(event.pointerId);
        this.from = this.#place(event);
      },
      onpointermove: (/** @type {PointerEvent} */ event) => {
        if (!this.from) return;
        const to = this.#place(event);
        const width = Math.abs(to[0] - this.from[0]);
        const height = Math.abs(to[1] - this.from[1]);
        if (width < SMALLEST || height < SMALLEST) return; // a press alone draws no box
        this.#set([Math.min(to[0], this.from[0]), Math.min(to[1], this.from[1]), width, height]);
      },
      onpointerup: () => (this.from = null),
      onpointercancel: () => (this.from = null),
    }, this.frame);
    this.inputs = SIDES.map((side) => h("input", {
      type: "number", min: 0, max: 100, step: 1, class: "narrow", onchange: () => this.#typed(),
      "data-testid": `box-${side}`,
    }));
    this.element = h("div", { class: "boxpad stack tight", role: "group", "aria-label": t("text.box") },
      h("span", { class: "field-name" }, t("text.box")),
      h("div", { class: "boxpad-row" }, this.pad,
        h("div", { class: "boxpad-numbers" },
          ...SIDES.map((side, i) => field(t(`text.box.${side}`), this.inputs[i])),
          button("", t("text.boxReset"), () => this.#set(MIDDLE)))),
      h("span", { class: "hint" }, t("text.boxHint")));
    this.#show();
  }

  /** @param {Box | null} box null: the middle; nobody is told */
  show(box) {
    this.box = box ?? MIDDLE;
    this.#show();
  }

  /** @param {PointerEvent} event */
  #place(event) {
    const pad = this.pad.getBoundingClientRect();
    return /** @type {[number, number]} */ ([
      within((event.clientX - pad.left) / pad.width), within((event.clientY - pad.top) / pad.height),
    ]);
  }

  /** What was typed, moved to where it is inside. */
  #typed() {
    const [x, y, width, height] = this.inputs.map((input) => within(Number(input.value) / 100));
    const left = Math.min(x, 1 - SMALLEST);
    const top = Math.min(y, 1 - SMALLEST);
    this.#set([left, top, Math.min(Math.max(width, SMALLEST), 1 - left),
      Math.min(Math.max(height, SMALLEST), 1 - top)]);
  }

  /** @param {Box} box */
  #set(box) {
    this.box = box;
    this.#show();
    this.dispatchEvent(new Event("change"));
  }

  #show() {
    const percents = this.box.map((part) => `${part * 100}%`);
    [this.frame.style.left, this.frame.style.top, this.frame.style.width, this.frame.style.height] = percents;
    this.inputs.forEach((input, i) => (input.value = String(Math.round(this.box[i] * 100))));
  }
}

/** @param {number} part */
function within(part) {
  return Math.min(1, Math.max(0, part || 0));
}
