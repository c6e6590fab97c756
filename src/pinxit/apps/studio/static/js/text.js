/** Sentences to pictures: they follow what is written; two sentences side by side, and what lies between them. */

import { BoxPad } from "./boxpad.js";
import { button, field, fill, h, switchBox } from "./dom.js";
import { t } from "./i18n.js";
import { messageOf, pictureButtons } from "./results.js";
import "./text_words.js";

/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./api.js").Made} Made */
/** @typedef {import("./api.js").Illustration} Illustration */
/** @typedef {import("./main.js").App} App */
/** @typedef {"first" | "between" | "other"} Part of a comparison; without one there is the first alone */
/**
 * @typedef {object} Cell a picture on the page
 * @property {number} seed
 * @property {Part} part
 * @property {HTMLButtonElement} button
 * @property {HTMLImageElement} image
 * @property {Made | null} made
 * @property {string} of what it was made of, as `key`
 */

const PAUSE_MS = 400; // between the last letter and the pictures
const COUNTS = [1, 2, 4, 8, 16, 32];
const COUNT = 8;
const MOST_SEED = 2 ** 32;
const MOST_CHARACTERS = 1000;

/**
 * @param {HTMLElement} root
 * @param {App} app
 * @returns {Promise<import("./main.js").Page>}
 */
export async function mount(root, app) {
  const page = new TextPage(app);
  fill(root, page.element);
  return { shown: (parameters) => page.shown(parameters) };
}

class TextPage {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.client = app.client("text");
    /** @type {Model[]} */
    this.models = [];
    /** @type {Model | null} */
    this.model = null;
    /** @type {number | null} of a model that has several; null where there is nothing to choose */
    this.stage = null;
    /** @type {Cell[]} */
    this.cells = [];
    /** @type {{seed: number, part: Part}} what is shown large */
    this.choice = { seed: 0, part: "first" };
    /** @type {{key: string, abort: AbortController} | null} */
    this.underway = null;
    /** @type {ReturnType<typeof setTimeout> | null} */
    this.timer = null;

    this.select = h("select", { "data-testid": "text-model", onchange: () => this.choose(this.select.value) });
    this.count = h("select", { "data-testid": "count", value: COUNT, onchange: () => this.#arrange() },
      ...COUNTS.map((n) => h("option", { value: n }, n)));
    this.seed = h("input", {
      type: "number", min: 0, max: MOST_SEED, value: 0, step: 1, class: "narrow", "data-testid": "seed",
      onchange: () => this.#arrange(),
    });
    this.stages = h("div", { class: "segmented", role: "group", "aria-label": t("text.stage") });
    this.stageField = h("div", { class: "field" }, h("span", { class: "field-name" }, t("text.stage")), this.stages);

    this.first = this.#sentence("sentence", t("text.placeholder"));
    this.other = this.#sentence("other-sentence", "");
    this.examples = h("div", { class: "row wrap", role: "group", "aria-label": t("text.examples") });
    this.exampleBox = h("div", { class: "stack tight", hidden: true },
      h("span", { class: "field-name" }, t("text.examples")), this.examples);
    this.comparing = switchBox(t("text.compare"), false, () => this.#compare(), { testid: "compare" });
    this.at = h("input", {
      type: "range", min: 0, max: 1, step: 0.01, value: 0.5, "data-testid": "at", oninput: () => this.#changed(),
    });
    this.atValue = h("output", { class: "slider-value" });
    this.comparison = h("div", { class: "stack", hidden: true },
      field(t("text.other"), this.other, { hint: t("text.otherHint") }),
      field(t("text.at"), h("span", { class: "row" }, this.at, this.atValue)));
    this.box = new BoxPad();
    this.box.addEventListener("change", () => this.#changed());

    this.empty = h("p", { class: "hint text-empty" }, t("text.empty"));
    this.tiles = h("div", {
      class: "text-tiles", role: "group", "aria-label": t("text.pictures"), "data-testid": "pictures",
    });
    this.status = h("p", { class: "status", role: "status", "data-testid": "text-status" });

    this.image = h("img", { class: "chosen-picture", alt: t("text.chosen"), "data-testid": "text-chosen" });
    this.view = h("div", { class: "chosen-view" }, this.image);
    this.said = h("p", { class: "text-said" });
    this.how = h("p", { class: "hint" });
    const { save, keep } = pictureButtons(app, () => this.#chosen()?.made ?? null,
      () => `${this.model?.id}-seed${this.choice.seed}`);
    this.keep = keep;
    this.chosenPanel = h("section", { class: "panel stack", "aria-label": t("text.chosen"), hidden: true },
      this.view, this.said, this.how, h("div", { class: "row wrap" }, save, keep));

    this.none = h("div", { class: "notice", hidden: true }, h("p", null, t("text.none")),
      button("", t("text.toModels"), () => app.open("models")));
    this.body = h("div", { class: "stack", hidden: true },
      h("div", { class: "text-head" }, field(t("text.model"), this.select), this.stageField),
      h("section", { class: "panel text-ask", "aria-label": t("text.sentence") },
        h("div", { class: "stack" },
          field(t("text.sentence"), this.first, { hint: t("text.hint") }), this.exampleBox, this.comparing.root,
          this.comparison),
        this.box.element),
      h("div", { class: "text-results" },
        h("section", { class: "panel stack", "aria-label": t("text.pictures") },
          h("div", { class: "text-head" }, field(t("text.count"), this.count), field(t("text.seed"), this.seed),
            button("dice", t("text.others"), () => this.#others(), { "data-testid": "others" })),
          this.status, this.empty, this.tiles),
        this.chosenPanel));
    this.element = h("div", { class: "text" }, this.none, this.body);
    this.#arrange();
  }

  /** @param {import("./main.js").Parameters} [parameters] model: the one to open; entry: of the gallery */
  async shown(parameters = {}) {
    this.models = (await this.app.models()).filter((model) => model.kind === "sentence");
    this.none.hidden = this.models.length > 0;
    this.body.hidden = this.models.length === 0;
    fill(this.select, ...this.models.map((model) => h("option", { value: model.id }, model.name)));
    const wanted = parameters.model ?? this.model?.id;
    const model = this.models.find((each) => each.id === wanted) ?? this.models[0];
    if (!model) return;
    this.choose(model.id);
    if (parameters.entry) this.#open(parameters.entry.recipe);
  }

  /** @param {string} id */
  choose(id) {
    const model = this.models.find((each) => each.id === id);
    if (!model) return;
    const same = this.model?.id === model.id;
    this.model = model;
    if (!same) this.#clear();
    this.select.value = id;
    const stages = model.stages ?? [];
    if (!same) this.stage = stages.length > 1 ? stages.length : null;
    this.stageField.hidden = stages.length < 2;
    fill(this.stages, ...stages.map(([height, width], i) => {
      const stage = t(`text.stage.${i + 1}`);
      return button("", stage, () => this.#setStage(i + 1), {
        "aria-pressed": String(i + 1 === this.stage), title: t("text.stageSize", { stage, width, height }),
      });
    }));
    this.box.element.hidden = !model.box;
    this.exampleBox.hidden = model.sentences.length === 0;
    fill(this.examples, ...model.sentences.map((sentence) => button("", sentence, () => {
      this.first.value = sentence;
      this.#changed();
    }, { class: "chip" })));
    this.#changed();
  }

  /**
   * A text box whose pictures follow.
   * @param {string} testid
   * @param {string} placeholder
   */
  #sentence(testid, placeholder) {
    return h("textarea", {
      rows: 2, maxlength: MOST_CHARACTERS, placeholder, "data-testid": testid, autocapitalize: "off",
      // Letters that an input method is still composing are not yet what is meant; its own Enter ends that alone.
      oninput: (/** @type {InputEvent} */ event) => event.isComposing || this.#typed(),
      oncompositionend: () => this.#typed(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        this.#changed();
      },
    });
  }

  #typed() {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#changed(), PAUSE_MS);
  }

  #compare() {
    this.comparison.hidden = !this.comparing.input.checked;
    // A word of it is changed, mostly.
    if (this.comparing.input.checked && !this.other.value.trim()) this.other.value = this.first.value;
    this.#changed();
  }

  /** @param {number} stage */
  #setStage(stage) {
    this.stage = stage;
    [...this.stages.children].forEach((each, i) => each.setAttribute("aria-pressed", String(i + 1 === stage)));
    this.#changed();
  }

  #others() {
    const next = Number(this.seed.value) + Number(this.count.value);
    this.seed.value = String(next <= MOST_SEED ? next : 0);
    this.#arrange();
  }

  /** @param {Illustration} recipe of a kept picture */
  #open({ text, seed, stage, between, box }) {
    this.first.value = text;
    this.seed.value = String(seed);
    this.comparing.input.checked = Boolean(between);
    this.comparison.hidden = !between;
    this.other.value = between?.text ?? "";
    if (between) this.at.value = String(between.at);
    this.box.show(box ?? null);
    if (this.stage !== null) this.#setStage(stage ?? this.model?.stages?.length ?? 1);
    this.choice = { seed, part: between ? "between" : "first" };
    this.#arrange();
  }

  /** @returns {Part[]} */
  get parts() {
    return this.comparing.input.checked && plain(this.other.value) ? ["first", "between", "other"] : ["first"];
  }

  /** Something that pictures are made of may have changed. */
  #changed() {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.atValue.textContent = `${Math.round(Number(this.at.value) * 100)} %`;
    if (this.parts.length !== Number(this.tiles.dataset.parts)) this.#arrange();
    else this.#follow();
  }

  /** Pictures of another model are not waited beside. */
  #clear() {
    for (const cell of this.cells) URL.revokeObjectURL(cell.image.src);
    this.cells = [];
    this.tiles.dataset.parts = "";
  }

  /** Lay out the pictures anew; those that are there already stay. */
  #arrange() {
    if (!this.seed.checkValidity() || this.seed.value === "") this.seed.value = "0";
    const first = Number(this.seed.value);
    const seeds = Array.from({ length: Number(this.count.value) }, (_, i) => first + i);
    const { parts } = this;
    const before = this.cells;
    this.cells = seeds.flatMap((seed) => parts.map((part) =>
      before.find((cell) => cell.seed === seed && cell.part === part) ?? this.#cell(seed, part)));
    for (const cell of before) if (!this.cells.includes(cell)) URL.revokeObjectURL(cell.image.src);
    this.tiles.dataset.parts = String(parts.length);
    fill(this.tiles, ...seeds.map((seed) => {
      const cells = this.cells.filter((cell) => cell.seed === seed).map((cell) => h("div", { class: "text-cell" },
        cell.button, parts.length > 1 ? h("span", { class: "text-part", "data-part": cell.part }) : null));
      return h("div", { class: "text-tile", role: "group", "aria-label": t("text.tile", { seed }) }, ...cells);
    }));
    if (!this.#chosen()) this.choice = { seed: first, part: "first" };
    this.#follow();
  }

  /**
   * @param {number} seed
   * @param {Part} part
   * @returns {Cell}
   */
  #cell(seed, part) {
    const image = h("img", { alt: "" });
    const made = h("button", { type: "button", class: "tile", onclick: () => {
      this.choice = { seed, part };
      this.#show();
    } }, image);
    return { seed, part, button: made, image, made: null, of: "" };
  }

  #chosen() {
    return this.cells.find((cell) => cell.seed === this.choice.seed && cell.part === this.choice.part);
  }

  /**
   * @param {Cell} cell
   * @returns {Illustration | null} null: there is nothing to be painted
   */
  #wanted({ seed, part }) {
    const first = plain(this.first.value);
    const other = plain(this.other.value);
    if (!first) return null;
    return {
      text: part === "other" ? other : first,
      seed,
      stage: this.stage,
      between: part === "between" ? { text: other, at: Number(this.at.value) } : null,
      box: this.model?.box ? this.box.box : null,
    };
  }

  /** @param {Cell} cell what its picture should be made of; "" for nothing */
  #key(cell) {
    const wanted = this.#wanted(cell);
    return wanted && this.model ? JSON.stringify([this.model.id, this.model.bytes, wanted]) : "";
  }

  /** Make what is not there yet, or of something else, one after the other; what nobody wants any more is dropped. */
  async #follow() {
    this.#show();
    if (this.underway) {
      if (!this.cells.some((cell) => this.#key(cell) === this.underway?.key)) this.underway.abort.abort();
      return;
    }
    let made = 0;
    let seconds = 0;
    this.status.classList.remove("error");
    for (;;) {
      const cell = this.cells.find((each) => this.#key(each) !== each.of && this.#key(each));
      const wanted = cell && this.#wanted(cell);
      if (!cell || !wanted || !this.model) break;
      const underway = { key: this.#key(cell), abort: new AbortController() };
      this.underway = underway;
      this.status.textContent = t("text.working");
      try {
        const body = { ...wanted, client: this.client };
        const picture = await this.app.api.illustrate(this.model.id, body, underway.abort.signal);
        if (!picture && !underway.abort.signal.aborted) break;
        if (!picture || this.#key(cell) !== underway.key || !this.cells.includes(cell)) continue;
        if (cell.image.src) URL.revokeObjectURL(cell.image.src);
        cell.image.src = URL.createObjectURL(picture.blob);
        cell.image.dataset.picture = picture.id;
        [cell.made, cell.of] = [picture, underway.key];
        made += 1;
        seconds += picture.seconds;
        this.#show();
      } catch (error) {
        if (underway.key !== this.#key(cell)) continue; // it is of no matter any more
        this.underway = null;
        this.status.classList.add("error");
        this.status.textContent = messageOf(error);
        return;
      }
    }
    this.underway = null;
    const words = made === 1 ? "text.readyOne" : "text.ready";
    this.status.textContent = made ? t(words, { n: made, seconds: seconds.toFixed(1) }) : "";
  }

  /** Show what is there, and how it stands to what is written. */
  #show() {
    const nothing = !plain(this.first.value);
    this.empty.hidden = !nothing;
    this.tiles.hidden = nothing;
    if (nothing && !this.underway) this.status.textContent = "";
    const percent = Math.round(Number(this.at.value) * 100);
    for (const cell of this.cells) {
      const name = t(`text.cell.${cell.part}`, { seed: cell.seed, percent });
      cell.button.setAttribute("aria-label", name);
      cell.button.title = name;
      cell.button.disabled = !cell.made;
      cell.button.setAttribute("aria-pressed", String(cell === this.#chosen()));
      cell.button.classList.toggle("stale", cell.of !== this.#key(cell));
    }
    const words = { first: t("text.first"), between: `${percent} %`, other: t("text.second") };
    for (const label of this.tiles.querySelectorAll(".text-part")) {
      label.textContent = words[/** @type {Part} */ (/** @type {HTMLElement} */ (label).dataset.part)];
    }
    this.#showChosen(nothing);
  }

  /** @param {boolean} nothing whether no sentence is there */
  #showChosen(nothing) {
    const cell = this.#chosen();
    this.chosenPanel.hidden = nothing || !cell?.made;
    if (!cell?.made) return;
    this.view.classList.toggle("working", cell.of !== this.#key(cell));
    if (this.image.dataset.picture === cell.made.id && this.image.src === cell.image.src) return;
    this.keep.removeAttribute("aria-pressed");
    this.image.dataset.picture = cell.made.id;
    this.image.src = cell.image.src;
    const [, , of] = /** @type {[string, number, Illustration]} */ (JSON.parse(cell.of));
    this.said.textContent = of.between
      ? t("text.way", { a: of.text, b: of.between.text, percent: Math.round(of.between.at * 100) })
      : t("text.quoted", { text: of.text });
    this.image.alt = this.said.textContent;
    const stages = this.model?.stages;
    const [height, width] = (of.stage ? stages?.[of.stage - 1] : this.model?.size) ?? [0, 0];
    this.how.textContent = t(of.stage ? "text.howStage" : "text.how", {
      seed: cell.seed, width, height, seconds: cell.made.seconds.toFixed(2),
      stage: of.stage ? t(`text.stage.${of.stage}`) : "",
    });
  }
}

/** @param {string} text with white space as the server folds it */
function plain(text) {
  return text.trim().replace(/\s+/g, " ");
}
