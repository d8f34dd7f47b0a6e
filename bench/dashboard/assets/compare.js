// A against B: the paired test of `bench compare`, on the bitmaps in this page.

const UNRESOLVED = "these images do not tell A and B apart";

// What is compared, or in `why` the reason why it is not.
function comparison(a, b) {
  const fingerprints = [a, b].map((side) => context(side).fingerprint);
  if (fingerprints[0] !== fingerprints[1]) return { why: "A and B were measured on different images, so they cannot be compared." };
  const pairs = pairsOf(a, b);
  if (!pairs.length) return { why: "A and B have no seed in common, so nothing pairs them." };
  if (a.cells[0].task) return { why: "Boxes are not in this page: bench compare pairs them, image by image.", pairs };
  const [first, second] = [0, 1].map((side) => pairs.map((pair) => correctness(pair[side])));
  if ([...first, ...second].includes(null)) {
    const part = pairs.flat().some((cell) => cell.part_of);
    return { why: part ? "A part of the images was evaluated: bench compare pairs those that both have seen." : "Which images they had right is not in this page, to keep it small, or is not readable.", pairs };
  }
  if (pairs.length === 1) return { pairs, first, second, ...compareCells(first[0], second[0]) };
  if (first[0].length === 1) return { pairs, first, second, points: 100 * (mean(first.map((of) => of[0])) - mean(second.map((of) => of[0]))), low: -100, high: 100, p: 1 };
  return { pairs, first, second, ...compareSeeds(first, second) };
}

// Cells of one seed; of two single cells the seeds may differ.
function pairsOf(a, b) {
  if (a.cells.length === 1 && b.cells.length === 1) return [[a.cells[0], b.cells[0]]];
  return a.cells.flatMap((cell) => b.cells.filter((other) => other.seed === cell.seed).map((other) => [cell, other]));
}

const alike = ({ first, second }) => first.every((of, place) => of.every((right, i) => right === second[place][i]));

function verdictOf(result) {
  if (alike(result)) return "equal: A and B are right on the same images";
  const leader = result.points > 0 ? "A" : "B";
  if (result.p < ALPHA && result.points !== 0) return `${leader} wins: resolved at 95 %`;
  return result.points === 0 ? "a draw" : `${leader} is ahead, but unresolved: ${UNRESOLVED}`;
}

const pText = (p) => (p < 0.0001 ? "< 0.0001" : `= ${p.toFixed(4)}`);

function howTested(result) {
  const { pairs, wins, losses, first, p } = result;
  if (pairs.length > 1) {
    return [`95 % interval and p ${pText(p)} of a t-test over ${first[0].length.toLocaleString("en")} images and the ${pairs.length} seeds that both have`,
      "It is the p of this pair alone: bench compare EXPERIMENT corrects for the number of pairs."];
  }
  const [images, right] = [first[0].length, sum(pairs[0].map((cell) => cell.correct)) / 2];
  const paired = smallestPaired(images, wins + losses);
  return [
    `Only A has right: ${count(wins, "image")}, only B: ${losses.toLocaleString("en")}; exact McNemar p ${pText(p)}; 95 % interval by paired bootstrap over images`,
    `${count(images, "image")} of which ${fixed((100 * (wins + losses)) / images)} % tell A and B apart resolve ${paired === null ? "no difference" : `${fixed(paired)} points`} ` +
      `(unpaired ${fixed(smallestUnpaired(images, (100 * right) / images))}), at 95 % with a power of 80 %`,
    "Images are what is random here; other seeds may differ more.",
  ];
}

// A bar from -m to m points with the difference in it.
function differenceBar({ points, low, high }) {
  const reach = 1.15 * Math.max(Math.abs(low), Math.abs(high), 0.5);
  const at = (value) => `${(50 + (50 * value) / reach).toFixed(2)}%`;
  const said = `${signed(points)} points, from ${signed(low)} to ${signed(high)}`;
  return el("div", { class: "difference" },
    el("span", { class: "end" }, "B is better"),
    el("span", { class: "interval wide-bar", role: "img", "aria-label": said, "--color": "var(--text)" },
      el("i", { class: "zero", "--at": "50%" }), el("i", { class: "band", "--at": at(low), "--end": at(high) }), el("i", { class: "middle", "--at": at(points) })),
    el("span", { class: "end" }, "A is better"));
}

function flat(value, prefix, rows) {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    for (const [key, of] of Object.entries(value)) flat(of, prefix ? `${prefix}.${key}` : key, rows);
  } else rows.set(prefix, plain(value));
  return rows;
}

const WIDEST = 90;
const shortened = (text) => (text.length > WIDEST ? `${text.slice(0, WIDEST - 2)} \u2026` : text);

function differingRecipe([first, second]) {
  const [a, b] = [first, second].map((cell) => {
    const whole = Object.fromEntries(Object.keys(cell.card).map((topic) => [topic, card(cell, topic)]));
    return flat(whole, "", new Map());
  });
  const keys = [...new Set([...a.keys(), ...b.keys()])].filter((key) => a.get(key) !== b.get(key));
  if (!keys.length) return el("p", { class: "note" }, "Their recipes are the same.");
  return grid(["recipe differs in", "A", "B"], keys.map((key) => [key.replace("_", "_\u200b"), shortened(a.get(key) ?? "\u2013"), shortened(b.get(key) ?? "\u2013")]), { class: "grid differing" });
}

function sideOf(name, group) {
  const [first] = group.cells;
  const where = [context(group).label, group.recipe, seedsOf(group)].filter(Boolean).join(", ");
  return el("div", { class: "side", "--color": color(group.method) },
    el("p", { class: "who" }, el("span", { class: `pick ${name}`, "aria-hidden": "true" }, name.toUpperCase()), link(first, `${group.method} ${group.bits}`)),
    el("p", { class: "number-line" }, el("b", {}, fixed(group.mean)), " %", group.spread === null ? "" : ` \u00b1 ${fixed(group.spread)}`),
    el("p", { class: "note" }, where, el("br"), group.low === null ? group.interval : `${fixed(group.low)} to ${fixed(group.high)}, ${group.interval}`));
}

// Where one cell is right and the other wrong, image by image.
const COMPARED = [["right", "right in both"], ["only-a", "right in A only"], ["only-b", "right in B only"], ["wrong", "wrong in both"]];

function imagesCompared({ pairs, first, second }, a, b) {
  if (pairs.length > 1) return [];
  const found = first[0].map((right, i) => (right ? (second[0][i] ? "right" : "only-a") : second[0][i] ? "only-b" : "wrong"));
  const counts = COMPARED.map(([kind, text]) => [kind, text, found.filter((of) => of === kind).length]);
  const [colorA, colorB] = [color(a.method), color(b.method)];
  return [el("div", { class: "compared", "--map-only-a": colorA, "--map-only-b": colorA === colorB ? "var(--text)" : colorB },
    tally(counts), imageMap({ kinds: COMPARED, found }, pairs[0][0]))];
}

function commandOf(pairs) {
  if (pairs?.length !== 1) return [];
  const { outputs } = DATA.about;
  return [el("p", { class: "note" }, "The same in a terminal:"), copyable(`bench compare ${pairs[0].map(({ id }) => id).join(" ")}${outputs && ` ${outputs}`}`)];
}

function drawComparison() {
  const [a, b] = [state.a, state.b].map((name) => (name ? groupNamed(name) : null));
  drawTray(a, b);
  const place = byId("comparison");
  if (!a || !b) {
    place.replaceChildren(el("p", { class: "empty" }, a ? "Now choose what to compare it with: the circle of another row." : "Choose two rows by the circles at their beginning: the first is A, the second B."));
    return;
  }
  const result = comparison(a, b);
  const numbers = result.why ? [el("p", { class: "empty" }, result.why)] : [
    el("p", { class: "number-line" }, el("b", {}, signed(result.points)), " points, A \u2212 B ", el("span", { class: "range" }, `[${signed(result.low)}, ${signed(result.high)}]`)),
    differenceBar(result),
    el("p", { class: "decided" }, verdictOf(result)),
    ...howTested(result).map((line) => el("p", { class: "note" }, line)),
  ];
  place.replaceChildren(el("div", { class: "panel" },
    el("div", { class: "sides" }, sideOf("a", a), sideOf("b", b)), ...numbers,
    ...(result.why ? [] : imagesCompared(result, a, b)),
    ...commandOf(result.pairs), result.pairs ? differingRecipe(result.pairs[0]) : ""));
}

// At the foot of the window while something is chosen.
function drawTray(a, b) {
  const tray = byId("tray");
  tray.hidden = !a && !b;
  const said = (name, group) => el("span", { class: "said" }, el("span", { class: `pick ${name}`, "aria-hidden": "true" }, name.toUpperCase()),
    el("span", {}, group ? `${group.method} ${group.bits}, ${seedsOf(group)}` : "choose another row"));
  tray.replaceChildren(el("div", { class: "wide" }, said("a", a), said("b", b),
    el("button", { type: "button", disabled: !a || !b, onclick: () => goTo("compare") }, "See the comparison"),
    a && b ? el("button", { type: "button", class: "quiet", onclick: () => changed({ a: state.b, b: state.a }) }, "Swap") : "",
    el("button", { type: "button", class: "quiet", onclick: () => changed({ a: "", b: "" }) }, "Clear")));
}
