// Charts are drawn after the first paint, for the network and recipe that a reader chose.

const charted = DATA.contexts
  .map((of, place) => ({ ...of, place, groups: DATA.groups.filter((group) => group.context === place) }))
  .filter((of) => of.groups.length)
  .sort((a, b) => b.groups.length - a.groups.length);
const scope = { context: charted[0]?.place, recipe: null, layers: null };

const groupsHere = () => DATA.groups.filter((group) => group.context === scope.context);
const cellsHere = () => DATA.cells.filter((cell) => cell.context === scope.context);
const quantized = (groups) => groups.filter((group) => group.method !== FLOAT);

function recipesHere() {
  const counts = new Map();
  for (const group of quantized(groupsHere())) counts.set(group.recipe, (counts.get(group.recipe) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([recipe]) => recipe);
}

// One curve a calibration, under the label of the first cell that it served.
function calibrationsHere() {
  const found = new Map();
  for (const cell of cellsHere()) {
    if (cell.calibration_key in DATA.calibrations && !found.has(cell.calibration_key)) {
      const of = DATA.calibrations[cell.calibration_key];
      found.set(cell.calibration_key, { ...of, method: cell.method_label, seed: cell.seed, cell, images: card(cell, "calibration")?.images });
    }
  }
  return [...found.values()].sort((a, b) => METHODS.indexOf(a.method) - METHODS.indexOf(b.method) || a.seed - b.seed);
}

const groupRows = (groups) => grid(
  ["method", "recipe", "bits", "top-1, %", "interval", "size, MiB"],
  groups.map((g) => [link(CELLS.get(g.cells[0]), g.method_label), g.recipe, g.bits, fixed(g.mean), pointOf(g).said, fixed(g.size_mb)]));

// Of each chart: its values, nothing when there are none, and what they are as a table.
const CHARTS = {
  bits: {
    empty: "No quantized cell of this network is measured yet.",
    values: () => quantized(groupsHere()).filter((group) => group.recipe === scope.recipe),
    spec: (groups, width) => bitsSpec(groups, DATA.contexts[scope.context].fp32_top1, width),
    rows: groupRows,
  },
  size: {
    empty: "No cell of this network records its size; measure one again with force=true.",
    values: () => groupsHere().filter((group) => group.size_mb !== null),
    spec: sizeSpec,
    rows: (groups) => groupRows([...groups].sort((a, b) => a.size_mb - b.size_mb)),
    note: () => {
      const without = groupsHere().filter((group) => group.size_mb === null).length;
      return without ? `${count(without, "group")} of cells without a recorded size ${without === 1 ? "is" : "are"} not drawn.` : "";
    },
  },
  curves: {
    empty: "None of the methods measured here distils images, or their curves are not kept.",
    values: () => calibrationsHere().filter((of) => of.curve.length),
    spec: curvesSpec,
    rows: (curves) => grid(["method", "seed", "steps", "first loss", "last loss"], curves.map(({ method, seed, curve }) =>
      [method, seed, curve.at(-1)[0], curve[0][1].toPrecision(4), curve.at(-1)[1].toPrecision(4)])),
  },
  layers: {
    empty: "No cell with mixed precision is measured here: add quant=mixed quant.mean_bits=4.",
    values: () => [CELLS.get(scope.layers)?.layers].filter(Boolean),
    spec: ([choice], width) => layersSpec(choice, width),
    rows: ([choice]) => layerRows(choice),
  },
};

function layerRows(choice) {
  const layers = DATA.sensitivities[choice.sensitivities];
  const bits = [...new Set(layers.flatMap(([, of]) => Object.keys(of ?? {})))].sort((a, b) => a - b);
  return grid(["layer", "bits", ...bits.map((b) => `at ${b} bits, nats`)],
    layers.map(([layer, of], place) => [layer, choice.bits[place], ...bits.map((b) => of?.[b]?.toPrecision(3) ?? "")]));
}

async function draw(holder, spec) {
  const result = await window.vegaEmbed(holder, spec, {
    mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom", disableDefaultStyle: true },
  });
  result.view.addEventListener("click", (_, item) => {
    if (item?.datum?.cell) location.hash = `cell=${item.datum.cell}`;
  });
  holder.dataset.drawn = "yes";
}

async function drawChart(place) {
  const of = CHARTS[place.dataset.chart];
  const values = of.values();
  if (!values.length) {
    place.replaceChildren(el("p", { class: "empty" }, of.empty));
    return;
  }
  const holder = el("div", { class: "holder" });
  const note = of.note?.();
  place.replaceChildren(holder, ...(note ? [el("p", { class: "note" }, note)] : []), disclosure("The same as a table", () => of.rows(values)));
  await draw(holder, of.spec(values, place.clientWidth));
}

// What is hidden has no width to be drawn in; what is only far down is drawn too, to be printed.
const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    target.make();
  }
}, { rootMargin: "100000px" });

function whenLaidOut(node, make) {
  node.make = make;
  watcher.unobserve(node);
  watcher.observe(node);
}

function drawScope() {
  const recipes = recipesHere();
  if (!recipes.includes(scope.recipe)) scope.recipe = recipes[0] ?? null;
  const choices = cellsHere().filter((cell) => cell.layers);
  if (!choices.some((cell) => cell.id === scope.layers)) scope.layers = choices[0]?.id ?? null;
  byId("scope").replaceChildren(
    select("Charts of", charted.map((of) => [String(of.place), `${of.label} (${of.total.toLocaleString("en")} images)`]), String(scope.context), (place) => {
      scope.context = Number(place);
      drawScope();
    }),
    recipes.length ? select("Recipe, for bits", recipes.map((recipe) => [recipe, recipe]), scope.recipe, (recipe) => {
      scope.recipe = recipe;
      drawScope();
    }) : "",
  );
  byId("layer-choice").replaceChildren(choices.length ? select("Choice of", choices.map((cell) =>
    [cell.id, `${cell.method_label}, ${cell.bits}, ${cell.recipe}, seed ${cell.seed}: ${fixed(cell.top1)} %`]), scope.layers, (id) => {
    scope.layers = id;
    drawScope();
  }) : "");
  for (const place of document.querySelectorAll("[data-chart]")) whenLaidOut(place, () => drawChart(place));
  drawGallery(calibrationsHere());
}
