/** What was made and kept, newest first, and how it was made, so that it can be made again. */

import { ApiError } from "./api.js";
import { button, confirmDialog, fill, h, icon, openDialog, saveFile } from "./dom.js";
import { addWords, language, t } from "./i18n.js";

/** @typedef {import("./api.js").GalleryEntry} Entry */
/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./api.js").Style} Style */

addWords({
  en: {
    "gallery.title": "Gallery",
    "gallery.count": "{n} kept", "gallery.countOne": "1 kept",
    "gallery.empty": "Nothing kept yet",
    "gallery.emptyHint":
      "Press “Keep in gallery” beside a picture that you like. It stays here with how it was made, so that it can " +
      "be made again.",
    "gallery.emptyGo": "Go and paint",
    "gallery.kind.paint": "Painted from a map", "gallery.kind.mixed": "Painted without a map",
    "gallery.kind.translate": "Translated from a picture",
    "gallery.kind.sample": "A new sample of one photo", "gallery.kind.super-resolve": "One photo, made larger",
    "gallery.kind.harmonize": "Harmonised", "gallery.kind.edit": "Edited",
    "gallery.kind.paint-to-image": "A painting made a photo", "gallery.kind.reconstruct": "One photo, reconstructed",
    "gallery.kind.generate": "Generated", "gallery.kind.illustrate": "Painted from a sentence",
    "gallery.stage": "Stage", "gallery.between": "Towards", "gallery.towards": "{percent} % towards “{text}”",
    "gallery.box": "Place", "gallery.toText": "Open in Text",
    "gallery.truncation": "Truncation", "gallery.mix": "Mixed with", "gallery.mixed": "seed {seed}, from layer {at} on",
    "gallery.strengths": "Edits",
    "gallery.kind.other": "Made",
    "gallery.item": "{what}, {model}, {when}",
    "gallery.how": "How it was made", "gallery.from": "Made from",
    "gallery.what": "What", "gallery.model": "Model", "gallery.when": "Kept on", "gallery.seed": "Seed",
    "gallery.style": "Style", "gallery.size": "Size", "gallery.factor": "Enlarged",
    "gallery.start_scale": "Begun at scale", "gallery.direction": "Direction", "gallery.text": "Text",
    "gallery.seconds": "Time", "gallery.took": "{n} s",
    "gallery.pixels": "{width} × {height} px", "gallery.times": "{n} times",
    "gallery.gone": "no longer here",
    "gallery.styleNone": "the model’s own", "gallery.styleSeed": "random, seed {seed}",
    "gallery.stylePicture": "taken from a picture",
    "gallery.styleBetween": "{percent} % of the way from ({a}) to ({b})",
    "gallery.in.picture": "Picture", "gallery.in.map": "Map", "gallery.in.sketch": "Sketch", "gallery.in.mask": "Mask",
    "gallery.in.style": "Style picture",
    "gallery.newer": "Newer picture", "gallery.older": "Older picture",
    "gallery.again": "Make it again", "gallery.againBusy": "Making it again…",
    "gallery.same": "The same, to the last bit ({seconds} s).",
    "gallery.differs":
      "Made again ({seconds} s), but not the same: the model or this machine differs from when it was made.",
    "gallery.now": "Made again", "gallery.kept": "As kept",
    "gallery.paint": "Open in Paint", "gallery.download": "Download", "gallery.delete": "Delete",
    "gallery.deleteTitle": "Delete this picture?",
    "gallery.deleteText": "It goes from the gallery and from the disk, with how it was made. This cannot be undone.",
    "gallery.deleted": "Deleted.",
  },
  ja: {
    "gallery.title": "ギャラリー",
    "gallery.count": "{n} 点", "gallery.countOne": "1 点",
    "gallery.empty": "保存した画像はまだありません",
    "gallery.emptyHint":
      "気に入った画像の横にある「ギャラリーに保存」を押すと、作り方と一緒にここに残ります。同じ画像をもう一度作ることもできます。",
    "gallery.emptyGo": "描いてみる",
    "gallery.kind.paint": "マップから生成", "gallery.kind.mixed": "マップなしで生成", "gallery.kind.translate": "画像から変換",
    "gallery.kind.sample": "1枚の写真から生成", "gallery.kind.super-resolve": "1枚の写真を高解像度化",
    "gallery.kind.harmonize": "なじませた合成", "gallery.kind.edit": "編集",
    "gallery.kind.paint-to-image": "絵から写真へ", "gallery.kind.reconstruct": "1枚の写真の再構成",
    "gallery.kind.generate": "生成", "gallery.kind.illustrate": "文章から生成",
    "gallery.stage": "段階", "gallery.between": "比べた文章", "gallery.towards": "「{text}」へ {percent}%",
    "gallery.box": "位置", "gallery.toText": "テキストで開く",
    "gallery.truncation": "切り詰め", "gallery.mix": "混ぜた相手", "gallery.mixed": "シード {seed}（層 {at} から）",
    "gallery.strengths": "編集",
    "gallery.kind.other": "生成した画像",
    "gallery.item": "{what}、{model}、{when}",
    "gallery.how": "作り方", "gallery.from": "元にしたもの",
    "gallery.what": "種類", "gallery.model": "モデル", "gallery.when": "保存日時", "gallery.seed": "シード",
    "gallery.style": "スタイル", "gallery.size": "サイズ", "gallery.factor": "拡大率", "gallery.start_scale": "開始スケール",
    "gallery.direction": "変換の向き", "gallery.text": "テキスト", "gallery.seconds": "所要時間", "gallery.took": "{n} 秒",
    "gallery.pixels": "{width} × {height} px", "gallery.times": "{n} 倍",
    "gallery.gone": "現在はありません",
    "gallery.styleNone": "モデルの標準", "gallery.styleSeed": "ランダム（シード {seed}）",
    "gallery.stylePicture": "画像から取得",
    "gallery.styleBetween": "（{a}）から（{b}）へ {percent}% の位置",
    "gallery.in.picture": "画像", "gallery.in.map": "マップ", "gallery.in.sketch": "スケッチ", "gallery.in.mask": "マスク",
    "gallery.in.style": "スタイル画像",
    "gallery.newer": "新しい画像へ", "gallery.older": "古い画像へ",
    "gallery.again": "もう一度作る", "gallery.againBusy": "作成中…",
    "gallery.same": "1ビットの違いもなく同じ画像になりました（{seconds} 秒）。",
    "gallery.differs": "作り直しましたが（{seconds} 秒）、同じ画像にはなりませんでした。モデルか実行環境が当時と異なります。",
    "gallery.now": "作り直した画像", "gallery.kept": "保存した画像",
    "gallery.paint": "ペイントで開く", "gallery.download": "ダウンロード", "gallery.delete": "削除",
    "gallery.deleteTitle": "この画像を削除しますか？",
    "gallery.deleteText": "画像と作り方がギャラリーとディスクから削除されます。元に戻すことはできません。",
    "gallery.deleted": "削除しました。",
  },
});

/** What a recipe may name that can be shown as it is; a map's ids would all look black. */
const SHOWN_INPUTS = ["picture", "sketch", "mask"];

/**
 * @param {HTMLElement} root
 * @param {import("./main.js").App} app
 */
export async function mount(root, app) {
  /** @type {Entry[]} */
  let entries = [];
  /** @type {Map<string, Model>} */
  let models = new Map();
  const client = app.client("gallery");

  const count = h("p", { class: "gallery-count", "aria-live": "polite" });
  const place = h("div", { class: "gallery-place" });
  const title = h("h2", { tabindex: -1 }, t("gallery.title"));
  fill(root, h("div", { class: "sheet" }, h("header", { class: "sheet-head" }, title, count), place));

  /** @param {unknown} error */
  const failed = (error) => app.toast(error instanceof ApiError ? error.message : String(error), "error");

  async function refresh() {
    try {
      const [kept, all] = await Promise.all([app.api.gallery(), app.models()]);
      entries = kept;
      models = new Map(all.map((model) => [model.id, model]));
    } catch (error) {
      failed(error);
    }
    draw();
  }

  function draw() {
    fill(count, entries.length === 0 ? "" : t(entries.length === 1 ? "gallery.countOne" : "gallery.count",
      { n: entries.length }));
    if (entries.length) {
      fill(place, h("ul", { class: "gallery-grid" }, ...entries.map((entry) => h("li", null, item(entry)))));
      return;
    }
    fill(
      place,
      h(
        "div",
        { class: "sheet-empty" },
        icon("keep"),
        h("h3", null, t("gallery.empty")),
        h("p", null, t("gallery.emptyHint")),
        button("brush", t("gallery.emptyGo"), () => app.open("paint"), { class: "primary" }),
      ),
    );
  }

  /** @param {Entry} entry */
  function item(entry) {
    const what = kindOf(entry);
    const model = nameOf(entry);
    return h(
      "button",
      {
        type: "button", class: "gallery-item", "data-entry": entry.id, onclick: () => view(entry),
        "aria-label": t("gallery.item", { what, model, when: when(entry.created) }),
      },
      h("img", { src: app.api.thumbnailUrl(entry.id), alt: "", loading: "lazy", decoding: "async" }),
      h("span", { class: "gallery-what" }, what),
      h("span", { class: "gallery-model" }, model),
    );
  }

  /** @param {Entry} entry */
  function nameOf(entry) {
    return models.get(entry.model)?.name ?? entry.model;
  }

  /** @param {Entry} first the picture to begin with */
  function view(first) {
    let entry = first;
    const body = h("div", { class: "gallery-body" });
    const dialog = openDialog(kindOf(entry), body);
    dialog.classList.add("gallery-view");
    const newer = button("left", t("gallery.newer"), () => step(-1), { bare: true, class: "quiet" });
    const older = button("right", t("gallery.older"), () => step(1), { bare: true, class: "quiet" });
    dialog.querySelector("header h2")?.after(h("div", { class: "gallery-steps" }, newer, older));
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") step(-1);
      if (event.key === "ArrowRight") step(1);
    });
    dialog.addEventListener("close", () => {
      const back = place.querySelector(`[data-entry="${entry.id}"]`);
      if (back instanceof HTMLElement) back.focus();
      else title.focus(); // it was deleted
    });

    /** @param {number} by */
    function step(by) {
      const next = entries[entries.findIndex(({ id }) => id === entry.id) + by];
      if (!next) return;
      entry = next;
      show();
    }

    function show() {
      const at = entries.findIndex(({ id }) => id === entry.id);
      // Not `disabled`, which would drop the focus of who presses it again and again.
      newer.setAttribute("aria-disabled", String(at <= 0));
      older.setAttribute("aria-disabled", String(at >= entries.length - 1));
      dialog.setAttribute("aria-label", kindOf(entry));
      fill(/** @type {Element} */ (dialog.querySelector("header h2")), kindOf(entry));
      fill(body, ...details(entry, dialog));
    }
    show();
  }

  /**
   * @param {Entry} entry
   * @param {HTMLDialogElement} dialog
   */
  function details(entry, dialog) {
    const picture = h("img", { class: "gallery-picture", src: app.api.keptPictureUrl(entry.id), alt: kindOf(entry) });
    const figures = h("div", { class: "gallery-figures" }, h("figure", null, picture));
    const status = h("p", { class: "gallery-status", role: "status" });
    const size = h("dd", null, "…");
    picture.addEventListener("load", () => {
      fill(size, t("gallery.pixels", { width: picture.naturalWidth, height: picture.naturalHeight }));
    });

    const again = button("again", t("gallery.again"), async () => {
      if (again.getAttribute("aria-disabled") === "true") return;
      again.setAttribute("aria-disabled", "true");
      fill(status, t("gallery.againBusy"));
      try {
        const made = await app.api.again(entry.id, client);
        const words = made?.same ? "gallery.same" : "gallery.differs";
        fill(status, made ? t(words, { seconds: made.seconds.toFixed(2) }) : "");
        status.dataset.same = made ? String(made.same) : "";
        if (made && !made.same) fill(figures, figure(picture, "gallery.kept"), figure(shown(made.blob), "gallery.now"));
      } catch (error) {
        fill(status, error instanceof ApiError ? error.message : String(error));
        status.dataset.same = "error";
      }
      again.removeAttribute("aria-disabled");
    }, { class: "primary" });

    const buttons = [again];
    if (entry.kind === "paint") {
      buttons.push(button("brush", t("gallery.paint"), () => {
        dialog.close();
        app.open("paint", { model: entry.model, entry });
      }));
    }
    if (entry.kind === "illustrate" && models.has(entry.model)) {
      buttons.push(button("", t("gallery.toText"), () => {
        dialog.close();
        app.open("text", { model: entry.model, entry });
      }));
    }
    buttons.push(
      button("download", t("gallery.download"), async () => {
        try {
          saveFile(await app.api.picture(entry.picture), `pinxit-${entry.id}.png`);
        } catch (error) {
          failed(error);
        }
      }),
      button("trash", t("gallery.delete"), () => remove(entry, dialog), { class: "danger" }),
    );

    return [
      figures,
      h(
        "div",
        { class: "gallery-facts" },
        h("h3", null, t("gallery.how")),
        h("dl", { class: "facts" }, ...facts(entry, size)),
        ...inputs(entry),
        h("div", { class: "gallery-buttons" }, ...buttons),
        status,
      ),
    ];
  }

  /**
   * @param {Entry} entry
   * @param {HTMLElement} size
   */
  function facts(entry, size) {
    const { recipe } = entry;
    const model = models.has(entry.model) ? nameOf(entry) : `${entry.model} (${t("gallery.gone")})`;
    /** @type {[string, import("./dom.js").Child][]} */
    const rows = [["model", model]];
    if ("style" in recipe) rows.push(["style", styleWords(recipe.style)]);
    if (typeof recipe.seed === "number") rows.push(["seed", recipe.seed]);
    if (recipe.text) rows.push(["text", `“${recipe.text}”`]);
    if (recipe.between) {
      const { text, at } = recipe.between;
      rows.push(["between", t("gallery.towards", { text, percent: Math.round(at * 100) })]);
    }
    if (recipe.stage) rows.push(["stage", recipe.stage]);
    if (recipe.box) rows.push(["box", recipe.box.map((/** @type {number} */ part) => part.toFixed(2)).join(", ")]);
    // A model of one direction has no other: A → B would say nothing.
    if (recipe.direction && (models.get(entry.model)?.directions.length ?? 2) > 1) {
      rows.push(["direction", String(recipe.direction).replace("to", " → ")]);
    }
    if (recipe.start_scale) rows.push(["start_scale", recipe.start_scale]);
    if (typeof recipe.truncation === "number") rows.push(["truncation", recipe.truncation]);
    if (recipe.mix) rows.push(["mix", t("gallery.mixed", { seed: recipe.mix.seed, at: recipe.mix.at })]);
    if (recipe.strengths?.some(Boolean)) rows.push(["strengths", recipe.strengths.join(", ")]);
    if (recipe.factor) rows.push(["factor", t("gallery.times", { n: recipe.factor })]);
    if (typeof recipe.seconds === "number") rows.push(["seconds", t("gallery.took", { n: recipe.seconds.toFixed(2) })]);
    rows.push(["when", h("time", { datetime: entry.created }, when(entry.created))]);
    return [
      ...rows.flatMap(([name, value]) => [h("dt", null, t(`gallery.${name}`)), h("dd", null, value)]),
      h("dt", null, t("gallery.size")),
      size,
    ];
  }

  /** @param {Entry} entry */
  function inputs(entry) {
    const named = SHOWN_INPUTS.filter((name) => typeof entry.recipe[name] === "string")
      .map((name) => [name, entry.recipe[name]]);
    named.push(...stylePictures(entry.recipe.style).map((id) => ["style", id]));
    if (!named.length) return [];
    return [
      h("h3", null, t("gallery.from")),
      h("ul", { class: "gallery-inputs" }, ...named.map(([name, id]) => {
        const image = h("img", { src: app.api.pictureUrl(id), alt: "", loading: "lazy" });
        return h("li", null, figure(image, `gallery.in.${name}`));
      })),
    ];
  }

  /**
   * @param {Entry} entry
   * @param {HTMLDialogElement} dialog
   */
  async function remove(entry, dialog) {
    if (!(await confirmDialog(t("gallery.deleteTitle"), t("gallery.deleteText"), t("gallery.delete")))) return;
    try {
      await app.api.removeKept(entry.id);
    } catch (error) {
      failed(error);
      return;
    }
    entries = entries.filter(({ id }) => id !== entry.id);
    draw();
    dialog.close();
    app.toast(t("gallery.deleted"));
  }

  return { shown: refresh };
}

/** @param {Entry} entry */
function kindOf(entry) {
  if (entry.kind === "paint" && !entry.recipe.map) return t("gallery.kind.mixed");
  const key = `gallery.kind.${entry.kind}`;
  const words = t(key);
  return words === key ? t("gallery.kind.other") : words;
}

/** @param {string} created */
function when(created) {
  const date = new Date(created);
  return Number.isNaN(date.getTime())
    ? created
    : new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeStyle: "short" }).format(date);
}

/**
 * @param {Style | null} style
 * @returns {string}
 */
function styleWords(style) {
  if (!style) return t("gallery.styleNone");
  if ("seed" in style) return t("gallery.styleSeed", { seed: style.seed });
  if ("picture" in style) return t("gallery.stylePicture");
  const [a, b] = style.between.map(styleWords);
  return t("gallery.styleBetween", { percent: Math.round(style.at * 100), a, b });
}

/**
 * @param {Style | null | undefined} style
 * @returns {string[]} ids of the pictures whose style it takes
 */
function stylePictures(style) {
  if (!style || "seed" in style) return [];
  return "picture" in style ? [style.picture] : style.between.flatMap(stylePictures);
}

/**
 * @param {HTMLImageElement} image
 * @param {string} caption key of its words
 */
function figure(image, caption) {
  return h("figure", null, image, h("figcaption", null, t(caption)));
}

/** @param {Blob} blob */
function shown(blob) {
  const address = URL.createObjectURL(blob);
  const image = h("img", { class: "gallery-picture", src: address, alt: t("gallery.now") });
  image.addEventListener("load", () => URL.revokeObjectURL(address));
  return image;
}
