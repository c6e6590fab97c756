/** What a generator makes: a grid of seeds, and one of them to mix and to edit. */

import { button, field, fill, h } from "./dom.js";
import { Follower } from "./follow.js";
import { t } from "./i18n.js";
import { messageOf, pictureButtons } from "./results.js";
import "./sketch_words.js";

/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./api.js").Made} Made */
/** @typedef {import("./api.js").Generation} Generation */
/** @typedef {import("./main.js").App} App */
/** @typedef {{seed: number, button: HTMLButtonElement, image: HTMLImageElement, made: string}} Tile made: of what */

const AT_ONCE = 12;
const MOST = 96;
const DIRECTIONS = 6;
const MOST_SEED = 2 ** 32;

export class Samples {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    /** @type {Model | null} */
    this.model = null;
    /** @type {Tile[]} */
    this.tiles = [];
    this.working = false;
    this.chosen = new Chosen(app, () => this.truncation);

    this.slider = h("input", {
      type: "range", min: 0, max: 1.5, step: 0.05, value: 0.7, "data-testid": "truncation",
      oninput: () => this.#changed(), onchange: () => this.chosen.ask(true),
    });
    this.shownTruncation = h("output", { class: "slider-value" });
    this.seed = h("input", {
      type: "number", min: 0, max: MOST_SEED, value: 0, step: 1, class: "narrow", onchange: () => this.#restart(),
    });
    this.grid = h("div", {
      class: "tiles", role: "group", "aria-label": t("sketch.pictures"), "data-testid": "samples",
    });
    this.more = button("plus", t("sketch.more"), () => this.#grow());
    this.status = h("p", { class: "status", role: "status" });
    this.element = h("section", { class: "panel stack", "aria-label": t("sketch.pictures") },
      h("div", { class: "row wrap samples-head" },
        field(t("sketch.truncation"), h("span", { class: "row" }, this.slider, this.shownTruncation),
          { hint: t("sketch.truncationHint") }),
        field(t("sketch.seed"), this.seed),
        button("dice", t("sketch.random"), () => {
          this.seed.value = String(Math.floor(Math.random() * 1e6));
          this.#restart();
        })),
      this.grid, h("div", { class: "row wrap" }, this.more, this.status));
    this.#tellTruncation();
  }

  get truncation() {
    return Number(this.slider.value);
  }

  /** @param {Model} model */
  setModel(model) {
    const same = this.model?.id === model.id && this.model.bytes === model.bytes;
    this.model = model;
    this.chosen.setModel(model);
    if (same && this.tiles.length) void this.#work();
    else this.#restart();
  }

  #tellTruncation() {
    this.shownTruncation.textContent = this.truncation.toFixed(2);
  }

  #changed() {
    this.#tellTruncation();
    this.chosen.ask(false);
    void this.#work();
  }

  #restart() {
    if (!this.seed.checkValidity() || this.seed.value === "") this.seed.value = "0";
    this.tiles = [];
    this.#grow();
    this.#choose(this.tiles[0]);
  }

  #grow() {
    const first = Number(this.seed.value) + this.tiles.length;
    for (let seed = first; seed < first + AT_ONCE; seed++) {
      const image = h("img", { alt: "" });
      const name = t("sketch.tile", { seed });
      const tile = {
        seed, image, made: "",
        button: h("button", { type: "button", class: "tile", "aria-label": name, title: name, "aria-pressed": "false",
          onclick: () => this.#choose(tile) }, image),
      };
      this.tiles.push(tile);
    }
    fill(this.grid, ...this.tiles.map((tile) => tile.button));
    this.more.disabled = this.tiles.length >= MOST;
    void this.#work();
  }

  /** @param {Tile} tile */
  #choose(tile) {
    for (const each of this.tiles) each.button.setAttribute("aria-pressed", String(each === tile));
    this.chosen.setSeed(tile.seed, this.tiles.map((each) => each.seed));
  }

  /** Make what is not there yet, or of another model or truncation, one after the other. */
  async #work() {
    if (this.working) return;
    this.working = true;
    const client = this.app.client("samples");
    this.status.classList.remove("error");
    try {
      for (;;) {
        const { model, truncation } = this;
        const key = `${model?.id} ${truncation}`;
        const tile = this.tiles.find((each) => each.made !== key);
        if (!model || !tile) break;
        this.status.textContent = t("sketch.working");
        const made = await this.app.api.generate(model.id, { seed: tile.seed, truncation, client });
        if (!made) break;
        const before = tile.image.src;
        tile.image.src = URL.createObjectURL(made.blob);
        tile.image.dataset.picture = made.id;
        tile.made = key;
        if (before) URL.revokeObjectURL(before);
      }
      this.status.textContent = "";
    } catch (error) {
      this.status.classList.add("error");
      this.status.textContent = messageOf(error);
    }
    this.working = false;
  }
}

/** One picture, large, with its mixing and its edits. */
class Chosen {
  /**
   * @param {App} app
   * @param {() => number} truncation
   */
  constructor(app, truncation) {
    this.app = app;
    this.truncation = truncation;
    this.client = app.client("chosen");
    /** @type {Model | null} */
    this.model = null;
    this.seed = 0;
    /** @type {Made | null} */
    this.made = null;
    this.follower = new Follower((signal) => this.#make(signal));
    this.follower.addEventListener("busy", () => this.view.classList.add("working"));
    this.follower.addEventListener("idle", () => this.view.classList.remove("working"));

    this.image = h("img", { class: "chosen-picture", alt: t("sketch.chosen"), "data-testid": "chosen" });
    this.view = h("div", { class: "chosen-view" }, this.image);
    this.status = h("p", { class: "status", role: "status" });
    const { save, keep } = pictureButtons(app, () => this.made, () => `${this.model?.id}-seed${this.seed}`);
    this.keep = keep;

    this.mix = h("select", { "data-testid": "mix", onchange: () => this.#mixed() });
    this.mixAt = h("input", {
      type: "range", min: 1, max: 2, value: 1, oninput: () => this.#mixed(false), onchange: () => this.ask(true),
    });
    this.mixValue = h("output", { class: "slider-value" });
    this.mixAtField = field(t("sketch.mixAt"), h("span", { class: "row" }, this.mixAt, this.mixValue),
      { hint: t("sketch.mixHint") });

    this.sliders = Array.from({ length: DIRECTIONS }, (_, i) => h("input", {
      type: "range", min: -5, max: 5, step: 0.25, value: 0, "aria-label": t("sketch.direction", { n: i + 1 }),
      "data-testid": `direction-${i + 1}`,
      oninput: () => this.#edited(false), onchange: () => this.#edited(true),
    }));
    this.values = this.sliders.map(() => h("output", { class: "slider-value" }));
    this.layers = h("select", { onchange: () => this.ask(true) },
      ...["all", "shape", "colour"].map((name) => h("option", { value: name }, t(`sketch.layers.${name}`))));
    this.reset = button("undo", t("sketch.reset"), () => this.#reset(), { class: "quiet" });

    this.element = h("section", { class: "panel stack", "aria-label": t("sketch.chosen") },
      h("div", { class: "chosen" },
        h("div", { class: "stack" }, this.view, h("div", { class: "row wrap" }, save, keep), this.status),
        h("div", { class: "stack" },
          h("div", { class: "app-controls" }, field(t("sketch.mix"), this.mix), this.mixAtField),
          h("div", { class: "row between wrap" }, h("h3", null, t("sketch.edits")),
            h("span", { class: "row" }, field(t("sketch.layers"), this.layers, { inline: true }), this.reset)),
          h("p", { class: "hint" }, t("sketch.editsHint")),
          h("div", { class: "directions" }, ...this.sliders.map((slider, i) =>
            h("div", { class: "slider" }, h("span", { "aria-hidden": "true" }, t("sketch.direction", { n: i + 1 })),
              slider, this.values[i]))))));
    this.#edited(null);
  }

  /** Layers that a latent goes to. */
  get depth() {
    return 2 * Math.log2(this.model?.size?.[0] ?? 8) - 2;
  }

  /** @param {Model} model */
  setModel(model) {
    if (this.model?.id !== model.id) {
      this.model = model;
      this.mixAt.max = String(this.depth - 1);
      this.mixAt.value = String(this.depth / 2);
      for (const slider of this.sliders) slider.value = "0";
      this.#edited(null);
    }
    this.model = model;
  }

  /**
   * @param {number} seed
   * @param {number[]} others what it can be mixed with
   */
  setSeed(seed, others) {
    this.seed = seed;
    const before = this.mix.value;
    const seeds = others.filter((other) => other !== seed);
    fill(this.mix, h("option", { value: "" }, t("sketch.mixNone")),
      ...seeds.map((other) => h("option", { value: other }, t("sketch.tile", { seed: other }))));
    this.mix.value = seeds.includes(Number(before)) ? before : "";
    this.#mixed();
  }

  /** @param {boolean} finished whether the person has let go of what was moved */
  ask(finished) {
    if (finished) this.follower.finished();
    else this.follower.drawing();
  }

  #mixed(finished = true) {
    this.mixAtField.hidden = this.mix.value === "";
    this.mixValue.textContent = `${this.mixAt.value} / ${this.depth}`;
    this.ask(finished);
  }

  /** @param {boolean | null} finished null: nothing is asked for */
  #edited(finished) {
    this.sliders.forEach((slider, i) => (this.values[i].textContent = Number(slider.value).toFixed(2)));
    this.reset.disabled = !this.sliders.some((slider) => Number(slider.value));
    if (finished !== null) this.ask(finished);
  }

  #reset() {
    for (const slider of this.sliders) slider.value = "0";
    this.#edited(true);
  }

  /** @returns {Generation} */
  #wanted() {
    const strengths = this.sliders.map((slider) => Number(slider.value));
    while (strengths.length && strengths[strengths.length - 1] === 0) strengths.pop();
    // What has 16 pixels or fewer makes the shape.
    const middle = Math.min(6, this.depth - 1);
    /** @type {{[name: string]: [number, number] | null}} */
    const layers = { all: null, shape: [0, middle], colour: [middle, this.depth] };
    return {
      seed: this.seed,
      truncation: this.truncation(),
      mix: this.mix.value === "" ? null : { seed: Number(this.mix.value), at: Number(this.mixAt.value) },
      strengths,
      layers: strengths.length ? layers[this.layers.value] : null,
    };
  }

  /** @param {AbortSignal} signal */
  async #make(signal) {
    const { model, seed } = this;
    if (!model) return;
    try {
      const made = await this.app.api.generate(model.id, { ...this.#wanted(), client: this.client }, signal);
      if (!made || signal.aborted) return;
      const before = this.image.src;
      this.made = made;
      this.image.src = URL.createObjectURL(made.blob);
      this.image.alt = t("sketch.chosenAlt", { seed });
      this.image.dataset.picture = made.id;
      this.keep.removeAttribute("aria-pressed");
      if (before) URL.revokeObjectURL(before);
      this.status.classList.remove("error");
      this.status.textContent = t("sketch.took", { seed, seconds: made.seconds.toFixed(2) });
    } catch (error) {
      this.status.classList.add("error");
      this.status.textContent = messageOf(error);
    }
  }
}
