/** Small helpers for making elements; everything the pages show is made through here, never through innerHTML. */

import { t } from "./i18n.js";

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Make an element. `on…` are listeners; null, undefined and false attributes are left out, true is an empty one;
 * `value` is set as a property after the children are in, so that a select takes it.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {{[name: string]: unknown} | null} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2).toLowerCase(), /** @type {EventListener} */ (value));
    } else if (name !== "value" || !("value" in element)) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  fill(element, ...children);
  const value = attributes?.value;
  if (value !== undefined && value !== null && "value" in element) {
    /** @type {{value: unknown}} */ (/** @type {unknown} */ (element)).value = String(value);
  }
  return element;
}

/**
 * Replace what an element holds.
 *
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  element.replaceChildren(
    ...children
      .filter((child) => child !== null && child !== undefined && child !== false)
      .map((child) => (child instanceof Node ? child : String(child))),
  );
}

/**
 * What each icon is drawn with, on a field of 24 by 24, as strokes. Parts that begin with "!" are filled.
 *
 * @type {{[name: string]: string[]}}
 */
const ICONS = {
  brush: ["M14.5 5.5 19 10 11 17.2 6.8 13z", "M14.5 5.5 17 3.4 20.9 7.1 19 10",
    "M6.8 13C4.2 14 5.6 17.7 3 20c3.6 1 7.4.2 8-2.8"],
  eraser: ["M4 15.5 13.5 6l5.5 5.5L11 19.5H7.5z", "M8.7 10.8l5.5 5.5", "M11 19.5h9"],
  line: ["M5.5 18.5 18.5 5.5", "!M5.5 16.5a2 2 0 1 1 0 4 2 2 0 0 1 0-4z", "!M18.5 3.5a2 2 0 1 1 0 4 2 2 0 0 1 0-4z"],
  polygon: ["M12 4 20 10 17 19.5H7L4 10z"],
  rectangle: ["M4 6.5h16v11H4z"],
  ellipse: ["M12 6c4.7 0 8.5 2.7 8.5 6s-3.8 6-8.5 6-8.5-2.7-8.5-6S7.3 6 12 6z"],
  fill: ["M10.5 4.5 18.5 12.5 11 20 3.5 12.5 10.5 5.5", "M8 2.5l2.5 2.5", "M3.7 12.5h14.6",
    "!M20.5 15c1.1 1.7 1.6 2.6 1.6 3.4a1.6 1.6 0 0 1-3.2 0c0-.8.5-1.7 1.6-3.4z"],
  eyedropper: ["M13 7.5 16.5 11 8 19.5l-4 .8.7-4.1z", "M11.8 6.3l5.9 5.9",
    "M14.8 6 17.2 3.6a2.2 2.2 0 0 1 3.2 3.2L18 9.2"],
  hand: ["M8 12.5V6.2a1.5 1.5 0 0 1 3 0V11 4.7a1.5 1.5 0 0 1 3 0V11 6.2a1.5 1.5 0 0 1 3 0"
    + "V15c0 3.6-2.2 6-5.5 6-2.5 0-3.9-1-5.2-3.2L3.7 14c-.5-.9-.3-1.7.4-2.1.7-.4 1.5-.2 2.1.5z"],
  undo: ["M8.5 5 4.5 9l4 4", "M5 9h9a5 5 0 0 1 0 10H8"],
  redo: ["M15.5 5l4 4-4 4", "M19 9h-9a5 5 0 0 0 0 10h6"],
  clear: ["M6 6l12 12M18 6 6 18"],
  plus: ["M12 5v14M5 12h14"],
  minus: ["M5 12h14"],
  fit: ["M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5"],
  right: ["M4 12h15", "M13 6l6 6-6 6"],
  left: ["M20 12H5", "M11 6l-6 6 6 6"],
  dice: ["M6.5 4h11A2.5 2.5 0 0 1 20 6.5v11a2.5 2.5 0 0 1-2.5 2.5h-11A2.5 2.5 0 0 1 4 17.5v-11A2.5 2.5 0 0 1 6.5 4z",
    "!M8.5 7.2a1.3 1.3 0 1 1 0 2.6 1.3 1.3 0 0 1 0-2.6z", "!M12 10.7a1.3 1.3 0 1 1 0 2.6 1.3 1.3 0 0 1 0-2.6z",
    "!M15.5 14.2a1.3 1.3 0 1 1 0 2.6 1.3 1.3 0 0 1 0-2.6z"],
  upload: ["M12 15.5V4", "M7.5 8.5 12 4l4.5 4.5", "M4 15v3.5A1.5 1.5 0 0 0 5.5 20h13a1.5 1.5 0 0 0 1.5-1.5V15"],
  download: ["M12 4v11.5", "M7.5 11 12 15.5 16.5 11", "M4 15v3.5A1.5 1.5 0 0 0 5.5 20h13a1.5 1.5 0 0 0 1.5-1.5V15"],
  open: ["M3.5 18.5V6.5A1.5 1.5 0 0 1 5 5h4.5l2 2.5H18A1.5 1.5 0 0 1 19.5 9v1.5", "M3.5 19l3-8.5H22l-3 8.5z"],
  save: ["M5.5 4H16l4 4v10.5a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 18.5v-13A1.5 1.5 0 0 1 5.5 4z", "M8 4v5h7V4",
    "M7.5 20v-6.5h9V20"],
  photo: ["M5 5h14a1.5 1.5 0 0 1 1.5 1.5v11A1.5 1.5 0 0 1 19 19H5a1.5 1.5 0 0 1-1.5-1.5v-11A1.5 1.5 0 0 1 5 5z",
    "M4 17l5-5.5 4 4 2.5-2.5 4.5 4.5", "!M15.5 7.8a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3z"],
  map: ["M4 6.5 9.3 4.5l5.4 2.5 5.3-2v12.5l-5.3 2-5.4-2.5L4 19z", "M9.3 4.5V17M14.7 7v12.5"],
  keep: ["M12 4l2.4 5 5.5.7-4 3.8 1 5.5-4.9-2.7L7.1 19l1-5.5-4-3.8 5.5-.7z"],
  trash: ["M4.5 7h15", "M9.5 7V4.5h5V7", "M6.5 7l1 12.5h9l1-12.5", "M10.3 10.5v5.5M13.7 10.5v5.5"],
  help: ["M8.8 9.2A3.2 3.2 0 1 1 12 12.7v1.6", "!M12 16.6a1.2 1.2 0 1 1 0 2.4 1.2 1.2 0 0 1 0-2.4z"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  search: ["M10.5 4.5a6 6 0 1 1 0 12 6 6 0 0 1 0-12z", "M15 15l5 5"],
  play: ["!M7.5 5v14l11.5-7z"],
  pause: ["M8.5 5.5v13M15.5 5.5v13"],
  stop: ["!M6.5 6.5h11v11h-11z"],
  again: ["M19 6v4.5h-4.5", "M18.7 10.3A7 7 0 1 0 19 14"],
  more: ["!M5.5 10.5a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3z", "!M12 10.5a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3z",
    "!M18.5 10.5a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3z"],
  down: ["M6 9.5l6 6 6-6"],
  swap: ["M7 5 3.5 8.5 7 12", "M4 8.5h14", "M17 12l3.5 3.5L17 19", "M20 15.5H6"],
  size: ["M4 20 20 4M20 10V4h-6M4 14v6h6"],
  layers: ["M12 4l9 4.5-9 4.5-9-4.5z", "M4.5 12.8 12 16.5l7.5-3.7", "M4.5 16.3 12 20l7.5-3.7"],
  sliders: ["M4 8h9M17.5 8H20M4 16h3M11.5 16H20", "M15.3 5.7a2.3 2.3 0 1 1 0 4.6 2.3 2.3 0 0 1 0-4.6z",
    "M9.3 13.7a2.3 2.3 0 1 1 0 4.6 2.3 2.3 0 0 1 0-4.6z"],
};

/**
 * One of this page's own icons; hidden from screen readers, so its button needs a name.
 *
 * @param {string} name one of the keys of ICONS; an unknown one gives an empty picture
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  for (const part of ICONS[name] ?? []) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", part.replace(/^!/, ""));
    if (part.startsWith("!")) path.setAttribute("class", "filled");
    svg.append(path);
  }
  return svg;
}

/**
 * A button with an icon and its name. With `bare` the name is heard and shown as a tooltip, but not drawn.
 *
 * @param {string} symbol of `icon`; "" for none
 * @param {string} name
 * @param {(event: MouseEvent) => unknown} onclick
 * @param {{[attribute: string]: unknown} & {bare?: boolean}} [attributes] as of `h`
 * @returns {HTMLButtonElement}
 */
export function button(symbol, name, onclick, attributes = {}) {
  const { bare, class: classes, ...rest } = attributes;
  return h(
    "button",
    {
      type: "button",
      class: [classes, bare ? "bare" : ""].filter(Boolean).join(" ") || null,
      "aria-label": bare ? name : null,
      title: bare ? name : null,
      ...rest,
      onclick,
    },
    symbol ? icon(symbol) : null,
    bare ? null : h("span", null, name),
  );
}

/**
 * A label above (or, with `inline`, beside) a control.
 *
 * @param {string} name
 * @param {HTMLElement} control an input, select or textarea, with or without things around it
 * @param {{inline?: boolean, hint?: string}} [how]
 * @returns {HTMLLabelElement}
 */
export function field(name, control, how = {}) {
  return h(
    "label",
    { class: how.inline ? "field inline" : "field" },
    h("span", { class: "field-name" }, name),
    control,
    how.hint ? h("span", { class: "hint" }, how.hint) : null,
  );
}

/**
 * An on/off switch: a checkbox that looks like one.
 *
 * @param {string} name
 * @param {boolean} on
 * @param {(on: boolean) => void} changed
 * @param {{disabled?: boolean, title?: string, testid?: string}} [how]
 * @returns {{root: HTMLLabelElement, input: HTMLInputElement}}
 */
export function switchBox(name, on, changed, how = {}) {
  const input = h("input", {
    type: "checkbox",
    role: "switch",
    disabled: how.disabled,
    "data-testid": how.testid,
    onchange: () => changed(input.checked),
  });
  input.checked = on;
  return { root: h("label", { class: "switch", title: how.title }, input, h("span", null, name)), input };
}

/**
 * A modal dialog; Escape and its close button close it, and the focus goes back to where it was.
 *
 * @param {string} title
 * @param {...Child} children
 * @returns {HTMLDialogElement} already open; `close(value)` ends it, its "close" event tells
 */
export function openDialog(title, ...children) {
  /** @type {HTMLDialogElement} */
  const dialog = h(
    "dialog",
    { "aria-label": title },
    h(
      "header",
      null,
      h("h2", null, title),
      button("clear", t("dom.close"), () => dialog.close(), { bare: true, class: "quiet" }),
    ),
    ...children,
  );
  dialog.addEventListener("close", () => dialog.remove());
  // A press on the backdrop lands on the dialog itself.
  dialog.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    const box = dialog.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right &&
      event.clientY >= box.top && event.clientY <= box.bottom;
    if (event.target === dialog && !inside) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Ask before something that cannot be undone.
 *
 * @param {string} title
 * @param {string} message
 * @param {string} yes what the button that does it says
 * @returns {Promise<boolean>}
 */
export function confirmDialog(title, message, yes) {
  return new Promise((resolve) => {
    const dialog = openDialog(
      title,
      h("p", null, message),
      h(
        "footer",
        { class: "row end" },
        button("", t("dom.cancel"), () => dialog.close()),
        button("", yes, () => dialog.close("yes"), { class: "danger" }),
      ),
    );
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
  });
}

/**
 * Let the person choose a file of theirs.
 *
 * @param {string} accept as of <input type=file>
 * @returns {Promise<File | null>} null: they thought better of it
 */
export async function chooseFile(accept) {
  return (await chosen(accept, false))[0] ?? null;
}

/**
 * Let the person choose files of theirs.
 *
 * @param {string} accept
 * @returns {Promise<File[]>} none: they thought better of it
 */
export function chooseFiles(accept) {
  return chosen(accept, true);
}

/**
 * @param {string} accept
 * @param {boolean} multiple
 * @returns {Promise<File[]>}
 */
function chosen(accept, multiple) {
  return new Promise((resolve) => {
    const input = h("input", {
      type: "file", accept, multiple, class: "visually-hidden", "aria-hidden": "true", tabindex: -1,
    });
    const done = () => {
      input.remove();
      resolve([...input.files ?? []]);
    };
    input.addEventListener("change", done);
    input.addEventListener("cancel", done);
    document.body.append(input); // some browsers open no chooser for an input outside the page
    input.click();
  });
}

/**
 * Hand a file to the browser's downloads.
 *
 * @param {Blob} blob
 * @param {string} name
 */
export function saveFile(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 30_000); // the download may begin a moment later
}

/**
 * Let pictures be dropped on, or pasted into, an element.
 *
 * @param {HTMLElement} element
 * @param {(file: File) => void} took
 * @param {{many?: boolean}} [how] many: it takes all that are dropped at once, one after the other
 */
export function dropFiles(element, took, { many = false } = {}) {
  element.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    element.classList.add("dropping");
  });
  element.addEventListener("dragleave", () => element.classList.remove("dropping"));
  element.addEventListener("drop", (event) => {
    element.classList.remove("dropping");
    const files = [...event.dataTransfer?.files ?? []];
    if (!files.length) return;
    event.preventDefault();
    for (const file of many ? files : files.slice(0, 1)) took(file);
  });
}
