// A picture of label ids: one byte a pixel, rows from the top. No DOM here.

/** A rectangle of whole pixels. @typedef {{x: number, y: number, w: number, h: number}} Rect */

/** The longest side that is painted on, in pixels. */
export const MOST_SIDE = 4096;

/** @param {number} width @param {number} height */
function checkSize(width, height) {
  for (const side of [width, height]) {
    if (!Number.isInteger(side) || side < 1 || side > MOST_SIDE) {
      throw new RangeError(`a raster's side is ${side}, expected 1 to ${MOST_SIDE} whole pixels`);
    }
  }
}

export class Raster {
  /**
   * @param {number} width
   * @param {number} height
   * @param {number} [fill] the id of every pixel
   */
  constructor(width, height, fill = 0) {
    checkSize(width, height);
    this.width = width;
    this.height = height;
    /** @type {Uint8Array<ArrayBuffer>} ids, [height * width] */
    this.data = new Uint8Array(width * height);
    if (fill !== 0) this.data.fill(fill);
  }

  /**
   * A raster that copies the ids given.
   * @param {number} width @param {number} height @param {ArrayLike<number>} data
   * @returns {Raster}
   */
  static from(width, height, data) {
    const made = new Raster(width, height);
    if (data.length !== width * height) {
      throw new RangeError(`the data of a raster are ${data.length} ids, expected ${width} x ${height}`);
    }
    made.data.set(data);
    return made;
  }

  /** @returns {Raster} */
  clone() {
    return Raster.from(this.width, this.height, this.data);
  }

  /**
   * The id at a pixel, or null outside.
   * @param {number} x @param {number} y @returns {number | null}
   */
  at(x, y) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return null;
    return this.data[Math.floor(y) * this.width + Math.floor(x)];
  }

  /** The whole of it. @returns {Rect} */
  get rect() {
    return { x: 0, y: 0, w: this.width, h: this.height };
  }
}

/**
 * The smallest rectangle around both.
 * @param {Rect | null} a @param {Rect | null} b @returns {Rect | null}
 */
export function union(a, b) {
  if (!a || !b) return a ?? b;
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return { x, y, w: Math.max(a.x + a.w, b.x + b.w) - x, h: Math.max(a.y + a.h, b.y + b.h) - y };
}

/**
 * A copy of the ids in a rectangle that lies within the raster.
 * @param {Raster} raster @param {Rect} rect @returns {Uint8Array<ArrayBuffer>}
 */
export function cut(raster, rect) {
  const ids = new Uint8Array(rect.w * rect.h);
  for (let row = 0; row < rect.h; row++) {
    const from = (rect.y + row) * raster.width + rect.x;
    ids.set(raster.data.subarray(from, from + rect.w), row * rect.w);
  }
  return ids;
}

/**
 * Write ids that `cut` gave.
 * @param {Raster} raster @param {Rect} rect @param {Uint8Array} ids
 */
export function paste(raster, rect, ids) {
  for (let row = 0; row < rect.h; row++) {
    raster.data.set(ids.subarray(row * rect.w, (row + 1) * rect.w), (rect.y + row) * raster.width + rect.x);
  }
}

/**
 * The smallest rectangle, within `rect`, of the pixels in which two rasters of one size differ; null where none do.
 * @param {Raster} a @param {Raster} b @param {Rect} rect @returns {Rect | null}
 */
export function difference(a, b, rect) {
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  for (let y = rect.y; y < rect.y + rect.h; y++) {
    const start = y * a.width;
    for (let x = rect.x; x < rect.x + rect.w; x++) {
      if (a.data[start + x] === b.data[start + x]) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (top === Infinity) top = y;
      bottom = y;
    }
  }
  return bottom < 0 ? null : { x: left, y: top, w: right - left + 1, h: bottom - top + 1 };
}
