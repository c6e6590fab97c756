// A whole painting as one file, to be opened again on any day and machine: JSON, with the map's ids packed inside.
// The same state gives the same text. What is read was perhaps written by a stranger: each field is checked.
// Runs in node too.

import { deflated, inflated } from "./canvas/png.js";
import { MOST_SIDE } from "./canvas/raster.js";

/** @typedef {{seed: number} | {picture: string} | {between: [Style, Style], at: number}} Style */
/** Which inputs of the model are switched on.
 *  @typedef {{map?: boolean, sketch?: boolean, text?: boolean, style?: boolean, picture?: boolean}} Inputs */

/**
 * @typedef {object} Project
 * @property {string} model id of the model it was painted with
 * @property {number} width of the map, in pixels
 * @property {number} height
 * @property {Uint8Array} ids of the map, [height * width]
 * @property {Style | null} style
 * @property {Style[]} styles that were used before
 * @property {string | null} sketch a picture as data URL
 * @property {string} text
 * @property {Inputs} inputs
 * @property {{dataUrl: string, opacity: number} | null} underlay
 * @property {number} seed
 * @property {string} created ISO time
 * @property {Record<string, string>} [pictures] the styles' pictures by their ids, as data URLs, for a studio that has
 *   not seen them; empty where not given
 */

const FORMAT = "pinxit-project";
const VERSION = 1;
/** The longest file that is read, bytes. */
const MOST_BYTES = 128 << 20;
const MOST_SEED = Number.MAX_SAFE_INTEGER;
/** How deep styles between styles may lie in each other. */
const MOST_DEPTH = 8;
const INPUTS = /** @type {const} */ (["map", "sketch", "text", "style", "picture"]);
const MODEL_ID = /^[a-z0-9][a-z0-9._-]{0,199}$/;
const PICTURE_ID = /^[0-9a-f]{32}$/;
const DATA_URL = /^data:image\/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** @typedef {(value: unknown, where: string) => any} Check */

/**
 * @param {Project} state
 * @returns {Promise<Blob>}
 * @throws {Error} where a field is none that `readProject` would take
 */
export async function saveProject(state) {
  const { ids, ...fields } = state;
  const checked = checkFields({ pictures: {}, ...fields });
  if (!(ids instanceof Uint8Array) || ids.length !== checked.width * checked.height) {
    throw wrong("ids", "as many ids as the map has pixels");
  }
  const packed = toBase64(await deflated(Uint8Array.from(ids)));
  const { width, height, model, ...rest } = checked;
  const file = { format: FORMAT, version: VERSION, model, width, height, ids: packed, ...rest };
  return new Blob([JSON.stringify(file, null, 1) + "\n"], { type: "application/json" });
}

/**
 * @param {Blob} blob
 * @returns {Promise<Project & {pictures: Record<string, string>}>}
 * @throws {Error} on anything but a project, in one line that a person can read
 */
export async function readProject(blob) {
  if (blob.size > MOST_BYTES) throw new Error(`the project file is longer than ${MOST_BYTES >> 20} MB`);
  /** @type {unknown} */
  let file;
  try {
    file = JSON.parse(await blob.text());
  } catch {
    throw new Error("the file is no project of Pinxit (it is not JSON)");
  }
  if (!isObject(file) || file.format !== FORMAT) throw new Error("the file is no project of Pinxit");
  const { format, version, ids, ...fields } = file;
  if (!Number.isInteger(version) || /** @type {number} */ (version) < 1) throw wrong("version", "a whole number");
  if (/** @type {number} */ (version) > VERSION) {
    throw new Error(`the project file has version ${version}, and this Pinxit reads ${VERSION}; update Pinxit`);
  }
  const checked = checkFields({ pictures: {}, ...fields });
  if (typeof ids !== "string") throw wrong("ids", "text");
  const unpacked = await inflated(fromBase64(ids, "ids"), checked.width * checked.height, "the project's map");
  return { ...checked, ids: unpacked };
}

/** @type {Record<Exclude<keyof Project, "ids">, Check>} in the order in which they are written */
const CHECKS = {
  model: matching(MODEL_ID, "a model's id"),
  width: whole(1, MOST_SIDE),
  height: whole(1, MOST_SIDE),
  style: orNull((value, where) => checkStyle(value, where, 0)),
  styles: (value, where) => {
    if (!Array.isArray(value) || value.length > 1000) throw wrong(where, "a list of at most 1000 styles");
    return value.map((style, i) => checkStyle(style, `${where}[${i}]`, 0));
  },
  sketch: orNull(matching(DATA_URL, "a picture as data URL")),
  text: (value, where) => {
    if (typeof value !== "string" || value.length > 10000) throw wrong(where, "text of at most 10000 letters");
    return value;
  },
  inputs: (value, where) => {
    const inputs = object(value, where, [], INPUTS);
    for (const name of Object.keys(inputs)) {
      if (typeof inputs[name] !== "boolean") throw wrong(`${where}.${name}`, "true or false");
    }
    return ordered(inputs, INPUTS);
  },
  underlay: orNull((value, where) => {
    const { dataUrl, opacity } = object(value, where, ["dataUrl", "opacity"], []);
    return {
      dataUrl: matching(DATA_URL, "a picture as data URL")(dataUrl, `${where}.dataUrl`),
      opacity: part(opacity, `${where}.opacity`),
    };
  }),
  seed: whole(0, MOST_SEED),
  created: (value, where) => {
    if (typeof value !== "string" || !TIME.test(value) || Number.isNaN(Date.parse(value))) {
      throw wrong(where, "a time like 2026-01-31T12:00:00Z");
    }
    return value;
  },
  pictures: (value, where) => {
    if (!isObject(value)) throw wrong(where, "pictures by their ids");
    for (const [id, url] of Object.entries(value)) {
      if (!PICTURE_ID.test(id)) throw wrong(where, "pictures by their ids");
      matching(DATA_URL, "a picture as data URL")(url, `${where}.${id}`);
    }
    return ordered(value, Object.keys(value).sort());
  },
};

/**
 * All fields but the ids, checked, in the order in which they are written.
 * @param {Record<string, unknown>} fields
 * @returns {Omit<Project, "ids"> & {pictures: Record<string, string>}}
 */
function checkFields(fields) {
  object(fields, "", Object.keys(CHECKS), []);
  return /** @type {any} */ (
    Object.fromEntries(Object.entries(CHECKS).map(([name, check]) => [name, check(fields[name], name)]))
  );
}

/** @param {unknown} value @param {string} where @param {number} depth @returns {Style} */
function checkStyle(value, where, depth) {
  if (!isObject(value)) throw wrong(where, "a style");
  if (depth > MOST_DEPTH) throw wrong(where, `styles that lie at most ${MOST_DEPTH} deep in each other`);
  if ("seed" in value) {
    return { seed: whole(0, MOST_SEED)(object(value, where, ["seed"], []).seed, `${where}.seed`) };
  }
  if ("picture" in value) {
    const { picture } = object(value, where, ["picture"], []);
    return { picture: matching(PICTURE_ID, "a picture's id")(picture, `${where}.picture`) };
  }
  const { between, at } = object(value, where, ["between", "at"], []);
  if (!Array.isArray(between) || between.length !== 2) throw wrong(`${where}.between`, "two styles");
  const [a, b] = between.map((style, i) => checkStyle(style, `${where}.between[${i}]`, depth + 1));
  return { between: [a, b], at: part(at, `${where}.at`) };
}

/** @param {string} where @param {string} want */
function wrong(where, want) {
  return new Error(`the project's ${where} is not what it should be: expected ${want}`);
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * An object with these fields and no other.
 * @param {unknown} value @param {string} where
 * @param {readonly string[]} needed @param {readonly string[]} allowed
 * @returns {Record<string, unknown>}
 */
function object(value, where, needed, allowed) {
  if (!isObject(value)) throw wrong(where, `an object with ${[...needed, ...allowed].join(", ")}`);
  const prefix = where ? `${where}.` : "";
  for (const name of Object.keys(value)) {
    if (!needed.includes(name) && !allowed.includes(name)) {
      throw new Error(`the project has a field ${JSON.stringify(prefix + name)}, which this Pinxit does not know`);
    }
  }
  for (const name of needed) {
    if (!Object.hasOwn(value, name)) throw new Error(`the project has no field ${JSON.stringify(prefix + name)}`);
  }
  return value;
}

/** The same fields, in this order. @param {Record<string, unknown>} value @param {readonly string[]} names */
function ordered(value, names) {
  return Object.fromEntries(names.filter((name) => Object.hasOwn(value, name)).map((name) => [name, value[name]]));
}

/** @param {RegExp} pattern @param {string} want @returns {Check} */
function matching(pattern, want) {
  return (value, where) => {
    if (typeof value !== "string" || !pattern.test(value)) throw wrong(where, want);
    return value;
  };
}

/** @param {number} least @param {number} most @returns {Check} */
function whole(least, most) {
  return (value, where) => {
    const number = /** @type {number} */ (value);
    if (!Number.isInteger(value) || number < least || number > most) {
      throw wrong(where, `a whole number from ${least} to ${most}`);
    }
    return value;
  };
}

/** @param {unknown} value @param {string} where @returns {number} */
function part(value, where) {
  if (typeof value !== "number" || !(value >= 0 && value <= 1)) throw wrong(where, "a number from 0 to 1");
  return value;
}

/** @param {Check} check @returns {Check} */
function orNull(check) {
  return (value, where) => (value === null ? null : check(value, where));
}

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
  let text = "";
  // In parts: a call takes a limited number of arguments.
  for (let at = 0; at < bytes.length; at += 1 << 13) text += String.fromCharCode(...bytes.subarray(at, at + (1 << 13)));
  return btoa(text);
}

/** @param {string} text @param {string} where @returns {Uint8Array<ArrayBuffer>} */
function fromBase64(text, where) {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    throw wrong(where, "base64");
  }
}
