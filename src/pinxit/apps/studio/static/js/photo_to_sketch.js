/** The button that makes a sketch of a photo: by a model of PhotoSketch where there is one, or by an edge detector. */

import { button, chooseFile, fill, h } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    "trace.photo": "Photo to sketch", "trace.hint": "Make a sketch of a photo", "trace.busy": "Tracing the photo…",
    "trace.done": "Sketch made from {name}. Undo brings the old one back.", "trace.by": "What draws the sketch",
    "trace.edges": "Edges",
  },
  ja: {
    "trace.photo": "写真からスケッチ", "trace.hint": "写真からスケッチを作ります", "trace.busy": "写真をなぞっています…",
    "trace.done": "{name} からスケッチを作りました。「元に戻す」で前のスケッチに戻せます。", "trace.by": "スケッチの描き方",
    "trace.edges": "輪郭検出",
  },
});

/** Of `by`, where no model is to draw. */
const EDGES = "";

/**
 * @typedef {object} Options
 * @property {import("./api.js").Api} api
 * @property {string} client
 * @property {() => {width: number, height: number}} size of the sketch that is wanted
 * @property {(sketch: Blob, name: string) => Promise<void>} took a sketch was made: a grey PNG, and the photo's name
 * @property {(message: string) => void} say
 * @property {(error: unknown) => void} fail
 */

export class PhotoToSketch {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    this.button = button("photo", t("trace.photo"), () => this.#choose(),
      { class: "quiet small", title: t("trace.hint") });
    this.by = h("select", { class: "small", "aria-label": t("trace.by"), title: t("trace.by"), hidden: true });
    /** Beside the buttons of files. */
    this.root = h("div", { class: "row tight", hidden: true }, this.button, this.by);
  }

  /** @type {import("./api.js").Model | null} */
  #model = null;

  /**
   * @param {import("./api.js").Model} model that paints
   * @param {import("./api.js").Model[]} all
   */
  setModel(model, all) {
    this.#model = model;
    const chosen = this.by.value;
    const drawers = all.filter(({ method }) => method === "photosketch");
    fill(this.by, ...drawers.map(({ id, name }) => h("option", { value: id }, name)),
      h("option", { value: EDGES }, t("trace.edges")));
    if (this.by.dataset.touched && [...this.by.options].some(({ value }) => value === chosen)) this.by.value = chosen;
    this.by.onchange = () => (this.by.dataset.touched = "yes");
    this.by.hidden = drawers.length === 0;
    this.root.hidden = (model.inputs.sketch ?? "no") === "no";
  }

  /**
   * A sketch of a picture that the server has.
   *
   * @param {string} picture its id
   * @returns {Promise<Blob | null>} null: superseded
   */
  async of(picture) {
    const { api, client, size } = this.options;
    const { width, height } = size();
    const by = this.by.value === EDGES ? { edges: true } : { drawer: this.by.value };
    const id = /** @type {import("./api.js").Model} */ (this.#model).id;
    return (await api.photoToSketch(id, { picture, size: [height, width], client, ...by }))?.blob ?? null;
  }

  async #choose() {
    const file = await chooseFile("image/*");
    if (!file || !this.#model) return;
    const { api, took, say, fail } = this.options;
    const before = this.#model;
    this.button.disabled = true;
    say(t("trace.busy"));
    try {
      const made = await this.of((await api.upload(file, "photo")).id);
      if (made && before === this.#model) await took(made, file.name);
    } catch (error) {
      fail(error);
    } finally {
      this.button.disabled = false;
    }
  }
}
