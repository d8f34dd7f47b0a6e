// The content of the page, and what is derived from it once.

const DATA = JSON.parse(byId("data").textContent);
const CELLS = new Map(DATA.cells.map((cell) => [cell.id, cell]));
const FLOAT = "float";
const cellsOf = new Map();
for (const { method_label: label } of DATA.cells) cellsOf.set(label, (cellsOf.get(label) ?? 0) + 1);
// The most frequent first, with the first of the colours. The float network is no method to be told
// apart: it comes last and takes none.
const METHODS = [...cellsOf.keys()]
  .sort((a, b) => (a === FLOAT) - (b === FLOAT) || cellsOf.get(b) - cellsOf.get(a) || inOrder(a, b));

const done = (cell) => cell.status === "done";
const drop = (cell) => (done(cell) && cell.method !== FLOAT ? cell.top1 - cell.fp32_top1 : null);
const link = (cell, ...text) => el("a", { href: `#cell=${cell.id}` }, ...text);
const context = (of) => DATA.contexts[of.context];

const PALETTE = 8;
const SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"];
const color = (method) => method === FLOAT ? "var(--muted)" : `var(--series-${METHODS.indexOf(method) % PALETTE})`;
const shape = (method) => SHAPES[(METHODS.indexOf(method) + Math.floor(METHODS.indexOf(method) / PALETTE)) % SHAPES.length];

// Whether the best class was right, image by image; null where the page does not hold it.
function correctness(cell) {
  if (!cell?.bitmap) return null;
  const bytes = Uint8Array.from(atob(cell.bitmap), (character) => character.charCodeAt(0));
  return Array.from({ length: cell.total }, (_, i) => (bytes[i >> 3] >> (7 - (i & 7))) & 1);
}

const card = (cell, topic) => DATA.values[cell.card[topic]];
// What is null was left out, because the share of the names in a page is spent.
const imagesOf = (cell) => DATA.images[context(cell).fingerprint];
const namesLeftOut = (cell) => imagesOf(cell) === null;
