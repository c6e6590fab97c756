/** The button that makes a map of a photo, where one of the models is a segmenter of the labels; or why there is none. */

import { button, chooseFile, fill, h } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    "segment.photo": "Photo to map", "segment.hint": "Make a map of a photo, with the segmenter {name}",
    "segment.busy": "Looking at the photo…", "segment.done": "Map made from {name}. Undo brings the old one back.",
    "segment.none": "Photo to map: no model here is a segmenter (pinxit train deeplabv3 makes one).",
    "segment.missing": "Photo to map: the segmenter {name} does not know {labels}.",
    "segment.foreign": "Photo to map: the segmenter {name} finds {labels}, which this model does not know.",
    "segment.more": "{labels} and {n} more", "segment.and": ", ",
  },
  ja: {
    "segment.photo": "写真からマップ", "segment.hint": "セグメンター {name} で写真からマップを作ります",
    "segment.busy": "写真を調べています…", "segment.done": "{name} からマップを作りました。「元に戻す」で前のマップに戻せます。",
    "segment.none": "写真からマップ：セグメンターのモデルがありません（pinxit train deeplabv3 で作れます）。",
    "segment.missing": "写真からマップ：セグメンター {name} は {labels} を見分けられません。",
    "segment.foreign": "写真からマップ：セグメンター {name} が見分ける {labels} は、このモデルにありません。",
    "segment.more": "{labels} ほか {n} 種類", "segment.and": "、",
  },
});

/** Labels that a line names; of the others it tells how many there are. */
const NAMED = 3;

/**
 * @typedef {object} Options
 * @property {import("./api.js").Api} api
 * @property {string} client
 * @property {() => {width: number, height: number}} size of the map that is wanted
 * @property {(map: Blob, name: string) => Promise<void>} took a map was made: a PNG of ids, and the photo's name
 * @property {(message: string) => void} say
 * @property {(error: unknown) => void} fail
 */

export class PhotoToMap {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    /** Beside the buttons of files. */
    this.button = button("photo", t("segment.photo"), () => this.#choose(), { class: "quiet small", hidden: true });
    /** A line of its own. */
    this.why = h("p", { class: "hint segment-why", "data-testid": "segment-why", hidden: true });
  }

  /** @type {import("./api.js").Model | null} */
  #model = null;

  /** Whether there is a segmenter for the model. */
  get fits() {
    return !this.button.hidden;
  }

  /**
   * Offer what there is for a model.
   *
   * @param {import("./api.js").Model} model
   */
  async setModel(model) {
    if (model.id !== this.#model?.id) {
      this.button.hidden = true;
      this.why.hidden = true;
    }
    this.#model = model;
    if (!model.label_set) return; // it takes no map
    try {
      const { segmenters, unfit } = await this.options.api.segmenters(model.id);
      if (model !== this.#model) return;
      this.button.hidden = segmenters.length === 0;
      this.why.hidden = segmenters.length > 0;
      if (segmenters.length) this.button.title = t("segment.hint", { name: segmenters[0].name });
      else fill(this.why, unfit.length ? whyUnfit(unfit[0]) : t("segment.none"));
    } catch (error) {
      if (model === this.#model) this.options.fail(error);
    }
  }

  /**
   * A map of a picture that the server has.
   *
   * @param {string} picture its id
   * @returns {Promise<Blob | null>} null: superseded
   */
  async of(picture) {
    const { api, client, size } = this.options;
    const { width, height } = size();
    const id = /** @type {import("./api.js").Model} */ (this.#model).id;
    return (await api.photoToMap(id, { picture, size: [height, width], client }))?.blob ?? null;
  }

  async #choose() {
    const file = await chooseFile("image/*");
    if (file) await this.#make(file);
  }

  /** @param {File} file */
  async #make(file) {
    const id = this.#model?.id;
    if (!id) return;
    const { api, say } = this.options;
    this.button.disabled = true;
    say(t("segment.busy"));
    try {
      const made = await this.of((await api.upload(file, "photo")).id);
      // For another model by now the ids would mean other things.
      if (made && id === this.#model?.id) await this.options.took(made, file.name);
    } catch (error) {
      this.options.fail(error);
    } finally {
      this.button.disabled = false;
    }
  }
}

/** @param {import("./api.js").Unfit} segmenter */
function whyUnfit({ name, missing, foreign }) {
  const all = missing.length ? missing : foreign;
  const named = all.slice(0, NAMED).join(t("segment.and"));
  const labels = all.length > NAMED ? t("segment.more", { labels: named, n: all.length - NAMED }) : named;
  return t(missing.length ? "segment.missing" : "segment.foreign", { name, labels });
}
