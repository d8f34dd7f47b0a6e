// Charts are drawn after the first paint, of what the filters let through and the legend does not hide.

// What a chart may be drawn of: one network and one set of images.
const scope = { context: null, cells: [], groups: [] };

function contextsShown(cells) {
  const counts = new Map();
  for (const cell of cells) if (done(cell)) counts.set(cell.context, (counts.get(cell.context) ?? 0) + 1);
  return [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
}

const quantized = (groups) => groups.filter((group) => !group.float);

// One curve a calibration, under the label of the first cell that it served.
function calibrationsHere() {
  const found = new Map();
  for (const cell of scope.cells) {
    if (cell.calibration_key in DATA.calibrations && !found.has(cell.calibration_key)) {
      const of = DATA.calibrations[cell.calibration_key];
      found.set(cell.calibration_key, { ...of, method: cell.method_label, recipe: cell.recipe, seed: cell.seed, cell, images: card(cell, "calibration")?.images });
    }
  }
  return [...found.values()].filter(({ method }) => !state.hide.has(method))
    .sort((a, b) => METHODS.indexOf(a.method) - METHODS.indexOf(b.method) || a.seed - b.seed);
}

const groupColumns = () => [["method", (g) => g.method], ["recipe", (g) => g.recipe], ["bits", (g) => g.bits], ["seeds", (g) => g.cells.length],
  [`${metric(DATA.contexts[scope.context]).title}, %`, (g) => g.mean], ["deviation", (g) => g.spread], ["low", (g) => g.low], ["high", (g) => g.high], ["interval", (g) => g.interval], ["size, MiB", (g) => g.size_mb]];

const float = () => scope.groups.find((group) => group.float)?.mean ?? floatOf(DATA.contexts[scope.context]);

const PANELS = { recipe: (g) => g.recipe, bits: (g) => g.bits, method: (g) => g.method };

function panelsOf(groups) {
  const of = PANELS[state.panels];
  if (!of) return [["", groups]];
  const names = [...new Set(groups.map(of))].sort(inOrder);
  return names.map((name) => [name || "no recipe", groups.filter((group) => of(group) === name)]);
}

// Of each chart: its values, nothing when there are none, and what they are as a table.
const CHARTS = {
  accuracy: {
    title: "Accuracy",
    empty: "No quantized cell of this network is among what is shown.",
    values: () => quantized(scope.groups).filter(visible),
    panels: panelsOf,
    spec: (groups, width, all) => accuracySpec(groups, all, float(), width),
    get columns() { return groupColumns(); },
    legend: (groups) => groups,
  },
  size: {
    title: "Accuracy against size",
    empty: "No cell that is shown records this cost; measure one again with force=true.",
    values: () => {
      const groups = scope.groups.filter((group) => costOf(group) !== null && visible(group)).sort((a, b) => costOf(a) - costOf(b));
      markFront(groups);
      return groups;
    },
    spec: (groups, width) => sizeSpec(groups, width),
    get columns() { return [...groupColumns(), ["cost on the axis", (g) => costOf(g)], ["Pareto front", (g) => (g.front ? "yes" : "")]]; },
    legend: (groups) => groups,
    note: () => {
      const without = scope.groups.filter((group) => costOf(group) === null && visible(group)).length;
      return without ? `${count(without, "group")} of cells without a recorded cost ${without === 1 ? "is" : "are"} not drawn.` : "";
    },
  },
  curves: {
    title: "Distillation",
    empty: "None of the methods shown here distils images, or their curves are not kept.",
    values: () => calibrationsHere().filter((of) => of.curve.length),
    spec: (curves, width) => curvesSpec(curves, width),
    columns: [["method", (c) => c.method], ["seed", (c) => c.seed], ["steps", (c) => c.curve.at(-1)[0]], ["first loss", (c) => c.curve[0][1]], ["last loss", (c) => c.curve.at(-1)[1]]],
    legend: (curves) => curves.map(({ method }) => ({ method, recipe: "" })),
  },
  layers: {
    title: "Sensitivity of each layer",
    empty: "No cell with mixed precision is shown here: measure one with quant=mixed quant.mean_bits=4.",
    values: () => layerRows(CELLS.get(scope.layers)?.layers),
    spec: (rows, width) => (rows.some(({ cost }) => cost !== null) ? layersSpec : bitsSpec)(rows, width),
    columns: [["layer", (r) => r.layer], ["chosen bits", (r) => r.bits], ["bits of channels", (r) => r.channels && r.channels.join(" to ")], ["bits of the input", (r) => r.inputs], ["at bits", (r) => r.at], ["sensitivity, nats", (r) => r.cost]],
  },
};

// A row a layer and bit-width; a layer of which no bits were weighed has one without a cost.
function layerRows(choice) {
  if (!choice) return [];
  return DATA.sensitivities[choice.sensitivities].flatMap(([layer, of], place) => {
    const row = { layer, place, bits: choice.bits[place], inputs: choice.inputs?.[place] ?? null, channels: choice.channels?.[place] ?? null, at: choice.bits[place], cost: null };
    return of ? Object.entries(of).map(([at, cost]) => ({ ...row, at: Number(at), cost })) : [row];
  });
}

const shown = (value) => (typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(5))) : value ?? "");

const tableOf = (columns, rows) => grid(columns.map(([title]) => title), rows.map((row) => columns.map(([title, of]) =>
  (title === "method" && (row.cell?.id ?? row.cell) ? link({ id: row.cell.id ?? row.cell }, of(row)) : shown(of(row))))));

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
  const rows = of.values();
  if (!rows.length) {
    place.replaceChildren(el("p", { class: "empty" }, of.empty));
    return;
  }
  Object.assign(place, { rows, columns: of.columns, legend: of.legend?.(rows) });
  const note = of.note?.();
  const panels = (of.panels ?? ((all) => [["", all]]))(rows);
  const holders = panels.map(([title, values]) => [el("div", { class: "holder" }), title, values]);
  place.replaceChildren(
    exports(["CSV", "SVG", "PNG"], (kind) => exportChart(kind, place, `${of.title}: ${context(scope).label}`)),
    ...holders.map(([holder, title]) => el("div", { class: "panel-of", "data-title": title }, title ? el("h3", {}, title) : "", holder)),
    ...(note ? [el("p", { class: "note" }, note)] : []), disclosure("The same as a table", () => tableOf(of.columns, rows)));
  for (const [holder, , values] of holders) await draw(holder, of.spec(values, holder.clientWidth, rows));
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

function drawCharts() {
  writeState();
  const cells = matching();
  const contexts = contextsShown(cells);
  scope.context = contexts.find((place) => DATA.contexts[place].label === state.chart) ?? contexts[0] ?? null;
  scope.cells = cells.filter((cell) => cell.context === scope.context);
  scope.groups = seedGroups(scope.cells.filter(done));
  const choices = scope.cells.filter((cell) => cell.layers);
  scope.layers = choices.some((cell) => cell.id === state.layers) ? state.layers : choices[0]?.id;
  drawScope(contexts, choices);
  if (scope.context === null) {
    for (const place of document.querySelectorAll("[data-chart]")) place.replaceChildren(el("p", { class: "empty" }, "Nothing that is measured is shown: clear a filter."));
  } else for (const place of document.querySelectorAll("[data-chart]")) whenLaidOut(place, () => drawChart(place));
  drawGallery(calibrationsHere());
  drawPapers(new Set(cells));
}

function drawScope(contexts, choices) {
  const labels = contexts.map((place) => DATA.contexts[place]);
  byId("scope-choices").replaceChildren(...(labels.length > 1
    ? [select("Charts of", labels.map((of) => [of.label, `${of.label} (${of.total.toLocaleString("en")} images)`]), DATA.contexts[scope.context].label, (chart) => changed({ chart }))]
    : labels.map((of) => el("p", { class: "note" }, `${of.label}, ${count(of.total, "image")}`))));
  drawLegend(scope.groups);
  byId("layer-choice").replaceChildren(choices.length > 1 ? select("Choice of", choices.map((cell) =>
    [cell.id, `${cell.method_label}, ${cell.bits}, ${cell.recipe}, seed ${cell.seed}: ${fixed(valueOf(cell))} %`]), scope.layers, (layers) => changed({ layers })) : "");
}

function setUpCharts() {
  byId("accuracy-choices").append(
    choose("Along the axis", "along", [["bits", "bits"], ["recipe", "recipe"], ["method", "method"]]),
    choose("A panel each", "panels", [["", "all in one"], ["recipe", "recipe"], ["bits", "bits"], ["method", "method"]]),
    choose(`Scale of ${TITLES}`, "axis", [["fit", "fits what is shown"], ["whole", "0 to 100 %"], ["errors", "errors, logarithmic"]]));
  byId("size-choices").append(choose("Against", "cost", COSTS.map(([key, title]) => [key, title])));
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar comes and goes
    width = innerWidth;
    clearTimeout(pending);
    pending = setTimeout(drawCharts, 200);
  });
}
