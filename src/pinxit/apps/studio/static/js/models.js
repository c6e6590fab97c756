/** The models there are, each with its card: what it makes, of what, from whose data and under which licence. */

import { ApiError } from "./api.js";
import { button, fill, h } from "./dom.js";
import { addWords, language, t } from "./i18n.js";

/** @typedef {import("./api.js").Model} Model */

addWords({
  en: {
    "models.title": "Models", "models.refresh": "Look again", "models.found": "{n} found", "models.foundOne": "1 found",
    "models.hint":
      "The studio shows the models that come with Pinxit, those trained here, and those in the folders given as " +
      "`pinxit studio --models FOLDER`.",
    "models.none": "No model was found", "models.use": "Use", "models.useNamed": "Use {name}",
    "models.embedded": "Comes with Pinxit", "models.folder": "From a folder", "models.run": "Trained here",
    "models.takes": "Takes", "models.gives": "Gives", "models.trainedAt": "Trained at",
    "models.licence": "Licence", "models.noLicence": "not stated; ask whoever trained it", "models.data": "Trained on",
    "models.limits": "Limits", "models.how": "How", "models.source": "From", "models.steps": "Steps",
    "models.file": "File", "models.scales": "Scales", "models.labelCount": "{n} labels", "models.more": "More",
    "models.method.spade": "SPADE", "models.method.pix2pix": "pix2pix", "models.method.pix2pixhd": "pix2pixHD",
    "models.method.cyclegan": "CycleGAN", "models.method.singan": "SinGAN", "models.method.deeplabv3": "DeepLabV3",
    "models.in.map": "a label map", "models.in.sketch": "a sketch", "models.in.text": "text",
    "models.in.style": "a style", "models.in.picture": "a picture", "models.optional": "{what} (optional)",
    "models.onePhoto": "nothing: it knows its one photo",
    "models.out.map": "a picture", "models.out.mixed": "a picture", "models.out.picture": "a translated picture",
    "models.out.sentence": "a picture",
    "models.out.photo": "new pictures of its one photo", "models.out.segmenter": "a label map",
    "models.out.other": "a picture",
    "models.segmenter": "It paints nothing; Photo to map on the Paint page uses it for models of the same labels.",
    "models.and": ", ", "models.pixels": "{width} × {height} px",
    "models.other": "This kind of model has no page in the studio yet; the command line opens it.",
    "models.problems": "Files that could not be opened",
    "models.method.stylegan2": "StyleGAN2", "models.method.photosketch": "PhotoSketch",
    "models.method.stackgan": "StackGAN", "models.method.ganintcls": "GAN-INT-CLS", "models.method.gawwn": "GAWWN",
    "models.method.charcnnrnn": "char-CNN-RNN", "models.method.poegan": "PoE-GAN",
    "models.chance": "nothing: each number gives another picture", "models.out.generator": "pictures like those it learnt",
    "models.customised": "Customised",
  },
  ja: {
    "models.title": "モデル", "models.refresh": "再読み込み", "models.found": "{n} 件", "models.foundOne": "1 件",
    "models.hint":
      "Pinxit に付属のモデル、ここで学習したモデル、`pinxit studio --models フォルダー` で指定したフォルダーのモデルを表示しています。",
    "models.none": "モデルが見つかりません", "models.use": "使う", "models.useNamed": "{name} を使う",
    "models.embedded": "Pinxit に付属", "models.folder": "フォルダーのモデル", "models.run": "ここで学習",
    "models.takes": "入力", "models.gives": "出力", "models.trainedAt": "学習時のサイズ",
    "models.licence": "ライセンス", "models.noLicence": "記載なし（学習した人に確認してください）", "models.data": "学習データ",
    "models.limits": "制限", "models.how": "学習方法", "models.source": "出所", "models.steps": "ステップ数",
    "models.file": "ファイル", "models.scales": "スケール数", "models.labelCount": "ラベル {n} 種類", "models.more": "詳細",
    "models.in.map": "ラベルマップ", "models.in.sketch": "スケッチ", "models.in.text": "テキスト", "models.in.style": "スタイル",
    "models.in.picture": "画像", "models.optional": "{what}（省略可）", "models.onePhoto": "なし（学習した1枚の写真から作ります）",
    "models.out.map": "画像", "models.out.mixed": "画像", "models.out.picture": "変換した画像",
    "models.out.sentence": "画像",
    "models.out.photo": "1枚の写真から作る新しい画像", "models.out.segmenter": "ラベルマップ",
    "models.out.other": "画像",
    "models.segmenter": "絵は描きません。ラベルが同じモデルのとき、ペイントの「写真からマップ」で使われます。",
    "models.and": "、", "models.pixels": "{width} × {height} px",
    "models.other": "この種類のモデルはまだスタジオでは使えません。コマンドラインで開けます。",
    "models.problems": "開けなかったファイル",
    "models.chance": "なし（シードごとに別の画像になります）", "models.out.generator": "学習した画像に似た新しい画像",
    "models.customised": "カスタマイズ",
  },
});

/** Which page uses which kind of model. */
const TAB = /** @type {const} */ ({
  map: "paint", mixed: "paint", picture: "translate", photo: "photo", generator: "sketch", sentence: "text",
});
const INPUTS = ["map", "picture", "sketch", "text", "style"];
/** Of a model's card, in this order; the rest is left to `pinxit info`. */
const MORE = ["customised", "how", "steps", "source", "limits"];

/**
 * @param {HTMLElement} root
 * @param {import("./main.js").App} app
 */
export async function mount(root, app) {
  const count = h("p", { class: "gallery-count", "aria-live": "polite" });
  const cards = h("ul", { class: "model-cards" });
  const problems = h("div", { class: "model-problems" });
  fill(
    root,
    h(
      "div",
      { class: "sheet" },
      h("header", { class: "sheet-head" }, h("h2", null, t("models.title")), count,
        button("again", t("models.refresh"), refresh, { class: "quiet" })),
      h("p", { class: "hint" }, ...withCode(t("models.hint"))),
      cards,
      problems,
    ),
  );

  async function refresh() {
    try {
      // What the other pages choose from is asked for anew as well: a model may have come or gone.
      const [models, answer] = await Promise.all([app.refreshModels(), app.api.models()]);
      fill(count, t(models.length === 1 ? "models.foundOne" : "models.found", { n: models.length }));
      fill(cards, ...(models.length ? models.map((model) => h("li", null, card(model, app))) : [t("models.none")]));
      fill(problems, ...broken(answer.problems ?? {}));
    } catch (error) {
      app.toast(error instanceof ApiError ? error.message : String(error), "error");
    }
  }

  return { shown: refresh };
}

/**
 * @param {Model} model
 * @param {import("./main.js").App} app
 */
function card(model, app) {
  const tab = model.kind === "other" || model.kind === "segmenter" ? null : TAB[model.kind];
  /** @type {[string, import("./dom.js").Child][]} */
  const rows = [["takes", takes(model)], ["gives", gives(model)]];
  if (model.size) rows.push(["trainedAt", t("models.pixels", { width: model.size[1], height: model.size[0] })]);
  if (model.scales) rows.push(["scales", model.scales.length]);
  if (model.card.data) rows.push(["data", model.card.data]);
  rows.push(["file", [bytes(model.bytes), model.embedded ? "" : model.id].filter(Boolean).join(" · ")]);
  const more = MORE.filter((name) => model.card[name]);
  return h(
    "article",
    { class: "model-card", "data-model": model.id, "aria-labelledby": `model-${model.id}` },
    h(
      "header",
      null,
      h("h3", { id: `model-${model.id}` }, model.name),
      h("span", { class: "model-tag" }, methodOf(model)),
      h("span", { class: "model-tag soft" }, t(`models.${whence(model)}`)),
    ),
    model.card.what ? h("p", { class: "model-what" }, model.card.what) : null,
    h("p", { class: "model-licence" }, h("strong", null, t("models.licence")),
      h("span", null, model.card.licence ?? t("models.noLicence"))),
    definitions(rows),
    model.label_set ? labels(model.label_set) : null,
    more.length
      ? h("details", null, h("summary", null, t("models.more")),
        definitions(more.map((name) => [name, model.card[name]])))
      : null,
    tab
      ? h("footer", null, button("", t("models.use"), () => app.open(tab, { model: model.id }),
        { class: "primary", "aria-label": t("models.useNamed", { name: model.name }) }))
      : h("p", { class: "hint" }, t(model.kind === "segmenter" ? "models.segmenter" : "models.other")),
  );
}

/** @param {[string, import("./dom.js").Child][]} rows */
function definitions(rows) {
  return h("dl", { class: "facts" },
    ...rows.flatMap(([name, value]) => [h("dt", null, t(`models.${name}`)), h("dd", null, value)]));
}

/** @param {import("./api.js").LabelSet} set */
function labels(set) {
  return h(
    "details",
    null,
    h("summary", null, t("models.labelCount", { n: set.labels.length })),
    h("ul", { class: "model-labels" }, ...set.labels.map(({ name, color }) => {
      const swatch = h("span", { class: "model-swatch", "aria-hidden": "true" });
      swatch.style.backgroundColor = `rgb(${color.join(" ")})`;
      return h("li", null, swatch, name);
    })),
  );
}

/** @param {Model} model */
function whence(model) {
  if (model.embedded) return "embedded";
  return model.id.startsWith("runs.") ? "run" : "folder";
}

/** @param {Model} model */
function methodOf(model) {
  const words = t(`models.method.${model.method}`);
  return words.startsWith("models.") ? model.method : words;
}

/** @param {Model} model */
function takes(model) {
  const all = INPUTS.filter((name) => (model.inputs[name] ?? "no") !== "no").map((name) => {
    const what = t(`models.in.${name}`);
    return model.inputs[name] === "optional" ? t("models.optional", { what }) : what;
  });
  return all.length ? all.join(t("models.and")) : t(model.kind === "generator" ? "models.chance" : "models.onePhoto");
}

/** @param {Model} model */
function gives(model) {
  const ways = model.directions.map((way) => way.replace("to", " → ")).join(", ");
  return t(`models.out.${model.kind}`) + (model.directions.length > 1 ? ` (${ways})` : "");
}

/**
 * @param {string} text with `code` as in Markdown
 * @returns {import("./dom.js").Child[]}
 */
function withCode(text) {
  return text.split("`").map((part, place) => (place % 2 ? h("code", null, part) : part));
}

/** @param {number} size */
function bytes(size) {
  return new Intl.NumberFormat(language(), {
    style: "unit", unit: size < 1e6 ? "kilobyte" : "megabyte", maximumSignificantDigits: 2,
  }).format(size < 1e6 ? size / 1e3 : size / 1e6);
}

/** @param {{[id: string]: string}} problems each goes on from its id: "is damaged …" */
function broken(problems) {
  const all = Object.entries(problems);
  if (!all.length) return [];
  return [
    h("h3", null, t("models.problems")),
    h("ul", null, ...all.map(([id, reason]) => h("li", null, h("code", null, id), " ", reason))),
  ];
}
