/** One photo: a model learns it, scale by scale, and then makes new pictures of it. */

import { Applications } from "./applications.js";
import { button, chooseFile, confirmDialog, dropFiles, field, fill, h, icon } from "./dom.js";
import { pngOf } from "./drawing.js";
import { addWords, t } from "./i18n.js";
import { messageOf } from "./results.js";

addWords({
  en: {
    "photo.list": "Photos",
    "photo.new": "New photo",
    "photo.jobs": "Learning",
    "photo.models": "Ready",
    "photo.intro": "Give one photo. A small network learns how it looks, from coarse to fine, and then makes new pictures "
      + "of it: variations, other sizes, an animation, edits.",
    "photo.choose": "Choose a photo…",
    "photo.other": "Another photo…",
    "photo.drop": "Drop a photo here, or paste one",
    "photo.chosen": "Photo to learn",
    "photo.name": "Name",
    "photo.nameHint": "Letters A–Z, digits, spaces, - and _",
    "photo.preset": "How thoroughly",
    "photo.preset.tiny": "Trial",
    "photo.preset.tiny.what": "Seconds, to see that all works; the pictures are not worth a look.",
    "photo.preset.draft": "Draft",
    "photo.preset.draft.what": "A first look: textures are right, details rough.",
    "photo.preset.fast": "Fast",
    "photo.preset.fast.what": "Good pictures; for most photos all that is needed.",
    "photo.preset.paper": "Paper",
    "photo.preset.paper.what": "As in the paper: the most detail, and the longest wait.",
    "photo.estimating": "Estimating the time…",
    "photo.unknown": "time unknown",
    "photo.start": "Start learning",
    "photo.unreadable": "This file is no picture that the browser can show.",
    "photo.state.queued": "Waiting for its turn",
    "photo.state.running": "Learning",
    "photo.state.done": "Ready",
    "photo.state.failed": "Failed",
    "photo.state.cancelled": "Stopped",
    "photo.stage": "Scale {at} of {of}",
    "photo.step": "Step {at} of {of}",
    "photo.left": "about {time} left",
    "photo.preview": "What it paints so far",
    "photo.time": "From the first to the newest",
    "photo.noPreview": "The first pictures appear when the coarsest scale has begun.",
    "photo.cancel": "Cancel",
    "photo.resume": "Resume",
    "photo.remove": "Remove",
    "photo.removeAsk": "Remove “{name}”? What it has learnt so far is lost.",
    "photo.open": "Use it",
    "photo.kept": "What it has learnt is kept: Resume goes on from there.",
    "photo.goesOn": "It goes on when you close this page, and after a restart of the studio.",
    "photo.finished": "“{name}” is ready.",
    "photo.size": "{width}×{height}, {scales} scales",
    "time.seconds": "{n} s",
    "time.minutes": "{n} min",
    "time.hours": "{n} h {m} min",
    "time.wholeHours": "{n} h",
    "time.about": "about {time}",
    "photo.offline": "The studio does not answer; trying again.",
  },
  ja: {
    "photo.list": "写真",
    "photo.new": "新しい写真",
    "photo.jobs": "学習中",
    "photo.models": "使える写真",
    "photo.intro": "写真を1枚選んでください。小さなネットワークがその見た目を粗い部分から順に学習し、"
      + "バリエーション、別のサイズ、アニメーション、編集などができるようになります。",
    "photo.choose": "写真を選ぶ…",
    "photo.other": "別の写真…",
    "photo.drop": "ここに写真をドロップするか、貼り付けてください",
    "photo.chosen": "学習する写真",
    "photo.name": "名前",
    "photo.nameHint": "半角英数字、スペース、-、_",
    "photo.preset": "学習の丁寧さ",
    "photo.preset.tiny": "お試し",
    "photo.preset.tiny.what": "数秒で終わる動作確認用です。画質は期待できません。",
    "photo.preset.draft": "下書き",
    "photo.preset.draft.what": "まず様子を見るためのもの。質感は合い、細部は粗めです。",
    "photo.preset.fast": "高速",
    "photo.preset.fast.what": "きれいに仕上がります。ほとんどの写真はこれで十分です。",
    "photo.preset.paper": "論文どおり",
    "photo.preset.paper.what": "最も細かく仕上がりますが、時間も最もかかります。",
    "photo.estimating": "時間を見積もり中…",
    "photo.unknown": "時間は不明",
    "photo.start": "学習を始める",
    "photo.unreadable": "このファイルは画像として開けません。",
    "photo.state.queued": "順番待ち",
    "photo.state.running": "学習中",
    "photo.state.done": "完了",
    "photo.state.failed": "失敗",
    "photo.state.cancelled": "停止",
    "photo.stage": "スケール {at} / {of}",
    "photo.step": "ステップ {at} / {of}",
    "photo.left": "残り約{time}",
    "photo.preview": "ここまでに描けるもの",
    "photo.time": "最初から最新まで",
    "photo.noPreview": "最も粗いスケールの学習が始まると、画像が出ます。",
    "photo.cancel": "中止",
    "photo.resume": "再開",
    "photo.remove": "削除",
    "photo.removeAsk": "「{name}」を削除しますか？ここまでの学習結果は失われます。",
    "photo.open": "使う",
    "photo.kept": "学習結果は残っています。再開すると続きから始まります。",
    "photo.goesOn": "このページを閉じても、スタジオを再起動しても、学習は続きます。",
    "photo.finished": "「{name}」の準備ができました。",
    "photo.size": "{width}×{height}、{scales}スケール",
    "time.seconds": "{n}秒",
    "time.minutes": "{n}分",
    "time.hours": "{n}時間{m}分",
    "time.wholeHours": "{n}時間",
    "time.about": "約{time}",
    "photo.offline": "スタジオが応答しません。再接続しています。",
  },
});

/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./api.js").Forecast} Forecast */
/** @typedef {import("./main.js").App} App */

const EVERY = 1000; // ms
const LONGEST = 1024; // px of a photo that is sent: the finest scale has 250
const PRESETS = ["draft", "fast", "paper"];
const REMEMBERED = "pinxit.photo";

/** All jobs, asked for each second while one is at work and the page is looked at. Fires "jobs". */
export class JobWatch extends EventTarget {
  /** @param {App} app */
  constructor(app) {
    super();
    this.app = app;
    /** @type {Job[]} the newest first */
    this.list = [];
    this.on = false;
    this.timer = 0;
    this.failed = false;
    document.addEventListener("visibilitychange", () => {
      if (this.on && !document.hidden) void this.refresh();
    });
  }

  /** @param {boolean} on whether the page is shown */
  async watch(on) {
    this.on = on;
    clearTimeout(this.timer);
    if (on) await this.refresh();
  }

  async refresh() {
    clearTimeout(this.timer);
    try {
      this.list = await this.app.api.jobs();
      this.failed = false;
    } catch {
      this.failed = true; // the server may be starting again
    }
    this.dispatchEvent(new CustomEvent("jobs"));
    clearTimeout(this.timer);
    const busy = this.failed || this.list.some((job) => job.state === "running" || job.state === "queued");
    if (this.on && busy && !document.hidden) this.timer = setTimeout(() => void this.refresh(), EVERY);
  }
}

/**
 * @param {HTMLElement} root
 * @param {App} app
 * @returns {Promise<import("./main.js").Page>}
 */
export async function mount(root, app) {
  const page = new PhotoPage(app);
  fill(root, page.element);
  return { shown: (parameters) => page.shown(parameters), hidden: () => page.hidden() };
}

/** What the main part shows.
 *  @typedef {{what: "new"} | {what: "job", id: number} | {what: "model", id: string}} Choice */

class PhotoPage {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.jobs = new JobWatch(app);
    /** @type {Model[]} */
    this.models = [];
    /** @type {Choice} */
    this.choice = { what: "new" };
    this.isShown = false;
    this.begun = false;
    /** @type {Map<number, string>} state of each job when last looked */
    this.states = new Map();
    /** @type {Applications | null} */
    this.applications = null;
    this.form = new NewPhoto(app, (job) => this.#started(job));
    this.jobView = new JobView(app, this.jobs, (id) => this.choose({ what: "model", id }), () => {
      this.choose({ what: "new" });
    });
    this.list = h("nav", { class: "photo-list", "aria-label": t("photo.list") });
    this.main = h("div", { class: "photo-main" });
    this.offline = h("p", { class: "status error", role: "status", hidden: true }, t("photo.offline"));
    this.element = h("div", { class: "photo" }, this.list, h("div", { class: "stack" }, this.offline, this.main));
    this.jobs.addEventListener("jobs", () => void this.#jobsChanged());
    dropFiles(this.main, (file) => {
      if (this.choice.what === "new") void this.form.open(file);
    });
    document.addEventListener("paste", (event) => {
      if (!this.isShown || /** @type {HTMLElement} */ (event.target).closest?.("input, textarea")) return;
      const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
      if (!file || this.choice.what !== "new") return;
      event.preventDefault();
      void this.form.open(file);
    });
    document.addEventListener("keydown", (event) => {
      if (this.isShown && this.choice.what === "model") this.applications?.key(event);
    });
  }

  /** @param {import("./main.js").Parameters} [parameters] model: the one to open; job: the one to look at */
  async shown(parameters = {}) {
    this.isShown = true;
    await this.jobs.watch(true);
    await this.#findModels();
    if (typeof parameters.model === "string") this.choose({ what: "model", id: parameters.model });
    else if (typeof parameters.job === "number") this.choose({ what: "job", id: parameters.job });
    else if (!this.begun) this.choose(this.#firstChoice());
    else this.#show();
    this.begun = true;
  }

  hidden() {
    this.isShown = false;
    void this.jobs.watch(false);
  }

  /** @param {Choice} choice */
  choose(choice) {
    this.choice = choice;
    try {
      sessionStorage.setItem(REMEMBERED, JSON.stringify(choice));
    } catch {
      // Without storage a reload begins at the newest.
    }
    this.#show();
  }

  /** What was looked at before a reload, or what is at work, or what is ready. @returns {Choice} */
  #firstChoice() {
    /** @type {Choice | null} */
    let kept = null;
    try {
      kept = JSON.parse(sessionStorage.getItem(REMEMBERED) ?? "null");
    } catch {
      // As if nothing had been kept.
    }
    const trainings = this.#trainings();
    if (kept?.what === "job") {
      const { id } = kept;
      const job = this.jobs.list.find((each) => each.id === id);
      if (job?.state === "done" && job.model) return { what: "model", id: job.model };
      if (job) return kept;
    } else if (kept?.what === "model") {
      const { id } = kept;
      if (this.models.some((model) => model.id === id)) return kept;
    } else if (kept?.what === "new") {
      return kept;
    }
    const busy = trainings.find((job) => job.state === "running") ?? trainings.find((job) => job.state === "queued");
    if (busy) return { what: "job", id: busy.id };
    return this.models.length > 0 ? { what: "model", id: this.models[0].id } : { what: "new" };
  }

  /** The models of a photo, less those that are still being trained: their files are there from the first scale on. */
  async #findModels() {
    const open = new Set(this.#trainings().map((job) => job.name));
    this.models = (await this.app.refreshModels()).filter(
      (model) => model.kind === "photo" && !(model.id.startsWith("runs.") && open.has(model.name)));
  }

  /** Trainings that are not models yet. */
  #trainings() {
    return this.jobs.list.filter((job) => job.kind === "train" && job.state !== "done");
  }

  /** @param {Job} job */
  async #started(job) {
    this.choose({ what: "job", id: job.id });
    await this.jobs.refresh();
    void this.app.refreshStatus();
  }

  async #jobsChanged() {
    this.offline.hidden = !this.jobs.failed;
    const finished = this.jobs.list.filter(
      (job) => job.kind === "train" && job.state === "done" && (this.states.get(job.id) ?? "done") !== "done");
    this.states = new Map(this.jobs.list.map((job) => [job.id, job.state]));
    if (finished.length > 0) {
      await this.#findModels();
      for (const job of finished) {
        this.app.toast(t("photo.finished", { name: job.name }));
        if (this.choice.what === "job" && this.choice.id === job.id && job.model) {
          this.choose({ what: "model", id: job.model });
        }
      }
    }
    if (this.begun) this.#show();
  }

  #show() {
    this.#showList();
    const { choice } = this;
    if (choice.what === "job") {
      const job = this.jobs.list.find((each) => each.id === choice.id);
      if (job) {
        this.jobView.show(job);
        this.#put(this.jobView.element);
        return;
      }
    } else if (choice.what === "model") {
      const model = this.models.find((each) => each.id === choice.id);
      if (model) {
        if (this.applications?.model.id !== model.id) this.#open(model);
        if (this.applications) this.#put(this.modelView ?? this.applications.element);
        return;
      }
    }
    this.#put(this.form.element);
  }

  /** @type {HTMLElement | null} */
  modelView = null;

  /** @param {Model} model */
  #open(model) {
    const panel = this.applications?.current;
    this.applications?.close();
    this.applications = new Applications(this.app, model, this.jobs, panel);
    const [height, width] = this.applications.size;
    this.modelView = h("div", { class: "panel stack" },
      h("header", { class: "row between wrap" }, h("h2", null, model.name),
        h("span", { class: "hint" }, t("photo.size", { width, height, scales: model.scales?.length ?? 1 }))),
      this.applications.element);
  }

  /** @param {HTMLElement} element */
  #put(element) {
    if (this.main.firstElementChild !== element || this.main.childElementCount !== 1) fill(this.main, element);
  }

  #showList() {
    const { choice } = this;
    const trainings = this.#trainings();
    /** @type {(chosen: boolean, to: Choice, ...inside: (Node | string)[]) => HTMLElement} */
    const item = (chosen, to, ...inside) =>
      h("button", {
        type: "button", class: "photo-item", "aria-current": chosen ? "true" : null, onclick: () => this.choose(to),
      }, ...inside);
    const focused = [...this.list.querySelectorAll("button")].findIndex((each) => each === document.activeElement);
    fill(this.list,
      item(choice.what === "new", { what: "new" }, icon("plus"), h("span", null, t("photo.new"))),
      trainings.length > 0 && h("h3", { class: "photo-heading" }, t("photo.jobs")),
      ...trainings.map((job) => item(choice.what === "job" && choice.id === job.id, { what: "job", id: job.id },
        h("span", { class: "photo-item-name" }, job.name),
        h("span", { class: "hint" }, job.state === "running" ? stageOf(job) : t(`photo.state.${job.state}`)),
        h("progress", { max: 1, value: job.progress, "aria-label": job.name }))),
      this.models.length > 0 && h("h3", { class: "photo-heading" }, t("photo.models")),
      ...this.models.map((model) => item(choice.what === "model" && choice.id === model.id,
        { what: "model", id: model.id }, h("span", { class: "photo-item-name" }, model.name),
        h("span", { class: "hint" }, model.size ? `${model.size[1]}×${model.size[0]}` : ""))));
    if (focused >= 0) this.list.querySelectorAll("button")[focused]?.focus();
  }
}

/** The form for a photo that is to be learnt. */
class NewPhoto {
  /**
   * @param {App} app
   * @param {(job: Job) => void} started
   */
  constructor(app, started) {
    this.app = app;
    this.started = started;
    this.picture = "";
    this.round = 0;
    this.image = h("img", { class: "photo-chosen", alt: t("photo.chosen"), hidden: true });
    this.dropHint = h("p", { class: "hint" }, t("photo.drop"));
    this.choose = button("upload", t("photo.choose"), () => void this.#choose(), { class: "primary" });
    this.drop = h("div", { class: "photo-drop" }, this.image, this.dropHint, this.choose);
    this.name = h("input", {
      type: "text", maxlength: 40, required: true, pattern: "[A-Za-z0-9][A-Za-z0-9 _\\-]*", autocomplete: "off",
    });
    this.presets = h("div", { class: "presets" });
    this.start = button("play", t("photo.start"), () => {}, { class: "primary", type: "submit" });
    this.status = h("p", { class: "status", role: "status" });
    this.fields = h("form", {
      class: "stack", hidden: true, novalidate: true,
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        void this.#start();
      },
    },
    field(t("photo.name"), this.name, { hint: t("photo.nameHint") }),
    h("fieldset", { class: "presets-box" }, h("legend", { class: "field-name" }, t("photo.preset")), this.presets),
    h("div", { class: "row wrap" }, this.start, this.status));
    this.element = h("div", { class: "panel stack" }, h("h2", null, t("photo.new")), h("p", null, t("photo.intro")),
      h("div", { class: "photo-new" }, this.drop, this.fields));
  }

  /** @param {Blob} file */
  async open(file) {
    const round = ++this.round;
    try {
      const blob = await reduced(file, this.app.status.limits.bytes);
      if (this.image.src) URL.revokeObjectURL(this.image.src);
      this.image.src = URL.createObjectURL(blob);
      this.image.hidden = false;
      this.dropHint.hidden = true;
      this.choose.classList.remove("primary");
      fill(this.choose, icon("upload"), t("photo.other"));
      const called = file instanceof File ? file.name.replace(/\.[^.]*$/, "") : "photo";
      this.name.value = called.replace(/[^A-Za-z0-9 _-]+/g, " ").replace(/^[ _-]+|\s+$/g, "").slice(0, 40) || "photo";
      this.fields.hidden = false;
      this.start.disabled = true;
      this.#tell("");
      this.#showPresets(PRESETS.map((name) => ({ name, summary: "", seconds: -1, memory: 0 })));
      const { id } = await this.app.api.upload(blob, "photo");
      if (round !== this.round) return;
      this.picture = id;
      this.start.disabled = false;
      const presets = await this.app.api.presets(id); // takes seconds; one need not wait for it
      if (round === this.round) this.#showPresets(presets);
    } catch (error) {
      if (round !== this.round) return;
      if (error instanceof DOMException) this.app.toast(t("photo.unreadable"), "error");
      else this.#tell(messageOf(error), true);
    }
  }

  async #choose() {
    const file = await chooseFile("image/*");
    if (file) await this.open(file);
  }

  async #start() {
    if (!this.name.reportValidity() || !this.picture) return;
    this.start.disabled = true;
    try {
      const preset = this.presets.querySelector("input:checked")?.getAttribute("value") ?? "draft";
      this.started(await this.app.api.train({ picture: this.picture, preset, name: this.name.value.trim(), seed: 0 }));
      this.#tell("");
    } catch (error) {
      this.#tell(messageOf(error), true);
    } finally {
      this.start.disabled = false;
    }
  }

  /** @param {string} words @param {boolean} [wrong] */
  #tell(words, wrong = false) {
    this.status.textContent = words;
    this.status.classList.toggle("error", wrong);
  }

  /** @param {Forecast[]} presets seconds: negative where not known yet */
  #showPresets(presets) {
    const chosen = this.presets.querySelector("input:checked")?.getAttribute("value") ?? "draft";
    const some = presets.some(({ name }) => name === chosen) ? chosen : presets[0]?.name;
    fill(this.presets, ...presets.map(({ name, summary, seconds, memory }) => {
      const known = PRESETS.includes(name) || name === "tiny";
      const cost = seconds === null ? t("photo.unknown") : seconds < 0 ? t("photo.estimating")
        : [t("time.about", { time: timeOf(seconds) }), memory && bytesOf(memory)].filter(Boolean).join(" · ");
      return h("label", { class: "preset" },
        h("input", { type: "radio", name: "preset", value: name, checked: name === some }),
        h("span", { class: "preset-name" }, known ? t(`photo.preset.${name}`) : name),
        h("span", { class: "preset-cost" }, cost),
        h("span", { class: "hint preset-what" }, known ? t(`photo.preset.${name}.what`) : summary));
    }));
  }
}

/** A training, as it goes. */
export class JobView {
  /**
   * @param {App} app
   * @param {JobWatch} jobs
   * @param {(model: string) => void} use
   * @param {() => void} gone
   * @param {string} [noPreview] what is said until there are pictures
   */
  constructor(app, jobs, use, gone, noPreview = t("photo.noPreview")) {
    this.app = app;
    this.jobs = jobs;
    this.use = use;
    this.gone = gone;
    this.title = h("h2");
    this.state = h("span", { class: "badge" });
    this.bar = h("progress", { max: 1, class: "thick", "aria-label": t("photo.state.running") });
    this.stage = h("p", { class: "status", role: "status" });
    this.message = h("p", { class: "error-text", role: "alert", hidden: true });
    this.note = h("p", { class: "hint" });
    this.preview = h("img", { class: "preview", alt: t("photo.preview"), hidden: true });
    this.noPreview = h("p", { class: "hint" }, noPreview);
    // At its end it follows the newest.
    this.time = h("input", {
      type: "range", min: 0, max: 0, value: 0, hidden: true, "aria-label": t("photo.time"), title: t("photo.time"),
      oninput: () => this.#showPreview(),
    });
    /** @type {Job | null} */
    this.job = null;
    this.actions = h("div", { class: "row wrap" });
    this.element = h("div", { class: "panel stack job", "data-testid": "job" },
      h("header", { class: "row between wrap" }, this.title, this.state), this.bar, this.stage, this.message,
      h("div", { class: "preview-box" }, this.preview, this.noPreview), this.time, this.note, this.actions);
  }

  /** @param {Job} job */
  show(job) {
    this.element.dataset.job = String(job.id);
    this.element.dataset.state = job.state;
    this.title.textContent = job.name;
    this.state.textContent = t(`photo.state.${job.state}`);
    this.state.dataset.state = job.state;
    this.bar.value = job.progress;
    const left = job.state === "running" && job.seconds_left !== null
      ? t("photo.left", { time: timeOf(job.seconds_left) }) : "";
    const words = [stageOf(job), `${Math.floor(100 * job.progress)} %`, left].filter(Boolean).join(" · ");
    if (this.stage.textContent !== words) this.stage.textContent = words;
    this.message.hidden = job.state !== "failed";
    this.message.textContent = job.message;
    const ended = job.state === "failed" || job.state === "cancelled";
    this.note.textContent = ended ? t("photo.kept") : t("photo.goesOn");
    const newest = this.job?.id !== job.id || this.time.value === this.time.max;
    this.job = job;
    this.time.max = String(Math.max(job.previews - 1, 0));
    if (newest) this.time.value = this.time.max;
    // A photo's sheets are of its scales, of which the newest says it all.
    this.time.hidden = job.kind !== "sketch" || job.previews < 2;
    this.#showPreview();
    this.preview.hidden = job.preview === 0;
    this.noPreview.hidden = job.preview > 0;
    const key = `${job.id} ${job.state}`;
    if (this.actions.dataset.key === key) return; // a button that has the focus keeps it
    this.actions.dataset.key = key;
    const { api } = this.app;
    fill(this.actions,
      !ended && job.state !== "done" && button("stop", t("photo.cancel"), this.#then(() => api.cancel(job.id))),
      ended && button("again", t("photo.resume"), this.#then(() => api.resume(job.id)), { class: "primary" }),
      ended && button("trash", t("photo.remove"), async () => {
        const question = t("photo.removeAsk", { name: job.name });
        if (!(await confirmDialog(t("photo.remove"), question, t("photo.remove")))) return;
        await this.#then(async () => {
          await api.removeJob(job.id);
          this.gone();
        })();
      }),
      job.model && button("play", t("photo.open"), () => job.model && this.use(job.model), { class: "primary" }));
  }

  #showPreview() {
    const { job } = this;
    if (!job || job.preview === 0) return;
    const at = this.time.value === this.time.max ? undefined : Number(this.time.value);
    const address = this.app.api.previewUrl(job, at);
    if (this.preview.src !== address) this.preview.src = address;
  }

  /** @param {() => Promise<unknown>} act */
  #then(act) {
    return async () => {
      try {
        await act();
      } catch (error) {
        this.app.toast(messageOf(error), "error");
      }
      await this.jobs.refresh();
      void this.app.refreshStatus();
    };
  }
}

/** The server's "scale 3 of 7", or "step 30 of 700", in the page's language. @param {Job} job */
function stageOf(job) {
  const found = /(\d+) of (\d+)/.exec(job.stage);
  if (!found) return job.stage;
  return t(job.kind === "sketch" ? "photo.step" : "photo.stage", { at: found[1], of: found[2] });
}

/** @param {number} seconds */
function timeOf(seconds) {
  if (seconds < 90) {
    return t("time.seconds", { n: seconds < 10 ? Math.max(1, Math.round(seconds)) : 5 * Math.round(seconds / 5) });
  }
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return t("time.minutes", { n: minutes });
  const hours = Math.floor(minutes / 60);
  // Nobody waits for the minutes of a day.
  return hours < 10 && minutes % 60 ? t("time.hours", { n: hours, m: minutes % 60 })
    : t("time.wholeHours", { n: Math.round(minutes / 60) });
}

/** @param {number} bytes */
const bytesOf = (bytes) => (bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);

/**
 * A photo that is no larger than can be used, and upright; as it came where it is small.
 * @param {Blob} file
 * @param {number} most bytes
 */
export async function reduced(file, most) {
  const bitmap = await createImageBitmap(file);
  const scale = LONGEST / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1 && file.size <= most) {
    bitmap.close();
    return file;
  }
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * Math.min(1, scale)));
  canvas.height = Math.max(1, Math.round(bitmap.height * Math.min(1, scale)));
  const context = canvas.getContext("2d");
  if (!context) throw new Error("the browser gives no canvas to draw on");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return pngOf(canvas);
}
