/** The style panel: styles to choose from, small pictures of them, earlier ones, and what lies between two. */

import { button, chooseFile, dropFiles, fill, h } from "./dom.js";
import { addWords, t } from "./i18n.js";

/** @typedef {import("./api.js").Style} Style */

const SEEDS = 8;
const MOST_EARLIER = 24;
const VARIATIONS = 6;
/** How far a variation goes from the style towards a random one. */
const VARIED = 0.4;
const MOST_SEED = 2 ** 31 - 1;
/** How long the map stays as it is before the small pictures follow it. */
const CALM_MS = 900;
const THUMB = 144;

addWords({
  en: {
    "styles.title": "Style", "styles.random": "Random style", "styles.upload": "Upload style",
    "styles.back": "Back to the style before", "styles.strip": "Styles to choose from",
    "styles.seeds": "Styles", "styles.variations": "Variations", "styles.earlier": "Earlier",
    "styles.seed": "Style {n}", "styles.picture": "From a picture", "styles.mix": "{a} → {b}, {n} %",
    "styles.off": "Off: the plain style is used.", "styles.none": "This model takes no style: the map alone decides.",
    "styles.noEarlier": "Styles that you used appear here.", "styles.more": "More styles",
    "styles.fresh": "Other variations",
    "styles.between": "Between two styles", "styles.setA": "Set A to this style", "styles.setB": "Set B to this style",
    "styles.a": "A", "styles.b": "B", "styles.slots": "Keep one style as A, another as B, and slide between.",
    "styles.variation": "Variation {n}",
  },
  ja: {
    "styles.title": "スタイル", "styles.random": "ランダム", "styles.upload": "画像から取り込む",
    "styles.back": "前のスタイルに戻す", "styles.strip": "スタイルの候補",
    "styles.seeds": "一覧", "styles.variations": "バリエーション", "styles.earlier": "履歴",
    "styles.seed": "スタイル {n}", "styles.picture": "画像のスタイル", "styles.mix": "{a} → {b}（{n} %）",
    "styles.off": "オフ：標準のスタイルを使います。", "styles.none": "このモデルにスタイルはありません。マップだけで絵が決まります。",
    "styles.noEarlier": "使ったスタイルがここに並びます。", "styles.more": "もっと見る", "styles.fresh": "別の候補",
    "styles.between": "2つのスタイルの中間", "styles.setA": "今のスタイルを A にする", "styles.setB": "今のスタイルを B にする",
    "styles.a": "A", "styles.b": "B", "styles.slots": "A と B にスタイルを設定すると、その中間を選べます。",
    "styles.variation": "バリエーション {n}",
  },
});

/**
 * @param {Style} style
 * @returns {string}
 */
export function styleName(style) {
  if ("seed" in style) return t("styles.seed", { n: style.seed });
  if ("picture" in style) return t("styles.picture");
  const [a, b] = style.between;
  return t("styles.mix", { a: styleName(a), b: styleName(b), n: Math.round(style.at * 100) });
}

/**
 * The pictures that a style is taken from.
 *
 * @param {Style} style
 * @returns {string[]}
 */
export function picturesOf(style) {
  if ("between" in style) return style.between.flatMap(picturesOf);
  return "picture" in style ? [style.picture] : [];
}

/** @param {Style} a @param {Style} b */
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** @param {Style} style @returns {number} */
const depth = (style) => ("between" in style ? 1 + Math.max(...style.between.map(depth)) : 0);

/** @returns {Style} */
const randomStyle = () => ({ seed: Math.floor(Math.random() * 100_000) });

/** What the panel remembers. @typedef {{style: Style, on: boolean, earlier: Style[], a: Style | null, b: Style | null,
 *   at: number}} StyleState */

export class StylePanel {
  /**
   * @param {object} needs
   * @param {(style: Style) => void} needs.changed another style is to be painted with
   * @param {(style: Style, map: string, signal: AbortSignal) => Promise<Blob | null>} needs.small paints a style, when
   *   nothing more urgent is to be painted
   * @param {(file: File) => Promise<string | null>} needs.upload keeps a picture on the server -> its id
   */
  constructor({ changed, small, upload }) {
    this.#changed = changed;
    this.#small = small;
    this.#upload = upload;
    this.#title = h("span", { class: "style-name", "aria-live": "polite" });
    this.#strip = h("div", { class: "thumbs", role: "group", "aria-label": t("styles.strip"), tabindex: -1 });
    this.#back = button("undo", t("styles.back"), () => this.#goBack(), { bare: true, class: "quiet" });
    this.#uploadButton = button("upload", t("styles.upload"), async () => {
      const file = await chooseFile("image/*");
      if (file) await this.take(file);
    });
    this.#tabs = /** @type {const} */ (["seeds", "variations", "earlier"]).map((name) =>
      h("button", { type: "button", "aria-pressed": "false", "data-strip": name, onclick: () => this.#show(name) },
        t(`styles.${name}`)));
    this.#slots = /** @type {const} */ (["a", "b"]).map((name) => {
      const title = t(name === "a" ? "styles.setA" : "styles.setB");
      return h(
        "button",
        { type: "button", class: "slot", "aria-label": title, title, onclick: () => this.#setSlot(name) },
        h("span", { class: "slot-letter", "aria-hidden": "true" }, t(`styles.${name}`)),
      );
    });
    this.#slider = h("input", {
      type: "range", min: 0, max: 1, step: 0.05, value: 0.5, "aria-label": t("styles.between"),
      oninput: () => this.#slide(false), onchange: () => this.#slide(true),
    });
    this.#hint = h("p", { class: "hint" }, t("styles.slots"));
    this.#controls = h("fieldset", { class: "styles-controls" },
      h("legend", { class: "visually-hidden" }, t("styles.title")),
      h("div", { class: "row wrap styles-head" }, this.#title, this.#back,
        button("dice", t("styles.random"), () => this.choose(randomStyle())), this.#uploadButton,
        h("div", { class: "segments" }, ...this.#tabs)),
      h("div", { class: "styles-body" }, this.#strip,
        h("div", { class: "mix", role: "group", "aria-label": t("styles.between") },
          h("div", { class: "row between" }, this.#slots[0], this.#hint, this.#slots[1]), this.#slider)),
    );
    this.#note = h("p", { class: "hint styles-note", hidden: true });
    this.root = h("section", { class: "styles panel", "aria-label": t("styles.title") }, this.#note, this.#controls);
    dropFiles(this.root, (file) => this.take(file));
    this.#show("seeds");
  }

  #changed;
  #small;
  #upload;
  #title;
  #strip;
  #back;
  #uploadButton;
  #tabs;
  #slots;
  #slider;
  #hint;
  #controls;
  #note;

  /** The model's plain style. @type {{seed: number}} */
  #first = { seed: 0 };
  /** @type {Style} */
  #style = this.#first;
  /** Styles that were used, the latest last. @type {Style[]} */
  #earlier = [];
  /** @type {Style | null} */
  #a = null;
  /** @type {Style | null} */
  #b = null;
  #on = true;
  #takes = true;
  #seeds = SEEDS;
  /** What the variations are of, and the seeds they go towards. @type {{of: Style, seeds: number[]}} */
  #varied = { of: this.#style, seeds: [] };
  /** @type {"seeds" | "variations" | "earlier"} */
  #shown = "seeds";
  /** @type {Map<string, {bitmap: ImageBitmap, map: string}>} small pictures by style, and of which map they are */
  #pictures = new Map();
  /** @type {string | null} the map that the small pictures are to be of; null while it changes */
  #map = null;
  /** @type {AbortController | null} */
  #painting = null;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #calm = null;

  /** What to paint with: the plain style where this panel is switched off. @returns {Style} */
  get style() {
    return this.#on && this.#takes ? this.#style : this.#first;
  }

  /** @returns {StyleState} */
  get state() {
    const at = Number(this.#slider.value);
    return { style: this.#style, on: this.#on, earlier: this.#earlier, a: this.#a, b: this.#b, at };
  }

  /** @param {Partial<StyleState>} state */
  set state(state) {
    this.#style = state.style ?? this.#first;
    this.#on = state.on ?? true;
    this.#earlier = state.earlier ?? [];
    this.#a = state.a ?? null;
    this.#b = state.b ?? null;
    this.#slider.value = String(state.at ?? 0.5);
    this.#vary();
    this.#draw();
  }

  /**
   * Another model is open.
   *
   * @param {import("./api.js").Model} model
   */
  setModel(model) {
    this.stop();
    this.#pictures.clear();
    this.#takes = (model.inputs.style ?? "no") !== "no" || model.kind === "mixed"; // of chance, at least
    const pictures = model.style_picture ?? true;
    this.#uploadButton.hidden = !pictures;
    const usable = (/** @type {Style | null} */ style) => style !== null && (pictures || !picturesOf(style).length);
    const untouched = JSON.stringify(this.#style) === JSON.stringify(this.#first);
    this.#first = { seed: model.first_style ?? 0 };
    if (untouched || !usable(this.#style)) this.#style = this.#first;
    this.#earlier = this.#earlier.filter(usable);
    if (!usable(this.#a)) this.#a = null;
    if (!usable(this.#b)) this.#b = null;
    this.#draw();
  }

  /** @param {boolean} on */
  setOn(on) {
    this.#on = on;
    if (!on) this.stop();
    this.#draw();
  }

  /**
   * Paint with this style from now on.
   *
   * @param {Style} style
   * @param {{quiet?: boolean}} [how] quiet: a step of a longer movement, which is not to be remembered
   */
  choose(style, how = {}) {
    if (!how.quiet) this.#remember();
    this.#style = style;
    if (!how.quiet && this.#shown !== "variations") this.#vary();
    this.#draw();
    this.#changed(this.style);
  }

  /**
   * Take the style of a picture.
   *
   * @param {File} file
   */
  async take(file) {
    if (this.#uploadButton.hidden || !this.#on || !this.#takes) return;
    const id = await this.#upload(file);
    if (!id) return;
    try {
      const bitmap = await createImageBitmap(file, { resizeWidth: THUMB });
      this.#pictures.set(JSON.stringify({ picture: id }), { bitmap, map: "" });
    } catch {
      // The server reads formats that this browser may not; the small picture comes with the next painting.
    }
    this.choose({ picture: id });
  }

  /** The map changes: small pictures wait, and one that is being made is given up. */
  stop() {
    this.#map = null;
    if (this.#calm !== null) clearTimeout(this.#calm);
    this.#calm = null;
    this.#painting?.abort();
  }

  /**
   * The main picture is there, so there is time for small ones.
   *
   * @param {string} map
   * @param {ImageBitmap} picture what was painted with the current style
   */
  async painted(map, picture) {
    const key = JSON.stringify(this.style);
    const again = this.#calm === null && this.#painting === null;
    this.#map = map;
    try {
      this.#pictures.set(key, { bitmap: await createImageBitmap(picture, { resizeWidth: THUMB }), map });
    } catch {
      return; // the picture was replaced by a newer one meanwhile
    }
    this.#paintThumbs();
    if (again) this.#calm = setTimeout(() => this.#paintSmall(), CALM_MS);
  }

  async #paintSmall() {
    this.#calm = null;
    while (this.#map !== null && this.#on && this.#takes && !document.hidden) {
      const map = this.#map;
      const next = this.#offered().find(({ style }) => this.#pictures.get(JSON.stringify(style))?.map !== map);
      if (!next) return;
      this.#painting = new AbortController();
      const blob = await this.#small(next.style, map, this.#painting.signal);
      this.#painting = null;
      if (!blob) return; // given up, as something more urgent came; the next main picture begins anew
      this.#pictures.set(JSON.stringify(next.style), {
        bitmap: await createImageBitmap(blob, { resizeWidth: THUMB }), map,
      });
      this.#paintThumbs();
    }
  }

  /** The shown strip's styles. @returns {{style: Style, name: string}[]} */
  #offered() {
    if (this.#shown === "earlier") {
      return [...this.#earlier].reverse().map((style) => ({ style, name: styleName(style) }));
    }
    if (this.#shown === "variations") {
      const { of, seeds } = this.#varied;
      return [
        { style: of, name: styleName(of) },
        ...seeds.map((seed, i) => ({
          style: { between: /** @type {[Style, Style]} */ ([of, { seed }]), at: VARIED },
          name: t("styles.variation", { n: i + 1 }),
        })),
      ];
    }
    return Array.from({ length: this.#seeds }, (_, i) => {
      const seed = this.#first.seed + i;
      return { style: { seed }, name: styleName({ seed }) };
    });
  }

  #remember() {
    this.#earlier = [...this.#earlier.filter((each) => !same(each, this.#style)), this.#style].slice(-MOST_EARLIER);
  }

  #goBack() {
    const before = this.#earlier.at(-1);
    if (!before) return;
    this.#earlier = this.#earlier.slice(0, -1);
    this.#style = before;
    this.#draw();
    this.#changed(this.style);
  }

  #vary() {
    let of = this.#style;
    while (depth(of) > 1 && "between" in of) of = of.between[of.at < 0.5 ? 0 : 1]; // mixes of mixes of mixes end here
    this.#varied = { of, seeds: Array.from({ length: VARIATIONS }, () => Math.floor(Math.random() * MOST_SEED)) };
  }

  /** @param {"a" | "b"} slot */
  #setSlot(slot) {
    let style = this.#style;
    if (depth(style) > 1 && "between" in style) style = style.between[style.at < 0.5 ? 0 : 1];
    if (slot === "a") this.#a = style;
    else this.#b = style;
    this.#slider.value = slot === "a" ? "0" : "1";
    this.#draw();
  }

  /** @param {boolean} ended */
  #slide(ended) {
    if (!this.#a || !this.#b) return;
    const at = Number(this.#slider.value);
    /** @type {Style} */
    const style = at === 0 ? this.#a : at === 1 ? this.#b : { between: [this.#a, this.#b], at };
    if (ended && same(style, this.#style)) return;
    this.choose(style, { quiet: true });
  }

  /** @param {"seeds" | "variations" | "earlier"} strip */
  #show(strip) {
    this.#shown = strip;
    if (strip === "variations" && !this.#offered().some(({ style }) => same(style, this.#style))) this.#vary();
    if (strip === "variations" && !this.#varied.seeds.length) this.#vary();
    this.#draw();
    if (this.#map !== null && this.#painting === null && this.#calm === null) this.#paintSmall();
  }

  #draw() {
    const works = this.#on && this.#takes;
    this.#controls.disabled = !works;
    this.root.classList.toggle("off", !works);
    this.#controls.hidden = !this.#takes;
    this.#note.hidden = works;
    fill(this.#note, this.#takes ? t("styles.off") : t("styles.none"));
    fill(this.#title, styleName(this.style));
    this.#back.disabled = this.#earlier.length === 0;
    for (const tab of this.#tabs) tab.setAttribute("aria-pressed", String(tab.dataset.strip === this.#shown));
    const offered = this.#offered();
    const focused = this.#strip.contains(document.activeElement)
      ? /** @type {HTMLElement} */ (document.activeElement).dataset.style : undefined;
    fill(
      this.#strip,
      ...offered.map(({ style, name }) =>
        h(
          "button",
          {
            type: "button", class: "thumb", "aria-pressed": String(works && same(style, this.#style)), title: name,
            "data-style": JSON.stringify(style), onclick: () => this.choose(style),
          },
          h("canvas", { class: "thumb-picture", width: 4, height: 3, "aria-hidden": "true" }),
          h("span", { class: "thumb-name" }, name),
        )),
      this.#shown === "seeds" && button("plus", t("styles.more"), () => {
        this.#seeds += SEEDS;
        this.#show("seeds");
      }, { class: "thumb more" }),
      this.#shown === "variations" && button("again", t("styles.fresh"), () => {
        this.#vary();
        this.#show("variations");
      }, { class: "thumb more" }),
      this.#shown === "earlier" && offered.length === 0 && h("p", { class: "hint" }, t("styles.noEarlier")),
    );
    if (focused) {
      const thumbs = /** @type {NodeListOf<HTMLElement>} */ (this.#strip.querySelectorAll("[data-style]"));
      [...thumbs].find((each) => each.dataset.style === focused)?.focus();
    }
    for (const [i, style] of [this.#a, this.#b].entries()) {
      const letter = this.#slots[i].querySelector(".slot-letter");
      fill(this.#slots[i], style && h("canvas", {
        class: "thumb-picture", width: 4, height: 3, "aria-hidden": "true", "data-style": JSON.stringify(style),
      }), letter);
      this.#slots[i].classList.toggle("set", style !== null);
    }
    this.#slider.disabled = !this.#a || !this.#b;
    fill(this.#hint, this.#a && this.#b ? t("styles.between") : t("styles.slots"));
    this.#paintThumbs();
  }

  /** Show the small pictures that there are. */
  #paintThumbs() {
    for (const canvas of this.root.querySelectorAll("canvas")) {
      const key = canvas.dataset.style ?? canvas.parentElement?.dataset.style ?? "";
      const found = this.#pictures.get(key);
      if (!found) continue;
      canvas.width = found.bitmap.width;
      canvas.height = found.bitmap.height;
      canvas.getContext("2d")?.drawImage(found.bitmap, 0, 0);
      canvas.classList.add("there");
    }
  }
}
