// The page of one cell: what it is, how to measure it again, and where it was wrong.

const ELSEWHERE = ["weights", "weight_bits"]; // they have panels of their own
const TOPICS = ["quantizer", "method", "calibration", "preprocessing", "evaluation", "batchnorm", "biases", "seed"];

function plain(value) {
  if (value === null || value === undefined) return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (typeof value === "object") return Object.entries(value).map(([key, of]) => `${key} ${plain(of)}`).join(", ");
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  return String(value);
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

const panel = (title, ...children) => el("section", { class: "panel" }, el("h2", {}, title), ...children);

function recipePanel(cell) {
  const topics = [...TOPICS.filter((topic) => topic in cell.card), ...Object.keys(cell.card).filter((topic) => !TOPICS.includes(topic) && !ELSEWHERE.includes(topic))];
  return panel("Recipe", ...topics.map((topic) => {
    const value = card(cell, topic);
    const pairs = value !== null && typeof value === "object" && !Array.isArray(value) ? Object.entries(value) : [["", value]];
    return el("div", { class: "topic" }, el("h3", {}, topic.replace("_", " ")),
      facts(pairs.map(([key, of]) => [key, plain(of)])));
  }));
}

function weightsPanel(cell) {
  const weights = ("weights" in cell.card && card(cell, "weights")) || {};
  const published = weights.published;
  return panel("Weights", facts([
    ["name", cell.weights],
    ["source", weights.source],
    ["sha256", cell.weights_sha256 && el("code", { class: "hash" }, cell.weights_sha256)],
    [`float ${metric(cell).title} here`, floatOf(cell) !== null && `${fixed(floatOf(cell))} %`],
    ["expected on these images", cell.fp32_expected !== null && `${fixed(cell.fp32_expected)} %`],
    [`published float ${metric(cell).title}`, published && `${plain(published[metric(cell).key])} % on ${plain(published.data)}, ${plain(published.images)} images`],
    ["published in", published?.source],
    ["float cell", cell.fp32_id && cell.fp32_id !== cell.id && (CELLS.has(cell.fp32_id) ? link(CELLS.get(cell.fp32_id), cell.fp32_id) : cell.fp32_id)],
  ].filter(([, value]) => value)));
}

function reproducePanel(cell) {
  const where = [
    cell.command?.includes("data.root=FOLDER") && "where the images lie",
    cell.command?.includes("model.weights=FOLDER") && "where the file of the weights lies",
  ].filter(Boolean);
  const { outputs } = DATA.about;
  return panel("Reproduce",
    cell.command ? [el("p", {}, "Measure it anywhere:"), copyable(cell.command)]
      : el("p", { class: "empty" }, "Its configuration cannot be read, or names something that does not ship with the project; repeat it from its record."),
    where.length ? el("p", { class: "note" }, `FOLDER is ${where.join(", or ")}.`) : null,
    el("p", {}, "Repeat it from its record and compare image by image:"), copyable(`bench rerun ${cell.id}${outputs && ` ${outputs}`}`),
    outputs.includes("FOLDER") ? el("p", { class: "note" }, "FOLDER is where the folder of these results lies.") : null);
}

function timePanel(cell) {
  const phases = Object.entries(cell.seconds).filter(([name]) => name !== "total");
  const total = cell.seconds.total ?? phases.reduce((sum, [, value]) => sum + value, 0);
  const bars = phases.map(([name, value]) => el("div", { class: "phase" }, el("span", {}, name),
    el("span", { class: "bar", "--share": `${(100 * value) / (total || 1)}%`, "aria-hidden": "true" }), el("span", { class: "number" }, seconds(value))));
  const memory = cell.peak_memory_bytes ? `${(cell.peak_memory_bytes / 2 ** 30).toFixed(2)} GiB` : "";
  return panel("Time", ...bars, facts([["total", seconds(total)], ["peak memory", memory]]));
}

function environmentPanel(cell) {
  const runtime = Object.entries(DATA.values[cell.runtime]).map(([key, value]) => [key, plain(value)]);
  const versions = Object.entries(DATA.values[cell.versions]);
  return panel("Environment", facts([["started", moment(cell.started_at)], ["commit", cell.git_sha && el("code", { class: "hash" }, cell.git_sha)], ...runtime]),
    disclosure("Versions", () => facts(versions)));
}

function calibrationPanel(cell) {
  const of = DATA.calibrations[cell.calibration_key];
  if (!of) return null;
  const holder = el("div", { class: "holder" });
  const parts = [];
  if (of.picture) parts.push(picture(of, `Grid of the synthetic images of ${cell.method_label}, seed ${cell.seed}`));
  else if (of.photographs) parts.push(el("p", { class: "note" }, "Photographs of a training set; which ones is in the recipe above."));
  if (of.curve.length) {
    parts.push(holder);
    whenLaidOut(holder, () => draw(holder, { ...curvesSpec([{ method: cell.method_label, seed: cell.seed, curve: of.curve }], 300), height: 220 }));
  }
  return parts.length ? panel("Calibration images", el("div", { class: "pair" }, ...parts)) : null;
}

function generatedPanel(cell) {
  if (cell.generated === undefined) return null;
  return panel("Generated images", cell.generated
    ? picture({ picture: cell.generated }, `Images that the generator of ${cell.method_label}, seed ${cell.seed}, made, a row a moment of the training`)
    : el("p", { class: "note" }, `Left out to keep this file small: see generated.png in outputs/cells/${cell.id}.`));
}

function trainingPanel(cell) {
  if (!cell.training) return null;
  const { panels, gates } = cell.training;
  const courses = panels.map((of) => {
    const holder = el("div", { class: "holder" });
    whenLaidOut(holder, () => draw(holder, courseSpec(of)));
    return holder;
  });
  if (!gates) return panel("Training", ...courses);
  const [holder, rows] = [el("div", { class: "holder" }), gateRows(gates)];
  whenLaidOut(holder, () => draw(holder, gatesSpec(rows, holder.clientWidth)));
  const columns = [["layer", (r) => r.layer], ["gate", (r) => r.gate], ["probability", (r) => r.probability]];
  return panel("Training", ...courses, el("h3", {}, "Probability that a gate is open, as it was trained"), holder, disclosure("The same as a table", () => tableOf(columns, rows)));
}

function layersPanel(cell) {
  if (!cell.layers) {
    const bits = "weight_bits" in cell.card && card(cell, "weight_bits");
    return bits ? panel("Bits of each layer", disclosure("As chosen", () => facts(Object.entries(bits)))) : null;
  }
  const [course, layers] = [el("div", { class: "holder" }), el("div", { class: "holder" })];
  const { frontier, rewards } = cell.layers;
  if (frontier) whenLaidOut(course, () => draw(course, frontierSpec(cell.layers)));
  else if (rewards) whenLaidOut(course, () => draw(course, rewardsSpec(cell.layers)));
  whenLaidOut(layers, () => {
    const rows = layerRows(cell.layers);
    draw(layers, (frontier ? layersSpec : bitsSpec)(rows, layers.clientWidth));
  });
  return panel("Bits of each layer", ...(frontier || rewards ? [course] : []), layers, disclosure("The same as a table", () => tableOf(CHARTS.layers.columns, layerRows(cell.layers))));
}

// What else COCO says of boxes.
const COCO = [["map_50", "AP50"], ["map_75", "AP75"], ["map_small", "AP small"], ["map_medium", "AP medium"], ["map_large", "AP large"],
  ["ar_1", "AR1"], ["ar_10", "AR10"], ["ar_100", "AR100"], ["ar_small", "AR small"], ["ar_medium", "AR medium"], ["ar_large", "AR large"]];
const foundIn = (cell) => [
  ["boxes found", `${cell.boxes.toLocaleString("en")}, of ${cell.objects.toLocaleString("en")} objects on ${count(cell.total, "image")}`],
  ...COCO.map(([key, title]) => [title, cell[key] !== null && `${fixed(cell[key])} %`]),
  ...(cell.masks ? [["map", "mAP"], ...COCO] : []).map(([key, title]) =>
    [`${title} of masks`, cell.masks[key] !== null && `${fixed(cell.masks[key])} %`]),
];

function verdict(cell) {
  if (!done(cell)) {
    return [el("p", { class: "number-line" }, el("span", { class: `tag ${cell.status}` }, cell.status), ` ${cell.reason ?? ""}`),
      cell.traceback ? disclosure("Traceback", () => el("pre", {}, cell.traceback)) : ""];
  }
  const loss = drop(cell);
  return [
    el("p", { class: "number-line" }, el("b", {}, fixed(valueOf(cell))), ` % ${metric(cell).title}`, intervalBar(groupOf([cell]), [0, 100])),
    ...cell.warnings.map((line) => el("p", { class: "warning" }, el("b", {}, "Warning: "), line)),
    facts([
      [cell.part_of ? "95 % interval, however often one looked" : metric(cell).interval.replace(/ of its images$/, ""), `${fixed(cell.low)} to ${fixed(cell.high)} %`],
      ["correct", cell.correct !== null && (cell.part_of ? `${seenOf(cell)} images` : `${cell.correct.toLocaleString("en")} of ${cell.total.toLocaleString("en")}`)],
      ...(cell.task === "detection" ? foundIn(cell) : []),
      ["cannot be decoded", cell.left_out > 0 && `${cell.left_out.toLocaleString("en")} images, left out; the recipe names them`],
      ["top-5", cell.top5 !== null && `${fixed(cell.top5)} %`],
      ["against float", loss !== null && `${signed(loss)} points${cell.part_of ? " on the images seen" : ""}`],
      ["of all images", cell.part_of && cell.drop_low !== null && `${signed(-cell.drop_high)} to ${signed(-cell.drop_low)} points, however often one looked`],
      ["mean squared change of logits", cell.logit_mse !== null && cell.logit_mse.toPrecision(3)],
      ["quantized", cell.quantized_weights !== null && `${fixed(cell.quantized_weights)} % of the weights; of the multiplications ${fixed(cell.quantized_multiplications)} % by weight, ${fixed(cell.quantized_inputs)} % by input`],
      ["size of the weights", cell.size_mb !== null && `${fixed(cell.size_mb)} MiB${cell.size_with_scales_mb === null ? "" : `, with scales ${fixed(cell.size_with_scales_mb)} MiB`}`],
    ].filter(([, value]) => value)),
  ];
}

function drawCell(cell) {
  const page = byId("cell");
  page.replaceChildren(
    el("p", { class: "back" }, el("a", { href: "#leaderboard" }, "\u2190 All cells")),
    el("h1", { tabindex: "-1" }, cell.method_label, el("span", { class: "bits" }, cell.bits)),
    el("p", { class: "summary" }, [context(cell).label, cell.recipe, `seed ${cell.seed}`, cell.group].filter(Boolean).join(" \u00b7 "),
      " \u00b7 ", el("code", {}, cell.id)),
    el("div", { class: "verdict" }, ...verdict(cell)),
    el("div", { class: "columns" },
      el("div", {}, reproducePanel(cell), weightsPanel(cell), timePanel(cell), environmentPanel(cell)),
      el("div", {}, recipePanel(cell))),
    ...[wrongSection(cell)].filter((parts) => parts.length).map((parts) => el("section", { class: "panel" }, ...parts)),
    ...[calibrationPanel(cell), generatedPanel(cell), trainingPanel(cell), layersPanel(cell)].filter(Boolean));
  page.querySelector("h1").focus({ preventScroll: true });
}
