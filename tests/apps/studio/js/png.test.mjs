import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";

import { crc32, deflated, encodeGrey, readGrey } from "../../../../src/pinxit/apps/studio/static/js/canvas/png.js";
import { Raster } from "../../../../src/pinxit/apps/studio/static/js/canvas/raster.js";
import { dice, pillow } from "./made.mjs";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Ids that the Python side makes by the same rule. */
function pattern(width, height) {
  return Raster.from(width, height, Array.from({ length: width * height }, (_, i) => (i * i + 7 * i) % 256));
}

function part(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(Array.from(name, (letter) => letter.charCodeAt(0)), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

function header(width, height, rest = [8, 0, 0, 0, 0]) {
  const bytes = new Uint8Array(13);
  new DataView(bytes.buffer).setUint32(0, width);
  new DataView(bytes.buffer).setUint32(4, height);
  bytes.set(rest, 8);
  return part("IHDR", bytes);
}

const END = part("IEND", []);
const file = (...parts) => new Blob([Uint8Array.from(SIGNATURE), ...parts]);
const refused = (blob, message) =>
  assert.rejects(readGrey(blob), (error) => error instanceof Error && message.test(error.message));

test("the checksum is that of the standard", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
  assert.deepEqual(Array.from(END.slice(8)), [0xae, 0x42, 0x60, 0x82]);
});

test("ids come back to the bit", async () => {
  const roll = dice(5);
  for (const [width, height] of [[1, 1], [1, 7], [7, 1], [3, 5], [255, 257], [256, 256], [1024, 1024]]) {
    const raster = new Raster(width, height);
    for (let i = 0; i < raster.data.length; i++) raster.data[i] = Math.floor(roll() * 256);
    const blob = await encodeGrey(raster);
    assert.equal(blob.type, "image/png");
    const read = await readGrey(blob);
    assert.deepEqual([read.width, read.height], [width, height]);
    assert.deepEqual(read.data, raster.data);
  }
});

test("a map of areas is small as a file", async () => {
  const raster = new Raster(512, 512, 7);
  assert.ok((await encodeGrey(raster)).size < 2000);
});

test("all five filters are undone", async () => {
  const { data } = pattern(9, 10);
  // The filters of the standard, from its formulas; rows take turns.
  const rows = new Uint8Array(10 * 10);
  for (let y = 0; y < 10; y++) {
    rows[y * 10] = y % 5;
    for (let x = 0; x < 9; x++) {
      const [left, up] = [x ? data[y * 9 + x - 1] : 0, y ? data[y * 9 + x - 9] : 0];
      const corner = x && y ? data[y * 9 + x - 10] : 0;
      const plane = left + up - corner;
      const nearest = [left, up, corner].toSorted((a, b) => Math.abs(plane - a) - Math.abs(plane - b))[0];
      rows[y * 10 + 1 + x] = data[y * 9 + x] - [0, left, up, Math.floor((left + up) / 2), nearest][y % 5];
    }
  }
  const packed = await deflated(rows);
  const halves = [packed.slice(0, 11), packed.slice(11)].map((half) => part("IDAT", half));
  const read = await readGrey(file(header(9, 10), part("tEXt", [65, 0, 66]), ...halves, END));
  assert.deepEqual(read.data, data);
});

test("files of Pillow are read, and ours are left for it to read", async (context) => {
  const folder = process.env.PINXIT_PNG_FOLDER;
  if (!folder) return context.skip("test_js.py makes the files");
  for (const [width, height] of [[1, 1], [5, 3], [37, 23], [256, 128]]) {
    const expected = pattern(width, height);
    for (const how of ["plain", "optimized"]) {
      const read = await readGrey(new Blob([pillow(`${how}-${width}x${height}.png`)]));
      assert.deepEqual([read.width, read.height], [width, height]);
      assert.deepEqual(read.data, expected.data);
    }
    for (let filter = 0; filter < 5; filter++) {
      const read = await readGrey(new Blob([pillow(`filter${filter}-${width}x${height}.png`)]));
      assert.deepEqual(read.data, expected.data, `filter ${filter}`);
    }
    const ours = await encodeGrey(expected);
    writeFileSync(`${folder}/ours-${width}x${height}.png`, Buffer.from(await ours.arrayBuffer()));
  }
  await refused(new Blob([pillow("rgb.png")]), /8-bit colour, expected 8-bit grey/);
  await refused(new Blob([pillow("rgba.png")]), /colour with alpha/);
  await refused(new Blob([pillow("palette.png")]), /palette/);
  await refused(new Blob([pillow("deep.png")]), /16-bit grey/);
  await refused(new Blob([pillow("bits.png")]), /1-bit grey/);
  await refused(new Blob([pillow("photo.jpg")]), /no PNG/);
});

test("what is no such file is refused in a line", async () => {
  const rows = part("IDAT", await deflated(new Uint8Array(5 * 5)));
  assert.equal((await readGrey(file(header(4, 5), rows, END))).width, 4);
  await refused(new Blob([]), /no PNG/);
  await refused(new Blob(["GIF89a"]), /no PNG/);
  await refused(file(), /cut off/);
  await refused(file(header(4, 5), rows), /cut off/);
  await refused(file(header(4, 5), rows.slice(0, -3)), /cut off/);
  await refused(file(header(4, 5), END), /unpacked|0 bytes/);
  await refused(file(rows, header(4, 5), END), /out of order/);
  await refused(file(header(4, 5), header(4, 5), rows, END), /out of order/);
  await refused(file(header(4, 5), part("ABCD", []), rows, END), /unknown part ABCD/);
  await refused(file(header(4, 5, [8, 0, 0, 0, 1]), rows, END), /interlaced/);
  await refused(file(header(4, 5, [8, 0, 1, 0, 0]), rows, END), /header is wrong/);
  await refused(file(header(0, 5), rows, END), /no pixels/);
  await refused(file(header(50000, 50000), rows, END), /50000 x 50000 pixels, expected sides of at most 4096/);
  await refused(file(header(4, 6), rows, END), /25 bytes, expected 30/);
  await refused(file(header(4, 4), rows, END), /more than the 20 bytes/);
  const damaged = rows.slice();
  damaged[12] ^= 1;
  await refused(file(header(4, 5), damaged, END), /checksum/);
  const filtered = new Uint8Array(25);
  filtered[5] = 9;
  await refused(file(header(4, 5), part("IDAT", await deflated(filtered)), END), /filter 9/);
  await refused(file(header(4, 5), part("IDAT", [1, 2, 3, 4]), END), /cannot be unpacked/);
});

test("a small file that unpacks to very much is not unpacked", async () => {
  const bomb = part("IDAT", await deflated(new Uint8Array(64 << 20)));
  const start = performance.now();
  await refused(file(header(4, 5), bomb, END), /more than the 25 bytes/);
  assert.ok(performance.now() - start < 1000);
});

test("a file cut off anywhere is refused", async () => {
  const whole = new Uint8Array(await (await encodeGrey(pattern(6, 4))).arrayBuffer());
  for (let length = 0; length < whole.length; length++) await refused(new Blob([whole.slice(0, length)]), /PNG/);
});
