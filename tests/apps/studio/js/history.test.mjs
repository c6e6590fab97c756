import assert from "node:assert/strict";
import { test } from "node:test";

import { History } from "../../../../src/pinxit/apps/studio/static/js/canvas/history.js";
import { Raster, cut, difference } from "../../../../src/pinxit/apps/studio/static/js/canvas/raster.js";
import { stroke } from "../../../../src/pinxit/apps/studio/static/js/canvas/tools.js";
import { dice } from "./made.mjs";

/** Change a raster and remember it as the surface does. */
function edit(history, raster, act) {
  const before = raster.clone();
  act();
  const rect = difference(before, raster, raster.rect);
  if (rect) history.push({ rect, ids: cut(before, rect) });
  return rect;
}

test("two hundred strokes are taken back and made again, to the bit", () => {
  const roll = dice(4);
  const history = new History(200);
  const raster = new Raster(64, 48);
  const states = [raster.data.slice()];
  for (let n = 0; n < 200; n++) {
    const point = () => ({ x: roll() * 64, y: roll() * 48 });
    const tip = { shape: "circle", size: 1 + Math.floor(roll() * 9) };
    edit(history, raster, () => stroke(raster, [point(), point()], tip, 1 + (n % 255)));
    states.push(raster.data.slice());
  }
  for (let n = 199; n >= 0; n--) {
    assert.ok(history.canUndo);
    history.undo(raster);
    assert.deepEqual(raster.data, states[n]);
  }
  assert.ok(!history.canUndo);
  assert.equal(history.undo(raster), null);
  for (let n = 1; n <= 200; n++) {
    history.redo(raster);
    assert.deepEqual(raster.data, states[n]);
  }
  assert.ok(!history.canRedo);
  assert.equal(history.redo(raster), null);
});

test("only what changed is kept", () => {
  const history = new History();
  const raster = new Raster(1000, 1000);
  const rect = edit(history, raster, () => stroke(raster, [{ x: 500, y: 500 }], { shape: "square", size: 4 }, 1));
  assert.deepEqual(rect, { x: 498, y: 498, w: 4, h: 4 });
  assert.equal(history.bytes, 16);
  assert.deepEqual(history.undo(raster), rect);
  assert.equal(history.bytes, 16);
  history.clear();
  assert.deepEqual([history.bytes, history.canUndo, history.canRedo], [0, false, false]);
});

test("an edit after an undo ends what could be made again", () => {
  const history = new History();
  const raster = new Raster(4, 1);
  for (const id of [1, 2]) edit(history, raster, () => raster.data.fill(id));
  history.undo(raster);
  edit(history, raster, () => (raster.data[0] = 7));
  assert.ok(!history.canRedo);
  assert.equal(history.bytes, 4 + 1);
  history.undo(raster);
  history.undo(raster);
  assert.deepEqual(Array.from(raster.data), [0, 0, 0, 0]);
});

test("the oldest are forgotten beyond the limit, and beyond the bytes down to fifty", () => {
  const few = new History(3);
  const raster = new Raster(10, 10);
  for (let id = 1; id <= 5; id++) edit(few, raster, () => raster.data.fill(id));
  assert.equal(few.done.length, 3);
  while (few.undo(raster));
  assert.equal(raster.data[0], 2);

  const heavy = new History(200, 1000);
  for (let n = 0; n < 80; n++) edit(heavy, raster, () => raster.data.fill(10 + n));
  assert.equal(heavy.done.length, 50);
  assert.equal(heavy.bytes, 5000);
});

test("a raster of another size comes and goes", () => {
  const history = new History();
  const raster = new Raster(2, 2, 1);
  edit(history, raster, () => (raster.data[3] = 5));
  history.push({ whole: raster.clone() });
  [raster.width, raster.height, raster.data] = [3, 1, Uint8Array.of(7, 8, 9)];
  edit(history, raster, () => (raster.data[0] = 6));
  assert.deepEqual(history.undo(raster), { x: 0, y: 0, w: 1, h: 1 });
  assert.deepEqual(history.undo(raster), { x: 0, y: 0, w: 2, h: 2 });
  assert.deepEqual([raster.width, raster.height, Array.from(raster.data)], [2, 2, [1, 1, 1, 5]]);
  history.undo(raster);
  assert.deepEqual(Array.from(raster.data), [1, 1, 1, 1]);
  for (let n = 0; n < 3; n++) history.redo(raster);
  assert.deepEqual([raster.width, raster.height, Array.from(raster.data)], [3, 1, [6, 8, 9]]);
});
