// The cells that the filters let through, and what they say together.

function searchText(cell) {
  const said = [...FIELDS.map(({ of }) => of(cell)), `seed ${cell.seed}`, fixed(valueOf(cell)), cell.id, cell.weights];
  return said.join(" ").toLowerCase();
}

// A word that is a method means that method: zeroq is not every cell of the recipe zeroq_release.
const METHOD_NAMES = new Set(DATA.cells.map((cell) => cell.method));

function matching() {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = FIELDS.filter(({ key }) => state[key].size);
  return DATA.cells.filter((cell) => {
    for (const { key, of } of chosen) if (!state[key].has(of(cell))) return false;
    if (!words.length) return true;
    const text = (cell.search ??= searchText(cell));
    return words.every((word) => (METHOD_NAMES.has(word) ? cell.method_label : text).includes(word));
  });
}

const average = (cells, of) => {
  const values = cells.map(of);
  return values.some((value) => value === null || value === undefined) ? null : mean(values);
};

// What a network may be set against: key, name on an axis, and above a column.
const COSTS = [
  ["size_mb", "size of the weights, MiB", "Size, MiB"],
  ["size_with_scales_mb", "size of the weights with scales, MiB", "Size with scales, MiB"],
  ["mean_bits", "bits of a weight", "Bits of a weight"],
  ["bops", "bit operations", "BOPs"],
  ["bops_percent", "bit operations, % of the float network's", "BOPs, %"],
  ["bops_with_additions", "bit operations with additions", "BOPs with additions"],
  ["mac_bits", "multiply-accumulates x bits of the weight", "MACs x bits"],
  ["activations_mb", "size of the activations, MiB", "Activations, MiB"],
  ["largest_activation_mb", "largest activation, MiB", "Largest activation, MiB"],
  ["mean_activation_bits", "bits of an activation", "Bits of an activation"],
  ["latency_ms", "latency, ms", "Latency, ms"],
];
const costNamed = () => COSTS.find(([key]) => key === state.cost) ?? COSTS[0];
const costOf = (group) => group.costs[costNamed()[0]];
const costText = (group) => {
  const cost = costOf(group);
  return cost === null || Math.abs(cost) < 1000 ? fixed(cost) : cost.toPrecision(4);
};

// Cells of one group as one row: mean, deviation and interval over its seeds.
function groupOf(cells, place = null) {
  const [first] = cells;
  const values = cells.map(valueOf);
  const group = {
    place, cells, cell: first.id, method: first.method_label, recipe: first.recipe, bits: first.bits, bits_order: first.bits_order,
    context: first.context, float: first.method === FLOAT, status: first.status, mean: done(first) ? mean(values) : null,
    spread: null, low: null, high: null, interval: "", size_mb: average(cells, (cell) => cell.size_mb),
    costs: Object.fromEntries(COSTS.map(([key]) => [key, average(cells, (cell) => cell[key])])), drop: average(cells, drop), time: average(cells, (cell) => cell.seconds.total), front: false,
    experiments: [...new Set(cells.map((cell) => cell.group))].join(", "),
  };
  if (!done(first)) return group;
  if (cells.length === 1) return { ...group, low: first.low, high: first.high, interval: metric(first).interval };
  group.spread = Math.sqrt(variance(values));
  if (cells.length === 2) return { ...group, interval: "two seeds: no interval" };
  const [low, high] = tInterval(values);
  // Of seeds, an interval may leave what a percentage can be.
  return { ...group, low: Math.max(0, low), high: Math.min(100, high), interval: `95 % t-interval of ${cells.length} seeds` };
}

// Groups of seeds among `cells`, then what is not done, a row each.
function seedGroups(cells) {
  const here = new Set(cells);
  const groups = [];
  DATA.groups.forEach(({ cells: ids }, place) => {
    const members = ids.map((id) => CELLS.get(id)).filter((cell) => here.has(cell));
    if (members.length) groups.push(groupOf(members, place));
  });
  return [...groups, ...cells.filter((cell) => !done(cell)).map((cell) => groupOf([cell]))];
}

// The groups of a network that no group of at most their cost surpasses.
function markFront(groups) {
  let best = -Infinity;
  const known = groups.filter((group) => costOf(group) !== null);
  for (const group of known.sort((a, b) => costOf(a) - costOf(b) || b.mean - a.mean)) {
    group.front = group.mean > best;
    if (group.front) best = group.mean;
  }
}

const seedsOf = (group) => (group.cells.length === 1 ? `seed\u00a0${group.cells[0].seed}` : `${group.cells.length}\u00a0seeds`);
const visible = (group) => !state.hide.has(group.method) && !state["hide-recipe"].has(group.recipe);

// What the address calls a row that is chosen for A or B: its first cell, with a mark where it stands for its seeds.
const picked = (group) => (group.cells.length > 1 ? `${group.cells[0].id}~` : group.cells[0].id);

function groupNamed(name) {
  const cell = CELLS.get(name.replace("~", ""));
  if (!cell || !done(cell)) return null;
  if (!name.endsWith("~")) return groupOf([cell]);
  const members = DATA.groups.find(({ cells }) => cells.includes(cell.id)).cells.map((id) => CELLS.get(id));
  const shown = new Set(matching());
  const kept = members.filter((member) => shown.has(member));
  return groupOf(kept.includes(cell) ? kept : members);
}
