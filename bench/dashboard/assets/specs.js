// What each chart is, in Vega-Lite. Values are prepared here, drawing is the library's.

const CONFIG = {
  background: null,
  font: "Inter, system-ui, sans-serif", // by name: the library measures texts with it
  padding: { left: 2, right: 10, top: 6, bottom: 2 },
  view: { stroke: null },
  axis: {
    labelColor: "var(--muted)", titleColor: "var(--muted)", gridColor: "var(--line)", domainColor: "var(--line-strong)",
    tickColor: "var(--line-strong)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, titlePadding: 10,
    labelPadding: 6, gridDash: [], domain: false, ticks: false,
  },
  axisX: { domain: true, ticks: true, tickSize: 4 },
  legend: { labelColor: "var(--text)", labelFontSize: 12, orient: "top", direction: "horizontal", symbolSize: 100, offset: 14 },
};
const NARROW = 560; // pixels: below it what is named stands in lines, not in columns

const chart = (values, description, more) => ({
  config: CONFIG,
  width: "container",
  height: 320,
  autosize: { type: "fit-x", contains: "padding" },
  description,
  data: { values },
  ...more,
});

// The legend is the page's own.
function coloured(values) {
  const [methods, recipes] = [methodsOf(values), recipesOf(values)];
  return {
    color: { field: "method", type: "nominal", scale: { domain: methods, range: methods.map(color) }, legend: null },
    shape: { field: "recipe", type: "nominal", scale: { domain: [...recipes, ""], range: [...recipes, ""].map(shape) }, legend: null },
  };
}

const pointTip = () => [
  { field: "method", title: "method" },
  { field: "recipe", title: "recipe" },
  { field: "bits", title: "bits" },
  { field: "top1", title: `${metric(DATA.contexts[scope.context]).title}, %` },
  { field: "said", title: "interval" },
  { field: "size_mb", title: "size, MiB", format: ".2f" },
];

// How the number is drawn: its place on the axis, and that axis over `all` values of the chart.
function top1Scale(all, levels = []) {
  const title = `${metric(DATA.contexts[scope.context]).title}, %`;
  if (state.axis === "errors") {
    const least = Math.min(...all.map((g) => 50 / g.cells[0].total)); // half an image stands for none
    const at = (value) => (value === null ? null : Math.max(least, 100 - value));
    const shown = [...all.flatMap((g) => [g.mean, g.low, g.high]), ...levels].filter((value) => value !== null).map(at);
    const ends = [Math.min(100, Math.max(...shown) * 1.2), Math.min(...shown) / 1.2];
    return { at, channel: { title: "errors, % (log scale)", scale: { type: "log", domain: ends, nice: false, clamp: true }, axis: { values: steps(ends), format: "~g" } } };
  }
  const domain = state.axis === "whole" ? [0, 100] : fitted([...all, ...levels.map((mean) => ({ mean }))], 0.05);
  return { at: (value) => value, channel: { title, scale: { domain, nice: false, zero: false, clamp: true }, axis: { tickCount: 6 } } };
}

// 1, 2 and 5 times powers of ten between two ends, upwards or downwards.
function steps([from, to]) {
  const [low, high] = [Math.min(from, to), Math.max(from, to)];
  const values = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const digit of [1, 2, 5]) values.push(digit * 10 ** power);
  }
  return values.filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

function pointOf(group, at) {
  const [low, high] = [fixed(group.low), fixed(group.high)];
  return {
    method: group.method, recipe: group.recipe, bits: group.bits, bits_order: group.bits_order, size_mb: group.size_mb, cost_of: costOf(group),
    front: group.front, cell: group.cell, lane: `${group.method}\n${group.recipe}`,
    top1: `${fixed(group.mean)}${group.spread === null ? "" : ` \u00b1 ${fixed(group.spread)}`}`,
    said: low ? `${low} to ${high} (${group.interval})` : group.interval,
    y: at(group.mean), low: at(group.low), high: at(group.high),
  };
}

const ALONG = {
  bits: { field: "bits", title: "bits of weights and activations, fewest first", order: (a, b) => a.bits_order - b.bits_order || inOrder(a.bits, b.bits) },
  recipe: { field: "recipe", title: "recipe", order: (a, b) => inOrder(a.recipe, b.recipe) },
  method: { field: "method", title: "method", order: (a, b) => METHODS.indexOf(a.method) - METHODS.indexOf(b.method) },
};

// Every method and recipe in one chart, side by side at each of the values along the axis. Where the names of these have
// no room beside each other, as on a phone, they stand in lines.
function accuracySpec(groups, all, reference, width) {
  const { at, channel } = top1Scale(all, reference === null ? [] : [reference]);
  const values = groups.map((group) => pointOf(group, at));
  const along = ALONG[state.along];
  const order = [...new Set([...values].sort(along.order).map((value) => value[along.field]))];
  const rest = ["bits", "method", "recipe"].filter((key) => key !== along.field); // what tells marks at one place apart
  for (const value of values) value.lane = rest.map((key) => value[key]).join("\n");
  const inLanes = (a, b) => rest.map((key) => ALONG[key].order(a, b)).find((sign) => sign) ?? 0;
  const lanes = [...new Set([...values].sort(inLanes).map(({ lane }) => lane))];
  const narrow = width < NARROW || order.some((name) => name.length * 7 > (width - 80) / order.length);
  const room = narrow ? 13 : (width - 80) / (order.length * (lanes.length + 1.5));
  const axis = { labelAngle: 0, grid: true, tickBand: "extent", labelLimit: width < NARROW ? 110 : 280, labelOverlap: false };
  const named = { field: along.field, type: "nominal", sort: order, title: narrow ? null : along.title, axis, scale: { paddingInner: 0, paddingOuter: 0 } };
  const offset = { field: "lane", type: "nominal", sort: lanes, scale: { paddingOuter: 0.75 } };
  const [across, up, shift, second] = narrow ? ["y", "x", "yOffset", "x2"] : ["x", "y", "xOffset", "y2"];
  const measured = { type: "quantitative", ...channel, axis: { ...channel.axis, ...(narrow ? { orient: "top", tickCount: width < NARROW ? 5 : 10 } : {}) } };
  const places = { [across]: named, [shift]: offset };
  const size = Math.max(24, Math.min(100, room * room * 0.6));
  const layer = [
    { transform: [{ filter: "isNumber(datum.low)" }], // two seeds have no interval
      mark: { type: "rule", strokeWidth: Math.min(2.5, Math.max(1.2, room / 6)), opacity: 0.6, strokeCap: "round" },
      encoding: { ...places, color: coloured(values).color, [up]: { ...measured, field: "low" }, [second]: { field: "high" } } },
    { mark: { type: "point", filled: true, size, opacity: 1, cursor: "pointer" },
      encoding: { ...places, ...coloured(values), [up]: { ...measured, field: "y" }, tooltip: pointTip() } },
  ];
  if (along.field !== "bits") layer.push(...bitsNamed(values, places, measured, up, narrow, room));
  if (reference !== null && reference !== undefined) layer.unshift(...level(at(reference), `float ${fixed(reference)}`, up, channel.scale.domain));
  const height = narrow ? Math.max(120, order.length * (lanes.length + 1.5) * 13) : state.panels ? 220 : 340;
  return chart(values, `${capital(metric(DATA.contexts[scope.context]).title)} against ${along.field}, one mark a method and recipe`, { layer, height, resolve: { scale: { [shift]: "shared" } } });
}

// The bits of each mark at an end of its interval, where its lane, and the chart beyond that end, have room for them.
function bitsNamed(values, places, measured, up, narrow, room) {
  if (!narrow && room < 44) return [];
  const [from, to] = measured.scale.domain;
  const share = (value) => (value - from) / (to - from);
  const ends = values.map((value) => ({ ...value, left: value.low ?? value.y, right: value.high ?? value.y }));
  const of = (data, field, mark) => ({ data: { values: data }, mark: { type: "text", fontSize: 10, color: "var(--muted)", ...mark },
    encoding: { ...places, [up]: { ...measured, field }, text: { field: "bits" } } });
  if (!narrow) return [of(ends, "right", { dy: -9 })];
  const after = ends.filter(({ right }) => share(right) < 0.8);
  const before = ends.filter(({ left, right }) => share(right) >= 0.8 && share(left) > 0.2);
  return [of(after, "right", { align: "left", dx: 8, baseline: "middle" }), of(before, "left", { align: "right", dx: -8, baseline: "middle" })];
}

// A line across the chart, named outside of it, where no mark is.
function level(value, text, up, [from, to]) {
  const share = (value - from) / (to - from);
  const align = share > 0.8 ? "right" : share < 0.2 ? "left" : "center"; // within the chart
  const data = { values: [{ value, text }] };
  const place = { field: "value", type: "quantitative" };
  const said = up === "y" ? { align: "left", baseline: "middle", x: "width", dx: 8, text: text.split(" ") } : { align, baseline: "top", y: "height", dy: 6, text };
  return [
    { data, mark: { type: "rule", strokeDash: [5, 4], color: "var(--muted)", strokeWidth: 1.2 }, encoding: { [up]: place } },
    { data, mark: { type: "text", fontSize: 12, color: "var(--muted)", ...said }, encoding: { [up]: place } },
  ];
}

// Labels of points, each where it covers neither another label nor leaves the chart; of those that cannot, none.
function spaced(points, place) {
  const kept = [];
  for (const point of points) {
    const [x, y] = place(point);
    const half = (point.bits.length * 6.6) / 2 + 3;
    if (kept.every((other) => Math.abs(other.x - x) > half + other.half || Math.abs(other.y - y) > 15)) kept.push({ point, x, y, half });
  }
  return kept.map(({ point }) => point);
}

function sizeSpec(groups, width) {
  const { at, channel } = top1Scale(groups);
  const values = groups.map((group) => pointOf(group, at));
  const sizes = values.map((value) => value.cost_of);
  const ends = [Math.min(...sizes) / 1.15, Math.max(...sizes) * 1.15];
  const wide = ends[1] / ends[0] > 4;
  // Marks of one size stand side by side, a lane a method: of all methods within 5 % of the axis.
  const methods = methodsOf(values);
  const aside = (method) => 0.05 * ((methods.indexOf(method) + 0.5) / methods.length - 0.5);
  for (const value of values) value.place = wide ? value.cost_of * (ends[1] / ends[0]) ** aside(value.method) : value.cost_of + (ends[1] - ends[0]) * aside(value.method);
  const scale = { ...(wide ? { type: "log", base: 2 } : { zero: false }), domain: ends, nice: false };
  const doubled = Array.from({ length: 60 }, (_, i) => 2 ** (i - 8)).filter((tick) => tick > ends[0] && tick < ends[1]);
  const every = Math.ceil(doubled.length / Math.max(2, Math.floor(width / 70)));
  const axis = { grid: false, ...(wide ? { values: doubled.filter((_, i) => i % every === 0), format: ends[1] < 1e4 ? "~g" : ".3~s" } : { tickCount: width < NARROW ? 4 : 10 }) };
  const [key, title] = costNamed();
  const x = { field: "cost_of", type: "quantitative", title, scale, axis };
  const tip = key === "size_mb" ? pointTip() : [...pointTip(), { field: "cost_of", title, format: ".4~g" }];
  const beside = { ...x, field: "place" };
  const y = { field: "y", type: "quantitative", ...channel };
  const front = values.filter((value) => value.front).sort((a, b) => a.place - b.place);
  const height = 340;
  const share = (value, [from, to], log) => (log ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from));
  const place = (point) => [share(point.place, ends, wide) * (width - 70), (1 - share(point.y, channel.scale.domain, channel.scale.type === "log")) * height];
  const named = [...new Map(front.map((value) => [value.bits, value])).values()]; // the best of each
  return chart(values, `${capital(metric(DATA.contexts[scope.context]).title)} in percent against ${title}, with the Pareto front`, {
    height,
    layer: [
      { data: { values: front }, mark: { type: "line", interpolate: "step-after", color: "var(--line-strong)", strokeWidth: 2 }, encoding: { x: beside, y } },
      { transform: [{ filter: "isNumber(datum.low)" }], mark: { type: "rule", strokeWidth: 1.5, opacity: 0.35 },
        encoding: { x: beside, y: { ...y, field: "low" }, y2: { field: "high" }, color: coloured(values).color } },
      { mark: { type: "point", filled: true, size: 80, cursor: "pointer" },
        encoding: { x: beside, y, ...coloured(values), tooltip: tip, opacity: { condition: { test: "datum.front", value: 1 }, value: 0.6 } } },
      { data: { values: spaced(named.reverse(), place) }, mark: { type: "text", dy: -14, fontSize: 11, fontWeight: 600, color: "var(--text)" },
        encoding: { x: beside, y, text: { field: "bits" } } },
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
    .map(([step, loss]) => ({ method, recipe: "", seed: `seed ${seed}`, run: `${method} ${seed}`, step, loss })));
  const points = curves.some(({ curve }) => curve.length === 1); // a single step has no line
  return chart(values, "Loss against the step of distillation, one line a method and seed", {
    mark: { type: "line", strokeWidth: 1.8, opacity: 0.85, ...(points ? { point: true } : {}) },
    encoding: {
      x: { field: "step", type: "quantitative", title: "step", axis: { grid: false, format: "d", tickMinStep: 1, tickCount: width < NARROW ? 4 : 10 }, scale: { nice: false, zero: false } },
      y: { field: "loss", type: "quantitative", title: "loss (log scale)", scale: { type: "log" }, axis: { format: "~s", values: powers(values.map((value) => value.loss)) } },
      color: coloured(values).color, detail: { field: "run" },
      tooltip: [{ field: "method" }, { field: "seed" }, { field: "step" }, { field: "loss", format: ".4~g" }],
    },
  });
}

function layersSpec(rows, width) {
  const points = rows.filter(({ cost }) => cost > 0); // on a log scale
  const bits = [...new Set(points.map(({ at }) => at))].sort((a, b) => a - b);
  const domain = bits.map((at) => `${at} bits`);
  const range = domain.map((_, i) => `var(--ordinal-${Math.round((i * 2) / Math.max(1, domain.length - 1))})`);
  const values = points.map((row) => ({ ...row, said: `${row.at} bits`, chosen: row.at === row.bits, fill: row.at === row.bits ? range[bits.indexOf(row.at)] : "var(--surface)" }));
  const layers = [...new Set(rows.map(({ layer }) => layer))];
  const y = { field: "layer", type: "nominal", sort: layers, title: null, axis: { labelLimit: width < NARROW ? 120 : 260, labelFontSize: 11, grid: true } };
  const x = { field: "cost", type: "quantitative", scale: { type: "log" }, title: "sensitivity, nats (log scale)", axis: { orient: "top", format: "~e", values: powers(values.map((value) => value.cost)) } };
  return chart(values, "Sensitivity of each layer at each bit-width; filled marks are the chosen bits", {
    height: layers.length * 17,
    mark: { type: "point", size: 70, strokeWidth: 1.6, shape: "circle" },
    encoding: {
      x, y,
      stroke: { field: "said", type: "nominal", title: null, scale: { domain, range }, legend: { symbolType: "circle", symbolFillColor: "var(--surface)" } },
      fill: { field: "fill", type: "nominal", scale: null },
      tooltip: [{ field: "layer" }, { field: "said", title: "weights" }, { field: "cost", title: "sensitivity, nats", format: ".3~g" }, { field: "chosen" }],
    },
  });
}

// Of bits that were not weighed by sensitivities: what each layer has.
function bitsSpec(rows, width) {
  const layers = [...new Set(rows.map(({ layer }) => layer))];
  const y = { field: "layer", type: "nominal", sort: layers, title: null, axis: { labelLimit: width < NARROW ? 120 : 260, labelFontSize: 11 } };
  const x = (field) => ({ field, type: "quantitative", title: "bits", axis: { orient: "top", tickMinStep: 1 } });
  const channels = rows.filter((row) => row.channels).map((row) => ({ ...row, fewest: row.channels[0], most: row.channels[1] }));
  const inputs = rows.filter((row) => row.inputs !== null && row.inputs < 32);
  const said = ["Bits of the weights of each layer, the mean of its output channels",
    ...(channels.length ? ["lines: from the fewest to the most of a channel"] : []), ...(inputs.length ? ["ticks: of its input"] : [])];
  return chart(rows, said.join("; "), {
    height: layers.length * 17,
    layer: [
      { mark: { type: "bar", color: "var(--line-strong)" }, encoding: { x: x("bits"), y, tooltip: [{ field: "layer" }, { field: "bits" }] } },
      ...(channels.length ? [{ data: { values: channels }, mark: { type: "rule", color: "var(--text)" },
        encoding: { x: x("fewest"), x2: { field: "most" }, y, tooltip: [{ field: "layer" }, { field: "fewest" }, { field: "most" }] } }] : []),
      ...(inputs.length ? [{ data: { values: inputs }, mark: { type: "tick", thickness: 2, color: "var(--text)" },
        encoding: { x: x("inputs"), y, tooltip: [{ field: "layer" }, { field: "inputs", title: "bits of the input" }] } }] : []),
    ],
  });
}

// A course over the epochs of a training: lines, and the targets that they are to come to.
function courseSpec({ title, lines, targets }) {
  const values = lines.flatMap(([label, points]) => points.map(([epoch, value]) => ({ label, epoch, value })));
  const few = lines.some(([, points]) => points.length < 12);
  const last = Math.max(...values.map(({ epoch }) => epoch));
  const whole = Array.from({ length: Math.floor(last) }, (_, i) => i + 1).filter((epoch) => epoch % Math.ceil(last / 10) === 0);
  const y = { field: "value", type: "quantitative", title, scale: { zero: false } };
  const several = lines.length > 1 ? { strokeDash: { field: "label", type: "nominal", title: null, sort: lines.map(([label]) => label) } } : {};
  return chart(values, `${title} over the epochs of the training${targets.length ? "; the rule is the target" : ""}`, {
    height: 200,
    layer: [
      { mark: { type: "line", strokeWidth: 1.8, color: "var(--text)", point: few && { color: "var(--text)" } },
        encoding: {
          x: { field: "epoch", type: "quantitative", title: "epoch", axis: { grid: false, format: "d", values: whole }, scale: { nice: false } }, y, ...several,
          tooltip: [...(lines.length > 1 ? [{ field: "label", title }] : []), { field: "epoch", format: ".3~g" }, { field: "value", title: "value", format: ".4~g" }],
        } },
      ...(targets.length ? [{ data: { values: targets.map((value) => ({ value })) }, mark: { type: "rule", strokeDash: [5, 4], color: "var(--muted)" },
        encoding: { y, tooltip: [{ field: "value", title: "target", format: ".4~g" }] } }] : []),
    ],
  });
}

const gateRows = (gates) => gates.flatMap(([layer, of]) => Object.entries(of).map(([gate, probability]) => ({ layer, gate, probability })));

// A field a gate, the fuller the likelier it is open.
function gatesSpec(rows, width) {
  const [layers, names] = ["layer", "gate"].map((key) => [...new Set(rows.map((row) => row[key]))]);
  return chart(rows, "Probability that each gate of each layer is open; channels: the mean of the output channels", {
    height: layers.length * 17,
    mark: { type: "rect", color: "var(--text)" },
    encoding: {
      x: { field: "gate", type: "nominal", sort: names, title: null, axis: { orient: "top", labelAngle: width < NARROW ? -90 : -45, labelFontSize: 11 } },
      y: { field: "layer", type: "nominal", sort: layers, title: null, axis: { labelLimit: width < NARROW ? 120 : 260, labelFontSize: 11 } },
      opacity: { field: "probability", type: "quantitative", scale: { domain: [0, 1], range: [0.04, 1] }, legend: null },
      tooltip: [{ field: "layer" }, { field: "gate" }, { field: "probability", format: ".3f" }],
    },
  });
}

function rewardsSpec(choice) {
  const values = choice.rewards.map(([episode, reward]) => ({ episode, reward }));
  return chart(values, "Reward of each episode of the search", {
    height: 260,
    mark: { type: "point", size: 30, color: "var(--text)" },
    encoding: {
      x: { field: "episode", type: "quantitative", title: "episode", axis: { grid: false, format: "d", tickMinStep: 1 } },
      y: { field: "reward", type: "quantitative", title: "reward", scale: { zero: false } },
      tooltip: [{ field: "episode" }, { field: "reward", format: ".4~g" }],
    },
  });
}

function frontierSpec(choice) {
  const values = choice.frontier.filter(([, cost]) => cost > 0).map(([price, cost]) => ({ price, cost }));
  const chosen = { price: choice.price ?? choice.size_mb, cost: choice.cost };
  const x = { field: "price", type: "quantitative", title: COSTS.find(([key]) => key === choice.axis)?.[1] ?? "size of the weights, MiB", scale: { zero: false }, axis: { grid: false, tickCount: 8 } };
  const y = { field: "cost", type: "quantitative", title: "sum of sensitivities, nats", scale: { type: "log" }, axis: { format: "~g", values: powers(values.map((value) => value.cost)) } };
  return chart(values, "Sum of sensitivities against the budget: the best that any assignment of bits reaches, and the choice", {
    height: 260,
    layer: [
      { mark: { type: "line", color: "var(--line-strong)", strokeWidth: 2, point: values.length === 1 }, encoding: { x, y } },
      { data: { values: [chosen] }, mark: { type: "point", filled: true, size: 110, color: "var(--text)" },
        encoding: { x, y, tooltip: [{ field: "price", title: x.title, format: ".4~g" }, { field: "cost", format: ".4~g" }] } },
      { data: { values: [chosen] }, mark: { type: "text", align: "left", dx: 10, dy: -8, fontSize: 12, color: "var(--text)" },
        encoding: { x, y, text: { value: "chosen" } } },
    ],
  });
}
