/** Pictures that were made: shown, enlarged, saved, kept. */

import { button, fill, h, openDialog, saveFile } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    "results.save": "Save picture",
    "results.keep": "Keep in gallery",
    "results.kept": "Kept in the gallery.",
    "results.enlarge": "Enlarge",
    "results.waiting": "Waiting",
  },
  ja: {
    "results.save": "画像を保存",
    "results.keep": "ギャラリーに保存",
    "results.kept": "ギャラリーに保存しました。",
    "results.enlarge": "大きく表示",
    "results.waiting": "待機中",
  },
});

/** @typedef {import("./api.js").Made} Made */
/** @typedef {import("./main.js").App} App */

/**
 * Buttons that save a picture and keep it in the gallery.
 * @param {App} app
 * @param {() => Made | null} made
 * @param {() => string} name of the file, without its ending
 * @param {{bare?: boolean, caption?: string}} [how]
 */
export function pictureButtons(app, made, name, { bare = false, caption = "" } = {}) {
  // Many pictures on a page have the same buttons: each says whose it is.
  const said = (/** @type {string} */ key) => (caption ? `${t(key)}: ${caption}` : t(key));
  const save = button("download", said("results.save"), () => {
    const picture = made();
    if (picture) saveFile(picture.blob, `${name()}.png`);
  }, { bare, class: bare ? "quiet" : "" });
  const keep = button("keep", said("results.keep"), async () => {
    const picture = made();
    if (!picture) return;
    keep.disabled = true;
    try {
      await app.api.keep(picture.id);
      keep.setAttribute("aria-pressed", "true");
      app.toast(t("results.kept"));
    } catch (error) {
      app.toast(messageOf(error), "error");
    } finally {
      keep.disabled = false;
    }
  }, { bare, class: bare ? "quiet" : "" });
  return { save, keep };
}

/** A grid of pictures that come one after the other; a new run ends the one before. */
export class Results {
  /**
   * @param {App} app
   * @param {string} model
   * @param {string} what for the client's name and the files'
   */
  constructor(app, model, what) {
    this.app = app;
    this.model = model;
    this.what = what;
    this.client = app.client(what);
    this.grid = h("div", { class: "results", "data-testid": `results-${what}` });
    this.status = h("p", { class: "status", role: "status" });
    this.element = h("div", { class: "stack" }, this.grid, this.status);
    /** @type {AbortController | null} */
    this.running = null;
    /** @type {string[]} */
    this.addresses = [];
  }

  /**
   * Make pictures one by one, and show each as it comes.
   * @param {{caption: string, file: string}[]} items
   * @param {(index: number, client: string, signal: AbortSignal) => Promise<Made | null>} make
   */
  async run(items, make) {
    this.stop();
    const running = new AbortController();
    this.running = running;
    this.status.textContent = "";
    this.status.classList.remove("error");
    const places = items.map(({ caption }) => {
      const view = h("div", { class: "result-view", role: "img", "aria-label": `${t("results.waiting")}: ${caption}` });
      const row = h("div", { class: "row end" });
      return { view, row, figure: h("figure", { class: "result" }, view, h("figcaption", null, caption), row) };
    });
    fill(this.grid, ...places.map((place) => place.figure));
    let seconds = 0;
    for (const [i, place] of places.entries()) {
      place.view.classList.add("working");
      try {
        const made = await make(i, this.client, running.signal);
        if (running.signal.aborted) return;
        place.view.classList.remove("working");
        if (!made) continue;
        seconds += made.seconds;
        this.#show(place, made, items[i]);
        this.status.textContent = `${i + 1} / ${items.length} · ${seconds.toFixed(1)} s`;
      } catch (error) {
        if (running.signal.aborted) return;
        for (const rest of places.slice(i)) rest.figure.remove();
        this.status.classList.add("error");
        this.status.textContent = messageOf(error);
        return;
      }
    }
  }

  /** End what is being made. */
  stop() {
    this.running?.abort();
    this.running = null;
    for (const address of this.addresses) URL.revokeObjectURL(address);
    this.addresses = [];
  }

  /**
   * @param {{view: HTMLElement, row: HTMLElement}} place
   * @param {Made} made
   * @param {{caption: string, file: string}} item
   */
  #show(place, made, { caption, file }) {
    const source = URL.createObjectURL(made.blob);
    this.addresses.push(source);
    const image = h("img", { src: source, alt: caption, "data-picture": made.id });
    const open = h("button", {
      type: "button", class: "result-open", title: t("results.enlarge"),
      "aria-label": `${t("results.enlarge")}: ${caption}`,
      onclick: () => openDialog(caption, h("img", { class: "enlarged", src: source, alt: caption })),
    }, image);
    place.view.removeAttribute("role");
    place.view.removeAttribute("aria-label");
    fill(place.view, open);
    const { save, keep } = pictureButtons(this.app, () => made, () => file, { bare: true, caption });
    fill(place.row, save, keep);
  }
}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
