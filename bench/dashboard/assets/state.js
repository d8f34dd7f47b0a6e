// What a reader chose: the address of the page says it, so that a link leads to the same view.

const FIELDS = [
  { key: "network", title: "Network, data", of: (cell) => context(cell).label },
  { key: "method", title: "Method", of: (cell) => cell.method_label },
  { key: "bits", title: "Bits", of: (cell) => cell.bits },
  { key: "recipe", title: "Recipe", of: (cell) => cell.recipe },
  { key: "experiment", title: "Experiment", of: (cell) => cell.group },
  { key: "status", title: "Status", of: (cell) => cell.status },
];

// Of one value each; what is as here is left out of the address.
const DEFAULTS = { q: "", rows: "seeds", by: "", sort: "-top1", chart: "", along: "bits", panels: "", axis: "fit", cost: "size_mb", layers: "", a: "", b: "" };
// Of many: what the filters let through, and what the legend hides.
const MANY = [...FIELDS.map(({ key }) => key), "hide", "hide-recipe"];
const SECTIONS = [...document.querySelectorAll("#overview section[id]")].map((section) => section.id);

const state = { ...DEFAULTS, ...Object.fromEntries(MANY.map((key) => [key, new Set()])) };

function readState(parameters) {
  for (const key of Object.keys(DEFAULTS)) state[key] = parameters.get(key) ?? DEFAULTS[key];
  for (const key of MANY) state[key] = new Set(parameters.getAll(key));
}

function stateParameters() {
  const parameters = new URLSearchParams();
  for (const key of MANY) for (const value of state[key]) parameters.append(key, value);
  for (const [key, value] of Object.entries(DEFAULTS)) if (state[key] !== value) parameters.set(key, state[key]);
  return parameters;
}

const fragment = () => new URLSearchParams(location.hash.slice(1));
const sectionOf = (parameters) => SECTIONS.find((id) => parameters.get(id) === "");

// Where a reader is, a cell or a section, stays in the address.
function writeState() {
  const here = fragment();
  const [cell, section] = [here.get("cell"), sectionOf(here)];
  const place = cell ? `cell=${encodeURIComponent(cell)}` : section ?? "";
  const all = [place, stateParameters().toString()].filter(Boolean).join("&");
  try {
    history.replaceState(null, "", all ? `#${all}` : location.pathname + location.search);
  } catch {
    // A browser may allow a page only so many changes a minute: then the next one is written.
  }
}

// Everything that follows from a choice is drawn again: the table now, charts and the address when there is a pause.
let pending;

function changed(patch = {}) {
  Object.assign(state, patch);
  drawFilters();
  drawBoard();
  drawComparison();
  clearTimeout(pending);
  pending = setTimeout(drawCharts, 120);
}

function toggled(key, value) {
  const values = new Set(state[key]);
  if (!values.delete(value)) values.add(value);
  changed({ [key]: values });
}
