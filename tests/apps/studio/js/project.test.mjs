import assert from "node:assert/strict";
import { test } from "node:test";

import { readProject, saveProject } from "../../../../src/pinxit/apps/studio/static/js/project.js";
import { dice } from "./made.mjs";

const PICTURE = "0123456789abcdef0123456789abcdef";
const URL = "data:image/png;base64,iVBORw0KGgo=";

function state() {
  const roll = dice(6);
  return {
    model: "demo",
    width: 13,
    height: 9,
    ids: Uint8Array.from({ length: 117 }, () => Math.floor(roll() * 256)),
    style: { between: [{ seed: 3 }, { picture: PICTURE }], at: 0.25 },
    styles: [{ seed: 0 }, { seed: 4294967295 }, { picture: PICTURE }],
    sketch: null,
    text: "a street, ’夕方’ \u{1F305} \\ \"",
    inputs: { map: true, style: false },
    underlay: { dataUrl: URL, opacity: 0.5 },
    seed: 12,
    created: "2026-01-31T12:00:00.123Z",
    pictures: { [PICTURE]: URL },
  };
}

const text = async (project) => (await saveProject(project)).text();
/** A saved project whose JSON was changed. */
async function changed(change) {
  const file = JSON.parse(await text(state()));
  change(file);
  return new Blob([JSON.stringify(file)]);
}
const refused = (promise, message) =>
  assert.rejects(promise, ({ message: said }) => message.test(said) && !said.includes("\n"));

test("a project comes back bit-equal, and saved again it is the same file", async () => {
  const blob = await saveProject(state());
  assert.equal(blob.type, "application/json");
  const read = await readProject(blob);
  assert.deepEqual(read, state());
  assert.ok(read.ids instanceof Uint8Array);
  assert.equal(await text(read), await blob.text());
});

test("the order in which fields were set does not show in the file", async () => {
  const mixed = Object.fromEntries(Object.entries(state()).reverse());
  mixed.inputs = { style: false, map: true };
  mixed.underlay = { opacity: 0.5, dataUrl: URL };
  assert.equal(await text(mixed), await text(state()));
  const [first, second] = ["1".repeat(32), "f".repeat(32)];
  assert.equal(
    await text({ ...state(), pictures: { [second]: URL, [first]: URL } }),
    await text({ ...state(), pictures: { [first]: URL, [second]: URL } }),
  );
});

test("what may be missing may be missing", async () => {
  const { pictures, ...without } = { ...state(), style: null, underlay: null, styles: [], inputs: {}, sketch: URL };
  assert.deepEqual(await readProject(await saveProject(without)), { ...without, pictures: {} });
});

test("the largest map is saved and read, and is small where it is plain", async () => {
  const large = { ...state(), width: 4096, height: 4096, ids: new Uint8Array(1 << 24).fill(7) };
  const blob = await saveProject(large);
  assert.ok(blob.size < 100000);
  assert.ok(Buffer.from((await readProject(blob)).ids).equals(Buffer.from(large.ids)));
});

test("a large underlay is no burden", async () => {
  const dataUrl = `data:image/jpeg;base64,${"A".repeat(20 << 20)}`;
  const read = await readProject(await saveProject({ ...state(), underlay: { dataUrl, opacity: 1 } }));
  assert.equal(read.underlay.dataUrl, dataUrl);
});

test("what cannot be read again is not written", async () => {
  await refused(saveProject({ ...state(), ids: new Uint8Array(116) }), /ids/);
  await refused(saveProject({ ...state(), ids: Array.from(state().ids) }), /ids/);
  await refused(saveProject({ ...state(), style: { seed: -1 } }), /style\.seed .* whole number from 0/);
  await refused(saveProject({ ...state(), zoom: 2 }), /field "zoom"/);
});

test("what is no project is refused", async () => {
  await refused(readProject(new Blob(["{"])), /not JSON/);
  await refused(readProject(new Blob(["[]"])), /no project of Pinxit/);
  await refused(readProject(new Blob(["null"])), /no project/);
  await refused(readProject(new Blob(['{"format": "other"}'])), /no project/);
  await refused(readProject(new Blob(["[".repeat(1e6)])), /no project/);
});

const WRONG = {
  "a newer version": [(file) => (file.version = 2), /version 2, and this Pinxit reads 1; update Pinxit/],
  "a version that is none": [(file) => (file.version = "1"), /version/],
  "an unknown field": [(file) => (file.brush = 1), /field "brush", which this Pinxit does not know/],
  "an unknown inner field": [(file) => (file.underlay.x = 1), /field "underlay\.x"/],
  "an unknown input": [(file) => (file.inputs.smell = true), /field "inputs\.smell"/],
  "a missing field": [(file) => delete file.text, /no field "text"/],
  "no ids": [(file) => delete file.ids, /ids/],
  "a model that is a path": [(file) => (file.model = "../../etc/passwd"), /model/],
  "a width of text": [(file) => (file.width = "13"), /width .* from 1 to 4096/],
  "a width of none": [(file) => (file.width = 0), /width/],
  "a width beyond all": [(file) => (file.width = 4097), /width/],
  "a height that does not fit the ids": [(file) => (file.height = 10), /117 bytes, expected 130/],
  "a height less than the ids": [(file) => (file.height = 8), /more than the 104 bytes/],
  "ids that are no base64": [(file) => (file.ids = "!!"), /ids .* base64/],
  "ids that are not packed": [(file) => (file.ids = btoa("hello")), /cannot be unpacked/],
  "a seed with a fraction": [(file) => (file.seed = 1.5), /seed/],
  "a style of nothing": [(file) => (file.style = {}), /no field "style\.between"/],
  "a style of two kinds": [(file) => (file.style = { seed: 1, picture: PICTURE }), /field "style\.picture"/],
  "a style between three": [(file) => (file.style.between = [{ seed: 1 }, { seed: 2 }, { seed: 3 }]), /two styles/],
  "a place beyond its styles": [(file) => (file.style.at = 1.01), /style\.at .* 0 to 1/],
  "a style's picture that is a path": [(file) => (file.styles[2].picture = "../x"), /styles\[2\]\.picture/],
  "an underlay from the net": [(file) => (file.underlay.dataUrl = "https://example.com/a.png"), /underlay\.dataUrl/],
  "an underlay that is a page": [(file) => (file.underlay.dataUrl = "data:text/html;base64,AAAA"), /underlay\.dataUrl/],
  "an underlay with more behind it": [(file) => (file.underlay.dataUrl += "\n"), /underlay\.dataUrl/],
  "an opacity of null": [(file) => (file.underlay.opacity = null), /underlay\.opacity/],
  "an input that is no switch": [(file) => (file.inputs.map = 1), /inputs\.map/],
  "text that is a number": [(file) => (file.text = 5), /text/],
  "a day that is none": [(file) => (file.created = "2026-99-31T12:00:00Z"), /created/],
  "a date of another kind": [(file) => (file.created = "yesterday"), /created/],
  "a picture with no id": [(file) => (file.pictures = { x: URL }), /pictures/],
  "a field that changes all objects": [
    (file) => Object.defineProperty(file, "__proto__", { value: {}, enumerable: true }),
    /field "__proto__"/,
  ],
};
for (const [name, [change, message]] of Object.entries(WRONG)) {
  test(`refused: ${name}`, async () => refused(readProject(await changed(change)), message));
}

test("styles within styles end somewhere", async () => {
  const deep = (depth) => (depth ? { between: [{ seed: 1 }, deep(depth - 1)], at: 0.5 } : { seed: 2 });
  assert.ok(await readProject(await changed((file) => (file.style = deep(8)))));
  await refused(readProject(await changed((file) => (file.style = deep(9)))), /8 deep/);
});
