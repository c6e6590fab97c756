/** Generators: browse what one makes, edit it, and customise it by a few sketches. */

import { button, field, fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { JobView, JobWatch } from "./photo.js";
import { messageOf } from "./results.js";
import { Samples } from "./samples.js";
import { SketchPad } from "./sketchpad.js";
import "./sketch_words.js";

/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./main.js").App} App */

const PRESETS = ["cpu", "paper"];

/**
 * @param {HTMLElement} root
 * @param {App} app
 * @returns {Promise<import("./main.js").Page>}
 */
export async function mount(root, app) {
  const page = new SketchPage(app);
  fill(root, page.element);
  return { shown: (parameters) => page.shown(parameters), hidden: () => page.hidden() };
}

class SketchPage {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    /** @type {Model[]} */
    this.models = [];
    /** @type {Model[]} */
    this.drawers = [];
    /** @type {Model | null} */
    this.model = null;
    this.isShown = false;
    this.jobs = new JobWatch(app);
    this.jobs.addEventListener("jobs", () => void this.#jobsChanged());
    /** @type {Map<number, string>} state of each job when last looked */
    this.states = new Map();
    this.job = 0;

    this.samples = new Samples(app);
    this.pad = new SketchPad(app);
    this.pad.addEventListener("change", () => this.#ready());

    this.select = h("select", { "data-testid": "generator", onchange: () => this.choose(this.select.value) });
    this.drawer = h("select", { onchange: () => this.#ready() });
    this.drawerField = field(t("sketch.photosketch"), this.drawer, { hint: t("sketch.photosketchHint") });
    this.noDrawer = h("p", { class: "hint", hidden: true }, t("sketch.noPhotosketch"));
    this.name = h("input", {
      type: "text", maxlength: 40, required: true, pattern: "[A-Za-z0-9][A-Za-z0-9 _\\-]*", autocomplete: "off",
    });
    this.preset = h("select", null,
      ...PRESETS.map((name) => h("option", { value: name }, t(`sketch.preset.${name}`))));
    this.start = button("play", t("sketch.start"), () => {}, { class: "primary", type: "submit" });
    this.status = h("p", { class: "status", role: "status" });
    this.form = h("form", {
      class: "stack", novalidate: true,
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        void this.#start();
      },
    }, this.drawerField, this.noDrawer, field(t("sketch.name"), this.name, { hint: t("photo.nameHint") }),
    field(t("sketch.preset"), this.preset), h("div", { class: "row wrap" }, this.start, this.status));

    this.jobSelect = h("select", {
      "aria-label": t("sketch.jobs"),
      onchange: () => {
        this.job = Number(this.jobSelect.value);
        this.#showJob();
      },
    });
    this.jobView = new JobView(app, this.jobs, (id) => this.choose(id), () => (this.job = 0), t("sketch.noSheet"));
    this.jobView.note.before(h("p", { class: "hint" }, t("sketch.sheet")));
    this.work = h("section", { class: "stack", "aria-label": t("sketch.jobs"), hidden: true }, this.jobSelect,
      this.jobView.element);

    this.none = h("div", { class: "notice", hidden: true }, h("p", null, t("sketch.none")),
      button("", t("sketch.toModels"), () => app.open("models")));
    this.body = h("div", { class: "stack", hidden: true },
      h("div", { class: "row wrap" }, field(t("sketch.model"), this.select, { inline: true })),
      this.work,
      h("div", { class: "sketch-pictures" }, this.samples.element, this.samples.chosen.element),
      h("section", { class: "panel stack", "aria-label": t("sketch.customise") },
        h("h2", null, t("sketch.customise")), h("p", { class: "hint" }, t("sketch.customiseHint")),
        h("div", { class: "sketch-customise" }, this.pad.pad, h("div", { class: "stack" }, this.pad.chosen, this.form))));
    this.element = h("div", { class: "sketch" }, this.none, this.body);
    document.addEventListener("keydown", (event) => {
      const inPad = this.pad.pad.contains(/** @type {Node} */ (event.target));
      if (this.isShown && (inPad || event.target === document.body)) this.pad.drawing.key(event);
    });
  }

  /** @param {import("./main.js").Parameters} [parameters] model: the one to open */
  async shown(parameters = {}) {
    this.isShown = true;
    await this.jobs.watch(true);
    await this.#findModels();
    const busy = this.#jobsAtWork();
    if (!busy.some((job) => job.id === this.job)) this.job = busy[0]?.id ?? 0;
    this.#showJob();
    const wanted = parameters.model ?? this.model?.id;
    const model = this.models.find((each) => each.id === wanted) ?? this.models[0];
    if (model) this.choose(model.id);
  }

  hidden() {
    this.isShown = false;
    void this.jobs.watch(false);
  }

  /** @param {string} id */
  choose(id) {
    const model = this.models.find((each) => each.id === id);
    if (!model) return;
    const before = this.model;
    this.model = model;
    this.select.value = id;
    this.samples.setModel(model);
    this.pad.setModel(model);
    if (this.name.value === "" || this.name.value === nameFor(before)) this.name.value = nameFor(model);
    this.#ready();
  }

  /** The generators, less those that are being made: their files are there from the first checkpoint on. */
  async #findModels() {
    const all = await this.app.refreshModels();
    const open = new Set(this.#jobsAtWork().map((job) => job.name));
    this.models = all.filter((model) => model.kind === "generator"
      && !(model.id.startsWith("runs.") && open.has(model.name)));
    this.drawers = all.filter((model) => model.method === "photosketch");
    this.none.hidden = this.models.length > 0;
    this.body.hidden = this.models.length === 0;
    fill(this.select, ...this.models.map((model) => h("option", { value: model.id }, model.name)));
    if (this.model) this.select.value = this.model.id;
    const chosen = this.drawer.value;
    fill(this.drawer, ...this.drawers.map((model) => h("option", { value: model.id }, model.name)));
    if (this.drawers.some((model) => model.id === chosen)) this.drawer.value = chosen;
    this.drawerField.hidden = this.drawers.length === 0;
    this.noDrawer.hidden = this.drawers.length > 0;
    this.#ready();
  }

  #ready() {
    this.start.disabled = this.pad.sketches.length === 0 || this.drawers.length === 0;
  }

  #jobsAtWork() {
    return this.jobs.list.filter((job) => job.kind === "sketch" && job.state !== "done");
  }

  async #start() {
    if (!this.model || !this.name.reportValidity()) return;
    this.start.disabled = true;
    this.status.textContent = "";
    this.status.classList.remove("error");
    try {
      const job = await this.app.api.customise({
        model: this.model.id, photosketch: this.drawer.value, sketches: this.pad.pictures, preset: this.preset.value,
        name: this.name.value.trim(), seed: 0,
      });
      this.job = job.id;
      await this.jobs.refresh();
      void this.app.refreshStatus();
      this.work.scrollIntoView({ block: "nearest" });
    } catch (error) {
      this.status.classList.add("error");
      this.status.textContent = messageOf(error);
    }
    this.#ready();
  }

  async #jobsChanged() {
    const finished = this.jobs.list.filter(
      (job) => job.kind === "sketch" && job.state === "done" && (this.states.get(job.id) ?? "done") !== "done");
    this.states = new Map(this.jobs.list.map((job) => [job.id, job.state]));
    this.#showJob();
    if (finished.length === 0) return;
    await this.#findModels();
    for (const job of finished) this.app.toast(t("sketch.finished", { name: job.name }));
  }

  #showJob() {
    const jobs = this.jobs.list.filter(
      (job) => job.kind === "sketch" && (job.state !== "done" || job.id === this.job));
    const job = jobs.find((each) => each.id === this.job) ?? jobs[0];
    this.work.hidden = !job;
    if (!job) return;
    this.job = job.id;
    this.jobSelect.hidden = jobs.length < 2;
    const key = jobs.map((each) => each.id).join();
    if (this.jobSelect.dataset.key !== key) {
      this.jobSelect.dataset.key = key; // a list that is open stays so
      fill(this.jobSelect, ...jobs.map((each) => h("option", { value: each.id }, each.name)));
    }
    this.jobSelect.value = String(job.id);
    this.jobView.show(job);
  }
}

/** @param {Model | null} model a name of a run that is customised from it */
function nameFor(model) {
  if (!model) return "";
  return `${model.name} sketched`.replace(/[^A-Za-z0-9 _-]+/g, " ").replace(/^[ _-]+|\s+$/g, "").slice(-40).trim();
}
