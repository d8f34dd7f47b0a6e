// Where a cell was wrong, beside the float network on the same images.

const KINDS = [
  ["right", "right, as the float network"],
  ["gained", "right, where the float network is wrong"],
  ["lost", "wrong, where the float network is right"],
  ["wrong", "wrong, as the float network"],
];

// Where the page does not hold what the float network had right.
const ALONE = [["right", "right"], ["wrong", "wrong"]];

const LISTED = 200;

// Pixels, unlike all else, do not follow the theme by themselves.
let paintMap = () => {};
new MutationObserver(() => paintMap()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", () => paintMap());

// The kinds there are, and which of them each image is.
function outcomes(cell) {
  const here = correctness(cell);
  if (!here) return null;
  const reference = cell.fp32_id && cell.fp32_id !== cell.id ? CELLS.get(cell.fp32_id) : null;
  const comparable = reference && reference.context === cell.context;
  const there = comparable ? correctness(reference) : null;
  if (!there) return { kinds: ALONE, found: here.map((right) => (right ? "right" : "wrong")) };
  return { kinds: KINDS, found: here.map((right, i) => (right ? (there[i] ? "right" : "gained") : there[i] ? "lost" : "wrong")) };
}

function wrongSection(cell) {
  const heading = el("h2", {}, "Where it was wrong");
  if (!done(cell)) return [];
  const said = `${count(cell.total - cell.correct, "image")} of ${cell.total.toLocaleString("en")} wrong in the best class` +
    (cell.top5 !== null ? `; top-5 is ${fixed(cell.top5)} %.` : ".");
  const outcome = outcomes(cell);
  if (!outcome) {
    return [heading, el("p", {}, said), el("p", { class: "empty" }, "Which ones is in correct.npz beside the record; it is not in this page, to keep it small, or not readable, or because a part of the images was evaluated.")];
  }
  const { kinds, found } = outcome;
  const counts = kinds.map(([kind, text]) => [kind, text, found.filter((of) => of === kind).length]);
  return [heading, el("p", {}, said), tally(counts), imageMap(outcome, cell), wrongImages(found, cell), ...perClass(outcome, cell)];
}

function tally(counts) {
  return el("ul", { class: "tally" }, counts.filter(([, , number]) => number).map(([kind, text, number]) =>
    el("li", {}, el("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), el("b", {}, number.toLocaleString("en")), ` ${text}`)));
}

// A square an image, in the order of evaluation: a canvas, for 50,000 of them are no elements.
function imageMap({ kinds, found }, cell) {
  const columns = Math.min(found.length, Math.max(50, Math.ceil(Math.sqrt(found.length * 5))));
  const rows = Math.ceil(found.length / columns);
  const names = imagesOf(cell)?.files;
  const canvas = el("canvas", { width: columns, height: rows, class: "map", role: "img",
    "aria-label": "One square an image in the order of evaluation, coloured as in the list above" });
  const paint = () => {
    const brush = canvas.getContext("2d");
    for (const [kind] of kinds) {
      canvas.style.color = `var(--map-${kind})`; // resolved for the theme, which a variable is not
      brush.fillStyle = getComputedStyle(canvas).color;
      found.forEach((of, i) => of === kind && brush.fillRect(i % columns, Math.floor(i / columns), 1, 1));
    }
  };
  const hint = el("p", { class: "note" }, "Images in the order of evaluation, left to right. Point at a square for its image.");
  canvas.addEventListener("mousemove", (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const i = Math.floor(((event.clientY - box.top) / box.height) * rows) * columns + column;
    if (i < found.length) hint.textContent = `image ${i}${names ? `, ${names[i]}` : ""}: ${kinds.find(([kind]) => kind === found[i])[1]}`;
  });
  paintMap = paint;
  queueMicrotask(paint);
  return el("div", {}, canvas, hint);
}

function wrongImages(found, cell) {
  const images = imagesOf(cell);
  const places = found.flatMap((kind, i) => (kind === "wrong" || kind === "lost" ? [i] : []));
  const name = (i) => (images ? images.files[i] : `image ${i}`);
  const item = (i) => el("li", {}, el("span", { class: `swatch ${found[i]}`, "aria-hidden": "true" }), el("span", { class: "index" }, i), images ? ` ${name(i)}` : "");
  return disclosure(`The ${count(places.length, "image")} it got wrong`, () => {
    const list = el("ol", { class: "files" }, places.slice(0, LISTED).map(item));
    const rest = places.slice(LISTED);
    const more = el("button", { type: "button", onclick: () => {
      list.append(...rest.map(item));
      more.remove();
      list.children[LISTED].tabIndex = -1; // where a reader without a mouse goes on
      list.children[LISTED].focus();
    } }, `Show ${rest.length} more`);
    const why = namesLeftOut(cell) ? "are left out, to keep this page small" : "are not on the machine that made this page";
    const say = images ? "" : `Numbers are places in the order of evaluation; the names of the files ${why}.`;
    return el("div", {}, say && el("p", { class: "note" }, say), list, rest.length ? more : "");
  });
}

function perClass({ kinds, found }, cell) {
  const images = imagesOf(cell);
  if (!images) return [];
  const classes = new Map();
  images.labels.forEach((label, i) => {
    const of = classes.get(label) ?? { label, total: 0, wrong: 0, lost: 0 };
    of.total += 1;
    of.wrong += found[i] === "wrong" || found[i] === "lost";
    of.lost += found[i] === "lost";
    classes.set(label, of);
  });
  const worst = [...classes.values()].sort((a, b) => b.wrong / b.total - a.wrong / a.total || b.wrong - a.wrong || a.label - b.label);
  const columns = [
    ["class", (of) => images.classes[of.label] ? `${of.label} (${images.classes[of.label]})` : String(of.label)],
    ["wrong", (of) => `${of.wrong} of ${of.total}`],
    ["wrong, %", (of) => fixed((100 * of.wrong) / of.total, 0)],
  ];
  if (kinds === KINDS) columns.push(["lost to quantization", (of) => String(of.lost)]);
  return [disclosure(`By class, the worst of ${classes.size} first`, () =>
    grid(columns.map(([title]) => title), worst.map((of) => columns.map(([, text]) => text(of)))))];
}
