// The table of all cells: filtered by words and choices, sorted by a click or a key on a header.

const COLUMNS = [
  { key: "method", title: "Method", text: (c) => c.method_label, show: nameOf },
  { key: "network", title: "Network, data", text: (c) => context(c).label },
  { key: "recipe", title: "Recipe", text: (c) => c.recipe, show: (c) => breakable(c.recipe) },
  { key: "bits", title: "Bits", text: (c) => c.bits, sort: (c) => c.bits_order, show: (c) => breakable(c.bits) },
  { key: "seed", title: "Seed", text: (c) => String(c.seed), sort: (c) => c.seed, number: true },
  { key: "top1", title: "Top-1, %", text: (c) => fixed(c.top1), sort: (c) => c.top1, number: true, show: accuracyOf },
  { key: "drop", title: "vs float", text: (c) => signed(drop(c)), sort: drop, number: true },
  { key: "size", title: "Size, MiB", text: (c) => fixed(c.size_mb), sort: (c) => c.size_mb, number: true },
  { key: "time", title: "Time", text: (c) => seconds(c.seconds.total), sort: (c) => c.seconds.total, number: true },
  { key: "group", title: "Experiment", text: (c) => c.group, show: (c) => breakable(c.group) },
];

const FILTERS = [
  ["Network, data", (c) => context(c).label],
  ["Method", (c) => c.method_label],
  ["Bits", (c) => c.bits],
  ["Recipe", (c) => c.recipe],
  ["Experiment", (c) => c.group],
  ["Status", (c) => c.status],
];

const FIRST = 25;
const STEP = 100;
const view = { column: COLUMNS[5], down: true, words: "", chosen: new Map(), shown: FIRST };

function nameOf(cell) {
  return [
    el("span", { class: "dot", "--color": color(cell.method_label), "aria-hidden": "true" }),
    link(cell, cell.method_label),
    el("span", { class: "under" }, `${context(cell).label}${cell.recipe && `, ${cell.recipe}`}, seed\u00a0${cell.seed}`),
  ];
}

function accuracyOf(cell) {
  if (!done(cell)) return [el("span", { class: `tag ${cell.status}`, title: cell.reason }, cell.status)];
  return [el("span", {}, fixed(cell.top1)), intervalBar(cell)];
}

function intervalBar(cell) {
  const place = { "--low": cell.low, "--high": cell.high, "--mid": cell.top1 };
  const title = `95 % interval ${fixed(cell.low)} to ${fixed(cell.high)} %`;
  return el("span", { class: "interval", title, role: "img", "aria-label": title, ...place });
}

function searchText(cell) {
  const said = [...COLUMNS.map((column) => column.text(cell)), cell.id, cell.status, cell.weights];
  return said.join(" ").toLowerCase();
}

function matching() {
  const words = view.words.toLowerCase().split(/\s+/).filter(Boolean);
  return DATA.cells.filter((cell) => {
    for (const [value, wanted] of view.chosen.values()) if (value(cell) !== wanted) return false;
    if (!words.length) return true;
    const text = (cell.search ??= searchText(cell));
    return words.every((word) => text.includes(word));
  });
}

function sorted(cells) {
  const key = view.column.sort ?? view.column.text;
  const sign = view.down ? -1 : 1;
  const missing = (value) => value === null || value === undefined || value === "";
  return [...cells].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y); // what has no value comes last
    return sign * (typeof x === "string" ? inOrder(x, y) : x - y);
  });
}

function drawBoard() {
  const found = sorted(matching());
  const rows = found.slice(0, view.shown).map((cell) =>
    el("tr", {}, COLUMNS.map((column) =>
      el("td", { class: `${column.key}${column.number ? " number" : ""}` },
        column.show ? column.show(cell) : column.text(cell)))));
  byId("board").tBodies[0].replaceChildren(...rows);
  byId("count").textContent = found.length === DATA.cells.length
    ? `${count(found.length, "cell")}` : `${found.length.toLocaleString("en")} of ${count(DATA.cells.length, "cell")}`;
  const left = found.length - rows.length;
  const more = (step, text) => el("button", { type: "button", onclick: () => {
    view.shown += step;
    drawBoard();
    byId("board").tBodies[0].rows[rows.length].querySelector("a").focus(); // the pressed button is gone
  } }, text);
  byId("more").replaceChildren(...(left > 0
    ? [more(STEP, `Show ${Math.min(STEP, left)} more`), more(left, `Show all ${found.length.toLocaleString("en")}`)] : []));
  for (const header of byId("board").tHead.querySelectorAll("th")) {
    const current = header.dataset.key === view.column.key;
    header.setAttribute("aria-sort", current ? (view.down ? "descending" : "ascending") : "none");
  }
}

function changed() {
  view.shown = FIRST;
  drawBoard();
}

function sortBy(column) {
  view.down = view.column === column ? !view.down : Boolean(column.number);
  view.column = column;
  changed();
}

function setUpBoard() {
  const words = el("input", { type: "search", placeholder: "such as zeroq w4a8", oninput: (event) => {
    view.words = event.target.value;
    changed();
  } });
  const selects = FILTERS.map(([label, value]) => {
    const options = [...new Set(DATA.cells.map(value))].filter(Boolean);
    options.sort(inOrder);
    if (options.length < 2) return null;
    return select(label, [["", "all"], ...options.map((option) => [option, option])], "", (wanted) => {
      if (wanted) view.chosen.set(label, [value, wanted]);
      else view.chosen.delete(label);
      changed();
    });
  });
  const reset = el("button", { type: "reset", class: "quiet" }, "Clear");
  byId("filters").append(el("label", { class: "words" }, el("span", {}, "Words"), words), ...selects.filter(Boolean), reset);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => { view.words = ""; view.chosen.clear(); changed(); });
  const headers = COLUMNS.map((column) =>
    el("th", { scope: "col", "data-key": column.key, class: `${column.key}${column.number ? " number" : ""}` },
      el("button", { type: "button", onclick: () => sortBy(column) }, column.title)));
  byId("board").tHead.append(el("tr", {}, headers));
  drawBoard();
}
