// The table: a row a group of seeds or a cell, sorted by a click or a key on a header.

const COLUMNS = [
  { key: "pick", title: "Compare", show: pickers },
  { key: "method", title: "Method", text: (g) => g.method, show: nameOf },
  { key: "network", title: "Network, data", text: (g) => context(g).label },
  { key: "recipe", title: "Recipe", text: (g) => g.recipe, show: (g) => breakable(g.recipe) },
  { key: "bits", title: "Bits", text: (g) => g.bits, sort: (g) => g.bits_order, show: (g) => breakable(g.bits) },
  { key: "seed", title: "Seeds", text: seedsText, sort: (g) => g.cells[0].seed, number: true },
  { key: "top1", title: `${capital(TITLES)}, %`, text: (g) => fixed(g.mean), sort: (g) => g.mean, number: true, show: accuracyOf },
  { key: "drop", title: "vs float", text: (g) => signed(g.drop), sort: (g) => g.drop, number: true },
  { key: "size", get title() { return costNamed()[2]; }, text: costText, sort: costOf, number: true },
  { key: "time", title: "Time", text: (g) => seconds(g.time), sort: (g) => g.time, number: true },
  { key: "group", title: "Experiment", text: (g) => g.experiments, show: (g) => breakable(g.experiments) },
];

const FIRST = 25;
const STEP = 100;
let limit = FIRST;
const opened = new Set(); // groups whose seeds are shown
const closed = new Set(); // headings whose rows are not

const isOpen = (group) => group.cells.length > 1 && opened.has(picked(group));

function changedRows(patch) {
  limit = FIRST;
  changed(patch);
}

function nameOf(group) {
  const [first] = group.cells;
  const under = el("span", { class: "under" }, [context(group).label, group.recipe, seedsOf(group)].filter(Boolean).join(", "));
  const inline = el("span", { class: "inline-bits" }, group.bits); // where the column of bits has no room
  const dot = el("span", { class: "dot", "--color": color(group.method), "aria-hidden": "true" });
  if (group.cells.length === 1) return [dot, link(first, group.method), inline, under];
  const name = picked(group);
  const button = el("button", { type: "button", class: "expand", "aria-expanded": String(isOpen(group)), onclick: () => {
    if (!opened.delete(name)) opened.add(name);
    drawBoard();
    document.querySelector(`#board [data-row="${name}"] .expand`)?.focus();
  } }, group.method);
  return [dot, button, inline, under];
}

// Such as 0-9, or how many there are where numbers are missing between them.
function seedsText({ cells }) {
  const [first, last] = [cells[0].seed, cells.at(-1).seed];
  if (cells.length === 1) return String(first);
  return last - first === cells.length - 1 ? `${first}\u2013${last}` : String(cells.length);
}

function pickers(group) {
  if (group.status !== "done") return [];
  const name = picked(group);
  const side = state.a === name ? "a" : state.b === name ? "b" : "";
  return el("button", { type: "button", class: `pick ${side}`, "aria-pressed": String(side !== ""), onclick: () => pick(name),
    "aria-label": `${side ? `${side.toUpperCase()} of the comparison` : "Compare"}: ${group.method} ${group.bits}, ${seedsOf(group)}` }, side.toUpperCase());
}

// The first is A, the second B; a third takes the place of B, and a second click gives a place back.
function pick(name) {
  if (name === state.a) changed({ a: state.b, b: "" });
  else if (name === state.b) changed({ b: "" });
  else changed(state.a ? { b: name } : { a: name });
  document.querySelector(`#board [data-row="${name}"] button.pick`)?.focus({ preventScroll: true });
}

function accuracyOf(group) {
  if (group.mean === null) return [el("span", { class: `tag ${group.status}`, title: group.cells[0].reason }, group.status)];
  const spread = group.spread === null ? "" : el("span", { class: "spread", title: "standard deviation over seeds" }, `\u00b1\u00a0${fixed(group.spread)}`);
  const warnings = [...new Set(group.cells.flatMap((cell) => cell.warnings))].join("\n");
  const warned = warnings ? el("span", { class: "warned", role: "img", title: warnings, "aria-label": warnings }, "\u26a0\ufe0e") : "";
  const parts = group.cells.filter((cell) => cell.part_of);
  const part = parts.length ? el("span", { class: "spread", title: "right and seen, of all images (evaluate.until)" }, ` ${seenOf(parts[0])}`) : "";
  return [el("span", {}, warned, el("b", {}, fixed(group.mean)), " ", spread, part), intervalBar(group, boardScale)];
}

// Part of 0 to 100 that the bars of the table span.
let boardScale = [0, 100];

function fitted(groups, room = 0.04) {
  const ends = groups.flatMap((g) => [g.mean, g.low, g.high]).filter((value) => value !== null && value !== undefined);
  if (!ends.length) return [0, 100];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const more = Math.max((high - low) * room, 0.25);
  return [Math.max(0, low - more), Math.min(100, high + more)];
}

function intervalBar(group, [from, to]) {
  const at = (value) => `${((100 * (value - from)) / (to - from || 1)).toFixed(2)}%`;
  const said = group.low === null ? group.interval : `${group.interval}: ${fixed(group.low)} to ${fixed(group.high)} %`;
  const parts = [el("i", { class: "middle", "--at": at(group.mean) })];
  if (group.low !== null) parts.unshift(el("i", { class: "band", "--at": at(group.low), "--end": at(group.high) }));
  return el("span", { class: "interval", title: said, role: "img", "aria-label": said, "--color": color(group.method) }, ...parts);
}

const sorting = () => ({ column: COLUMNS.find(({ key }) => key === state.sort.replace("-", "")) ?? COLUMNS[6], down: state.sort.startsWith("-") });

function sorted(groups) {
  const { column, down } = sorting();
  const key = column.sort ?? column.text;
  const missing = (value) => value === null || value === undefined || value === "";
  return [...groups].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y); // what has no value comes last
    return (down ? -1 : 1) * (typeof x === "string" ? inOrder(x, y) : x - y);
  });
}

const rowsOf = (cells) => sorted(state.rows === "cells" ? cells.map((cell) => groupOf([cell])) : seedGroups(cells));

// Rows under the value of the field that they are grouped by, the heading of the first row first.
function headed(groups) {
  const field = FIELDS.find(({ key }) => key === state.by);
  if (!field) return [{ title: null, groups }];
  const found = new Map();
  for (const group of groups) {
    const title = field.of(group.cells[0]) || "none";
    if (!found.has(title)) found.set(title, { title, groups: [] });
    found.get(title).groups.push(group);
  }
  return [...found.values()];
}

function rowOf(group, kind = "") {
  const cells = COLUMNS.map((column) => el("td", { class: `${column.key}${column.number ? " number" : ""}` }, column.show ? column.show(group) : column.text(group)));
  return el("tr", { class: kind, "data-row": picked(group) }, cells);
}

function headingOf({ title, groups }) {
  const values = groups.map((group) => group.mean).filter((value) => value !== null);
  const cells = sum(groups.map((group) => group.cells.length));
  const range = values.length ? `, ${[...new Set(groups.map((group) => metric(group.cells[0]).title))].join(" or ")} ${fixed(Math.min(...values))} to ${fixed(Math.max(...values))} %` : "";
  const open = !closed.has(title);
  const button = el("button", { type: "button", class: "expand", "aria-expanded": String(open), onclick: () => {
    if (open) closed.add(title);
    else closed.delete(title);
    drawBoard();
  } }, title, el("span", { class: "count" }, `${state.rows === "cells" ? "" : `${count(groups.length, "row")}, `}${count(cells, "cell")}${range}`));
  return el("tr", { class: "heading" }, el("th", { colspan: COLUMNS.length, scope: "rowgroup" }, button));
}

function drawBoard() {
  const cells = matching();
  const groups = rowsOf(cells);
  const parts = headed(groups).map((part) => ({ ...part, left: closed.has(part.title) ? [] : part.groups }));
  boardScale = fitted(parts.flatMap((part) => part.left).slice(0, limit));
  const rows = [];
  const firsts = [];
  for (const part of parts) {
    if (firsts.length >= limit) break;
    if (part.title !== null) rows.push(headingOf(part));
    for (const group of part.left.slice(0, limit - firsts.length)) {
      const row = rowOf(group);
      rows.push(row);
      firsts.push(row);
      if (isOpen(group)) rows.push(...group.cells.map((cell) => rowOf(groupOf([cell]), "member")));
    }
  }
  byId("board").tBodies[0].replaceChildren(...rows);
  const said = cells.length === DATA.cells.length ? count(cells.length, "cell") : `${cells.length.toLocaleString("en")} of ${count(DATA.cells.length, "cell")}`;
  byId("count").textContent = groups.length === cells.length ? said : `${said} in ${count(groups.length, "row")}`;
  const left = sum(parts.map((part) => part.left.length)) - firsts.length;
  const more = (step, text) => el("button", { type: "button", onclick: () => {
    const before = firsts.length;
    limit += step;
    drawBoard();
    byId("board").tBodies[0].querySelectorAll("tr:not(.heading, .member)")[before].querySelector(".expand, a").focus(); // the pressed button is gone
  } }, text);
  byId("more").replaceChildren(...(left > 0
    ? [more(STEP, `Show ${Math.min(STEP, left)} more`), more(left, `Show all ${(left + firsts.length).toLocaleString("en")}`)] : []));
  drawHeaders();
}

function drawHeaders() {
  const { column, down } = sorting();
  for (const header of byId("board").tHead.querySelectorAll("th")) {
    const current = header.dataset.key === column.key;
    header.setAttribute("aria-sort", current ? (down ? "descending" : "ascending") : "none");
    if (header.dataset.key === "size") header.querySelector("button").textContent = costNamed()[2];
  }
  const scale = byId("board").tHead.querySelector(".scale-ends");
  scale.replaceChildren(...boardScale.map((end) => el("span", {}, fixed(end, boardScale[1] - boardScale[0] < 5 ? 1 : 0))));
}

function sortBy(column) {
  const { column: current, down } = sorting();
  changedRows({ sort: (current === column ? !down : column.number) ? `-${column.key}` : column.key });
}

function setUpBoard() {
  const headers = COLUMNS.map((column) =>
    el("th", { scope: "col", "data-key": column.key, class: `${column.key}${column.number ? " number" : ""}` },
      column.text ? el("button", { type: "button", onclick: () => sortBy(column) }, column.title)
        : el("span", { class: "hidden-text" }, column.title),
      column.key === "top1" ? el("span", { class: "scale-ends", "aria-hidden": "true" }) : null));
  byId("board").tHead.append(el("tr", {}, headers));
}

// What the table shows, a line a row, its seeds below it where they are opened.
const BOARD_CSV = [
  ["method", (g) => g.method], ["network and data", (g) => context(g).label], ["recipe", (g) => g.recipe], ["bits", (g) => g.bits],
  ["seeds", (g) => g.cells.map((cell) => cell.seed).join(" ")], ["status", (g) => g.status], [`${TITLES}, %`, (g) => g.mean],
  ["standard deviation over seeds", (g) => g.spread], ["low", (g) => g.low], ["high", (g) => g.high], ["interval", (g) => g.interval],
  ["against float, points", (g) => g.drop], ["size, MiB", (g) => g.size_mb], ["time, s", (g) => g.time], ["experiment", (g) => g.experiments],
  ["warnings", (g) => [...new Set(g.cells.flatMap((cell) => cell.warnings))].join("; ")],
  ["cells", (g) => g.cells.map((cell) => cell.id).join(" ")],
];

function exportBoard() {
  const rows = headed(rowsOf(matching())).flatMap((part) => part.groups).flatMap((group) =>
    [group, ...(isOpen(group) ? group.cells.map((cell) => groupOf([cell])) : [])]);
  saveCsv("cells", BOARD_CSV, rows);
}
