// What each chart is, in Vega-Lite. Values are prepared here, drawing is the library's.

const CONFIG = {
  background: null,
  font: "Inter, system-ui, sans-serif", // by name: the library measures texts with it
  padding: { left: 2, right: 10, top: 4, bottom: 2 },
  view: { stroke: null },
  axis: {
    labelColor: "var(--muted)", titleColor: "var(--muted)", gridColor: "var(--line)", domainColor: "var(--line-strong)",
    tickColor: "var(--line-strong)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, titlePadding: 10,
    labelPadding: 6, gridDash: [], domain: false, ticks: false,
  },
  axisX: { domain: true, ticks: true, tickSize: 4 },
  legend: {
    labelColor: "var(--text)", titleColor: "var(--muted)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500,
    orient: "top", direction: "horizontal", symbolSize: 100, symbolOpacity: 1, columnPadding: 20, rowPadding: 6,
    labelLimit: 360, labelOffset: 6, offset: 14, padding: 0,
    layout: { top: { anchor: "start", bounds: "full", direction: "horizontal", offset: 14 } },
  },
};

const chart = (values, description, more) => ({
  config: CONFIG,
  width: "container",
  height: 300,
  autosize: { type: "fit-x", contains: "padding" },
  description,
  data: { values },
  ...more,
});

const methodsOf = (values) => METHODS.filter((method) => values.some((value) => value.method === method));

function byMethod(values, width, extra = {}) {
  const domain = methodsOf(values);
  const longest = Math.max(...domain.map((method) => method.length), 1);
  const columns = Math.max(1, Math.floor(width / (longest * 7 + 44)));
  return {
    color: { field: "method", type: "nominal", scale: { domain, range: domain.map(color) }, title: null, legend: { columns }, ...extra },
    shape: { field: "method", type: "nominal", scale: { domain, range: domain.map(shape) }, title: null, legend: { columns } },
  };
}

const top1Axis = { field: "mean", type: "quantitative", title: "top-1, %", axis: { tickCount: 6 } };

const pointTip = [
  { field: "method", title: "method" },
  { field: "recipe", title: "recipe" },
  { field: "bits", title: "bits" },
  { field: "mean", title: "top-1, %", format: ".2f" },
  { field: "said", title: "interval" },
  { field: "size_mb", title: "size, MiB", format: ".2f" },
];

function pointOf(group) {
  const [low, high] = [fixed(group.low), fixed(group.high)];
  return {
    ...group,
    method: group.method_label,
    said: low ? `${low} to ${high} (${group.interval})` : group.interval,
    cell: group.cells[0],
    low: low && Math.max(0, group.low), // of seeds, an interval may leave what a top-1 can be
    high: high && Math.min(100, group.high),
  };
}

function bitsSpec(groups, float, width) {
  const values = groups.map(pointOf);
  const order = [...new Map(values.map((v) => [v.bits, v.bits_order]))].sort((a, b) => a[1] - b[1] || inOrder(a[0], b[0]));
  const methods = methodsOf(values);
  const x = { field: "bits", type: "nominal", sort: order.map(([bits]) => bits), title: "bits of weights and activations, fewest first",
    axis: { labelAngle: order.length * 60 > width ? -40 : 0, grid: true, tickBand: "extent" }, scale: { paddingInner: 0, paddingOuter: 0 } };
  const xOffset = { field: "method", type: "nominal", sort: methods, scale: { paddingOuter: 0.9 } };
  const channels = byMethod(values, width);
  const layer = [
    { transform: [{ filter: "isNumber(datum.low)" }], // two seeds have no interval
      mark: { type: "rule", strokeWidth: 2.5, opacity: 0.6, strokeCap: "round" }, encoding: { x, xOffset, color: channels.color,
      y: { ...top1Axis, field: "low", title: top1Axis.title }, y2: { field: "high" } } },
    { mark: { type: "point", filled: true, size: 110, opacity: 1, cursor: "pointer" },
      encoding: { x, xOffset, ...channels, y: top1Axis, tooltip: pointTip } },
  ];
  if (float !== null && float !== undefined) layer.unshift(...level(float, `float ${fixed(float)} %`));
  return chart(values, "Top-1 in percent against the bits of weights and activations, one mark a method", {
    layer, resolve: { scale: { xOffset: "shared" } },
  });
}

function level(value, text) {
  const data = { values: [{ value, text }] };
  const y = { field: "value", type: "quantitative" };
  return [
    { data, mark: { type: "rule", strokeDash: [5, 4], color: "var(--muted)", strokeWidth: 1.2 }, encoding: { y } },
    { data, mark: { type: "text", align: "left", baseline: "bottom", dy: -4, dx: 6, fontSize: 12, color: "var(--muted)", x: 0 },
      encoding: { y, text: { field: "text" } } },
  ];
}

function sizeSpec(groups, width) {
  const values = groups.filter((group) => group.size_mb !== null).map(pointOf);
  const sizes = values.map((value) => value.size_mb);
  const [smallest, largest] = [Math.min(...sizes), Math.max(...sizes)];
  const wide = largest / smallest > 3;
  const scale = { ...(wide ? { type: "log", base: 2 } : { zero: false }), domain: [smallest / 1.15, largest * 1.15], nice: false };
  const ticks = [0.0625, 0.125, 0.25, 0.5, 1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256].filter((t) => t > smallest / 1.15 && t < largest * 1.15);
  const x = { field: "size_mb", type: "quantitative", title: "size of the weights, MiB", scale, axis: { grid: false, tickCount: width < 500 ? 5 : 10, ...(wide ? { values: ticks, format: "~g" } : {}) } };
  const front = values.filter((value) => value.front).sort((a, b) => a.size_mb - b.size_mb);
  const labels = [...new Map(front.map((value) => [value.bits, value])).values()]; // the best of each
  return chart(values, "Top-1 in percent against the size of the weights in MiB, with the Pareto front", {
    layer: [
      { data: { values: front }, mark: { type: "line", interpolate: "step-after", color: "var(--line-strong)", strokeWidth: 2 },
        encoding: { x, y: top1Axis } },
      { mark: { type: "point", filled: true, size: 80, cursor: "pointer" },
        encoding: { x, y: top1Axis, ...byMethod(values, width), tooltip: pointTip,
          opacity: { condition: { test: "datum.front", value: 1 }, value: 0.55 } } },
      { data: { values: labels }, mark: { type: "text", dy: -13, fontSize: 11, fontWeight: 600, color: "var(--text)" },
        encoding: { x, y: top1Axis, text: { field: "bits" } } },
    ],
  });
}

// Some of the powers of ten around values: a logarithmic axis has too many lines of its own.
function powers(values) {
  const ends = [Math.min, Math.max].map((end) => Math.log10(end(...values.filter((value) => value > 0))));
  const [low, high] = [Math.floor(ends[0]), Math.ceil(ends[1])];
  const step = Math.ceil((high - low + 1) / 7);
  return Array.from({ length: high - low + 1 }, (_, i) => low + i).filter((power) => (power - low) % step === 0).map((power) => 10 ** power);
}

function curvesSpec(curves, width) {
  const values = curves.flatMap(({ method, seed, curve }) => curve.filter(([, loss]) => loss > 0) // on a log scale
    .map(([step, loss]) => ({ method, seed: `seed ${seed}`, run: `${method} ${seed}`, step, loss })));
  const { color: colors } = byMethod(values, width, { legend: { symbolType: "stroke" } });
  return chart(values, "Loss against the step of distillation, one line a method and seed", {
    mark: { type: "line", strokeWidth: 1.8, opacity: 0.85 },
    encoding: {
      x: { field: "step", type: "quantitative", title: "step", axis: { grid: false, format: "d", tickCount: width < 500 ? 5 : 10 } },
      y: { field: "loss", type: "quantitative", title: "loss (log scale)", scale: { type: "log" }, axis: { format: "~s", values: powers(values.map((value) => value.loss)) } },
      color: colors, detail: { field: "run" },
      tooltip: [{ field: "method" }, { field: "seed" }, { field: "step" }, { field: "loss", format: ".4~g" }],
    },
  });
}

function layersSpec(choice, width) {
  const layers = DATA.sensitivities[choice.sensitivities];
  const points = layers.flatMap(([layer, of], place) => Object.entries(of ?? {}).map(([bits, cost]) => ({
    layer, bits: `${bits} bits`, cost, chosen: choice.bits[place] === Number(bits) }))).filter(({ cost }) => cost > 0); // on a log scale
  const domain = [...new Set(points.map((point) => point.bits))].sort((a, b) => parseInt(a) - parseInt(b));
  const range = domain.map((_, i) => `var(--ordinal-${Math.round((i * 2) / Math.max(1, domain.length - 1))})`);
  const values = points.map((point) => ({ ...point, fill: point.chosen ? range[domain.indexOf(point.bits)] : "var(--surface)" }));
  const y = { field: "layer", type: "nominal", sort: null, title: null, axis: { labelLimit: width < 500 ? 110 : 220, labelFontSize: 11, grid: true } };
  const x = { field: "cost", type: "quantitative", scale: { type: "log" }, title: "sensitivity, nats (log scale)", axis: { orient: "top", format: "~e", values: powers(values.map((value) => value.cost)) } };
  return chart(values, "Sensitivity of each layer at each bit-width; filled marks are the chosen bits", {
    height: layers.length * 17,
    mark: { type: "point", size: 70, strokeWidth: 1.6, shape: "circle" },
    encoding: {
      x, y,
      stroke: { field: "bits", type: "nominal", title: null, scale: { domain, range }, legend: { symbolType: "circle", symbolFillColor: "var(--surface)" } },
      fill: { field: "fill", type: "nominal", scale: null },
      tooltip: [{ field: "layer" }, { field: "bits", title: "weights" }, { field: "cost", title: "sensitivity, nats", format: ".3~g" }, { field: "chosen" }],
    },
  });
}

function frontierSpec(choice) {
  const values = choice.frontier.filter(([, cost]) => cost > 0).map(([size_mb, cost]) => ({ size_mb, cost }));
  const x = { field: "size_mb", type: "quantitative", title: "size of the weights, MiB", scale: { zero: false }, axis: { grid: false, tickCount: 8 } };
  const y = { field: "cost", type: "quantitative", title: "sum of sensitivities, nats", scale: { type: "log" }, axis: { format: "~g", values: powers(values.map((value) => value.cost)) } };
  return chart(values, "Sum of sensitivities against size: the best that any assignment of bits reaches, and the choice", {
    height: 260,
    layer: [
      { mark: { type: "line", color: "var(--accent)", strokeWidth: 2 }, encoding: { x, y } },
      { data: { values: [choice] }, mark: { type: "point", filled: true, size: 110, color: "var(--series-1)" },
        encoding: { x, y, tooltip: [{ field: "size_mb", title: "size, MiB", format: ".3f" }, { field: "cost", format: ".4~g" }] } },
      { data: { values: [choice] }, mark: { type: "text", align: "left", dx: 10, dy: -8, fontSize: 12, color: "var(--text)" },
        encoding: { x, y, text: { value: "chosen" } } },
    ],
  });
}
