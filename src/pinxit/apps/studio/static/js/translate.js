/** Pictures to pictures: draw or upload one, and see it translated as it changes. */

import { Compare } from "./compare.js";
import { button, chooseFile, dropFiles, field, fill, h, switchBox } from "./dom.js";
import { Drawing, pngOf } from "./drawing.js";
import { addWords, inLanguage, t } from "./i18n.js";
import { messageOf, pictureButtons } from "./results.js";

addWords({
  en: {
    "translate.model": "Model",
    "translate.direction": "Direction",
    "translate.AtoB": "A to B",
    "translate.BtoA": "B to A",
    "translate.input": "Start from",
    "translate.draw": "Draw",
    "translate.upload": "Picture",
    "translate.choose": "Choose a picture…",
    "translate.drop": "Drop a picture here, or paste one",
    "translate.longest": "Longest side",
    "translate.original": "As it is ({width}×{height})",
    "translate.canvas": "Drawing",
    "translate.picture": "Picture to translate",
    "translate.result": "Result",
    "translate.compare": "Compare",
    "translate.starters": "Begin with an outline",
    "translate.outline": "Outline {n}",
    "translate.none": "There is no model here that translates pictures. Start the studio with --models FOLDER, or train "
      + "one with `pinxit train pix2pix`.",
    "translate.unreadable": "This file is no picture that the browser can show.",
    "translate.working": "Translating…",
    "translate.took": "{seconds} s",
    "translate.empty": "Draw something, and the result appears here.",
    "translate.emptyPicture": "Choose a picture, and the result appears here.",
    "translate.hint.draw": "Draw with thin black lines, as the outlines are; the result follows.",
  },
  ja: {
    "translate.model": "モデル",
    "translate.direction": "方向",
    "translate.AtoB": "AからBへ",
    "translate.BtoA": "BからAへ",
    "translate.input": "入力",
    "translate.draw": "描く",
    "translate.upload": "画像",
    "translate.choose": "画像を選ぶ…",
    "translate.drop": "ここに画像をドロップするか、貼り付けてください",
    "translate.longest": "長辺",
    "translate.original": "元のサイズ（{width}×{height}）",
    "translate.canvas": "お絵かき",
    "translate.picture": "変換する画像",
    "translate.result": "結果",
    "translate.compare": "比べる",
    "translate.starters": "見本の線画から始める",
    "translate.outline": "線画 {n}",
    "translate.none": "画像を変換できるモデルがありません。--models フォルダー を付けてスタジオを起動するか、"
      + "`pinxit train pix2pix` で学習してください。",
    "translate.unreadable": "このファイルは画像として開けません。",
    "translate.working": "変換中…",
    "translate.took": "{seconds}秒",
    "translate.empty": "何か描くと、ここに結果が出ます。",
    "translate.emptyPicture": "画像を選ぶと、ここに結果が出ます。",
    "translate.hint.draw": "見本のように細い黒い線で描いてください。結果がすぐに変わります。",
  },
});

/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./api.js").Made} Made */
/** @typedef {import("./main.js").App} App */

const DEBOUNCE = 90; // ms after the last point of a stroke
const MOST_PIXELS = 1 << 20; // what the server translates at once
const SIDES = [256, 512, 768, 1024];
const MOST_DRAWN = 1024; // px

/**
 * @param {HTMLElement} root
 * @param {App} app
 * @returns {Promise<import("./main.js").Page>}
 */
export async function mount(root, app) {
  const page = new Translate(app);
  fill(root, page.element);
  return {
    shown: (parameters) => page.shown(parameters),
    hidden: () => page.hidden(),
  };
}

class Translate {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.client = app.client("translate");
    /** @type {Model[]} */
    this.models = [];
    /** @type {Model | null} */
    this.model = null;
    /** @type {"draw" | "upload"} */
    this.way = "draw";
    /** @type {string | null} */
    this.direction = null;
    /** @type {{blob: Blob, bitmap: ImageBitmap, name: string} | null} */
    this.file = null;
    /** @type {Made | null} */
    this.made = null;
    this.before = "";
    this.after = "";
    this.loadedOutlines = "";
    /** @type {ReturnType<typeof setTimeout> | null} */
    this.timer = null;
    this.stale = false; // the input changed since what is being asked for now
    this.busy = false;
    this.round = 0; // another model, way or direction: what is on its way is no answer any more
    this.isShown = false;

    this.select = h("select", {
      "data-testid": "translate-model", onchange: () => void this.choose(this.select.value),
    });
    this.directions = h("div", { class: "segmented", role: "group", "aria-label": t("translate.direction") });
    this.directionField = h("div", { class: "field" }, h("span", { class: "field-name" }, t("translate.direction")),
      this.directions);
    this.ways = {
      draw: button("brush", t("translate.draw"), () => this.setWay("draw")),
      upload: button("photo", t("translate.upload"), () => this.setWay("upload")),
    };

    this.drawing = new Drawing({
      ariaLabel: t("translate.canvas"), inks: ["black", "grey", "white", "red", "yellow", "green", "blue"], tip: 2,
      hollow: true, testid: "translate-canvas",
    });
    this.drawing.addEventListener("stroke", () => this.changed());
    this.drawing.addEventListener("change", () => this.changed());
    this.starters = h("div", { class: "starters", role: "group", "aria-label": t("translate.starters") });
    this.starterBox = h("div", { class: "stack tight", hidden: true },
      h("span", { class: "field-name" }, t("translate.starters")), this.starters);
    this.drawPane = h("div", { class: "stack" }, this.drawing.element, this.starterBox);

    this.sides = h("select", { onchange: () => this.#showFile() });
    this.sideField = field(t("translate.longest"), this.sides, { inline: true });
    this.inputView = h("img", { class: "translate-input", alt: t("translate.picture"), hidden: true });
    this.dropHint = h("p", { class: "hint" }, t("translate.drop"));
    this.dropZone = h("div", { class: "translate-drop" }, this.inputView, this.dropHint);
    this.uploadPane = h("div", { class: "stack", hidden: true },
      this.dropZone,
      h("div", { class: "row wrap" },
        button("upload", t("translate.choose"), () => void this.#choose(), { class: "primary" }), this.sideField));
    this.sideField.hidden = true;

    this.compare = new Compare();
    this.empty = h("p", { class: "hint translate-empty" });
    this.view = h("div", { class: "translate-result", "data-testid": "translate-result" }, this.empty,
      this.compare.element);
    this.status = h("p", { class: "status", role: "status" });
    const { save, keep } = pictureButtons(app, () => this.made, () => this.#fileName());
    const compare = switchBox(t("translate.compare"), false, (on) => (this.compare.open = on));
    this.actions = [save, keep];

    this.none = h("div", { class: "notice", hidden: true }, t("translate.none"));
    this.body = h("div", { class: "translate-body" },
      h("section", { class: "panel stack", "aria-label": t("translate.input") }, this.drawPane, this.uploadPane),
      h("section", { class: "panel stack", "aria-label": t("translate.result") }, this.view,
        h("div", { class: "row wrap" }, save, keep, compare.root, h("span", { class: "grow" }), this.status)));
    this.head = h("div", { class: "translate-head" },
      field(t("translate.model"), this.select), this.directionField,
      h("div", { class: "field" }, h("span", { class: "field-name" }, t("translate.input")),
        h("div", { class: "segmented", role: "group", "aria-label": t("translate.input") }, this.ways.draw,
          this.ways.upload)),
      h("p", { class: "hint grow translate-note" }));
    this.element = h("div", { class: "translate" }, this.head, this.none, this.body);

    dropFiles(this.element, (file) => void this.open(file));
    document.addEventListener("paste", (event) => this.#paste(event));
    document.addEventListener("keydown", (event) => {
      if (this.isShown && this.way === "draw") this.drawing.key(event);
    });
  }

  /** @param {import("./main.js").Parameters} [parameters] model: the one to open; entry: of the gallery */
  async shown(parameters = {}) {
    this.isShown = true;
    this.models = (await this.app.models()).filter((model) => model.kind === "picture");
    this.none.hidden = this.models.length > 0;
    this.head.hidden = this.body.hidden = this.models.length === 0;
    fill(this.select, ...this.models.map((model) => h("option", { value: model.id }, model.name)));
    const wanted = parameters.model ?? this.model?.id;
    const model = this.models.find((each) => each.id === wanted) ?? this.models[0];
    if (!model) return;
    this.select.value = model.id;
    const direction = parameters.entry?.recipe?.direction;
    if (model.id !== this.model?.id || parameters.model) await this.choose(model.id, parameters.entry === undefined);
    if (typeof direction === "string" && model.directions.includes(direction)) this.#setDirection(direction);
    if (parameters.entry) await this.#openPicture(parameters.entry.recipe.picture);
  }

  hidden() {
    this.isShown = false;
  }

  /**
   * @param {string} id
   * @param {boolean} [starting] whether to begin with its first outline
   */
  async choose(id, starting = true) {
    const model = this.models.find((each) => each.id === id);
    if (!model) return;
    const before = this.model;
    this.model = model;
    this.#renew();
    const several = model.directions.length > 1;
    this.directionField.hidden = !several;
    this.direction = several ? model.directions[0] : null;
    fill(this.directions, ...model.directions.map((name) =>
      button("", t(`translate.${name}`), () => this.#setDirection(name), {
        "data-direction": name, "aria-pressed": String(name === this.direction),
      })));
    const [height, width] = (model.size ?? [256, 256]).map((side) => Math.min(side, MOST_DRAWN));
    const raster = this.drawing.surface?.raster;
    if (!raster || raster.width !== width || raster.height !== height) this.drawing.reset(width, height);
    /** @type {{title?: {en: string, ja?: string}, picture: string}[]} */
    let outlines = [];
    try {
      outlines = await this.app.api.outlines(model.id);
    } catch (error) {
      this.app.toast(messageOf(error), "error");
    }
    if (this.model !== model) return;
    this.#showStarters(outlines);
    // A model of outlines is first met with one drawn, so that the page shows what it is for.
    if (before?.id !== model.id && starting) {
      this.setWay(outlines.length > 0 || this.file === null ? "draw" : "upload");
      if (outlines.length > 0 && this.drawing.blank) await this.#start(outlines[0].picture);
    }
    this.changed();
  }

  /** @param {"draw" | "upload"} way */
  setWay(way) {
    this.way = way;
    this.drawPane.hidden = way !== "draw";
    this.uploadPane.hidden = way !== "upload";
    for (const [name, made] of Object.entries(this.ways)) made.setAttribute("aria-pressed", String(name === way));
    this.#renew();
    this.changed();
  }

  /**
   * A picture of the person's own.
   * @param {Blob} file
   * @param {string} [name]
   */
  async open(file, name = file instanceof File ? file.name : "picture") {
    /** @type {ImageBitmap} */
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      this.app.toast(t("translate.unreadable"), "error");
      return;
    }
    this.file?.bitmap.close();
    this.file = { blob: file, bitmap, name: name.replace(/\.[^.]*$/, "") };
    const { width, height } = bitmap;
    const options = SIDES.filter((side) => side < Math.max(width, height))
      .map((side) => h("option", { value: side }, `${side} px`));
    if (width * height <= MOST_PIXELS) {
      options.push(h("option", { value: "" }, t("translate.original", { width, height })));
    }
    fill(this.sides, ...options);
    // Small enough to answer while one looks.
    this.sides.value = Math.max(width, height) > 512 ? "512" : "";
    this.setWay("upload");
    this.#showFile();
  }

  /** The input is another: ask for its translation soon. */
  changed() {
    if (this.timer !== null) clearTimeout(this.timer);
    this.view.classList.add("working"); // from here on: what is shown is no longer of the input
    this.timer = setTimeout(() => {
      this.timer = null;
      this.stale = true;
      void this.#ask();
    }, DEBOUNCE);
  }

  /** What is on its way is of no use any more. */
  #renew() {
    this.round += 1;
  }

  /** One request at a time; when its answer is there, the next is of the newest input. */
  async #ask() {
    if (this.busy) return;
    this.busy = true;
    while (this.stale) {
      this.stale = false;
      await this.#follow();
    }
    this.busy = false;
    if (this.timer === null) this.view.classList.remove("working");
  }

  /** Ask for what the input is now, and show it. */
  async #follow() {
    const { model, round } = this;
    if (!model) return;
    try {
      const input = await this.#input();
      if (!input) return this.#show(null, null);
      const shape = this.way === "draw" ? this.drawing.surface?.raster : this.file?.bitmap;
      if (shape) this.view.style.setProperty("--ratio", String(shape.width / shape.height));
      this.status.classList.remove("error");
      const { id } = await this.app.api.upload(input, "photo");
      const body = { picture: id, direction: this.direction, seed: 0, client: this.client };
      const made = await this.app.api.translate(model.id, body);
      if (made && round === this.round) this.#show(input, made);
    } catch (error) {
      if (round === this.round) {
        this.status.classList.add("error");
        this.status.textContent = messageOf(error);
      }
    }
  }

  /** @returns {Promise<Blob | null>} */
  async #input() {
    if (this.way === "draw") return this.drawing.surface ? this.drawing.blob() : null;
    if (!this.file) return null;
    const { bitmap, blob } = this.file;
    const wanted = Number(this.sides.value) || Math.max(bitmap.width, bitmap.height);
    const scale = Math.min(1, wanted / Math.max(bitmap.width, bitmap.height));
    if (scale === 1) return blob;
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    if (!context) return blob;
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return pngOf(canvas);
  }

  /**
   * @param {Blob | null} input
   * @param {Made | null} made
   */
  #show(input, made) {
    for (const address of [this.before, this.after]) if (address) URL.revokeObjectURL(address);
    this.made = made;
    this.before = input && made ? URL.createObjectURL(input) : "";
    this.after = made ? URL.createObjectURL(made.blob) : "";
    this.compare.show(this.before, this.after);
    this.view.dataset.picture = made?.id ?? "";
    this.empty.hidden = made !== null;
    this.empty.textContent = t(this.way === "draw" ? "translate.empty" : "translate.emptyPicture");
    for (const action of this.actions) action.disabled = made === null;
    const keep = this.actions[1];
    keep.removeAttribute("aria-pressed");
    this.status.textContent = made ? t("translate.took", { seconds: made.seconds.toFixed(2) }) : "";
  }

  /** @param {string} name */
  #setDirection(name) {
    this.direction = name;
    for (const each of this.directions.children) {
      each.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (each).dataset.direction === name));
    }
    this.#renew();
    this.changed();
  }

  #showFile() {
    if (!this.file) return;
    if (this.inputView.src) URL.revokeObjectURL(this.inputView.src);
    this.inputView.src = URL.createObjectURL(this.file.blob);
    this.inputView.hidden = false;
    this.dropHint.hidden = true;
    this.sideField.hidden = this.sides.options.length < 2;
    this.#renew();
    this.changed();
  }

  async #choose() {
    const file = await chooseFile("image/*");
    if (file) await this.open(file);
  }

  /** @param {ClipboardEvent} event */
  #paste(event) {
    if (!this.isShown || /** @type {HTMLElement} */ (event.target).closest?.("input, textarea")) return;
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    void this.open(file);
  }

  /** @param {{title?: {en: string, ja?: string}, picture: string}[]} outlines */
  #showStarters(outlines) {
    this.starterBox.hidden = outlines.length === 0;
    fill(this.starters, ...outlines.map(({ title, picture }, i) => {
      const name = inLanguage(title) || t("translate.outline", { n: i + 1 });
      return h("button", {
        type: "button", class: "starter", "aria-label": name, title: name, onclick: () => void this.#start(picture),
      }, h("img", { src: this.app.api.pictureUrl(picture), alt: "", loading: "lazy" }));
    }));
    const note = this.head.querySelector(".translate-note");
    if (note) note.textContent = outlines.length > 0 ? t("translate.hint.draw") : "";
  }

  /** @param {string} picture an outline's id */
  async #start(picture) {
    try {
      const bitmap = await createImageBitmap(await this.app.api.picture(picture));
      this.drawing.load(bitmap);
      bitmap.close();
    } catch (error) {
      this.app.toast(messageOf(error), "error");
    }
  }

  /** @param {string} picture of a kept translation */
  async #openPicture(picture) {
    try {
      await this.open(await this.app.api.picture(picture), "kept");
    } catch (error) {
      this.app.toast(messageOf(error), "error");
    }
  }

  #fileName() {
    const name = this.way === "upload" && this.file ? this.file.name : "drawing";
    return `${name}-${this.model?.id ?? "translated"}`;
  }
}
