import assert from "node:assert/strict";
import { test } from "node:test";

import { Raster, difference } from "../../../../src/pinxit/apps/studio/static/js/canvas/raster.js";
import * as tools from "../../../../src/pinxit/apps/studio/static/js/canvas/tools.js";
import { dice, drawn, shown } from "./made.mjs";

const DOT = { shape: "square", size: 1 };

/** How a tip looks: one dab in the middle. */
function dab(shape, size) {
  const raster = new Raster(size, size);
  tools.stroke(raster, [{ x: size / 2, y: size / 2 }], { shape, size }, 1);
  return shown(raster);
}

test("tips have their size, are symmetrical, and have no hole", () => {
  for (const shape of ["circle", "square", "diamond"]) {
    for (let size = 1; size <= 40; size++) {
      const rows = dab(shape, size);
      assert.deepEqual(rows, rows.toReversed(), `${shape} ${size} upside down`);
      assert.deepEqual(rows, rows.map((row) => Array.from(row).reverse().join("")), `${shape} ${size} mirrored`);
      assert.deepEqual(rows, rows.map((_, x) => rows.map((row) => row[x]).join("")), `${shape} ${size} turned`);
      assert.ok(rows.some((row) => row === "#".repeat(size)), `${shape} ${size} is as wide as it says`);
      assert.ok(rows.every((row) => /^\.*#+\.*$/.test(row)));
    }
  }
});

test("tips look as they are called", () => {
  assert.deepEqual(dab("circle", 3), [".#.", "###", ".#."]);
  assert.deepEqual(dab("circle", 5), [".###.", "#####", "#####", "#####", ".###."]);
  assert.deepEqual(dab("diamond", 5), ["..#..", ".###.", "#####", ".###.", "..#.."]);
  assert.deepEqual(dab("diamond", 4), [".##.", "####", "####", ".##."]);
  assert.deepEqual(dab("square", 2), ["##", "##"]);
});

test("a circle's area is that of a circle", () => {
  for (const size of [16, 31, 64, 101]) {
    const area = dab("circle", size).join("").replaceAll(".", "").length;
    assert.ok(Math.abs(area / (Math.PI * (size / 2) ** 2) - 1) < 0.04, `${size}: ${area}`);
  }
});

test("a stroke of two far points is continuous", () => {
  const raster = new Raster(300, 200);
  tools.stroke(raster, [{ x: 0.5, y: 0.5 }, { x: 299.5, y: 99.5 }], DOT, 7);
  let before = 0;
  for (let x = 0; x < 300; x++) {
    const y = Array.from({ length: 200 }, (_, row) => row).filter((row) => raster.at(x, row) === 7);
    assert.equal(y.length, 1);
    assert.ok(Math.abs(y[0] - before) <= 1);
    before = y[0];
  }
});

test("a stroke drawn in parts is the stroke drawn at once", () => {
  const roll = dice(1);
  const point = () => ({ x: roll() * 140 - 20, y: roll() * 140 - 20, size: 1 + roll() * 20 });
  const points = Array.from({ length: 60 }, point);
  const tip = { shape: "circle", size: 5 };
  const once = new Raster(100, 100);
  tools.stroke(once, points, tip, 3);
  const parts = new Raster(100, 100);
  for (let i = 0; i + 1 < points.length; i++) tools.stroke(parts, points.slice(i, i + 2), tip, 3);
  assert.deepEqual(parts.data, once.data);
});

test("a point's own size takes the place of the tip's", () => {
  const raster = new Raster(40, 40);
  tools.stroke(raster, [{ x: 20, y: 20, size: 6 }], { shape: "square", size: 20 }, 1);
  assert.equal(raster.data.filter((id) => id === 1).length, 36);
});

test("every tool says where it changed something, and nowhere else did", () => {
  const roll = dice(2);
  const point = () => ({ x: roll() * 90 - 20, y: roll() * 80 - 20 });
  for (let i = 0; i < 400; i++) {
    const raster = new Raster(50, 40);
    for (let n = 0; n < 30; n++) raster.data[Math.floor(roll() * 2000)] = 1;
    const before = raster.clone();
    const tip = { shape: ["circle", "square", "diamond"][i % 3], size: 1 + Math.floor(roll() * 12) };
    const act = [
      () => tools.stroke(raster, [point(), point(), point()], tip, 2),
      () => tools.line(raster, point(), point(), tip, 2),
      () => tools.polygon(raster, [point(), point(), point(), point()], 2),
      () => tools.rectangle(raster, point(), point(), 2),
      () => tools.ellipse(raster, point(), point(), 2),
      () => tools.floodFill(raster, roll() * 50, roll() * 40, 2),
    ][i % 6];
    const rect = act();
    const changed = difference(before, raster, raster.rect);
    if (!rect) {
      assert.equal(changed, null);
      continue;
    }
    assert.ok(rect.x >= 0 && rect.y >= 0 && rect.x + rect.w <= 50 && rect.y + rect.h <= 40 && rect.w > 0 && rect.h > 0);
    assert.deepEqual(difference(before, raster, rect), changed, `tool ${i % 6}`);
    assert.ok(raster.data.every((id, at) => id === before.data[at] || id === 2), "no id but the one given");
  }
});

test("what lies outside changes nothing", () => {
  const raster = new Raster(10, 10, 4);
  const far = { x: -50, y: -50 };
  assert.equal(tools.stroke(raster, [far], { shape: "circle", size: 9 }, 1), null);
  assert.equal(tools.line(raster, far, { x: -50, y: 80 }, DOT, 1), null);
  assert.equal(tools.rectangle(raster, far, { x: -1, y: 20 }, 1), null);
  assert.equal(tools.ellipse(raster, far, { x: -1, y: 20 }, 1), null);
  assert.equal(tools.polygon(raster, [far, { x: -20, y: 0 }, { x: -30, y: 40 }], 1), null);
  assert.equal(tools.floodFill(raster, 10, 3, 1), null);
  assert.equal(tools.floodFill(raster, -0.5, 3, 1), null);
  assert.ok(raster.data.every((id) => id === 4));
});

test("a rectangle holds both corners, whichever comes first", () => {
  const one = new Raster(6, 5);
  assert.deepEqual(tools.rectangle(one, { x: 1.9, y: 1.1 }, { x: 4.1, y: 3.9 }, 1), { x: 1, y: 1, w: 4, h: 3 });
  assert.deepEqual(shown(one), ["......", ".####.", ".####.", ".####.", "......"]);
  const other = new Raster(6, 5);
  tools.rectangle(other, { x: 4.1, y: 3.9 }, { x: 1.9, y: 1.1 }, 1);
  assert.deepEqual(other.data, one.data);
});

test("an ellipse touches its four sides and is symmetrical", () => {
  const raster = new Raster(9, 6);
  tools.ellipse(raster, { x: 0, y: 0 }, { x: 8, y: 5 }, 1);
  assert.deepEqual(shown(raster), ["..#####..", ".#######.", "#########", "#########", ".#######.", "..#####.."]);
  for (const [w, h] of [[1, 1], [2, 100], [3, 100], [100, 2], [100, 1], [31, 17]]) {
    const thin = new Raster(w, h);
    tools.ellipse(thin, { x: 0, y: 0 }, { x: w - 1, y: h - 1 }, 1);
    const rows = shown(thin);
    assert.deepEqual(rows, rows.toReversed());
    assert.ok(rows.every((row) => /^\.*#+\.*$/.test(row)), `${w} x ${h} has a pixel in each row`);
    if (h !== 2) assert.ok(rows.includes("#".repeat(w))); // of two rows, neither is the middle
  }
});

test("a polygon is filled with its outline", () => {
  const raster = new Raster(7, 7);
  tools.polygon(raster, [{ x: 0.2, y: 0.7 }, { x: 6.5, y: 0.5 }, { x: 0.5, y: 6.9 }], 1);
  assert.deepEqual(shown(raster), ["#######", "######.", "#####..", "####...", "###....", "##.....", "#......"]);
});

test("a polygon that crosses itself is empty where it lies over itself twice", () => {
  const raster = new Raster(40, 40);
  const star = [0, 2, 4, 1, 3].map((n) => ({
    x: 20 + 18 * Math.sin((2 * Math.PI * n) / 5),
    y: 20 - 18 * Math.cos((2 * Math.PI * n) / 5),
  }));
  tools.polygon(raster, star, 1);
  assert.equal(raster.at(20, 20), 0);
  assert.equal(raster.at(20, 8), 1);
});

test("a concave polygon stays open where it is", () => {
  const raster = new Raster(9, 7);
  const corners = [[0, 0], [2, 0], [2, 4], [6, 4], [6, 0], [8, 0], [8, 6], [0, 6]].map(([x, y]) => ({ x, y }));
  tools.polygon(raster, corners, 1);
  assert.deepEqual(shown(raster), [
    "###...###",
    "###...###",
    "###...###",
    "###...###",
    "#########",
    "#########",
    "#########",
  ]);
});

test("flood fill stops at other ids and does not go round corners", () => {
  const raster = drawn(["..#..", ".#...", "#....", ".....", "##.##"]);
  assert.deepEqual(tools.floodFill(raster, 0, 0, 5), { x: 0, y: 0, w: 2, h: 2 });
  assert.deepEqual(shown(raster), ["55#..", "5#...", "#....", ".....", "##.##"]);
  assert.equal(tools.floodFill(raster, 0, 0, 5), null, "the same id again");
  assert.deepEqual(tools.floodFill(raster, 4.5, 0.5, 6), { x: 0, y: 0, w: 5, h: 5 });
  assert.deepEqual(shown(raster), ["55#66", "5#666", "#6666", "66666", "##6##"]);
});

test("flood fill is what a plain search finds", () => {
  const roll = dice(3);
  for (let i = 0; i < 40; i++) {
    const raster = new Raster(37, 23);
    for (let at = 0; at < raster.data.length; at++) raster.data[at] = roll() < 0.35 ? 1 : 0;
    const expected = raster.clone();
    const [x, y] = [Math.floor(roll() * 37), Math.floor(roll() * 23)];
    const was = raster.at(x, y);
    const left = [[x, y]];
    while (left.length) {
      const [column, row] = left.pop();
      if (expected.at(column, row) !== was) continue;
      expected.data[row * 37 + column] = 9;
      left.push([column + 1, row], [column - 1, row], [column, row + 1], [column, row - 1]);
    }
    tools.floodFill(raster, x, y, 9);
    assert.deepEqual(raster.data, expected.data);
  }
});

test("flood fill of 1024 x 1024 pixels does not keep the pointer waiting", () => {
  // A comb: each tooth is a run of its own in every row.
  const raster = new Raster(1024, 1024);
  for (let y = 1; y < 1024; y++) for (let x = 1; x < 1024; x += 2) raster.data[y * 1024 + x] = 1;
  const start = performance.now();
  tools.floodFill(raster, 0, 1023, 2);
  const seconds = (performance.now() - start) / 1000;
  assert.ok(raster.at(1022, 1023) === 2 && raster.at(1023, 0) === 2);
  assert.ok(seconds < 1, `${seconds} s`); // 0.02 s when it was written
});

test("Shift holds lines to 45 degrees and shapes to squares", () => {
  const from = { x: 10.5, y: 10.5 };
  const held = (what, x, y) => tools.constrained(what, from, { x, y });
  assert.deepEqual(held("line", 30.5, 14), { x: 30.5, y: 10.5 });
  assert.deepEqual(held("line", 12, -9.5), { x: 10.5, y: -9.5 });
  assert.deepEqual(held("line", 0.5, 18.5), { x: 0.5, y: 20.5 });
  assert.deepEqual(held("line", 10.5, 10.5), from);
  for (const [x, y] of [[30, 12], [3.2, 44.9], [-5, -1], [11, 10.4]]) {
    const raster = new Raster(120, 120);
    const shifted = (point) => ({ x: point.x + 50, y: point.y + 50 });
    const rect = tools.rectangle(raster, shifted(from), shifted(held("rectangle", x, y)), 1);
    assert.equal(rect.w, rect.h);
  }
});

test("a raster refuses sizes and data that do not fit", () => {
  assert.throws(() => new Raster(0, 5), /side is 0, expected 1 to 4096/);
  assert.throws(() => new Raster(5, 4097), /4097/);
  assert.throws(() => new Raster(2.5, 5), /2.5/);
  assert.throws(() => Raster.from(2, 2, [1, 2, 3]), /3 ids, expected 2 x 2/);
  const one = new Raster(2, 2, 3);
  const copy = one.clone();
  copy.data[0] = 9;
  assert.equal(one.data[0], 3);
});
