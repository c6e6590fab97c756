// What was changed, to take it back. A change holds the ids that were there before, in the rectangle it touched, and
// no more; taken back, it holds those that were there after. No DOM here.

import { cut, paste } from "./raster.js";

/** @typedef {import("./raster.js").Raster} Raster */
/** @typedef {import("./raster.js").Rect} Rect */
/** Ids that a change wrote over. @typedef {{rect: Rect, ids: Uint8Array}} Patch */
/** A raster that was replaced as a whole, perhaps by one of another size. @typedef {{whole: Raster}} Whole */
/** @typedef {Patch | Whole} Change */

/** Changes that are kept even when they need more memory than that. */
const AT_LEAST = 50;

export class History {
  /**
   * @param {number} [limit] changes kept
   * @param {number} [mostBytes] beyond it the oldest are forgotten, down to 50 changes
   */
  constructor(limit = 200, mostBytes = 128 << 20) {
    this.limit = limit;
    this.mostBytes = mostBytes;
    /** @type {Change[]} */
    this.done = [];
    /** @type {Change[]} */
    this.undone = [];
    this.bytes = 0;
  }

  get canUndo() {
    return this.done.length > 0;
  }

  get canRedo() {
    return this.undone.length > 0;
  }

  /** A change was made. What was undone before it cannot be redone. @param {Change} change */
  push(change) {
    for (const gone of this.undone) this.bytes -= bytesOf(gone);
    this.undone = [];
    this.done.push(change);
    this.bytes += bytesOf(change);
    while (
      this.done.length > this.limit ||
      (this.bytes > this.mostBytes && this.done.length > Math.min(AT_LEAST, this.limit))
    ) {
      this.bytes -= bytesOf(/** @type {Change} */ (this.done.shift()));
    }
  }

  /** Take the last change back. @param {Raster} raster @returns {Rect | null} what changed */
  undo(raster) {
    return this.#swap(raster, this.done, this.undone);
  }

  /** Make it again. @param {Raster} raster @returns {Rect | null} what changed */
  redo(raster) {
    return this.#swap(raster, this.undone, this.done);
  }

  clear() {
    this.done = [];
    this.undone = [];
    this.bytes = 0;
  }

  /**
   * @param {Raster} raster @param {Change[]} from @param {Change[]} to
   * @returns {Rect | null}
   */
  #swap(raster, from, to) {
    const change = from.pop();
    if (!change) return null;
    this.bytes -= bytesOf(change);
    /** @type {Change} */
    let back;
    if ("whole" in change) {
      back = { whole: raster.clone() };
      raster.width = change.whole.width;
      raster.height = change.whole.height;
      raster.data = change.whole.data;
    } else {
      back = { rect: change.rect, ids: cut(raster, change.rect) };
      paste(raster, change.rect, change.ids);
    }
    to.push(back);
    this.bytes += bytesOf(back);
    return "whole" in change ? raster.rect : change.rect;
  }
}

/** @param {Change} change */
function bytesOf(change) {
  return "whole" in change ? change.whole.data.length : change.ids.length;
}
