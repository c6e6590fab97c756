/** What can be made of one photo, once a model has learnt it: a panel for each application of SinGAN. */

import { encodeGrey } from "./canvas/png.js";
import { button, chooseFile, dropFiles, field, fill, h, icon, switchBox } from "./dom.js";
import { Drawing, pngOf } from "./drawing.js";
import { addWords, language, t } from "./i18n.js";
import { Layers } from "./layers.js";
import { Player } from "./player.js";
import { Results, messageOf } from "./results.js";

addWords({
  en: {
    "apps.tabs": "What to make",
    "apps.samples": "Variations",
    "apps.samples.what": "New pictures that look as if they came from the same place as the photo.",
    "apps.sizes": "Sizes",
    "apps.sizes.what": "The same scene in another shape: more of it, not a stretched one.",
    "apps.super": "Enlarge",
    "apps.super.what": "The photo with more pixels; details are painted from what the photo itself repeats.",
    "apps.animate": "Animate",
    "apps.animate.what": "Brings the photo to life: it wanders a little way through its own variations.",
    "apps.harmonize": "Harmonise",
    "apps.harmonize.what": "Paste something from elsewhere into the photo; it takes on the photo's look.",
    "apps.edit": "Edit",
    "apps.edit.what": "Copy pieces of the photo to other places; the seams are painted away.",
    "apps.paint": "Paint",
    "apps.paint.what": "Paint roughly in colours; the photo's textures make a picture of it.",
    "apps.count": "How many",
    "apps.start": "Starts at scale",
    "apps.level.all": "{n}: everything",
    "apps.level.some": "{n}: the layout stays",
    "apps.level.few": "{n}: only details",
    "apps.seed": "Seed",
    "apps.another": "Another seed",
    "apps.make": "Make",
    "apps.seedCaption": "Seed {seed}",
    "apps.height": "Height",
    "apps.width": "Width",
    "apps.shape": "Shape",
    "apps.shape.photo": "As the photo",
    "apps.shape.wide": "Wide",
    "apps.shape.tall": "Tall",
    "apps.shape.double": "Twice as large",
    "apps.factor": "Times larger",
    "apps.factorCaption": "{factor} times larger",
    "apps.frames": "Frames",
    "apps.fps": "Frames a second",
    "apps.alpha": "How close to the photo",
    "apps.beta": "How smooth",
    "apps.loop": "Seamless loop",
    "apps.animateStart": "What moves",
    "apps.animateGo": "Animate",
    "apps.earlier": "Animations made so far",
    "apps.animation": "No. {id}, {time}",
    "apps.download": "Download GIF",
    "apps.removeAnimation": "Remove",
    "apps.cancel": "Cancel",
    "apps.resume": "Resume",
    "apps.queued": "Waiting for its turn",
    "apps.running": "At work",
    "apps.failed": "It failed: {message}",
    "apps.cancelled": "Cancelled",
    "apps.harmonizeGo": "Harmonise",
    "apps.editGo": "Blend in",
    "apps.paintGo": "Make a picture",
    "apps.scaleCaption": "Scale {scale}",
    "apps.scales": "From scale {first}, most freely repainted, to scale {last}, closest to what you made. "
      + "Those in the middle are often best.",
    "apps.oneScale": "This model has too few scales for this.",
    "apps.needPart": "Paste or copy something first, or brush a mask.",
    "apps.canvas": "Painting",
    "apps.overPhoto": "Over the photo",
    "apps.onBlank": "On a blank",
    "apps.ground": "Paint",
    "apps.openPainting": "Open a painting…",
    "apps.unreadable": "This file is no picture that the browser can show.",
    "apps.photoFailed": "The photo could not be fetched: {message}",
  },
  ja: {
    "apps.tabs": "作るもの",
    "apps.samples": "バリエーション",
    "apps.samples.what": "写真と同じ場所で撮ったような、新しい画像を作ります。",
    "apps.sizes": "サイズ",
    "apps.sizes.what": "引き伸ばさずに、景色を広げて別の形の画像にします。",
    "apps.super": "高解像度化",
    "apps.super.what": "写真の中で繰り返される模様をもとに、細部を描き足して拡大します。",
    "apps.animate": "アニメーション",
    "apps.animate.what": "写真が少しずつ変化して、動いているように見えます。",
    "apps.harmonize": "なじませる",
    "apps.harmonize.what": "別の画像を貼り付けると、写真の質感になじみます。",
    "apps.edit": "編集",
    "apps.edit.what": "写真の一部を別の場所にコピーし、継ぎ目を自然にします。",
    "apps.paint": "絵から写真へ",
    "apps.paint.what": "大まかに色を塗ると、写真の質感の画像になります。",
    "apps.count": "枚数",
    "apps.start": "開始スケール",
    "apps.level.all": "{n}：全体",
    "apps.level.some": "{n}：構図は保つ",
    "apps.level.few": "{n}：細部だけ",
    "apps.seed": "シード",
    "apps.another": "別のシード",
    "apps.make": "作る",
    "apps.seedCaption": "シード {seed}",
    "apps.height": "高さ",
    "apps.width": "幅",
    "apps.shape": "形",
    "apps.shape.photo": "写真と同じ",
    "apps.shape.wide": "横長",
    "apps.shape.tall": "縦長",
    "apps.shape.double": "2倍",
    "apps.factor": "倍率",
    "apps.factorCaption": "{factor}倍",
    "apps.frames": "フレーム数",
    "apps.fps": "毎秒フレーム数",
    "apps.alpha": "写真への近さ",
    "apps.beta": "なめらかさ",
    "apps.loop": "切れ目なくループ",
    "apps.animateStart": "動かす範囲",
    "apps.animateGo": "アニメーションを作る",
    "apps.earlier": "これまでのアニメーション",
    "apps.animation": "{id}番（{time}）",
    "apps.download": "GIFをダウンロード",
    "apps.removeAnimation": "削除",
    "apps.cancel": "中止",
    "apps.resume": "再開",
    "apps.queued": "順番待ち",
    "apps.running": "作成中",
    "apps.failed": "失敗しました: {message}",
    "apps.cancelled": "中止しました",
    "apps.harmonizeGo": "なじませる",
    "apps.editGo": "合成する",
    "apps.paintGo": "画像にする",
    "apps.scaleCaption": "スケール {scale}",
    "apps.scales": "スケール{first}が最も自由に描き直し、スケール{last}が元に最も近くなります。中ほどがよいことが多いです。",
    "apps.oneScale": "このモデルはスケールが少なすぎて、これには使えません。",
    "apps.needPart": "先に画像を貼り付けるかコピーするか、マスクを塗ってください。",
    "apps.canvas": "絵",
    "apps.overPhoto": "写真の上に",
    "apps.onBlank": "白紙に",
    "apps.ground": "描く場所",
    "apps.openPainting": "絵を開く…",
    "apps.unreadable": "このファイルは画像として開けません。",
    "apps.photoFailed": "写真を取得できませんでした: {message}",
  },
});

/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./main.js").App} App */
/** @typedef {import("./photo.js").JobWatch} JobWatch */
/** @typedef {{element: HTMLElement, shown?: () => void, hidden?: () => void, close?: () => void,
 *   key?: (event: KeyboardEvent) => void}} Panel */

const HIGHEST_STRIP = 16384; // px: frames one below the other, as the server sends them

/** All panels of one model; each is made when it is first looked at. */
export class Applications {
  /**
   * @param {App} app
   * @param {Model} model
   * @param {JobWatch} jobs
   * @param {string} [first] the panel to begin with
   */
  constructor(app, model, jobs, first = "samples") {
    this.app = app;
    this.model = model;
    this.jobs = jobs;
    this.sizes = model.scales ?? [model.size ?? [256, 256]];
    /** @type {Promise<ImageBitmap> | null} */
    this.asked = null;
    /** @type {{[name: string]: () => Panel}} */
    const kinds = {
      samples: () => samples(this), sizes: () => sizes(this), super: () => enlarge(this), animate: () => animate(this),
      harmonize: () => blend(this, "harmonize"), edit: () => blend(this, "edit"), paint: () => paint(this),
    };
    this.kinds = kinds;
    /** @type {Map<string, Panel>} */
    this.panels = new Map();
    this.current = "";
    this.tabs = h("div", { class: "app-tabs", role: "tablist", "aria-label": t("apps.tabs"), onkeydown: this.#arrows });
    this.holder = h("div", { class: "app-panel", role: "tabpanel", id: "app-panel" });
    for (const name of Object.keys(kinds)) {
      this.tabs.append(h("button", {
        type: "button", role: "tab", id: `app-tab-${name}`, "aria-controls": "app-panel",
        onclick: () => this.show(name),
      }, t(`apps.${name}`)));
    }
    this.element = h("div", { class: "applications" }, this.tabs, this.holder);
    this.show(kinds[first] ? first : "samples");
  }

  get finest() {
    return this.sizes.length - 1;
  }

  /** Height and width of the photo as the model knows it. */
  get size() {
    return this.sizes[this.finest];
  }

  /** @param {string} name */
  show(name) {
    if (name === this.current) return;
    this.panels.get(this.current)?.hidden?.();
    this.current = name;
    let panel = this.panels.get(name);
    if (!panel) {
      panel = this.kinds[name]();
      this.panels.set(name, panel);
    }
    for (const tab of this.tabs.children) {
      const chosen = tab.id === `app-tab-${name}`;
      tab.setAttribute("aria-selected", String(chosen));
      /** @type {HTMLElement} */ (tab).tabIndex = chosen ? 0 : -1;
    }
    this.holder.setAttribute("aria-labelledby", `app-tab-${name}`);
    fill(this.holder, h("p", { class: "app-what" }, t(`apps.${name}.what`)), panel.element);
    panel.shown?.();
    this.element.dispatchEvent(new CustomEvent("panel", { detail: name }));
  }

  /** The model's photo: what parts are pasted into. */
  photo() {
    if (!this.asked) {
      const { api } = this.app;
      const asked = api.photo(this.model.id).then(async ({ picture }) => createImageBitmap(await api.picture(picture)));
      asked.catch(() => (this.asked = null)); // ask again next time
      this.asked = asked;
    }
    return this.asked;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    this.panels.get(this.current)?.key?.(event);
  }

  close() {
    for (const panel of this.panels.values()) panel.close?.();
    this.asked?.then((photo) => photo.close(), () => {});
  }

  #arrows = (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = /** @type {HTMLElement[]} */ ([...this.tabs.children]);
    const at = tabs.findIndex((tab) => tab === document.activeElement);
    const next = tabs[(at + step + tabs.length) % tabs.length];
    event.preventDefault();
    next.focus();
    next.click();
  };
}

// --- pictures of noise alone ------------------------------------------------------------------------------------

/** @param {Applications} apps @returns {Panel} */
function samples(apps) {
  const results = new Results(apps.app, apps.model.id, "samples");
  const count = number(6, 1, 24);
  const start = scaleChoice(0, apps.finest, 0);
  const seed = seedBox();
  const go = button("play", t("apps.make"), () => {
    const [first, scale] = [seed.value(), start.value()];
    const items = Array.from({ length: whole(count) }, (_, i) => ({
      caption: t("apps.seedCaption", { seed: first + i }), file: `${apps.model.id}-seed${first + i}`,
    }));
    void results.run(items, (i, client, signal) =>
      apps.app.api.sample(apps.model.id, { seed: first + i, start_scale: scale, size: null, client }, signal));
  }, { class: "primary" });
  return panel(results, [field(t("apps.count"), count), start.field(t("apps.start")),
    seed.element], go);
}

/** @param {Applications} apps @returns {Panel} */
function sizes(apps) {
  const results = new Results(apps.app, apps.model.id, "sizes");
  const [h0, w0] = apps.size;
  const height = number(h0, 16, 2048);
  const width = number(2 * w0, 16, 4096);
  const seed = seedBox();
  /** @type {[string, number, number][]} */
  const shapes = [["photo", h0, w0], ["wide", h0, 2 * w0], ["tall", 2 * h0, w0], ["double", 2 * h0, 2 * w0]];
  const presets = h("div", { class: "segmented", role: "group", "aria-label": t("apps.shape") },
    ...shapes.map(([name, tall, wide]) => button("", t(`apps.shape.${name}`), () => {
      height.value = String(tall);
      width.value = String(wide);
      make();
    })));
  const make = () => {
    const size = /** @type {[number, number]} */ ([whole(height), whole(width)]);
    const first = seed.value();
    const items = [0, 1].map((i) => ({
      caption: `${size[1]} × ${size[0]} · ${t("apps.seedCaption", { seed: first + i })}`,
      file: `${apps.model.id}-${size[1]}x${size[0]}-seed${first + i}`,
    }));
    void results.run(items, (i, client, signal) =>
      apps.app.api.sample(apps.model.id, { seed: first + i, start_scale: 0, size, client }, signal));
  };
  results.grid.classList.add("large");
  return panel(results, [presets, field(t("apps.width"), width), field(t("apps.height"), height), seed.element],
    button("play", t("apps.make"), make, { class: "primary" }));
}

/** @param {Applications} apps @returns {Panel} */
function enlarge(apps) {
  const results = new Results(apps.app, apps.model.id, "enlarged");
  results.grid.classList.add("large");
  const factor = h("select", { value: "2" }, ...[1.5, 2, 3, 4].map((f) => h("option", { value: f }, `${f}×`)));
  const seed = seedBox();
  const go = button("play", t("apps.make"), () => {
    const times = Number(factor.value);
    const items = [{ caption: t("apps.factorCaption", { factor: times }), file: `${apps.model.id}-${times}x` }];
    void results.run(items, (_, client, signal) =>
      apps.app.api.superResolve(apps.model.id, { factor: times, seed: seed.value(), client }, signal));
  }, { class: "primary" });
  return panel(results, [field(t("apps.factor"), factor), seed.element], go);
}

/**
 * @param {Results} results
 * @param {HTMLElement[]} controls
 * @param {HTMLElement} go
 * @returns {Panel}
 */
function panel(results, controls, go) {
  return {
    element: h("div", { class: "stack" }, h("div", { class: "app-controls" }, ...controls, go), results.element),
    close: () => results.stop(),
  };
}

// --- animation --------------------------------------------------------------------------------------------------

/** @param {Applications} apps @returns {Panel} */
function animate(apps) {
  const { app, model, jobs } = apps;
  const most = Math.max(2, Math.min(200, Math.floor(HIGHEST_STRIP / apps.size[0])));
  const frames = number(Math.min(40, most), 2, most);
  const fps = number(10, 1, 50);
  const start = scaleChoice(0, apps.finest, Math.min(2, apps.finest));
  const alpha = share(0.1);
  const beta = share(0.9);
  let loops = true;
  const loop = switchBox(t("apps.loop"), true, (on) => (loops = on));
  const seed = seedBox();
  const player = new Player();
  player.element.hidden = true;
  const status = h("p", { class: "status", role: "status" });
  const bar = h("progress", { max: 1, "aria-label": t("apps.running"), hidden: true });
  const actions = h("div", { class: "row wrap" });
  const earlier = h("select", { onchange: () => void play(Number(earlier.value)) });
  const earlierBox = field(t("apps.earlier"), earlier, { inline: true });
  earlierBox.hidden = true;
  /** @type {number | null} */
  let played = null;
  /** @type {number | null} */
  let watched = null;

  const go = button("play", t("apps.animateGo"), async () => {
    go.disabled = true;
    try {
      const job = await app.api.animate({
        model: model.id, frames: whole(frames), start_scale: start.value(), alpha: Number(alpha.input.value),
        beta: Number(beta.input.value), seed: seed.value(), loop: loops, fps: whole(fps),
      });
      watched = job.id;
      await jobs.refresh();
    } catch (error) {
      tell(messageOf(error), true);
    } finally {
      go.disabled = false;
    }
  }, { class: "primary" });

  const tell = (/** @type {string} */ words, wrong = false) => {
    status.textContent = words;
    status.classList.toggle("error", wrong);
  };

  /** @param {number} id */
  async function play(id) {
    played = id;
    try {
      const strip = await app.api.frames(id);
      if (played !== id) return;
      await player.open(strip.blob, strip.frames, strip.fps);
      player.element.hidden = false;
      player.element.dataset.job = String(id);
      showJobs();
    } catch (error) {
      tell(messageOf(error), true);
    }
  }

  /** @param {() => Promise<unknown>} act */
  const then = (act) => async () => {
    try {
      await act();
      await jobs.refresh();
    } catch (error) {
      tell(messageOf(error), true);
    }
  };

  function showJobs() {
    const mine = jobs.list.filter((job) => job.kind === "animate" && job.model === model.id);
    const done = mine.filter((job) => job.state === "done");
    const open = mine.find((job) => job.state === "running") ?? mine.find((job) => job.state === "queued");
    const latest = mine.find((job) => job.id === watched) ?? open ?? mine[0];
    bar.hidden = !open;
    if (open?.state === "running" && open.progress > 0) bar.value = open.progress;
    else bar.removeAttribute("value"); // it cannot be told: the bar says that something goes on
    if (open) tell(t(open.state === "running" ? "apps.running" : "apps.queued"));
    else if (latest?.state === "failed") tell(t("apps.failed", { message: latest.message }), true);
    else if (latest?.state === "cancelled") tell(t("apps.cancelled"));
    else tell("");
    if (watched !== null && done.some((job) => job.id === watched)) {
      const id = watched;
      watched = null;
      void play(id);
    } else if (played === null && done.length > 0 && !open) {
      void play(done[0].id);
    }
    earlierBox.hidden = done.length < 2;
    const listed = done.map((job) => job.id).join();
    if (earlier.dataset.listed !== listed) {
      earlier.dataset.listed = listed;
      fill(earlier, ...done.map((job) => h("option", { value: job.id }, t("apps.animation", {
        id: job.id, time: new Date(job.created).toLocaleTimeString(language(), { hour: "2-digit", minute: "2-digit" }),
      }))));
    }
    if (played !== null) earlier.value = String(played);
    const shown = done.find((job) => job.id === played);
    /** @type {[string, HTMLElement][]} */
    const wanted = [];
    if (open) {
      wanted.push([`cancel${open.id}`, button("stop", t("apps.cancel"), then(() => app.api.cancel(open.id)))]);
    } else if (latest?.state === "failed" || latest?.state === "cancelled") {
      wanted.push([`resume${latest.id}`, button("again", t("apps.resume"), then(() => app.api.resume(latest.id)))]);
    }
    if (shown) {
      const link = h("a", { class: "button", href: app.api.resultUrl(shown), download: `${model.id}-${shown.id}.gif` },
        icon("download"), t("apps.download"));
      wanted.push([`gif${shown.id}`, link]);
      wanted.push([`remove${shown.id}`, button("trash", t("apps.removeAnimation"), then(async () => {
        await app.api.removeJob(shown.id);
        played = null;
        player.close();
        player.element.hidden = true;
      }))]);
    }
    // Only where they are others: a button that has the focus keeps it.
    const key = wanted.map(([name]) => name).join();
    if (actions.dataset.key !== key) {
      actions.dataset.key = key;
      fill(actions, ...wanted.map(([, element]) => element));
    }
  }

  jobs.addEventListener("jobs", showJobs);
  return {
    element: h("div", { class: "stack" },
      h("div", { class: "app-controls" }, field(t("apps.frames"), frames), field(t("apps.fps"), fps),
        start.field(t("apps.animateStart")), alpha.field(t("apps.alpha")),
        beta.field(t("apps.beta")), seed.element, loop.root, go),
      bar, status, player.element, h("div", { class: "row wrap" }, actions, earlierBox)),
    shown: showJobs,
    hidden: () => player.pause(),
    close: () => {
      jobs.removeEventListener("jobs", showJobs);
      player.close();
    },
  };
}

// --- harmonise, edit, paint -------------------------------------------------------------------------------------

/**
 * @param {Applications} apps
 * @param {"harmonize" | "edit"} verb
 * @returns {Panel}
 */
function blend(apps, verb) {
  const { app, model } = apps;
  const scales = range(1, Math.max(1, apps.finest - 1));
  const results = new Results(app, model.id, verb === "edit" ? "edited" : "harmonized");
  const layers = new Layers({ copying: verb === "edit" });
  layers.addEventListener("unreadable", () => app.toast(t("apps.unreadable"), "error"));
  const seed = seedBox();
  const go = button("play", t(`apps.${verb}Go`), async () => {
    if (!layers.ready) {
      app.toast(t("apps.needPart"), "error");
      return;
    }
    go.disabled = true;
    try {
      const mask = layers.mask();
      for (let i = 0; i < mask.data.length; i++) mask.data[i] *= 255;
      const [picture, area] = await Promise.all([
        pngOf(layers.picture()).then((blob) => app.api.upload(blob, "photo")),
        encodeGrey(mask).then((blob) => app.api.upload(blob, "mask")),
      ]);
      const rest = { picture: picture.id, mask: area.id, seed: seed.value() };
      void results.run(scaleItems(scales, `${model.id}-${verb}`), (i, client, signal) =>
        app.api[verb](model.id, { ...rest, start_scale: scales[i], client }, signal));
    } catch (error) {
      app.toast(messageOf(error), "error");
    } finally {
      go.disabled = false;
    }
  }, { class: "primary" });
  return onPhoto(apps, results, layers.element, [seed.element, go], scales, (photo) => layers.setBase(photo));
}

/** @param {Applications} apps @returns {Panel} */
function paint(apps) {
  const { app, model } = apps;
  const scales = range(1, Math.max(1, Math.floor(apps.finest / 2)));
  const results = new Results(app, model.id, "painted");
  const drawing = new Drawing({
    ariaLabel: t("apps.canvas"), inks: ["blue", "green", "yellow", "orange", "red", "brown", "grey", "white", "black"],
    tip: 10, testid: "paint-canvas",
  });
  /** @type {ImageBitmap | null} */
  let photo = null;
  const grounds = {
    overPhoto: button("", t("apps.overPhoto"), () => ground("overPhoto")),
    onBlank: button("", t("apps.onBlank"), () => ground("onBlank")),
  };
  const ground = (/** @type {"overPhoto" | "onBlank" | ""} */ name) => {
    if (name) drawing.setPhoto(name === "overPhoto" ? photo : null);
    for (const [each, made] of Object.entries(grounds)) made.setAttribute("aria-pressed", String(each === name));
  };
  const open = async (/** @type {Blob | null} */ file) => {
    if (!file) return;
    try {
      const bitmap = await createImageBitmap(file);
      drawing.setPhoto(bitmap);
      bitmap.close();
      ground("");
    } catch {
      app.toast(t("apps.unreadable"), "error");
    }
  };
  dropFiles(drawing.element, (file) => void open(file));
  const seed = seedBox();
  const go = button("play", t("apps.paintGo"), async () => {
    go.disabled = true;
    try {
      const { id } = await app.api.upload(await drawing.blob(), "photo");
      const rest = { picture: id, seed: seed.value() };
      void results.run(scaleItems(scales, `${model.id}-painted`), (i, client, signal) =>
        app.api.paintToImage(model.id, { ...rest, start_scale: scales[i], client }, signal));
    } catch (error) {
      app.toast(messageOf(error), "error");
    } finally {
      go.disabled = false;
    }
  }, { class: "primary" });
  const editor = h("div", { class: "stack" },
    h("div", { class: "row wrap" },
      h("div", { class: "segmented", role: "group", "aria-label": t("apps.ground") }, ...Object.values(grounds)),
      button("open", t("apps.openPainting"), async () => open(await chooseFile("image/*")))),
    drawing.element);
  const made = onPhoto(apps, results, editor, [seed.element, go], scales, (bitmap) => {
    photo = bitmap;
    drawing.reset(bitmap.width, bitmap.height);
    ground("overPhoto");
  });
  return { ...made, key: (event) => drawing.key(event) };
}

/**
 * A panel whose editor needs the photo first.
 * @param {Applications} apps
 * @param {Results} results
 * @param {HTMLElement} editor
 * @param {HTMLElement[]} controls
 * @param {number[]} scales
 * @param {(photo: ImageBitmap) => void} begin
 * @returns {Panel}
 */
function onPhoto(apps, results, editor, controls, scales, begin) {
  if (apps.finest < 1) return { element: h("p", { class: "hint" }, t("apps.oneScale")) };
  const waiting = h("p", { class: "loading" }, h("span", { class: "spinner", "aria-hidden": "true" }));
  const content = h("div", { class: "stack", hidden: true }, editor, h("div", { class: "app-controls" }, ...controls),
    h("p", { class: "hint" }, t("apps.scales", { first: scales[0], last: scales[scales.length - 1] })),
    results.element);
  let begun = false;
  return {
    element: h("div", null, waiting, content),
    shown: async () => {
      if (begun) return;
      begun = true;
      try {
        const photo = await apps.photo();
        waiting.hidden = true;
        content.hidden = false;
        begin(photo);
      } catch (error) {
        begun = false;
        fill(waiting, h("span", { class: "error-text" }, t("apps.photoFailed", { message: messageOf(error) })));
      }
    },
    close: () => results.stop(),
  };
}

/** @param {number[]} scales @param {string} file */
const scaleItems = (scales, file) =>
  scales.map((scale) => ({ caption: t("apps.scaleCaption", { scale }), file: `${file}-scale${scale}` }));

// --- controls ---------------------------------------------------------------------------------------------------

/** @param {number} value @param {number} min @param {number} max */
const number = (value, min, max) => h("input", { type: "number", value, min, max, step: 1, class: "narrow" });

/** What a number box says, brought into its bounds. @param {HTMLInputElement} input */
function whole(input) {
  const value = Math.round(Number(input.value));
  const inside = Math.min(Number(input.max), Math.max(Number(input.min), Number.isFinite(value) ? value : 0));
  input.value = String(inside);
  return inside;
}

/** @param {number} first @param {number} last */
const range = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

function seedBox() {
  const input = number(0, 0, 2 ** 31 - 1);
  const dice = button("dice", t("apps.another"), () => {
    input.value = String(crypto.getRandomValues(new Uint32Array(1))[0] % 100000);
  }, { bare: true });
  return {
    element: h("div", { class: "row bottom" }, field(t("apps.seed"), input), dice), value: () => whole(input),
  };
}

/** @param {number} first @param {number} last @param {number} chosen */
function scaleChoice(first, last, chosen) {
  const words = (/** @type {number} */ n) =>
    t(n === 0 ? "apps.level.all" : n <= last / 2 ? "apps.level.some" : "apps.level.few", { n });
  const output = h("output", { class: "slider-value words" }, words(chosen));
  const input = h("input", {
    type: "range", min: first, max: last, step: 1, value: chosen,
    oninput: () => (output.textContent = words(Number(input.value))),
  });
  return {
    field: (/** @type {string} */ name) => field(name, h("span", { class: "row" }, input, output)),
    value: () => Number(input.value),
  };
}

/** @param {number} value 0..1 */
function share(value) {
  const output = h("output", { class: "slider-value" }, value.toFixed(2));
  const input = h("input", {
    type: "range", min: 0, max: 1, step: 0.01, value,
    oninput: () => (output.textContent = Number(input.value).toFixed(2)),
  });
  return { input, field: (/** @type {string} */ name) => field(name, h("span", { class: "row" }, input, output)) };
}
