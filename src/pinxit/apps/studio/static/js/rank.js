/** The page of a ranking study: instructions, one question at a time, thanks. It knows no names of methods. */

import { button, fill, h } from "./dom.js";
import { addWords, language, setLanguage, t } from "./i18n.js";

/**
 * @typedef {object} Study
 * @property {string} study its id
 * @property {"pairs" | "ranking"} design
 * @property {string | null} question
 * @property {string | null} instructions
 * @property {number | null} seconds how long pictures are seen
 * @property {number} questions of each rater
 * @property {boolean} checks whether some questions are attention checks
 */
/** @typedef {{pictures: string[], condition: string | null, caption: string | null}} Question */
/** @typedef {number[]} Order places on the screen from 0, the best first */
/** @typedef {{rater: string, questions: Question[], answers: (Order | null)[]}} Sheet */

const ROOT = "api/v1/rank";
/** A press just after a question has appeared was meant for the one before: a double tap, a key held down. */
const REST_MS = 250;

addWords({
  en: {
    "rank.title": "Which picture?",
    "rank.begin": "Begin",
    "rank.count": "You will see {n} questions, one at a time. There is no right answer: your eye decides.",
    "rank.check": "Please look at each; some questions check that somebody does.",
    "rank.pairs": "Choose a picture: tap or click it, or press 1 or 2.",
    "rank.ranking": "Choose the best picture, then the next best, and so on: tap or click them, or press their digits.",
    "rank.keys": "Arrow keys and Enter work too; Backspace takes the last choice back.",
    "rank.seconds": "Pictures are covered after {n} s. Choose whenever you are ready.",
    "rank.stored": "Your choices and the seconds that they take are kept under a random number, and nothing else about " +
      "you. You may stop at any time. With “Begin” you agree to that.",
    "rank.ask": "Which picture looks more real?",
    "rank.askShown": "Which picture looks more real, and shows what is above?",
    "rank.askAll": "Which picture looks most real? And the next?",
    "rank.askAllShown": "Which picture looks most real, and shows what is above? And the next?",
    "rank.above": "What the pictures are to show",
    "rank.choices": "Pictures to choose from",
    "rank.picture": "Picture {n}",
    "rank.placed": "Picture {n}, place {place}",
    "rank.progress": "Question {n} of {of}",
    "rank.undo": "Take back",
    "rank.next": "Next",
    "rank.saving": "Saving…",
    "rank.loading": "One moment…",
    "rank.covered": "The pictures are covered now. Which was it?",
    "rank.chosen": "Picture {n}: place {place}",
    "rank.taken": "Taken back",
    "rank.thanks": "Thank you!",
    "rank.done": "All {n} answers are kept. You may close this page.",
    "rank.number": "Your number, if you are asked for one: {rater}",
    "rank.offline": "The server does not answer. Your earlier answers are safe.",
    "rank.retry": "Try again",
    "rank.language": "Language",
  },
  ja: {
    "rank.title": "どちらの画像？",
    "rank.begin": "始める",
    "rank.count": "質問は全部で {n} 問、1問ずつ表示されます。正解はありません。見たままの印象でお答えください。",
    "rank.check": "1問ずつ画像をよくご覧ください。見ていることを確かめる質問も含まれます。",
    "rank.pairs": "画像をタップまたはクリックするか、キー 1・2 を押して選んでください。",
    "rank.ranking": "最も良い画像から順に選んでください。タップまたはクリックするか、画像の番号のキーを押します。",
    "rank.keys": "矢印キーと Enter も使えます。Backspace で直前の選択を取り消せます。",
    "rank.seconds": "画像は {n} 秒後に隠れます。回答は急がなくてかまいません。",
    "rank.stored": "記録されるのは、選んだ結果と回答にかかった秒数だけで、無作為な番号のもとに保存されます。いつでもやめられます。" +
      "「始める」を押すと、これに同意したことになります。",
    "rank.ask": "どちらの画像が本物らしく見えますか？",
    "rank.askShown": "上に示したものを表し、本物らしく見えるのはどちらの画像ですか？",
    "rank.askAll": "最も本物らしく見える画像はどれですか？ 続けて順に選んでください。",
    "rank.askAllShown": "上に示したものを表し、最も本物らしく見える画像はどれですか？ 続けて順に選んでください。",
    "rank.above": "画像が表すべきもの",
    "rank.choices": "選択する画像",
    "rank.picture": "画像 {n}",
    "rank.placed": "画像 {n}、{place} 位",
    "rank.progress": "質問 {n} / {of}",
    "rank.undo": "取り消す",
    "rank.next": "次へ",
    "rank.saving": "保存中…",
    "rank.loading": "読み込み中…",
    "rank.covered": "画像が隠れました。どれだと思いますか？",
    "rank.chosen": "画像 {n}：{place} 位",
    "rank.taken": "取り消しました",
    "rank.thanks": "ありがとうございました",
    "rank.done": "{n} 問すべての回答が保存されました。このページは閉じてかまいません。",
    "rank.number": "番号を求められた場合：{rater}",
    "rank.offline": "サーバーが応答しません。これまでの回答は保存されています。",
    "rank.retry": "再試行",
    "rank.language": "言語",
  },
});

/** What the server refused, or that it did not answer (status 0). */
class Refused extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {object} [body] to send; without one it is asked for
 * @returns {Promise<any>}
 */
async function ask(path, body) {
  const how = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(`${ROOT}/${path}`, how);
  } catch {
    throw new Refused(0, t("rank.offline"));
  }
  if (answer.ok) return answer.json();
  let message = `${answer.status} ${answer.statusText}`;
  try {
    message = (await answer.json()).error.message;
  } catch {
    // A proxy's page perhaps: the status line says it.
  }
  throw new Refused(answer.status, message);
}

/** @param {string} id */
const address = (id) => `${ROOT}/pictures/${id}`;

/** Who answers here, kept so that a reload goes on with the same sheet. */
class Remembered {
  /** @param {string} study */
  constructor(study) {
    this.key = `pinxit.rank.${study}`;
  }

  get() {
    try {
      return localStorage.getItem(this.key);
    } catch {
      return null; // storage is switched off: a reload begins anew
    }
  }

  /** @param {string} rater */
  set(rater) {
    try {
      localStorage.setItem(this.key, rater);
    } catch {
      // As above.
    }
  }
}

class Page {
  /**
   * @param {HTMLElement} root
   * @param {Study} study
   */
  constructor(root, study) {
    this.root = root;
    this.study = study;
    this.remembered = new Remembered(study.study);
    this.status = h("p", { class: "status", role: "status", "data-testid": "status" });
    /** @type {Sheet} */
    this.sheet = { rater: "", questions: [], answers: [] };
    this.place = 0;
    /** @type {Order} */
    this.picks = [];
    /** @type {HTMLButtonElement[]} */
    this.choices = [];
    /** @type {HTMLButtonElement | null} */
    this.next = null;
    this.ready = false;
    this.shownAt = 0;
    this.cover = 0;
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Where the rater left off; or the instructions. */
  async start() {
    const rater = this.remembered.get();
    if (rater) {
      try {
        this.#open(await ask(`raters/${rater}`));
        return;
      } catch (error) {
        // 404: the study's folder has lost its raters. Anything else may pass.
        if (!(error instanceof Refused) || error.status !== 404) throw error;
      }
    }
    this.#instructions();
  }

  #instructions() {
    const { study } = this;
    const begin = button("", t("rank.begin"), () => this.#tried(begin, async () => {
      const sheet = await ask("raters", {});
      this.remembered.set(sheet.rater);
      this.#open(sheet);
    }), { class: "primary", "data-testid": "begin" });
    fill(
      this.root,
      h("div", { class: "rank-text" },
        h("div", { class: "row between" }, h("h1", null, t("rank.title")), languageButton()),
        study.instructions ? h("p", { class: "given" }, study.instructions) : null,
        h("p", null, t("rank.count", { n: study.questions })),
        h("ul", null,
          h("li", null, t(study.design === "pairs" ? "rank.pairs" : "rank.ranking")),
          h("li", null, t("rank.keys")),
          study.seconds === null ? null : h("li", null, t("rank.seconds", { n: study.seconds })),
          study.checks ? h("li", null, t("rank.check")) : null),
        h("p", { class: "hint" }, t("rank.stored")),
        begin,
        this.status),
    );
  }

  /** @param {Sheet} sheet */
  #open(sheet) {
    this.sheet = sheet;
    this.#unanswered();
  }

  /** Show the first question that has no answer; thanks where there is none. */
  #unanswered() {
    const place = this.sheet.answers.indexOf(null);
    if (place < 0) this.#thanks();
    else this.#show(place);
  }

  #thanks() {
    this.place = this.sheet.questions.length;
    this.choices = [];
    this.ready = true;
    const heading = h("h1", { tabindex: -1 }, t("rank.thanks"));
    fill(
      this.root,
      h("div", { class: "rank-text", "data-testid": "thanks" },
        heading,
        h("p", null, t("rank.done", { n: this.sheet.questions.length })),
        h("p", { class: "hint" }, t("rank.number", { rater: this.sheet.rater.slice(0, 8) })),
        h("div", { class: "row" }, this.#undoButton()),
        this.status),
    );
    this.#say("");
    heading.focus();
  }

  /** @param {number} place */
  async #show(place) {
    clearTimeout(this.cover);
    this.ready = false;
    this.place = place;
    const question = this.sheet.questions[place];
    const earlier = this.sheet.answers[place];
    this.picks = earlier ? earlier.slice(0, -1) : [];
    const values = { n: place + 1, of: this.sheet.questions.length };
    const heading = h("h1", { class: "rank-asked", id: "asked", tabindex: -1 }, this.#asked());
    const images = question.pictures.map((id, i) => h("img", { src: address(id), alt: t("rank.picture", { n: i + 1 }) }));
    this.choices = images.map((image, i) => h(
      "button",
      { type: "button", class: "rank-choice", "aria-pressed": "false", "data-testid": `choice-${i + 1}`,
        onclick: () => this.#choose(i) },
      image,
      h("kbd", { class: "rank-key", "aria-hidden": "true" }, i + 1),
      h("span", { class: "rank-place", "aria-hidden": "true", hidden: true }),
    ));
    const above = question.condition
      ? h("img", { src: address(question.condition), alt: t("rank.above") })
      : question.caption && h("blockquote", null, question.caption);
    this.next = this.study.design === "pairs" ? null
      : button("right", t("rank.next"), () => this.#send(), { class: "primary", "data-testid": "next" });
    const choices = h("div", { class: "rank-choices", role: "group", "aria-label": t("rank.choices"),
      "data-shown": images.length }, ...this.choices);
    const section = h("section", { class: "stack grow", "aria-labelledby": "asked", "data-testid": "question" },
      heading, above ? h("figure", { class: "rank-condition" }, above) : null, choices);
    fill(
      this.root,
      h("div", { class: "rank-top" },
        h("span", { "data-testid": "progress" }, t("rank.progress", values)),
        h("progress", { max: values.of, value: place, "aria-label": t("rank.progress", values) }),
        languageButton()),
      section,
      h("div", { class: "rank-bottom" }, this.#undoButton(), this.status, this.next),
    );
    this.#mark();
    this.#say(t("rank.loading"));
    const shown = above instanceof HTMLImageElement ? [above, ...images] : images;
    try {
      await Promise.all(shown.map((image) => image.decode()));
    } catch {
      if (this.place === place && section.isConnected) this.#failed(t("rank.offline"), () => this.#show(place));
      return;
    }
    if (!section.isConnected) return;
    this.#say("");
    heading.focus();
    this.shownAt = performance.now();
    if (this.study.seconds !== null) {
      this.cover = setTimeout(() => {
        choices.classList.add("covered");
        this.#say(t("rank.covered"));
      }, this.study.seconds * 1000);
    }
    for (const id of this.sheet.questions[place + 1]?.pictures ?? []) new Image().src = address(id); // meanwhile
    setTimeout(() => {
      if (!section.isConnected) return;
      this.ready = true;
      section.setAttribute("data-ready", String(place + 1));
    }, REST_MS);
  }

  #asked() {
    const { design, question } = this.study;
    if (question) return question;
    const { condition, caption } = this.sheet.questions[this.place];
    const key = design === "pairs" ? "rank.ask" : "rank.askAll";
    return t(condition || caption ? `${key}Shown` : key);
  }

  /** What is chosen so far; the last one left goes to the end by itself. */
  #order() {
    const left = this.choices.map((_, i) => i).filter((i) => !this.picks.includes(i));
    return left.length === 1 ? [...this.picks, ...left] : this.picks;
  }

  /** @param {number} i */
  #choose(i) {
    if (!this.ready) return;
    const forced = this.choices.length === 2 && !this.next;
    if (forced) this.picks = [i];
    else if (this.picks.includes(i)) this.picks = this.picks.filter((pick) => pick !== i);
    else if (this.#order().length < this.choices.length) this.picks = [...this.picks, i];
    else return;
    this.#mark();
    if (forced) {
      this.#send();
      return;
    }
    const order = this.#order();
    this.#say(order.includes(i) ? t("rank.chosen", { n: i + 1, place: order.indexOf(i) + 1 }) : t("rank.taken"));
    if (order.length === this.choices.length) this.next?.focus();
  }

  #mark() {
    const order = this.#order();
    this.choices.forEach((choice, i) => {
      const place = order.indexOf(i) + 1;
      const chosen = this.next ? place > 0 : this.picks[0] === i;
      choice.setAttribute("aria-pressed", String(chosen));
      const image = choice.querySelector("img");
      const badge = /** @type {HTMLElement} */ (choice.querySelector(".rank-place"));
      if (image) image.alt = t(this.next && chosen ? "rank.placed" : "rank.picture", { n: i + 1, place });
      badge.hidden = !this.next || !chosen;
      badge.textContent = String(place);
    });
    if (this.next) this.next.disabled = order.length < this.choices.length;
  }

  async #send() {
    const order = this.#order();
    if (!this.ready || order.length < this.choices.length) return;
    const seconds = (performance.now() - this.shownAt) / 1000;
    this.ready = false;
    this.#say(t("rank.saving"));
    const { place } = this;
    const answer = { rater: this.sheet.rater, place, order, seconds: Math.min(seconds, 86_400) };
    const save = async () => {
      try {
        await ask("answers", answer);
      } catch (error) {
        this.#failed(error instanceof Error ? error.message : String(error), save);
        return;
      }
      this.sheet.answers[place] = order;
      this.#unanswered();
    };
    await save();
  }

  /** One pick back; or to the question before. */
  #undo() {
    if (!this.ready || this.place === 0 && this.picks.length === 0) return;
    if (this.next && this.choices.length && this.picks.length) {
      this.picks = this.picks.slice(0, -1);
      this.#mark();
      this.#say(t("rank.taken"));
    } else if (this.place > 0 && this.study.seconds === null) {
      this.#show(this.place - 1);
    }
  }

  #undoButton() {
    // What was seen for a limited time is not shown again.
    if (this.study.seconds !== null && this.study.design === "pairs") return null;
    return button("undo", t("rank.undo"), () => this.#undo(), { class: "quiet", "data-testid": "undo" });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const undo = event.key === "Backspace" || ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z");
    if (undo) {
      event.preventDefault();
      if (!event.repeat) this.#undo();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !this.choices.length) return;
    const digit = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : -1;
    if (digit >= 0 && digit < this.choices.length) {
      event.preventDefault();
      this.#choose(digit);
      return;
    }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const n = this.choices.length;
    const at = this.choices.findIndex((choice) => choice === document.activeElement);
    // From outside, of two, left is the left one and right the right one.
    const to = at >= 0 ? (at + step + n) % n : step > 0 && n === 2 ? 1 : 0;
    this.choices[to].focus();
  }

  /** @param {string} text */
  #say(text) {
    this.status.className = "status";
    fill(this.status, text);
  }

  /**
   * @param {string} message
   * @param {() => unknown} again
   */
  #failed(message, again) {
    this.status.className = "status error";
    fill(this.status, message, " ", button("again", t("rank.retry"), again, { "data-testid": "retry" }));
  }

  /**
   * @param {HTMLButtonElement} pressed
   * @param {() => Promise<void>} work
   */
  async #tried(pressed, work) {
    pressed.disabled = true;
    try {
      await work();
    } catch (error) {
      this.status.className = "status error";
      fill(this.status, error instanceof Error ? error.message : String(error));
    }
    pressed.disabled = false;
  }
}

function languageButton() {
  const other = language() === "ja" ? "en" : "ja";
  return h("button", {
    type: "button", class: "quiet language", lang: other, "data-testid": "language",
    title: `${t("rank.language")}: English / 日本語`, onclick: () => setLanguage(other),
  }, other === "ja" ? "日本語" : "English");
}

async function start() {
  document.documentElement.lang = language();
  document.title = `${t("rank.title")} · Pinxit`;
  const root = /** @type {HTMLElement} */ (document.getElementById("rank"));
  try {
    await new Page(root, await ask("study")).start();
  } catch (error) {
    fill(root, h("div", { class: "notice error", role: "alert" },
      h("p", null, error instanceof Error ? error.message : String(error)),
      button("again", t("rank.retry"), () => location.reload())));
  }
}

start();
