// What several tests of the page's modules need.

import { readFileSync } from "node:fs";

import { Raster } from "../../../../src/pinxit/apps/studio/static/js/canvas/raster.js";

/** A raster from lines of text: "." is 0, "#" is 1, a digit itself. @param {string[]} rows */
export function drawn(rows) {
  const ids = rows.join("").replaceAll(".", "0").replaceAll("#", "1");
  return Raster.from(rows[0].length, rows.length, Array.from(ids, Number));
}

/** The lines of text again. @param {Raster} raster */
export function shown(raster) {
  const letter = (id) => [".", "#"][id] ?? String(id);
  return Array.from({ length: raster.height }, (_, y) =>
    Array.from(raster.data.subarray(y * raster.width, (y + 1) * raster.width), letter).join(""),
  );
}

/** Numbers that look random and are the same in every run, 0 <= n < 1. @param {number} seed */
export function dice(seed) {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

/** A file that test_js.py made, or null where node was called by hand. @param {string} name */
export function pillow(name) {
  const folder = process.env.PINXIT_PNG_FOLDER;
  return folder ? readFileSync(`${folder}/${name}`) : null;
}
