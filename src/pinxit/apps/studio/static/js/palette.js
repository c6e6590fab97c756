/** The palette: every label by name, grouped and searchable, its colour always beside the name. */

import { fill, h } from "./dom.js";
import { addWords, language, t } from "./i18n.js";

/** @typedef {import("./api.js").Label} Label */
/** @typedef {import("./api.js").LabelSet} LabelSet */

const MOST_RECENT = 6;

/** Groups in the order people look for them; others follow as the set has them. */
const ORDER = ["sky", "landscape", "relief", "water", "plant", "ground", "street", "building", "opening", "vehicle",
  "person", "animal"];

addWords({
  en: {
    "palette.title": "Palette", "palette.search": "Search labels", "palette.labels": "Labels",
    "palette.recent": "Recently used", "palette.none": "No label is called that.", "palette.unknown": "unknown",
    "group.sky": "Sky", "group.landscape": "Landscape", "group.relief": "Relief", "group.water": "Water",
    "group.plant": "Plants", "group.ground": "Ground", "group.street": "Street", "group.building": "Buildings",
    "group.opening": "Openings", "group.vehicle": "Vehicles", "group.person": "People", "group.animal": "Animals",
    "group.object": "Objects", "group.furniture": "Furniture", "group.appliance": "Appliances", "group.food": "Food",
    "group.material": "Materials", "group.sport": "Sport", "group.tableware": "Tableware",
    "group.textile": "Textiles", "group.void": "Other", "group.unknown": "Not decided",
  },
  ja: {
    "palette.title": "パレット", "palette.search": "ラベルを検索", "palette.labels": "ラベル",
    "palette.recent": "最近使ったラベル", "palette.none": "該当するラベルがありません。", "palette.unknown": "未指定",
    "group.sky": "空", "group.landscape": "風景", "group.relief": "装飾", "group.water": "水", "group.plant": "植物",
    "group.ground": "地面", "group.street": "街路", "group.building": "建物", "group.opening": "開口部",
    "group.vehicle": "乗り物", "group.person": "人", "group.animal": "動物", "group.object": "物", "group.furniture": "家具",
    "group.appliance": "家電", "group.food": "食べ物", "group.material": "素材", "group.sport": "スポーツ",
    "group.tableware": "食器", "group.textile": "布", "group.void": "その他", "group.unknown": "未指定",
  },
});

/**
 * Label sets name their labels in English; these are the ones of streets and facades in Japanese.
 *
 * @type {{[name: string]: string}}
 */
const JAPANESE = {
  sky: "空", building: "建物", pole: "ポール", road: "車道", pavement: "歩道", sidewalk: "歩道", tree: "木",
  vegetation: "草木", terrain: "地面", signsymbol: "標識", "traffic sign": "交通標識", "traffic light": "信号機", fence: "フェンス",
  wall: "壁", car: "車", truck: "トラック", bus: "バス", train: "電車", motorcycle: "バイク", bicycle: "自転車",
  pedestrian: "歩行者", person: "人", rider: "乗っている人", bicyclist: "自転車に乗る人", grass: "草", mountain: "山", sea: "海",
  river: "川", rock: "岩", sand: "砂", snow: "雪", water: "水", clouds: "雲", flower: "花", bridge: "橋", house: "家",
  dirt: "土", hill: "丘", facade: "外壁", window: "窓", door: "ドア", balcony: "バルコニー", shop: "店舗", roof: "屋根",
  pillar: "柱", cornice: "軒じゃばら", sill: "窓台", blind: "ブラインド", deco: "飾り", molding: "繰形", background: "背景",
};

/**
 * A label's name as people here call it.
 *
 * @param {string} name
 */
export function labelName(name) {
  return (language() === "ja" && JAPANESE[name.toLowerCase()]) || name;
}

/**
 * @param {[number, number, number]} color
 */
export function swatch(color) {
  const box = h("span", { class: "swatch", "aria-hidden": "true" });
  box.style.backgroundColor = `rgb(${color.join(" ")})`;
  return box;
}

/** @typedef {{label: Label, name: string, row: HTMLElement, group: HTMLElement}} Row */

export class Palette {
  /** @param {(id: number) => void} chose the person chose a label */
  constructor(chose) {
    this.#chose = chose;
    this.search = h("input", {
      type: "search",
      role: "combobox",
      "aria-label": t("palette.search"),
      "aria-expanded": "true",
      "aria-controls": "palette-list",
      "aria-autocomplete": "list",
      "aria-keyshortcuts": "/",
      placeholder: t("palette.search"),
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.#filter(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keys(event),
    });
    this.#list = h("div", {
      id: "palette-list",
      class: "palette-list",
      role: "listbox",
      tabindex: 0,
      "aria-label": t("palette.labels"),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keys(event),
    });
    this.#none = h("p", { class: "hint palette-none", hidden: true, role: "status" }, t("palette.none"));
    this.#recentRow = h("div", { class: "recent", role: "group", "aria-label": t("palette.recent"), hidden: true });
    this.root = h(
      "aside",
      { class: "palette", "aria-label": t("palette.title") },
      h("div", { class: "palette-search" }, this.search, h("kbd", { "aria-hidden": "true" }, "/")),
      this.#recentRow,
      this.#list,
      this.#none,
    );
  }

  #chose;
  #list;
  #none;
  #recentRow;
  /** @type {Row[]} */
  #rows = [];
  /** @type {number[]} */
  #recent = [];
  #chosen = -1;
  /** The row that the arrows are at. @type {Row | null} */
  #active = null;

  /** The chosen label's id. */
  get chosen() {
    return this.#chosen;
  }

  /** @returns {Label[]} what can be painted, 'unknown' too where the set has it */
  get labels() {
    return this.#rows.map((row) => row.label);
  }

  /**
   * Offer another set's labels; nothing is chosen after it.
   *
   * @param {LabelSet} set
   */
  setLabels(set) {
    const unknown = unknownOf(set);
    const labels = unknown ? [...set.labels, unknown] : set.labels;
    const names = [...new Set(labels.map((label) => label.group))];
    const place = (/** @type {string} */ name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
    names.sort((a, b) => place(a) - place(b));
    this.#rows = [];
    this.#recent = [];
    this.#chosen = -1;
    this.#active = null;
    fill(
      this.#list,
      ...names.map((name) => {
        const key = `group.${name}`;
        const title = t(key) === key ? name : t(key);
        const group = h("div", { role: "group", class: "palette-group", "aria-label": title },
          h("h4", { "aria-hidden": "true" }, title));
        for (const label of labels.filter((each) => each.group === name)) {
          const shown = label === unknown ? t("palette.unknown") : labelName(label.name);
          const row = h(
            "div",
            {
              role: "option", id: `label-${label.id}`, class: "label", "aria-selected": "false", "data-id": label.id,
              onclick: () => this.#take(label.id),
            },
            swatch(label.color),
            h("span", { class: "label-name" }, shown),
          );
          group.append(row);
          this.#rows.push({ label, name: shown, row, group });
        }
        return group;
      }),
    );
    this.search.value = "";
    this.#filter();
    this.#showRecent();
  }

  /**
   * Mark a label as the chosen one, without telling.
   *
   * @param {number} id
   */
  choose(id) {
    this.#chosen = id;
    for (const each of this.#rows) {
      const chosen = each.label.id === id;
      each.row.setAttribute("aria-selected", String(chosen));
      if (chosen) {
        this.#activate(each);
        // Within the list alone: scrollIntoView would move the page too.
        const { row } = each;
        const top = row.offsetTop - this.#list.offsetTop;
        if (top < this.#list.scrollTop || top + row.offsetHeight > this.#list.scrollTop + this.#list.clientHeight) {
          this.#list.scrollTop = top - this.#list.clientHeight / 2;
        }
        const left = row.offsetLeft - this.#list.offsetLeft;
        if (left < this.#list.scrollLeft || left + row.offsetWidth > this.#list.scrollLeft + this.#list.clientWidth) {
          this.#list.scrollLeft = left - this.#list.clientWidth / 2;
        }
      }
    }
    for (const chip of this.#recentRow.querySelectorAll("button")) {
      chip.setAttribute("aria-pressed", String(chip.dataset.id === String(id)));
    }
  }

  /**
   * A label was painted with: it heads the recently used ones.
   *
   * @param {number} id
   */
  used(id) {
    if (this.#recent[0] === id) return;
    const at = this.#recent.indexOf(id);
    if (at >= 0 && at < MOST_RECENT) return; // it is in the row already, and a row that keeps still is easier to hit
    this.#recent = [id, ...this.#recent.filter((each) => each !== id)].slice(0, MOST_RECENT);
    this.#showRecent();
  }

  /**
   * @param {number} id
   * @returns {string}
   */
  nameOf(id) {
    return this.#rows.find((row) => row.label.id === id)?.name ?? String(id);
  }

  #showRecent() {
    const found = this.#recent.flatMap((id) => this.#rows.find((row) => row.label.id === id) ?? []);
    this.#recentRow.hidden = found.length === 0;
    fill(
      this.#recentRow,
      ...found.map(({ label, name }) =>
        h(
          "button",
          {
            type: "button", class: "chip", "data-id": label.id, "aria-pressed": String(label.id === this.#chosen),
            onclick: () => this.#take(label.id),
          },
          swatch(label.color),
          name,
        ),
      ),
    );
  }

  /** @param {number} id */
  #take(id) {
    this.choose(id);
    this.#chose(id);
  }

  #filter() {
    const wanted = this.search.value.trim().toLowerCase();
    for (const { label, name, row, group } of this.#rows) {
      row.hidden = !(label.name.toLowerCase().includes(wanted) || name.toLowerCase().includes(wanted) ||
        (group.getAttribute("aria-label") ?? "").toLowerCase().includes(wanted));
    }
    for (const group of this.#list.children) {
      /** @type {HTMLElement} */ (group).hidden = [...group.querySelectorAll(".label")]
        .every((row) => /** @type {HTMLElement} */ (row).hidden);
    }
    const shown = this.#shown();
    this.#none.hidden = shown.length > 0;
    // Of those that are left the best is where the arrows begin: one whose name starts with what was typed.
    const best = wanted
      ? shown.find(({ label, name }) =>
        name.toLowerCase().startsWith(wanted) || label.name.toLowerCase().startsWith(wanted)) ?? shown[0]
      : shown.find(({ label }) => label.id === this.#chosen) ?? shown[0];
    this.#activate(best ?? null);
  }

  #shown() {
    return this.#rows.filter(({ row }) => !row.hidden);
  }

  /** @param {Row | null} to */
  #activate(to) {
    this.#active?.row.classList.remove("active");
    this.#active = to;
    to?.row.classList.add("active");
    for (const box of [this.search, this.#list]) {
      if (to) box.setAttribute("aria-activedescendant", to.row.id);
      else box.removeAttribute("aria-activedescendant");
    }
  }

  /** @param {KeyboardEvent} event */
  #keys(event) {
    const shown = this.#shown();
    const inSearch = event.target === this.search;
    const at = this.#active ? shown.indexOf(this.#active) : -1;
    const moves = /** @type {{[key: string]: number}} */ ({
      ArrowDown: at + 1, ArrowUp: at - 1, ...(inSearch ? {} : { Home: 0, End: shown.length - 1 }),
    });
    if (event.isComposing) return; // Enter ends the writing of a Japanese word first
    if (event.key in moves) {
      const to = shown[Math.max(0, Math.min(shown.length - 1, moves[event.key]))];
      if (to) {
        this.#activate(to);
        to.row.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
    } else if (event.key === "Enter" || (event.key === " " && !inSearch)) {
      if (this.#active) this.#take(this.#active.label.id);
      if (inSearch && this.search.value) {
        this.search.value = "";
        this.#filter();
      }
    } else if (event.key === "Escape" && inSearch && this.search.value) {
      this.search.value = "";
      this.#filter();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation(); // Enter here chooses a label and paints no picture
  }
}

/**
 * 'Unknown' as a label, where the set has it.
 *
 * @param {LabelSet} set
 * @returns {Label | null}
 */
export function unknownOf(set) {
  if (!set.unknown) return null;
  return { id: set.unknown.id, name: "unknown", color: set.unknown.color, group: "unknown" };
}
