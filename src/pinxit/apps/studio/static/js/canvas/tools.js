// What the tools do to a raster. Pure: each writes ids and returns the rectangle that may have changed, or null.
//
// Points are in raster pixels and real-valued: pixel (i, j) covers i <= x < i + 1, j <= y < j + 1, so its centre is
// (i + 0.5, j + 0.5). An edge is never blended: a pixel has one id, and a half of two ids would be a third label.

import { union } from "./raster.js";

/** @typedef {import("./raster.js").Raster} Raster */
/** @typedef {import("./raster.js").Rect} Rect */
/** A place on the raster. @typedef {{x: number, y: number}} Point */
/** A place of a stroke; `size` takes the place of the tip's own (a pen's pressure).
 *  @typedef {{x: number, y: number, size?: number}} StrokePoint */
/** @typedef {"circle" | "square" | "diamond"} TipShape */
/** What a brush puts down; `size` is its width in raster pixels.
 *  @typedef {{shape: TipShape, size: number}} Tip */

/**
 * The rows of a tip: for each, from which pixel to before which it reaches. Every row has at least one pixel.
 * @param {TipShape} shape
 * @param {number} size whole pixels, at least 1
 * @returns {[number, number][]}
 */
export function tipRows(shape, size) {
  /** @type {[number, number][]} */
  const rows = [];
  const half = size / 2;
  for (let row = 0; row < size; row++) {
    const dy = Math.abs(row + 0.5 - half);
    let reach = half;
    if (shape === "diamond") reach = half - dy;
    // A circle of 3 with its true radius would be a square; it is a cross.
    if (shape === "circle" && size > 2) reach = Math.sqrt(half * half - dy * dy - (size === 3 ? 0.3 : 0));
    // Pixels whose centre is within reach of the middle; both ends mirror each other.
    const count = Math.max(size % 2 ? 1 : 2, 2 * Math.floor(reach + (size % 2 ? 0 : 0.5)) + (size % 2 ? 1 : 0));
    const wide = shape === "square" ? size : Math.min(size, count);
    rows.push([(size - wide) / 2, (size + wide) / 2]);
  }
  return rows;
}

/** A tip's size as it is used. @param {number} size @returns {number} */
export function wholeSize(size) {
  return Math.max(1, Math.round(size));
}

/**
 * The pixel at which a tip of this size begins when its middle is at `middle`.
 * @param {number} middle @param {number} size @returns {number}
 */
export function tipStart(middle, size) {
  return Math.round(middle - size / 2);
}

/**
 * @param {Raster} raster @param {number} y @param {number} from @param {number} to before this pixel @param {number} id
 */
function fillRow(raster, y, from, to, id) {
  if (y < 0 || y >= raster.height) return;
  const start = Math.max(0, from);
  const end = Math.min(raster.width, to);
  if (start < end) raster.data.fill(id, y * raster.width + start, y * raster.width + end);
}

/**
 * The part of a rectangle that lies on the raster.
 * @param {Raster} raster @param {number} x0 @param {number} y0 @param {number} x1 before this @param {number} y1
 * @returns {Rect | null}
 */
function clipped(raster, x0, y0, x1, y1) {
  const x = Math.max(0, x0);
  const y = Math.max(0, y0);
  const w = Math.min(raster.width, x1) - x;
  const h = Math.min(raster.height, y1) - y;
  return w > 0 && h > 0 ? { x, y, w, h } : null;
}

/**
 * A stroke through the points: the tip is put down at every pixel between them, so a fast one has no gaps. A stroke
 * drawn in parts that share their end points is the same as one drawn at once.
 * @param {Raster} raster @param {StrokePoint[]} points @param {Tip} tip @param {number} id
 * @returns {Rect | null}
 */
export function stroke(raster, points, tip, id) {
  /** @type {Rect | null} */
  let changed = null;
  /** @type {[number, number][]} */
  let rows = [];
  let rowsSize = 0;
  /** @param {number} x @param {number} y @param {number} size */
  const stamp = (x, y, size) => {
    if (size !== rowsSize) {
      rows = tipRows(tip.shape, size);
      rowsSize = size;
    }
    const left = tipStart(x, size);
    const top = tipStart(y, size);
    const rect = clipped(raster, left, top, left + size, top + size);
    if (!rect) return;
    for (let row = rect.y - top; row < rect.y - top + rect.h; row++) {
      fillRow(raster, top + row, left + rows[row][0], left + rows[row][1], id);
    }
    changed = union(changed, rect);
  };
  let before = points[0];
  for (const point of points) {
    const from = before.size ?? tip.size;
    const to = point.size ?? tip.size;
    const steps = Math.ceil(Math.max(Math.abs(point.x - before.x), Math.abs(point.y - before.y)));
    for (let step = steps ? 1 : 0; step <= steps; step++) {
      const part = steps ? step / steps : 1;
      stamp(
        before.x + (point.x - before.x) * part,
        before.y + (point.y - before.y) * part,
        wholeSize(from + (to - from) * part),
      );
    }
    before = point;
  }
  return changed;
}

/**
 * @param {Raster} raster @param {Point} from @param {Point} to @param {Tip} tip @param {number} id
 * @returns {Rect | null}
 */
export function line(raster, from, to, tip, id) {
  return stroke(raster, [{ x: from.x, y: from.y }, { x: to.x, y: to.y }], tip, id);
}

/**
 * A filled polygon. Where its outline crosses itself, what lies inside an even number of times stays empty. The
 * pixels of the outline belong to it: what was clicked is painted, and a sliver does not vanish between centres.
 * @param {Raster} raster @param {Point[]} points @param {number} id
 * @returns {Rect | null}
 */
export function polygon(raster, points, id) {
  if (!points.length) return null;
  const corners = points.map((point) => ({ x: Math.floor(point.x) + 0.5, y: Math.floor(point.y) + 0.5 }));
  const changed = stroke(raster, [...corners, corners[0]], { shape: "square", size: 1 }, id);
  const top = Math.max(0, Math.min(...corners.map((corner) => Math.floor(corner.y))));
  const bottom = Math.min(raster.height - 1, Math.max(...corners.map((corner) => Math.floor(corner.y))));
  for (let y = top; y <= bottom; y++) {
    /** @type {number[]} */
    const crossings = [];
    for (let i = 0; i < corners.length; i++) {
      const a = corners[i];
      const b = corners[(i + 1) % corners.length];
      // Half-open in y: a corner between two edges is crossed once.
      if (a.y <= y + 0.5 !== b.y <= y + 0.5) crossings.push(a.x + ((y + 0.5 - a.y) / (b.y - a.y)) * (b.x - a.x));
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      fillRow(raster, y, Math.ceil(crossings[i] - 0.5), Math.floor(crossings[i + 1] - 0.5) + 1, id);
    }
  }
  const x0 = Math.min(...corners.map((corner) => Math.floor(corner.x)));
  const x1 = Math.max(...corners.map((corner) => Math.floor(corner.x))) + 1;
  return union(changed, clipped(raster, x0, top, x1, bottom + 1));
}

/**
 * The pixels from one corner to the other, both counted in.
 * @param {Point} a @param {Point} b @returns {{x0: number, y0: number, x1: number, y1: number}} x1, y1: one past
 */
function box(a, b) {
  return {
    x0: Math.floor(Math.min(a.x, b.x)),
    y0: Math.floor(Math.min(a.y, b.y)),
    x1: Math.floor(Math.max(a.x, b.x)) + 1,
    y1: Math.floor(Math.max(a.y, b.y)) + 1,
  };
}

/**
 * A filled rectangle from one corner to the other.
 * @param {Raster} raster @param {Point} a @param {Point} b @param {number} id
 * @returns {Rect | null}
 */
export function rectangle(raster, a, b, id) {
  const { x0, y0, x1, y1 } = box(a, b);
  const rect = clipped(raster, x0, y0, x1, y1);
  if (rect) for (let y = rect.y; y < rect.y + rect.h; y++) fillRow(raster, y, x0, x1, id);
  return rect;
}

/**
 * The filled ellipse within the rectangle from one corner to the other: the pixels whose centre lies in it.
 * @param {Raster} raster @param {Point} a @param {Point} b @param {number} id
 * @returns {Rect | null}
 */
export function ellipse(raster, a, b, id) {
  const { x0, y0, x1, y1 } = box(a, b);
  const rect = clipped(raster, x0, y0, x1, y1);
  if (!rect) return null;
  const middle = (x0 + x1) / 2;
  for (let y = rect.y; y < rect.y + rect.h; y++) {
    const dy = (y + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2);
    // At least a half: the first and last row of a tall, narrow one have their middle pixels too.
    const half = Math.max(0.5, ((x1 - x0) / 2) * Math.sqrt(Math.max(0, 1 - dy * dy)));
    fillRow(raster, y, Math.ceil(middle - half - 0.5), Math.floor(middle + half - 0.5) + 1, id);
  }
  return rect;
}

/**
 * Fill the area of one id that the pixel at (x, y) lies in (neighbours by their sides, not by corners).
 * @param {Raster} raster @param {number} x @param {number} y @param {number} id
 * @returns {Rect | null}
 */
export function floodFill(raster, x, y, id) {
  const { width, height, data } = raster;
  const was = raster.at(x, y);
  if (was === null || was === id) return null;
  let [left, top, right, bottom] = [width, height, -1, -1];
  /** One pixel of each run that is still to be filled. @type {number[]} */
  const seeds = [Math.floor(y) * width + Math.floor(x)];
  while (seeds.length) {
    const seed = /** @type {number} */ (seeds.pop());
    if (data[seed] !== was) continue;
    const row = Math.floor(seed / width);
    const start = row * width;
    let from = seed;
    while (from > start && data[from - 1] === was) from--;
    let to = seed + 1;
    while (to < start + width && data[to] === was) to++;
    data.fill(id, from, to);
    left = Math.min(left, from - start);
    right = Math.max(right, to - start);
    top = Math.min(top, row);
    bottom = Math.max(bottom, row + 1);
    for (const side of [-width, width]) {
      if (row + Math.sign(side) < 0 || row + Math.sign(side) >= height) continue;
      for (let i = from + side; i < to + side; i++) {
        // The first pixel of each run: the others are found from it.
        if (data[i] === was && (i === from + side || data[i - 1] !== was)) seeds.push(i);
      }
    }
  }
  return { x: left, y: top, w: right - left, h: bottom - top };
}

/**
 * The end of a drag held to what Shift asks: a line to steps of 45 degrees, a rectangle to a square, an ellipse to a
 * circle.
 * @param {"line" | "rectangle" | "ellipse"} what @param {Point} from @param {Point} to
 * @returns {Point}
 */
export function constrained(what, from, to) {
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const far = Math.max(Math.abs(dx), Math.abs(dy));
  if (what === "line") {
    const flat = Math.tan(Math.PI / 8);
    if (Math.abs(dy) < flat * Math.abs(dx)) return { x: to.x, y: from.y };
    if (Math.abs(dx) < flat * Math.abs(dy)) return { x: from.x, y: to.y };
    return { x: from.x + Math.sign(dx) * far, y: from.y + Math.sign(dy) * far };
  }
  // In whole pixels, or where in its pixel the drag began would make the sides differ by one.
  const [x, y] = [Math.floor(from.x), Math.floor(from.y)];
  const side = Math.max(Math.abs(Math.floor(to.x) - x), Math.abs(Math.floor(to.y) - y));
  return { x: x + 0.5 + (dx < 0 ? -side : side), y: y + 0.5 + (dy < 0 ? -side : side) };
}
