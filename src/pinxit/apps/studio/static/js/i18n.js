/** The page's words, English and Japanese; each page brings its own with `addWords`. */

/** @typedef {"en" | "ja"} Language */
/** @typedef {{[key: string]: string}} Words */

const KEY = "pinxit.language";

/** @type {{en: Words, ja: Words}} */
const words = { en: {}, ja: {} };

/** @returns {Language} */
function chosen() {
  let kept = null;
  try {
    kept = localStorage.getItem(KEY);
  } catch {
    // Storage may be switched off; the browser's language will do.
  }
  if (kept === "en" || kept === "ja") return kept;
  const first = navigator.languages.find((name) => /^(en|ja)\b/.test(name));
  return first?.startsWith("ja") ? "ja" : "en";
}

const current = chosen();

/** @returns {Language} */
export function language() {
  return current;
}

/**
 * Speak another language: remembered, then the page is loaded anew.
 *
 * @param {Language} wanted
 */
export function setLanguage(wanted) {
  try {
    localStorage.setItem(KEY, wanted);
  } catch {
    return; // without storage the choice would be forgotten by the reload
  }
  location.reload();
}

/** @param {{en: Words, ja: Words}} more */
export function addWords(more) {
  Object.assign(words.en, more.en);
  Object.assign(words.ja, more.ja);
}

/**
 * The words of a key, with {name}s filled in; a key that has no Japanese is said in English.
 *
 * @param {string} key
 * @param {{[name: string]: string | number}} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = words[current][key] ?? words.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/**
 * What a thing with names in several languages is called here.
 *
 * @param {{en: string, ja?: string} | string | undefined | null} title
 * @returns {string}
 */
export function inLanguage(title) {
  if (!title) return "";
  if (typeof title === "string") return title;
  return title[current] ?? title.en;
}

addWords({
  en: {
    "dom.close": "Close", "dom.cancel": "Cancel",
    "shell.tabs": "Pages", "shell.language": "Language",
    "shell.jobs": "{n} at work", "shell.queued": "{n} waiting",
    "tab.paint": "Paint", "tab.translate": "Translate", "tab.photo": "One photo", "tab.gallery": "Gallery",
    "tab.models": "Models", "tab.sketch": "Sketch", "tab.text": "Text",
    "shell.failed": "This page could not be loaded.", "shell.retry": "Try again",
    "shell.offline": "The studio does not answer. Is `pinxit studio` still running?",
    "shell.skip": "Skip to the page", "shell.loading": "One moment…",
  },
  ja: {
    "dom.close": "閉じる", "dom.cancel": "キャンセル",
    "shell.tabs": "ページ", "shell.language": "言語",
    "shell.jobs": "実行中 {n} 件", "shell.queued": "待機中 {n} 件",
    "tab.paint": "ペイント", "tab.translate": "変換", "tab.photo": "1枚の写真", "tab.gallery": "ギャラリー",
    "tab.models": "モデル", "tab.sketch": "スケッチ", "tab.text": "テキスト",
    "shell.failed": "このページを読み込めませんでした。", "shell.retry": "再試行",
    "shell.offline": "スタジオが応答しません。`pinxit studio` は動いていますか？",
    "shell.skip": "本文へ移動", "shell.loading": "読み込み中…",
  },
});
