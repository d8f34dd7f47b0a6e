// The content of the page, and what is derived from it once.

const DATA = JSON.parse(byId("data").textContent);
const CELLS = new Map(DATA.cells.map((cell) => [cell.id, cell]));
const FLOAT = "float";

// The one number of a cell, by its task: the key of it, of the float network's, its title, and what its interval is.
const METRICS = {
  classification: { key: "top1", of_float: "fp32_top1", title: "top-1", interval: "95 % Wilson interval of its images" },
  detection: { key: "map", of_float: "fp32_map", title: "mAP", interval: "95 % interval of a bootstrap over its images" },
};
const metric = (of) => METRICS[of?.task ?? "classification"];
const valueOf = (cell) => cell[metric(cell).key];
const floatOf = (of) => of[metric(of).of_float];
const TITLES = [...new Set(DATA.contexts.map((of) => metric(of).title))].join(" or ") || "top-1"; // of all that is here
const capital = (text) => text.replace(/^t/, "T"); // mAP stays as it is

const done = (cell) => cell.status === "done";
// Of a cell that has seen a part of its images, it is of those.
const drop = (cell) => (done(cell) && cell.method !== FLOAT ? (cell.part_of ? -cell.drop_seen : valueOf(cell) - floatOf(cell)) : null);
const seenOf = (cell) => `${cell.correct.toLocaleString("en")}/${cell.total.toLocaleString("en")} of ${cell.part_of.toLocaleString("en")}`;
const link = (cell, ...text) => el("a", { href: `#cell=${cell.id}` }, ...text);
const context = (of) => DATA.contexts[of.context];

// Labels of methods; the float network is no method to be told apart, and comes last.
const METHODS = [...new Set(DATA.cells.map((cell) => cell.method_label))]
  .sort((a, b) => (a === FLOAT) - (b === FLOAT) || inOrder(a, b));
const RECIPES = [...new Set(DATA.cells.map((cell) => cell.recipe))].filter(Boolean).sort(inOrder);

// A method has one colour in every chart of every page; what is not named here takes what is left, in the order of
// names. Colours beyond the palette are calculated. A recipe has one shape.
const COLOURS = ["gaussian", "real", "zeroq", "dsg", "adabits", "coquant", "dfq", "individual", "dq", "joint", "any_precision", "bit_mixer"];
const colours = new Map([[FLOAT, "var(--muted)"]]);
{
  const named = new Map(DATA.cells.map((cell) => [cell.method_label, cell.method]));
  const left = new Set(COLOURS.keys());
  for (const label of METHODS) {
    const place = COLOURS.indexOf(named.get(label));
    if (left.delete(place)) colours.set(label, `var(--series-${place})`);
  }
  let turn = 0;
  for (const label of METHODS) {
    if (colours.has(label)) continue;
    const [place] = left;
    if (left.delete(place)) colours.set(label, `var(--series-${place})`);
    else colours.set(label, `light-dark(oklch(0.48 0.14 ${turn}), oklch(0.82 0.11 ${turn}))`);
    turn = (turn + 137.5) % 360;
  }
}
const color = (method) => colours.get(method);

// Paths within -1..1, for the charts and for their legend.
const SHAPES = [
  "M0,-0.9A0.9,0.9 0 1,1 0,0.9A0.9,0.9 0 1,1 0,-0.9Z", // circle
  "M-0.8,-0.8H0.8V0.8H-0.8Z", // square
  "M0,-1L0.95,0.75H-0.95Z", // triangle
  "M0,-1.1L1.1,0L0,1.1L-1.1,0Z", // diamond
  "M-0.35,-1H0.35V-0.35H1V0.35H0.35V1H-0.35V0.35H-1V-0.35H-0.35Z", // cross
  "M0,1L0.95,-0.75H-0.95Z", // triangle, on its tip
  "M-1,-0.4H1V0.4H-1Z", // bar
  "M-0.4,-1H0.4V1H-0.4Z", // pillar
];
const shape = (recipe) => SHAPES[Math.max(0, RECIPES.indexOf(recipe)) % SHAPES.length];

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
