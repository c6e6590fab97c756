/** Two pictures, one over the other, and a slider that says where the one ends and the other begins. */

import { h } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    "compare.label": "Compare before and after",
    "compare.value": "{percent} % before, the rest after",
    "compare.before": "Before",
    "compare.after": "After",
  },
  ja: {
    "compare.label": "変換前と変換後を比べる",
    "compare.value": "左から{percent}%が変換前、残りが変換後",
    "compare.before": "変換前",
    "compare.after": "変換後",
  },
});

/**
 * Its slider is a native range over the whole picture, so that mouse, finger and arrow keys all work without code of
 * ours. While `open` is false only the second picture is seen.
 */
export class Compare {
  constructor() {
    this.before = h("img", { class: "compare-picture", alt: t("compare.before"), hidden: true });
    this.after = h("img", { class: "compare-picture", alt: t("compare.after"), hidden: true });
    this.range = /** @type {HTMLInputElement} */ (
      h("input", {
        type: "range", class: "compare-range", min: "0", max: "100", step: "1", value: "50",
        "aria-label": t("compare.label"), hidden: true, oninput: () => this.#place(),
      })
    );
    this.tags = [
      h("span", { class: "compare-tag compare-tag-before", "aria-hidden": "true", hidden: true }, t("compare.before")),
      h("span", { class: "compare-tag compare-tag-after", "aria-hidden": "true", hidden: true }, t("compare.after")),
    ];
    this.half = h("div", { class: "compare-half", hidden: true }, this.before);
    this.element = h("div", { class: "compare" }, this.after, this.half, ...this.tags, this.range);
    this.#open = false;
    this.#place();
  }

  /** @type {boolean} */ #open;

  get open() {
    return this.#open;
  }

  /** @param {boolean} open */
  set open(open) {
    this.#open = open;
    this.#show();
  }

  /**
   * @param {string} before address of the first picture; "" for none
   * @param {string} after of the second
   */
  show(before, after) {
    setSource(this.before, before);
    setSource(this.after, after);
    this.#show();
  }

  #show() {
    const both = this.#open && !this.before.hidden && !this.after.hidden;
    for (const part of [this.half, this.range, ...this.tags]) part.hidden = !both;
  }

  #place() {
    const percent = this.range.value;
    this.element.style.setProperty("--compare-at", `${percent}%`);
    this.range.setAttribute("aria-valuetext", t("compare.value", { percent }));
  }
}

/**
 * @param {HTMLImageElement} image
 * @param {string} source
 */
function setSource(image, source) {
  image.hidden = source === "";
  if (source === "") image.removeAttribute("src");
  else if (image.getAttribute("src") !== source) image.src = source;
}
