/** The paint page: on the left a map, and a sketch over it; on the right their picture, which follows the brush. */

import { ApiError } from "./api.js";
import { keepWork, keptWork } from "./autosave.js";
import { encodeGrey, readGrey } from "./canvas/png.js";
import { Raster } from "./canvas/raster.js";
import { Surface } from "./canvas/surface.js";
import { button, chooseFile, dropFiles, field, fill, h, openDialog, saveFile, switchBox } from "./dom.js";
import { Follower } from "./follow.js";
import { inLanguage, t } from "./i18n.js";
import "./paint_words.js";
import { Palette, unknownOf } from "./palette.js";
import { PhotoToMap } from "./photo_to_map.js";
import { PhotoToSketch } from "./photo_to_sketch.js";
import { readProject, saveProject } from "./project.js";
import { SketchLayer, resized } from "./sketch_layer.js";
import { StylePanel, picturesOf } from "./styles.js";

/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./api.js").LabelSet} LabelSet */
/** @typedef {import("./canvas/surface.js").Tool} Tool */
/** @typedef {import("./main.js").App} App */
/** @typedef {{title: {en: string, ja?: string}, map: string}} Layout */

const WORK = "paint";
const AUTOSAVE_MS = 800;
/** From the last letter that was typed to the picture of it. */
const TYPING_MS = 400;
/** Characters of a text; the server takes as many. */
const MOST_TEXT = 1000;
const MOST_SIDE = 2048;
const MOST_TIP = 128;
/** The longest side of an underlay as it is kept in a project, pixels. */
const UNDERLAY_SIDE = 1536;

/** @type {[Tool, string][]} each tool's name, and its key */
const TOOLS = [["brush", "B"], ["eraser", "E"], ["line", "L"], ["polygon", "P"], ["rectangle", "R"], ["ellipse", "O"],
  ["fill", "F"], ["eyedropper", "I"], ["hand", "H"]];
const TIPS = /** @type {const} */ (["circle", "square", "diamond"]);
/** What a sketch is drawn with. @type {Tool[]} */
const SKETCHING = ["brush", "eraser", "line", "hand"];
/** Of a model that takes no map: white paper. @type {LabelSet} */
const NO_LABELS = { name: "", labels: [{ id: 0, name: "", color: [255, 255, 255], group: "" }] };
const INPUTS = /** @type {const} */ (["map", "sketch", "text", "style"]);
/** How much of its colour a map keeps that is switched off. */
const FADED = 0.12;

/** @typedef {{map: string | null, sketch: string | null, text: string | null}} Parts what the picture is painted by */

/** Whether this page is for a model. @param {Model} model */
const paints = (model) => model.kind === "map" || model.kind === "mixed";

/**
 * @param {HTMLElement} root
 * @param {App} app
 * @returns {Promise<import("./main.js").Page>}
 */
export async function mount(root, app) {
  const models = await app.models();
  if (!models.some(paints)) {
    fill(root, h("p", { class: "empty" }, t("paint.none")));
    return {};
  }
  const page = new PaintPage(root, app, models);
  await page.begin();
  return page;
}

class PaintPage {
  /**
   * @param {HTMLElement} root
   * @param {App} app
   * @param {Model[]} all the models there are
   */
  constructor(root, app, all) {
    this.app = app;
    this.api = app.api;
    this.all = all;
    this.models = all.filter(paints);
    this.model = this.models[0];
    this.root = root;
    this.client = app.client("paint");
    this.smallClient = app.client("paint-small");

    this.palette = new Palette((id) => this.#chose(id));
    this.styles = new StylePanel({
      changed: () => this.#styleChanged(),
      small: (style, parts, signal) => this.#paintSmall(style, JSON.parse(parts), signal),
      upload: (file) => this.#uploadStyle(file),
    });
    this.follower = new Follower((signal) => this.#paint(signal));
    this.follower.addEventListener("busy", () => this.#showBusy(true));
    this.follower.addEventListener("idle", () => this.#showBusy(false));

    this.toolButtons = TOOLS.map(([tool, key]) =>
      button(tool, t(`paint.${tool}`), () => this.#setTool(tool), {
        class: "tool", "data-tool": tool, title: `${t(`paint.${tool}`)} (${key})`, "aria-keyshortcuts": key,
        tabindex: -1,
      }));
    this.toolbar = h("div", {
      class: "tools", role: "toolbar", "aria-label": t("paint.tools"),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#alongTools(event),
    }, ...this.toolButtons);

    this.undoButton = button("undo", t("paint.undo"), () => this.layers.undo(),
      { bare: true, class: "quiet", title: `${t("paint.undo")} (Ctrl+Z)`, "aria-keyshortcuts": "Control+Z" });
    this.redoButton = button("redo", t("paint.redo"), () => this.layers.redo(),
      {
        bare: true, class: "quiet", title: `${t("paint.redo")} (Ctrl+Shift+Z)`, "aria-keyshortcuts": "Control+Shift+Z",
      });
    this.tipButtons = TIPS.map((shape) =>
      h("button", {
        type: "button", class: "bare tip", "aria-label": t(`paint.${shape}`), title: t(`paint.${shape}`),
        "data-tip": shape,
        onclick: () => this.#setTip({ ...this.layers.active.tip, shape }),
      }, h("span", { class: `tip-shape ${shape}`, "aria-hidden": "true" })));
    this.sizeSlider = h("input", {
      type: "range", min: 1, max: MOST_TIP, step: 1, value: 16, "aria-label": t("paint.size"),
      title: `${t("paint.size")} ([ ])`, "aria-keyshortcuts": "[ ]",
      oninput: () => this.#setTip({ ...this.layers.active.tip, size: Number(this.sizeSlider.value) }),
    });
    this.sizeOut = h("output", { class: "size-out", "aria-hidden": "true" }, "16");

    this.surfaceBox = h("div", { class: "view surface-box" });
    this.pointer = h("div", { class: "status pointer-status" });
    this.underlaySlider = h("input", {
      type: "range", min: 0, max: 1, step: 0.01, value: 0.5, "aria-label": t("paint.underlay"),
      oninput: () => {
        this.surface.opacity = Number(this.underlaySlider.value);
        this.#saveSoon();
      },
    });
    this.underlayRow = h("div", { class: "row underlay-row", hidden: true },
      h("span", { class: "field-name" }, t("paint.underlay")), this.underlaySlider,
      button("clear", t("paint.dropUnderlay"), () => this.#setUnderlay(null), { bare: true, class: "quiet" }));

    this.canvas = h("canvas", {
      role: "img", "aria-label": t("paint.pictureAlt"), "data-testid": "picture", width: 4, height: 3,
    });
    this.pictureBox = h("div", { class: "view picture-box" }, this.canvas);
    this.pictureStatus = h("div", { class: "status", role: "status", "data-testid": "picture-status" });
    this.followSwitch = switchBox(t("paint.follow"), true, (on) => {
      this.#follows = on;
      if (on) this.follower.finished();
    });
    this.keepButton = button("keep", t("paint.keep"), () => this.#keep(), { class: "quiet small", disabled: true });
    this.savePictureButton = button("download", t("paint.savePicture"), () => {
      if (this.#made) saveFile(this.#made.blob, "pinxit-picture.png");
    }, { class: "quiet small", disabled: true });
    this.nowButton = button("right", t("paint.now"), () => this.#paintNow(), {
      bare: true, class: "primary arrow", title: `${t("paint.now")} (Ctrl+Enter)`, "aria-keyshortcuts": "Control+Enter",
    });
    this.backButton = button("left", t("paint.toUnderlay"), () => this.#copyBack(),
      { bare: true, class: "arrow", disabled: true });
    this.textBox = h("input", {
      type: "text", maxlength: MOST_TEXT, "aria-label": t("paint.text"), placeholder: t("paint.textHint"),
      "data-testid": "text", autocomplete: "off",
      oninput: (/** @type {InputEvent} */ event) => event.isComposing || this.#typed(),
      oncompositionend: () => this.#typed(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Enter" && !event.isComposing && !event.ctrlKey) this.#paintNow();
      },
    });
    this.textRow = h("div", { class: "text-row", hidden: true }, this.textBox);
    this.noFilling = h("p", { class: "hint segment-why", hidden: true }, t("paint.noFilling"));

    this.modelSelect = h("select", {
      "aria-label": t("paint.model"), "data-testid": "model", onchange: () => this.#pickModel(this.modelSelect.value),
    });
    this.licence = button("", t("paint.licence"), () => this.app.open("models", { model: this.model.id }),
      { class: "quiet licence", title: t("paint.licenceOf") });
    this.layoutsButton = button("map", t("paint.layouts"), () => this.#offerLayouts(), { hidden: true });
    this.sizeSelect = h("select", {
      "aria-label": t("paint.canvas"), "data-testid": "canvas-size",
      onchange: () => this.#pickSize(this.sizeSelect.value),
    });
    this.photoToMap = new PhotoToMap({
      api: this.api,
      client: app.client("segment"),
      size: () => this.surface.raster,
      took: async (map, name) => {
        this.layers.setMap(await readGrey(map));
        this.app.toast(t("segment.done", { name }));
      },
      say: (message) => this.#say(message),
      fail: (error) => this.#fail(error),
    });
    this.photoToSketch = new PhotoToSketch({
      api: this.api,
      client: app.client("trace"),
      size: () => this.surface.raster,
      took: async (sketch, name) => {
        this.layers.setSketch(await readGrey(sketch));
        this.app.toast(t("trace.done", { name }));
      },
      say: (message) => this.#say(message),
      fail: (error) => this.#fail(error),
    });
    this.inputsRow = h("div", { class: "inputs", role: "group", "aria-label": t("paint.inputs") });
    this.layers = this.#makeLayers();
    this.surface = this.layers.map;
    this.#arrange();
    this.#setTool("brush");
    this.#setTip({ shape: "circle", size: 16 });
    document.addEventListener("keydown", (event) => this.#shortcut(event));
    addEventListener("pagehide", () => this.#save());
  }

  /** Label colours by id, as the surface asks for them. @type {Map<number, [number, number, number, number]>} */
  #colors = new Map();
  /** Counts changes of map and sketch, so that an unchanged one is not sent again. */
  #versions = { map: 0, sketch: 0 };
  /** What the server has. @type {{[layer: string]: {version: number, id: string}}} */
  #sent = {};
  /** @type {ReturnType<typeof setTimeout> | null} */
  #typing = null;
  /** Pictures that styles are taken from, by id: a server that was started anew has to get them again.
   * @type {Map<string, Blob>} */
  #stylePictures = new Map();
  /** @type {{blob: Blob, id: string} | null} the picture that is shown */
  #made = null;
  /** @type {{dataUrl: string} | null} */
  #underlay = null;
  #created = new Date().toISOString();
  /** @type {ReturnType<typeof setTimeout> | null} */
  #saving = null;
  #follows = true;
  /** What the eyedropper gives way to. @type {Tool} */
  #before = "brush";
  /** @type {{[input: string]: boolean}} inputs that the person switched on or off */
  #inputs = { map: true, sketch: true, text: true, style: true };
  /** What is said beside each switch. @type {Map<"map" | "sketch" | "text" | "style", HTMLElement>} */
  #notes = new Map();
  /** @type {Layout[]} */
  #layouts = [];

  // ---------------------------------------------------------------- the page

  #arrange() {
    /** @type {(symbol: string, name: string, act: () => void, title?: string) => HTMLButtonElement} */
    const file = (symbol, name, act, title = "") =>
      button(symbol, name, act, { class: "quiet small", title: title || null });

    /** @type {(symbol: string, name: string, act: () => void) => HTMLButtonElement} */
    const view = (symbol, name, act) => button(symbol, name, act, { bare: true, class: "quiet" });

    fill(
      this.root,
      h("div", { class: "paint-bar" },
        field(t("paint.model"), this.modelSelect, { inline: true }), this.licence,
        this.layoutsButton,
        field(t("paint.canvas"), this.sizeSelect, { inline: true }),
        h("div", { class: "row bar-end" },
          button("open", t("paint.openProject"), () => this.#openProject(), { class: "quiet narrow" }),
          button("save", t("paint.saveProject"), () => this.#saveProject(), { class: "quiet narrow" }),
          button("help", t("paint.help"), () => this.#showShortcuts(),
            { bare: true, class: "quiet", "aria-keyshortcuts": "?" }))),
      h("div", { class: "paint-body" },
        this.toolbar,
        this.palette.root,
        h("div", { class: "paint-work" },
          h("div", { class: "views" },
            h("section", { class: "card map-card", "aria-label": t("paint.map") },
              h("div", { class: "card-head" },
                h("h2", null, t("paint.map")),
                h("div", { class: "row tight" }, this.undoButton, this.redoButton,
                  button("trash", t("paint.clear"), () => this.layers.active.clear(), { bare: true, class: "quiet" })),
                h("div", { class: "row tight tips", role: "group", "aria-label": t("paint.tip") }, ...this.tipButtons),
                h("div", { class: "row size-row" }, this.sizeSlider, this.sizeOut)),
              this.layers.row,
              this.surfaceBox,
              h("div", { class: "card-foot" }, this.pointer, this.underlayRow,
                h("div", { class: "row tight zoom" },
                  view("minus", t("paint.zoomOut"), () => this.layers.active.zoomBy(1 / 1.5)),
                  view("fit", t("paint.fit"), () => this.layers.active.fit()),
                  view("plus", t("paint.zoomIn"), () => this.layers.active.zoomBy(1.5))))),
            h("div", { class: "arrows" }, this.nowButton, this.backButton),
            h("section", { class: "card picture-card", "aria-label": t("paint.picture") },
              h("div", { class: "card-head" }, h("h2", null, t("paint.picture")), this.followSwitch.root),
              this.pictureBox,
              h("div", { class: "card-foot" }, this.pictureStatus)),
            h("div", { class: "files" },
              file("open", t("paint.openMap"), () => this.#openMap()),
              file("download", t("paint.saveMap"), () => this.#saveMap(), t("paint.saveMapHint")),
              file("download", t("paint.saveColours"), () => this.#saveColours(), t("paint.saveColoursHint")),
              file("photo", t("paint.openUnderlay"), () => this.#openUnderlay()),
              this.photoToMap.button,
              this.photoToSketch.root,
              h("div", { class: "row of-picture" }, this.keepButton, this.savePictureButton),
              this.photoToMap.why, this.noFilling)),
          h("div", { class: "under" },
            h("div", { class: "input-line" }, this.inputsRow, this.textRow), this.styles.root))),
    );
    dropFiles(this.surfaceBox, (dropped) => this.#openDropped(dropped));
  }

  #makeLayers() {
    const layers = new SketchLayer(this.surfaceBox, (box) => this.#makeSurface(box));
    const { surface } = layers;
    surface.addEventListener("stroke", () => {
      this.#partChanged("sketch");
      if (this.#follows) this.follower.drawing();
    });
    surface.addEventListener("change", () => {
      this.#partChanged("sketch");
      this.#styleChanged();
    });
    surface.addEventListener("hover", (event) => {
      const at = /** @type {CustomEvent<{x: number, y: number, id: number} | null>} */ (event).detail;
      this.#showPencil(at);
    });
    layers.addEventListener("history", () => this.#showHistory());
    layers.addEventListener("layer", () => this.#showLayer());
    return layers;
  }

  /** @param {HTMLElement} box */
  #makeSurface(box) {
    const [height, width] = this.model.size ?? [256, 256];
    const surface = new Surface(box, {
      width,
      height,
      color: (id) => this.#shown(this.#colors.get(id) ?? [255, 0, 255, 255]), // no label's id: seen at once
      label: (id) => this.palette.nameOf(id),
      ariaLabel: t("paint.surface"),
      description: t("paint.surfaceHelp"),
    });
    surface.canvas.dataset.testid = "map";
    surface.addEventListener("stroke", () => {
      this.#partChanged("map");
      if (this.#follows) this.follower.drawing();
    });
    surface.addEventListener("change", () => {
      this.#partChanged("map");
      this.#showSize();
      if (this.#follows) this.follower.finished();
      else this.#say(t("paint.stale"));
      this.#saveSoon();
    });
    surface.addEventListener("hover", (event) => {
      const at = /** @type {CustomEvent<{x: number, y: number, id: number} | null>} */ (event).detail;
      this.#showPointer(at);
    });
    surface.addEventListener("pick", (event) => {
      const { id } = /** @type {CustomEvent<{id: number}>} */ (event).detail;
      this.palette.choose(id);
      this.#chose(id);
      this.#setTool(this.#before);
    });
    return surface;
  }

  // ---------------------------------------------------------------- beginning, and being shown

  /** What was painted last, or else a drawn street, so that there is a picture without doing anything. */
  async begin() {
    const blob = await keptWork(WORK);
    let restored = false;
    if (blob) {
      try {
        const project = await readProject(blob);
        if (new Set(project.ids).size > 1 || project.sketch || project.text) {
          await this.#restore(project, false);
          restored = true;
        }
      } catch {
        // Work of another version, or damaged: a drawn street is a better beginning than a message.
      }
    }
    if (!restored) {
      await this.#setModel(this.model);
      await this.#firstMap();
    }
    this.follower.finished();
  }

  /**
   * @param {import("./main.js").Parameters} parameters `model`: an id to open; `entry`: of the gallery, to go on with
   */
  async shown(parameters) {
    this.all = await this.app.models();
    const models = this.all.filter(paints);
    if (models.length) this.models = models;
    this.#showModels();
    this.photoToMap.setModel(this.model); // a segmenter may have come, or gone
    this.photoToSketch.setModel(this.model, this.all);
    try {
      const { entry } = parameters;
      const id = entry?.recipe.model ?? entry?.model ?? parameters.model;
      const wanted = this.models.find((model) => model.id === id);
      if (wanted && wanted.id !== this.model.id) {
        await this.#setModel(wanted);
        if (!entry) await this.#firstMap();
      }
      // Small pictures were given up when the page was left.
      if (this.#follows) this.follower.finished();
      if (entry?.recipe.kind === "paint") await this.#takeRecipe(entry.recipe);
    } catch (error) {
      this.#fail(error);
    }
  }

  async hidden() {
    this.styles.stop();
    await this.#save();
  }

  // ---------------------------------------------------------------- models, maps, sizes

  /** @param {Model} model */
  async #setModel(model) {
    const labels = model.label_set ?? NO_LABELS;
    const before = this.palette.labels;
    const last = this.model;
    const ink = before.find((label) => label.id === this.palette.chosen)?.name;
    this.model = model;
    this.#sent = {};
    const unknown = unknownOf(labels);
    this.#colors = new Map([...labels.labels, ...(unknown ? [unknown] : [])]
      .map((label) => [label.id, [label.color[0], label.color[1], label.color[2], 255]]));
    this.palette.setLabels(labels);
    this.surface.paper = unknown?.id ?? labels.labels[0].id;
    // Labels of the same name are the same thing, whatever their ids; what the new model does not know is left open.
    if (before.length) {
      const ids = new Map(labels.labels.map((label) => [label.name.toLowerCase(), label.id]));
      const table = new Uint8Array(256).fill(this.surface.paper);
      for (const label of before) table[label.id] = ids.get(label.name.toLowerCase()) ?? this.surface.paper;
      const { width, height, data } = this.surface.raster;
      const map = Raster.from(width, height, data.map((id) => table[id]));
      const ofModel = last.size !== null && last.size[0] === height && last.size[1] === width;
      this.layers.setMap(ofModel && model.size ? resized(map, model.size[1], model.size[0]) : map, { history: false });
    } else {
      const [height, width] = model.size ?? [256, 256];
      this.layers.setMap(new Raster(width, height, this.surface.paper), { history: false });
    }
    this.root.classList.toggle("no-map", !model.label_set);
    const first = labels.labels.find((label) => label.name === ink) ??
      labels.labels.find((label) => /^tree/i.test(label.name)) ?? labels.labels[0];
    this.palette.choose(first.id);
    this.#chose(first.id);
    this.styles.setModel(model);
    this.photoToMap.setModel(model);
    this.photoToSketch.setModel(model, this.all);
    this.noFilling.hidden = model.kind !== "mixed";
    const back = t(model.kind === "mixed" ? "paint.toParts" : "paint.toUnderlay");
    this.backButton.title = back;
    this.backButton.setAttribute("aria-label", back);
    this.#showInputs();
    this.#showModels();
    this.#showSize();
    this.#showHistory();
    this.#layouts = [];
    this.layoutsButton.hidden = true;
    try {
      this.#layouts = await this.api.layouts(model.id);
    } catch (error) {
      this.#fail(error);
    }
    this.layoutsButton.hidden = this.#layouts.length === 0;
  }

  /** @param {string} id */
  async #pickModel(id) {
    const model = this.models.find((each) => each.id === id);
    if (!model) return;
    await this.#setModel(model);
    // A map of which the new model knows nearly nothing is no beginning.
    const { data } = this.surface.raster;
    const open = data.reduce((sum, each) => sum + Number(each === this.surface.paper), 0);
    if (model.label_set && open > data.length / 2) await this.#firstMap();
    this.#saveSoon();
    this.follower.finished();
  }

  async #firstMap() {
    if (this.#layouts.length) await this.#takeLayout(this.#layouts[0], false);
  }

  /**
   * @param {Layout} layout
   * @param {boolean} history
   */
  async #takeLayout(layout, history = true) {
    try {
      this.layers.setMap(await readGrey(await this.api.picture(layout.map)), { history });
    } catch (error) {
      this.#fail(error);
    }
  }

  #offerLayouts() {
    /** @type {HTMLDialogElement} */
    const dialog = openDialog(
      t("paint.layouts"),
      h("div", { class: "layouts" }, ...this.#layouts.map((layout) => {
        const small = h("canvas", { "aria-hidden": "true", width: 4, height: 3 });
        this.api.picture(layout.map).then(readGrey).then((raster) => this.#drawColours(raster, small), () => {});
        return h("button", {
          type: "button", class: "layout", onclick: () => {
            dialog.close();
            this.#takeLayout(layout);
          },
        }, small, h("span", null, inLanguage(layout.title)));
      })),
      h("p", { class: "hint" }, t("paint.layoutsHint")),
    );
    dialog.classList.add("wide");
  }

  #showModels() {
    fill(this.modelSelect, ...this.models.map((model) => h("option", { value: model.id }, model.name)));
    this.modelSelect.value = this.model.id;
    const licence = this.model.card.licence ?? "";
    fill(this.licence, licence.split(/[,;:(]/)[0].trim() || t("paint.licence"));
    this.licence.setAttribute("aria-label", `${t("paint.licence")}: ${licence || "?"}`);
    this.licence.title = `${t("paint.licenceOf")}${licence ? `: ${licence}` : ""}`;
  }

  #showSize() {
    const { width, height } = this.surface.raster;
    const [h0, w0] = this.model.size ?? [256, 256];
    const sizes = [[w0, h0], [w0 * 2, h0 * 2], [256, 256], [512, 512], [width, height]];
    const values = [...new Set(sizes.map(([w, h]) => `${w}x${h}`))];
    const now = `${width}x${height}`;
    const offered = [...values, "custom"];
    if ([...this.sizeSelect.options].map((option) => option.value).join() !== offered.join()) {
      fill(this.sizeSelect, ...offered.map((value) =>
        h("option", { value }, value === "custom" ? t("paint.custom") : value.replace("x", " × "))));
    }
    this.sizeSelect.value = now;
  }

  /** @param {string} value */
  #pickSize(value) {
    if (value !== "custom") {
      const [width, height] = value.split("x").map(Number);
      this.#resize(width, height);
      return;
    }
    const { raster } = this.surface;
    const side = (/** @type {number} */ now) =>
      h("input", { type: "number", min: 16, max: MOST_SIDE, step: 1, value: now, required: true });
    const [width, height] = [side(raster.width), side(raster.height)];
    const [h0, w0] = this.model.size ?? [256, 256];
    /** @type {HTMLDialogElement} */
    const dialog = openDialog(
      t("paint.canvas"),
      h("form", {
        class: "stack", onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          dialog.close();
          this.#resize(width.valueAsNumber, height.valueAsNumber);
        },
      },
      h("div", { class: "row" }, field(t("paint.width"), width), field(t("paint.height"), height)),
      h("p", { class: "hint" }, t("paint.sizeHint", { most: MOST_SIDE, w: w0, h: h0 })),
      h("div", { class: "row end" }, h("button", { type: "submit", class: "primary" }, t("paint.setSize")))),
    );
    dialog.addEventListener("close", () => this.#showSize());
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  #resize(width, height) {
    const { raster } = this.surface;
    if (width === raster.width && height === raster.height) return;
    this.layers.setMap(resized(raster, width, height));
    this.layers.active.fit();
  }

  // ---------------------------------------------------------------- tools

  /** @param {Tool} tool */
  #setTool(tool) {
    const { active } = this.layers;
    if (active.tool !== "eyedropper" && active.tool !== "hand") this.#before = active.tool;
    active.tool = tool;
    for (const each of this.toolButtons) {
      const chosen = each.dataset.tool === tool;
      each.setAttribute("aria-pressed", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
    }
    this.root.dataset.tool = tool;
  }

  /** The toolbar is one stop of the Tab key; arrows go along it. @param {KeyboardEvent} event */
  #alongTools(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = this.toolButtons.findIndex((each) => each === document.activeElement);
    this.toolButtons[(at + step + this.toolButtons.length) % this.toolButtons.length].focus();
  }

  /** @param {import("./canvas/tools.js").Tip} tip */
  #setTip(tip) {
    const size = Math.max(1, Math.min(MOST_TIP, Math.round(tip.size)));
    this.layers.active.tip = { shape: tip.shape, size };
    this.sizeSlider.value = String(size);
    fill(this.sizeOut, `${size} px`);
    for (const each of this.tipButtons) each.setAttribute("aria-pressed", String(each.dataset.tip === tip.shape));
  }

  /** @param {number} id */
  #chose(id) {
    this.layers.setLayer(this.model.label_set ? "map" : "sketch");
    this.surface.ink = id;
    this.palette.used(id);
    if (["eraser", "eyedropper", "hand"].includes(this.surface.tool)) {
      this.#setTool(this.#before === "eraser" ? "brush" : this.#before);
    }
    this.#showPointer(null);
    if (document.activeElement === this.palette.search) this.surface.focus();
  }

  /** @param {{x: number, y: number, id: number} | null} at */
  #showPointer(at) {
    if (!at && this.layers.layer === "sketch") {
      return fill(this.pointer, t(this.layers.active.tool === "eraser" ? "layer.rubber" : "layer.pencil"));
    }
    const id = at ? at.id : this.surface.ink;
    const color = this.#colors.get(id);
    const box = h("span", { class: "swatch", "aria-hidden": "true" });
    if (color) box.style.backgroundColor = `rgb(${color.slice(0, 3).join(" ")})`;
    const label = this.palette.nameOf(id);
    fill(this.pointer, box, at ? t("paint.pixel", { label, x: at.x, y: at.y }) : t("paint.nowInk", { label }));
  }

  /** @param {{x: number, y: number, id: number} | null} at */
  #showPencil(at) {
    if (!at) return this.#showPointer(null);
    const what = t(at.id ? "layer.line" : "layer.paper");
    fill(this.pointer, t("layer.pixel", { what, x: at.x, y: at.y }));
  }

  /** Tools and tip of the layer that is drawn on. */
  #showLayer() {
    const { active, layer } = this.layers;
    for (const each of this.toolButtons) {
      each.disabled = layer === "sketch" && !SKETCHING.includes(/** @type {Tool} */ (each.dataset.tool));
    }
    this.#setTool(active.tool);
    this.#setTip(active.tip);
    this.#showPointer(null);
    this.#showHistory();
  }

  #showHistory() {
    this.undoButton.disabled = !this.layers.canUndo;
    this.redoButton.disabled = !this.layers.canRedo;
  }

  /** @param {KeyboardEvent} event */
  #shortcut(event) {
    if (this.root.hidden || document.querySelector("dialog[open]")) return;
    if (event.defaultPrevented || event.isComposing) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key === "Enter") {
      event.preventDefault();
      this.#paintNow();
      return;
    }
    if (target.matches("input:not([type=range], [type=checkbox]), textarea, select")) return;
    const key = event.key.toLowerCase();
    const { tip } = this.layers.active;
    const { size } = tip;
    /** @type {(() => void) | undefined} */
    let act;
    if (control && !event.altKey) {
      if (key === "z") act = () => (event.shiftKey ? this.layers.redo() : this.layers.undo());
      if (key === "y") act = () => this.layers.redo();
    } else if (!event.altKey) {
      const tool = TOOLS.find(([, letter]) => letter.toLowerCase() === key);
      if (tool && (this.layers.layer === "map" || SKETCHING.includes(tool[0]))) act = () => this.#setTool(tool[0]);
      if (key === "s") act = () => this.layers.swap();
      // Small tips change by a pixel, large ones by a share of what they are.
      if (key === "[") act = () => this.#setTip({ ...tip, size: Math.min(size - 1, size / 1.2) });
      if (key === "]") act = () => this.#setTip({ ...tip, size: Math.max(size + 1, size * 1.2) });
      if (key === "/") act = () => this.palette.search.focus();
      if (key === "?") act = () => this.#showShortcuts();
      if (key === "escape") act = () => this.layers.active.cancel();
      if (key === "enter" && !target.closest("button, a, input, [role=application]")) act = () => this.#paintNow();
    }
    if (!act) return;
    event.preventDefault();
    act();
    this.#showHistory();
  }

  #showShortcuts() {
    const row = (/** @type {string[]} */ keys, /** @type {string} */ what) =>
      h("tr", null,
        h("th", { scope: "row" }, ...keys.flatMap((key) => [key === "|" ? t("paint.or") : h("kbd", null, key), " "])),
        h("td", null, what));
    openDialog(
      t("paint.help"),
      h("table", { class: "shortcuts" }, h("tbody", null,
        ...TOOLS.map(([tool, key]) => row([key], t(`paint.${tool}`))),
        row(["[", "]"], t("paint.keySize")),
        row(["S"], t("layer.swap")),
        row(["Ctrl+Z"], t("paint.undo")),
        row(["Ctrl+Shift+Z", "|", "Ctrl+Y"], t("paint.redo")),
        row(["Ctrl+Enter", "|", "Enter"], t("paint.keyNow")),
        row(["/"], t("paint.keySearch")),
        row(["←", "→", "↑", "↓"], t("paint.keyArrows")),
        row(["Space"], t("paint.keySpace")),
        row(["Esc"], t("paint.keyEscape")),
        row(["?"], t("paint.keyHelp")))),
    );
  }

  // ---------------------------------------------------------------- inputs of the model

  /** Whether an input counts. @param {"map" | "sketch" | "text" | "style"} name */
  #on(name) {
    const need = this.model.inputs[name] ?? "no";
    return need === "required" || (need === "optional" && this.#inputs[name]);
  }

  #showInputs() {
    this.inputSwitches = INPUTS.map((name) => {
      const need = this.model.inputs[name] ?? "no";
      const note = h("span", { class: "hint", id: `input-note-${name}` });
      this.#notes.set(name, note);
      const { root, input } = switchBox(t(`input.${name}`), this.#on(name), (now) => {
        this.#inputs[name] = now;
        this.#inputSwitched();
        if (name === "sketch" && now) this.layers.setLayer("sketch");
        this.#styleChanged();
      }, { disabled: need !== "optional" });
      input.setAttribute("aria-label", t(`input.${name}`));
      input.setAttribute("aria-describedby", note.id);
      return h("div", { class: `input ${need}` }, root, note);
    });
    fill(this.inputsRow, ...this.inputSwitches);
    this.textRow.hidden = (this.model.inputs.text ?? "no") === "no";
    this.#inputSwitched();
  }

  /** What follows from the switches. */
  #inputSwitched() {
    // In a model that takes no style picture, chance remains.
    this.styles.setOn(this.#on("style") || (this.model.inputs.style ?? "no") === "no");
    this.layers.offer({ map: this.model.label_set !== null, sketch: this.#on("sketch") });
    this.textBox.disabled = !this.#on("text");
    this.surface.recolor();
    this.#noteInputs();
  }

  #noteInputs() {
    for (const [name, note] of this.#notes) {
      const need = this.model.inputs[name] ?? "no";
      fill(note, t(need === "required" ? `input.${name}Required` : need === "no" ? `input.${name}No`
        : !this.#on(name) ? "input.off" : this.#empty(name) ? `input.${name}Empty` : "input.on"));
    }
  }

  /** Whether an input that is on has nothing in it. @param {"map" | "sketch" | "text" | "style"} name */
  #empty(name) {
    if (name === "sketch") return this.layers.blank;
    if (name === "text") return !this.textBox.value.trim();
    return name === "style" && this.model.kind === "mixed" && !picturesOf(this.styles.style).length;
  }

  /** A colour of the map as it is shown: faint where it does not count. @param {[number, number, number, number]} c */
  #shown(c) {
    if (this.#on("map")) return c;
    const [red, green, blue] = c.map((value) => Math.round(255 + (value - 255) * FADED));
    return [red, green, blue, c[3]];
  }

  #typed() {
    if (this.#typing !== null) clearTimeout(this.#typing);
    this.styles.stop();
    this.#typing = setTimeout(() => this.#styleChanged(), TYPING_MS);
  }

  // ---------------------------------------------------------------- the picture

  /** @param {"map" | "sketch"} name */
  #partChanged(name) {
    this.#versions[name]++;
    this.styles.stop();
  }

  /** Something else than the map is another. */
  #styleChanged() {
    this.#noteInputs();
    if (this.#follows) this.follower.finished();
    else this.#say(t("paint.stale"));
    this.#saveSoon();
  }

  #paintNow() {
    this.layers.active.cancel();
    this.follower.finished();
  }

  /**
   * Map or sketch as the server knows it, sent if it has changed.
   *
   * @param {"map" | "sketch"} name
   * @param {AbortSignal} signal
   */
  async #idOf(name, signal) {
    const version = this.#versions[name];
    if (this.#sent[name]?.version !== version) {
      const file = name === "map" ? await encodeGrey(this.surface.raster) : await this.layers.file();
      this.#sent[name] = { version, id: (await this.api.upload(file, name, signal)).id };
    }
    return this.#sent[name].id;
  }

  /**
   * What counts now.
   *
   * @param {AbortSignal} signal
   * @returns {Promise<Parts>}
   */
  async #parts(signal) {
    const text = this.textBox.value.trim();
    return {
      map: this.#on("map") ? await this.#idOf("map", signal) : null,
      sketch: this.#on("sketch") && !this.layers.blank ? await this.#idOf("sketch", signal) : null,
      text: this.#on("text") && text ? text : null,
    };
  }

  /** @param {AbortSignal} signal */
  async #paint(signal) {
    const began = performance.now();
    const { model } = this;
    try {
      const versions = JSON.stringify(this.#versions);
      let parts = await this.#parts(signal);
      const ask = () => this.api.paint(model.id, this.#request(parts, this.styles.style, this.client), signal);
      let made;
      try {
        made = await ask();
      } catch (error) {
        if (!(error instanceof ApiError) || error.code !== "no-such-picture") throw error;
        // The server was started anew, or forgot what was long unused: it gets all of it again.
        this.#sent = {};
        await this.#sendStylePictures(signal);
        parts = await this.#parts(signal);
        made = await ask();
      }
      if (!made || signal.aborted || model !== this.model) return;
      const bitmap = await createImageBitmap(made.blob);
      this.#show(made, bitmap);
      this.#say(t("paint.took", { s: ((performance.now() - began) / 1000).toFixed(2) }));
      if (versions === JSON.stringify(this.#versions)) this.styles.painted(JSON.stringify(parts), bitmap);
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "AbortError")) this.#fail(error);
    }
  }

  /**
   * @param {Parts} parts
   * @param {import("./api.js").Style} style
   * @param {string} client
   */
  #request(parts, style, client) {
    const chance = this.model.kind === "mixed" || (this.model.inputs.style ?? "no") !== "no";
    return { ...parts, style: chance ? style : null, client };
  }

  /**
   * @param {import("./api.js").Style} style
   * @param {Parts} parts
   * @param {AbortSignal} signal
   * @returns {Promise<Blob | null>}
   */
  async #paintSmall(style, parts, signal) {
    if (this.follower.busy) return null;
    try {
      const made = await this.api.paint(this.model.id, this.#request(parts, style, this.smallClient), signal);
      return made?.blob ?? null;
    } catch {
      return null; // a small picture is missing: nothing that a person has to hear of
    }
  }

  /**
   * @param {import("./api.js").Made} made
   * @param {ImageBitmap} bitmap
   */
  #show(made, bitmap) {
    this.#made = made;
    this.canvas.width = bitmap.width;
    this.canvas.height = bitmap.height;
    this.canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
    this.canvas.dataset.picture = made.id;
    for (const each of [this.keepButton, this.savePictureButton, this.backButton]) each.disabled = false;
  }

  /** @param {boolean} busy */
  #showBusy(busy) {
    this.pictureBox.classList.toggle("busy", busy);
    this.pictureBox.setAttribute("aria-busy", String(busy));
  }

  /** @param {string} message */
  #say(message) {
    this.pictureStatus.classList.remove("error");
    fill(this.pictureStatus, message);
  }

  /** @param {unknown} error */
  #fail(error) {
    this.pictureStatus.classList.add("error");
    fill(this.pictureStatus, error instanceof Error ? error.message : String(error));
  }

  async #keep() {
    if (!this.#made) return;
    try {
      await this.api.keep(this.#made.id);
      this.app.toast(t("paint.kept"));
    } catch (error) {
      this.#fail(error);
    }
  }

  // ---------------------------------------------------------------- pictures of styles

  /**
   * @param {File} file
   * @returns {Promise<string | null>}
   */
  async #uploadStyle(file) {
    try {
      const { id } = await this.api.upload(file, "photo");
      this.#stylePictures.set(id, file);
      this.app.toast(t("paint.uploaded", { name: file.name }));
      return id;
    } catch (error) {
      this.#fail(error);
      return null;
    }
  }

  /** @param {AbortSignal} [signal] */
  async #sendStylePictures(signal) {
    for (const id of picturesOf(this.styles.style)) {
      const blob = this.#stylePictures.get(id);
      if (blob) await this.api.upload(blob, "photo", signal);
    }
  }

  /**
   * Paint with a style from elsewhere, after fetching its pictures.
   *
   * @param {import("./api.js").Style} style
   */
  async #takeStyle(style) {
    for (const id of picturesOf(style)) {
      if (!this.#stylePictures.has(id)) this.#stylePictures.set(id, await this.api.picture(id));
    }
    this.styles.choose(style);
  }

  /**
   * Go on with what a picture of the gallery was painted by.
   *
   * @param {{[field: string]: any}} recipe
   */
  async #takeRecipe(recipe) {
    const used = (/** @type {string} */ name) => Boolean(recipe[name]) && (recipe.use?.includes(name) ?? true);
    const rasters = await Promise.all(["map", "sketch"].map(async (name) =>
      used(name) ? readGrey(await greyFile(await this.api.picture(recipe[name]))) : null));
    this.layers.together(() => {
      if (rasters[0]) this.layers.setMap(rasters[0]);
      if (rasters[1]) this.layers.setSketch(rasters[1]);
    });
    if (this.model.kind === "mixed") {
      this.#inputs = { map: used("map"), sketch: used("sketch"), text: used("text"), style: used("style") };
      if (used("text")) this.textBox.value = recipe.text;
    }
    await this.#takeStyle(recipe.style ?? { seed: 0 });
    this.#showInputs();
  }

  // ---------------------------------------------------------------- underlay

  async #openUnderlay() {
    const file = await chooseFile("image/*");
    if (file) await this.#takeUnderlay(file);
  }

  /** The picture as underlay; of a model that takes more, with its map and its sketch. */
  async #copyBack() {
    if (!this.#made) return;
    const { blob, id } = this.#made;
    const { model } = this;
    await this.#takeUnderlay(blob);
    if (model.kind !== "mixed") return;
    this.backButton.disabled = true;
    try {
      const map = this.photoToMap.fits ? await this.photoToMap.of(id) : null;
      const sketch = (model.inputs.sketch ?? "no") === "no" ? null : await this.photoToSketch.of(id);
      const rasters = [map && await readGrey(map), sketch && await readGrey(sketch)];
      if (model !== this.model) return; // its ids would mean other things
      this.layers.together(() => {
        if (rasters[0]) this.layers.setMap(rasters[0]);
        if (rasters[1]) this.layers.setSketch(rasters[1]);
      });
      const came = [map && t("input.map"), sketch && t("input.sketch")].filter(Boolean).join(t("segment.and"));
      if (came) this.app.toast(t("paint.copied", { parts: came }));
    } catch (error) {
      this.#fail(error);
    } finally {
      this.backButton.disabled = false;
    }
  }

  /** @param {Blob} blob */
  async #takeUnderlay(blob) {
    try {
      const picture = await createImageBitmap(blob);
      const scale = Math.min(1, UNDERLAY_SIDE / Math.max(picture.width, picture.height));
      const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
      const canvas = h("canvas", { width, height });
      canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
      await this.#setUnderlay(canvas.toDataURL("image/jpeg", 0.9));
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * @param {string | null} dataUrl
   * @param {number} [opacity]
   */
  async #setUnderlay(dataUrl, opacity = Number(this.underlaySlider.value) || 0.5) {
    if (dataUrl) {
      const image = new Image();
      image.src = dataUrl;
      await image.decode();
      this.surface.setUnderlay(image, opacity);
    } else {
      this.surface.setUnderlay(null);
    }
    this.#underlay = dataUrl ? { dataUrl } : null;
    this.underlaySlider.value = String(opacity);
    this.underlayRow.hidden = !dataUrl;
    this.#saveSoon();
  }

  // ---------------------------------------------------------------- files

  async #openMap() {
    const file = await chooseFile("image/png,image/*");
    if (file) await this.#takeMap(file);
  }

  /** @param {File} file */
  async #takeMap(file) {
    try {
      const { id } = await this.api.upload(file, "map");
      const { map } = await this.api.map(this.model.id, id);
      this.layers.setMap(await readGrey(await this.api.picture(map)));
      this.app.toast(t("paint.opened", { name: file.name }));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A project, a map, or else a photo to paint over. @param {File} file */
  async #openDropped(file) {
    if (file.name.endsWith(".json")) await this.#takeProject(file);
    else if (file.type === "image/png") await this.#takeMap(file);
    else await this.#takeUnderlay(file);
  }

  async #saveMap() {
    saveFile(await encodeGrey(this.surface.raster), "pinxit-map.png");
  }

  #saveColours() {
    const canvas = h("canvas", null);
    this.#drawColours(this.surface.raster, canvas);
    canvas.toBlob((blob) => blob && saveFile(blob, "pinxit-map-colours.png"));
  }

  /**
   * @param {Raster} raster
   * @param {HTMLCanvasElement} canvas
   */
  #drawColours(raster, canvas) {
    canvas.width = raster.width;
    canvas.height = raster.height;
    const image = new ImageData(raster.width, raster.height);
    raster.data.forEach((id, i) => image.data.set(this.#colors.get(id) ?? [255, 0, 255, 255], i * 4));
    canvas.getContext("2d")?.putImageData(image, 0, 0);
  }

  async #project() {
    const { width, height, data } = this.surface.raster;
    const { style, earlier } = this.styles.state;
    /** @type {{[id: string]: string}} */
    const pictures = {};
    for (const id of [style, ...earlier].flatMap(picturesOf)) {
      const blob = this.#stylePictures.get(id);
      if (blob && /^image\/(png|jpeg|webp)$/.test(blob.type)) pictures[id] ??= await dataUrlOf(blob);
    }
    return saveProject({
      model: this.model.id,
      width,
      height,
      ids: data,
      style,
      styles: earlier,
      sketch: this.layers.blank ? null : await dataUrlOf(await this.layers.file()),
      text: this.textBox.value,
      inputs: { ...this.#inputs },
      underlay: this.#underlay ? { ...this.#underlay, opacity: this.surface.opacity } : null,
      seed: 0,
      created: this.#created,
      pictures,
    });
  }

  async #saveProject() {
    try {
      saveFile(await this.#project(), "pinxit-project.json");
    } catch (error) {
      this.#fail(error);
    }
  }

  async #openProject() {
    const file = await chooseFile(".json,application/json");
    if (file) await this.#takeProject(file);
  }

  /** @param {File} file */
  async #takeProject(file) {
    try {
      await this.#restore(await readProject(file), true);
      this.app.toast(t("paint.opened", { name: file.name }));
      this.follower.finished();
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * @param {Awaited<ReturnType<typeof readProject>>} project
   * @param {boolean} history whether the map before can be brought back
   */
  async #restore(project, history) {
    const sketch = project.sketch === null ? null : await readGrey(await greyFile(blobOf(project.sketch)));
    const model = this.models.find((each) => each.id === project.model);
    if (!model) this.app.toast(t("paint.noModel", { model: project.model, other: this.model.name }), "error");
    if (model !== this.model || !this.palette.labels.length) await this.#setModel(model ?? this.model);
    const raster = Raster.from(project.width, project.height, project.ids);
    // Ids of another label set would be refused by the server one stroke later: they are left open instead.
    raster.data.forEach((id, i) => {
      if (!this.#colors.has(id)) raster.data[i] = this.surface.paper;
    });
    this.layers.together(() => {
      this.layers.setMap(raster, { history });
      this.layers.setSketch(sketch, { history });
    });
    this.textBox.value = project.text.slice(0, MOST_TEXT);
    for (const [id, url] of Object.entries(project.pictures)) {
      if (!this.#stylePictures.has(id)) this.#stylePictures.set(id, blobOf(url));
    }
    const there = (/** @type {import("./api.js").Style} */ style) =>
      picturesOf(style).every((id) => this.#stylePictures.has(id));
    const style = project.style ?? { seed: 0 };
    if (!there(style)) this.app.toast(t("paint.lost"), "error");
    this.#inputs = { ...this.#inputs, ...project.inputs };
    this.styles.state = { style: there(style) ? style : { seed: 0 }, earlier: project.styles.filter(there) };
    this.#showInputs();
    this.#created = project.created;
    await this.#setUnderlay(project.underlay?.dataUrl ?? null, project.underlay?.opacity ?? 0.5);
  }

  #saveSoon() {
    if (this.#saving !== null) clearTimeout(this.#saving);
    this.#saving = setTimeout(() => this.#save(), AUTOSAVE_MS);
  }

  /** Keep the work in the browser, if it changed since it was kept. */
  async #save() {
    if (this.#saving === null) return;
    clearTimeout(this.#saving);
    this.#saving = null;
    await keepWork(WORK, await this.#project());
  }
}

/**
 * A picture as a grey PNG, as `readGrey` takes it; what is transparent shows white.
 *
 * @param {Blob} blob
 */
async function greyFile(blob) {
  const grey = await readGrey(blob).catch(() => null);
  if (grey) return blob;
  const picture = await createImageBitmap(blob);
  const canvas = h("canvas", { width: picture.width, height: picture.height });
  const context = canvas.getContext("2d");
  if (!context) throw new Error("the browser gives no canvas to draw on");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const ids = Uint8Array.from({ length: data.length / 4 }, (_, i) =>
    Math.round(0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]));
  return encodeGrey(Raster.from(canvas.width, canvas.height, ids));
}

/**
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
function dataUrlOf(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/**
 * The picture in a data URL; `fetch` may not read those here, as the page reads from its own server alone.
 *
 * @param {string} url
 * @returns {Blob}
 */
function blobOf(url) {
  const [head, data] = url.split(",", 2);
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}
