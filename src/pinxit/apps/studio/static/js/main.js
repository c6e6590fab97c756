/** The shell: name, tabs, language, jobs at work; each page is a module of its own, loaded when it is first shown. */

import { Api, ApiError } from "./api.js";
import { button, fill, h, icon } from "./dom.js";
import { language, setLanguage, t } from "./i18n.js";

/** @typedef {"paint" | "translate" | "photo" | "sketch" | "text" | "gallery" | "models"} Tab */
/** @typedef {{[name: string]: any}} Parameters what one page tells another when it opens it */
/** @typedef {{shown?: (parameters: Parameters) => unknown, hidden?: () => unknown}} Page */
/** @typedef {{mount: (root: HTMLElement, app: App) => Promise<Page | void>}} PageModule */

/** @type {{[tab in Tab]: () => Promise<PageModule>}} */
const PAGES = {
  paint: () => import("./paint.js"),
  translate: () => import("./translate.js"),
  photo: () => import("./photo.js"),
  sketch: () => import("./sketch.js"),
  text: () => import("./text.js"),
  gallery: () => import("./gallery.js"),
  models: () => import("./models.js"),
};
const TABS = /** @type {Tab[]} */ (Object.keys(PAGES));

const BUSY_MS = 3000;
const IDLE_MS = 15_000;

/** What pages get of the shell. */
export class App {
  /**
   * @param {Api} api
   * @param {import("./api.js").Status} status
   * @param {(tab: Tab, parameters?: Parameters) => void} open shows another page
   * @param {HTMLElement} toasts
   * @param {(status: import("./api.js").Status) => void} statusChanged
   */
  constructor(api, status, open, toasts, statusChanged) {
    this.api = api;
    this.status = status;
    this.open = open;
    this.#toasts = toasts;
    this.#statusChanged = statusChanged;
  }

  #toasts;
  #statusChanged;
  /** @type {Promise<import("./api.js").Model[]> | null} */
  #models = null;

  /** The models there are; asked for once, until `refreshModels`. */
  models() {
    if (!this.#models) {
      const asked = this.api.models().then((answer) => answer.models);
      asked.catch(() => {
        if (this.#models === asked) this.#models = null; // ask again next time
      });
      this.#models = asked;
    }
    return this.#models;
  }

  refreshModels() {
    this.#models = null;
    return this.models();
  }

  /** Ask again how many jobs run; for pages that began or ended one. */
  async refreshStatus() {
    this.status = await this.api.status();
    this.#statusChanged(this.status);
    return this.status;
  }

  /**
   * A short message that goes away by itself.
   *
   * @param {string} message
   * @param {"info" | "error"} [kind]
   */
  toast(message, kind = "info") {
    /** @type {HTMLElement} */
    const note = h(
      "div",
      { class: `toast ${kind}`, role: kind === "error" ? "alert" : null },
      h("span", null, message),
      button("clear", t("dom.close"), () => note.remove(), { bare: true, class: "quiet" }),
    );
    this.#toasts.append(note);
    if (kind !== "error") setTimeout(() => note.remove(), 4000);
  }

  /**
   * A name for one view of this page, under which its later requests supersede its earlier ones.
   *
   * @param {string} prefix
   */
  client(prefix) {
    const random = crypto.getRandomValues(new Uint32Array(2));
    return `${prefix}-${random[0].toString(36)}${random[1].toString(36)}`;
  }
}

async function start() {
  document.documentElement.lang = language();
  const api = new Api();
  const shell = /** @type {HTMLElement} */ (document.getElementById("shell"));
  const toasts = h("div", { id: "toasts", "aria-live": "polite" });
  const jobs = h("button", { type: "button", class: "jobs quiet", hidden: true, onclick: () => void showWork() });
  const main = h("main", { id: "page", tabindex: -1 });

  /** @type {{[tab: string]: {button: HTMLButtonElement, panel: HTMLElement, page: Promise<Page | null> | null}}} */
  const pages = {};
  /** @type {Tab | null} */
  let current = null;

  const tabs = h("div", { class: "tabs", role: "tablist", "aria-label": t("shell.tabs") });
  for (const name of TABS) {
    const tab = h(
      "button",
      { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, onclick: () => show(name) },
      t(`tab.${name}`),
    );
    const panel = h("section", {
      id: `panel-${name}`, class: `page page-${name}`, role: "tabpanel", "aria-labelledby": `tab-${name}`, hidden: true,
    });
    tabs.append(tab);
    main.append(panel);
    pages[name] = { button: tab, panel, page: null };
  }
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const place = TABS.findIndex((name) => pages[name].button === document.activeElement);
    let to = step === undefined ? -1 : (place + step + TABS.length) % TABS.length;
    if (event.key === "Home") to = 0;
    if (event.key === "End") to = TABS.length - 1;
    if (to < 0) return;
    event.preventDefault();
    pages[TABS[to]].button.focus();
    show(TABS[to]);
  });

  const other = language() === "ja" ? "en" : "ja";
  const languages = h(
    "button",
    {
      type: "button", class: "quiet language", lang: other, "data-testid": "language",
      title: `${t("shell.language")}: English / 日本語`,
      onclick: async () => {
        if (current) await (await pages[current].page)?.hidden?.();
        setLanguage(other);
      },
    },
    other === "ja" ? "日本語" : "English",
  );

  fill(
    shell,
    h("a", { class: "skip", href: "#page", onclick: (/** @type {Event} */ event) => {
      event.preventDefault(); // the address bar's # names the tab
      main.focus();
    } }, t("shell.skip")),
    h("header", { class: "top" }, h("h1", { class: "name" }, mark(), "Pinxit"), tabs,
      h("div", { class: "top-end" }, jobs, languages)),
    main,
    toasts,
  );

  /** @param {import("./api.js").Status} status */
  function showJobs(status) {
    const { running, queued } = status.jobs;
    jobs.hidden = running + queued === 0;
    fill(
      jobs,
      h("span", { class: running ? "spinner" : "dot", "aria-hidden": "true" }),
      [running ? t("shell.jobs", { n: running }) : "", queued ? t("shell.queued", { n: queued }) : ""]
        .filter(Boolean).join(language() === "ja" ? "、" : ", "),
    );
  }

  /** The page of what is at work. */
  async function showWork() {
    const all = await api.jobs().catch(() => []);
    show(all.find((job) => job.state === "running")?.kind === "sketch" ? "sketch" : "photo");
  }

  /** @type {App} */
  let app;

  /**
   * @param {Tab} name
   * @param {Parameters} [parameters]
   */
  async function show(name, parameters = {}) {
    const before = current;
    current = name;
    if (location.hash.slice(1) !== name) history.pushState(null, "", `#${name}`);
    document.title = `${t(`tab.${name}`)} · Pinxit`;
    for (const [each, { button: tab, panel }] of Object.entries(pages)) {
      tab.setAttribute("aria-selected", String(each === name));
      tab.tabIndex = each === name ? 0 : -1;
      panel.hidden = each !== name;
    }
    if (before && before !== name) await (await pages[before].page)?.hidden?.();
    const entry = pages[name];
    entry.page ??= load(name, entry.panel);
    const page = await entry.page;
    if (!page) entry.page = null; // it failed: the next visit tries again
    else if (current === name) await page.shown?.(parameters);
  }

  /**
   * @param {Tab} name
   * @param {HTMLElement} panel
   * @returns {Promise<Page | null>}
   */
  async function load(name, panel) {
    const spinner = h("span", { class: "spinner", "aria-hidden": "true" });
    fill(panel, h("p", { class: "loading" }, spinner, t("shell.loading")));
    try {
      const module = await PAGES[name]();
      fill(panel);
      return (await module.mount(panel, app)) ?? {};
    } catch (error) {
      console.error(error);
      fill(
        panel,
        h("div", { class: "notice error", role: "alert" }, h("h2", null, t("shell.failed")),
          h("p", null, error instanceof Error ? error.message : String(error)),
          button("again", t("shell.retry"), () => show(name))),
      );
      return null;
    }
  }

  const fromHash = () => /** @type {Tab} */ (TABS.find((name) => name === location.hash.slice(1)) ?? "paint");
  addEventListener("popstate", () => {
    if (fromHash() !== current) show(fromHash());
  });

  let status;
  try {
    status = await api.status();
  } catch (error) {
    fill(main, h("div", { class: "notice error", role: "alert" },
      h("p", null, error instanceof ApiError ? error.message : String(error)),
      button("again", t("shell.retry"), () => location.reload())));
    return;
  }
  app = new App(api, status, (tab, parameters) => void show(tab, parameters), toasts, showJobs);
  showJobs(status);
  history.replaceState(null, "", `#${fromHash()}`);
  show(fromHash());

  for (;;) {
    const { running, queued } = app.status.jobs;
    await new Promise((resolve) => setTimeout(resolve, running + queued ? BUSY_MS : IDLE_MS));
    if (document.hidden) continue;
    try {
      await app.refreshStatus();
    } catch {
      // Not reachable just now; what people do next will say so, in its place.
    }
  }
}

/** The mark beside the name: the favicon's brush and stroke. */
function mark() {
  const image = icon("brush");
  image.classList.add("mark");
  return image;
}

start();
