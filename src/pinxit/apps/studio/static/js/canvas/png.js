// Label ids as 8-bit grey PNG, written and read exactly. The browser's own decoder is not used: it gives colours
// after colour management, and ids must come back to the bit. Runs in node too.

import { MOST_SIDE, Raster } from "./raster.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** CRC-32 as PNG and zip count it. @param {Uint8Array} bytes @returns {number} */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/**
 * Bytes packed as zlib does. @param {Uint8Array<ArrayBuffer>} bytes @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function deflated(bytes) {
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

/**
 * Bytes that `deflated` packed. It stops as soon as there are more of them than expected: a small file may unpack to
 * any size.
 * @param {Uint8Array<ArrayBuffer>} bytes @param {number} expected how many there must be @param {string} what
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function inflated(bytes, expected, what) {
  const out = new Uint8Array(expected);
  let length = 0;
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  for (;;) {
    /** @type {ReadableStreamReadResult<Uint8Array>} */
    let part;
    try {
      part = await reader.read();
    } catch {
      throw new Error(`${what} cannot be unpacked; the file is damaged or cut off`);
    }
    if (part.done) break;
    if (length + part.value.length > expected) {
      await reader.cancel();
      throw new Error(`${what} holds more than the ${expected} bytes expected; the file is damaged`);
    }
    out.set(part.value, length);
    length += part.value.length;
  }
  if (length < expected) throw new Error(`${what} holds ${length} bytes, expected ${expected}; the file is damaged`);
  return out;
}

/** @param {string} name @param {Uint8Array} data @returns {Uint8Array<ArrayBuffer>} */
function chunk(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = name.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/**
 * An 8-bit grey PNG whose greys are the ids.
 * @param {Raster} raster
 * @returns {Promise<Blob>}
 */
export async function encodeGrey(raster) {
  const { width, height, data } = raster;
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8; // bits; the zeros after it: grey, deflate, the five filters, not interlaced
  // Filter 0 on every row: on label maps prediction makes runs longer to write, not shorter.
  const rows = new Uint8Array(height * (width + 1));
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const parts = [
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", header),
    chunk("IDAT", await deflated(rows)),
    chunk("IEND", new Uint8Array(0)),
  ];
  return new Blob(parts, { type: "image/png" });
}

/**
 * The ids of an 8-bit grey PNG, exactly.
 * @param {Blob} blob
 * @returns {Promise<Raster>}
 * @throws {Error} on anything else, in one line that a person can read
 */
export async function readGrey(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const view = new DataView(bytes.buffer);
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) throw new Error("the picture is no PNG file");
  /** @type {{width: number, height: number} | null} */
  let size = null;
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const packed = [];
  let at = 8;
  let ended = false;
  while (!ended) {
    if (at + 12 > bytes.length) throw new Error("the PNG file is cut off");
    const length = view.getUint32(at);
    if (length > bytes.length - at - 12) throw new Error("the PNG file is cut off");
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (view.getUint32(at + 8 + length) !== crc32(bytes.subarray(at + 4, at + 8 + length))) {
      throw new Error(`the PNG file is damaged: the checksum of its part ${JSON.stringify(name)} is wrong`);
    }
    if ((name === "IHDR") !== (size === null)) throw new Error("the PNG file is damaged: its parts are out of order");
    if (name === "IHDR") size = readHeader(data);
    else if (name === "IDAT") packed.push(data);
    else if (name === "IEND") ended = true;
    // A capital first letter: a reader that does not know this part cannot show the picture.
    else if (name !== "PLTE" && !(bytes[at + 4] & 0x20)) throw new Error(`the PNG file has an unknown part ${name}`);
    at += 12 + length;
  }
  if (!size) throw new Error("the PNG file has no header");
  const { width, height } = size;
  const idat = new Uint8Array(await new Blob(packed).arrayBuffer());
  const rows = await inflated(idat, height * (width + 1), "the PNG file's picture");
  return Raster.from(width, height, unfiltered(rows, width, height));
}

/** @param {Uint8Array} data @returns {{width: number, height: number}} */
function readHeader(data) {
  if (data.length !== 13) throw new Error("the PNG file is damaged: its header is not 13 bytes");
  const view = new DataView(data.buffer, data.byteOffset, 13);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [bits, kind, packing, filters, interlaced] = data.subarray(8);
  if (kind !== 0 || bits !== 8) {
    /** @type {Record<number, string>} */
    const kinds = { 0: "grey", 2: "colour", 3: "palette", 4: "grey with alpha", 6: "colour with alpha" };
    throw new Error(`the picture is ${bits}-bit ${kinds[kind] ?? "unknown"}, expected 8-bit grey (a map of label ids)`);
  }
  if (packing !== 0 || filters !== 0 || interlaced > 1) throw new Error("the PNG file is damaged: its header is wrong");
  if (interlaced) throw new Error("the picture is an interlaced PNG, expected one that is not");
  if (!width || !height) throw new Error("the PNG file is damaged: its picture has no pixels");
  if (Math.max(width, height) > MOST_SIDE) {
    throw new Error(`the picture is ${width} x ${height} pixels, expected sides of at most ${MOST_SIDE}`);
  }
  return { width, height };
}

/**
 * Rows as PNG stores them, each behind the number of its filter -> ids.
 * @param {Uint8Array} rows @param {number} width @param {number} height
 * @returns {Uint8Array}
 */
function unfiltered(rows, width, height) {
  const ids = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (width + 1)];
    if (filter > 4) throw new Error(`the PNG file is damaged: a row has filter ${filter}`);
    const from = y * (width + 1) + 1;
    const to = y * width;
    for (let x = 0; x < width; x++) {
      const left = x ? ids[to + x - 1] : 0;
      const up = y ? ids[to + x - width] : 0;
      let guess = 0;
      if (filter === 1) guess = left;
      else if (filter === 2) guess = up;
      else if (filter === 3) guess = (left + up) >> 1;
      else if (filter === 4) guess = paeth(left, up, x && y ? ids[to + x - width - 1] : 0);
      ids[to + x] = rows[from + x] + guess; // modulo 256, as an array of bytes counts
    }
  }
  return ids;
}

/** The nearest of three neighbours to their plane. @param {number} left @param {number} up @param {number} corner */
function paeth(left, up, corner) {
  const plane = left + up - corner;
  const [a, b, c] = [Math.abs(plane - left), Math.abs(plane - up), Math.abs(plane - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
