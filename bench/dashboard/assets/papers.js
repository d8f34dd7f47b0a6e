// The heat map: a table whose cells say their number, coloured by it.

const DIFFERS = "\u2260";
const FULLEST = 52; // percent of that colour: the text on it stays legible
const FULL = 10; // points at which the colour is full

// shown: the cells that the filters let through.
function drawPapers(shown) {
  const { printed, part } = DATA.papers;
  const differences = DATA.papers.differences.filter(({ group }) => DATA.groups[group].cells.some((id) => shown.has(CELLS.get(id))));
  const place = byId("heat");
  if (!differences.length) {
    place.replaceChildren(el("p", { class: "empty" }, `Nothing shown here has a published counterpart: ${printed.toLocaleString("en")} published top-1 values ` +
      "are known, none of them for a network, data set, method and bit-width that is shown." +
      (part ? ` ${count(part, "result")} would match, but on a part of the papers’ images only.` : "")));
    return;
  }
  const rows = new Map();
  const bits = new Map();
  for (const difference of differences) {
    const group = DATA.groups[difference.group];
    let key = JSON.stringify([group.model, group.data, group.method_label, group.recipe, difference.paper, difference.table, difference.row]);
    while (rows.get(key)?.cells.has(group.bits)) key += "'"; // a row may print two numbers of one label
    if (!rows.has(key)) rows.set(key, { difference, group, cells: new Map() });
    rows.get(key).cells.set(group.bits, difference);
    bits.set(group.bits, group.bits_order);
  }
  const columns = [...bits].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const head = el("tr", {}, ["Method", "Printed in", ...columns].map((text) => el("th", { scope: "col" }, text)));
  const body = [...rows.values()].map(({ difference, group, cells }) => el("tr", {},
    el("th", { scope: "row" }, group.method_label, el("span", { class: "under" }, [group.model, group.recipe].filter(Boolean).join(", "))),
    el("td", {}, `${difference.paper}, ${difference.table}`, el("span", { class: "under" }, `${difference.row} (${kindOf(difference)})`)),
    columns.map((name) => heatCell(cells.get(name)))));
  place.replaceChildren(
    el("div", { class: "scroll" }, el("table", { class: "heat" }, el("thead", {}, head), el("tbody", {}, body))),
    el("p", { class: "note" }, `${DIFFERS} marks recipes that are known to differ; the list below says in what.`),
    el("p", { class: "scale", "aria-hidden": "true" }, `${MINUS}${FULL} points or less`, el("span", { class: "ramp" }), `+${FULL} points or more`),
    disclosure("Every comparison, with what differs and what is not known", () => comparisons(differences)));
}

function comparisons(differences) {
  return grid(["network", "method", "bits", "measured, %", "published, %", "difference", "printed in", "recipes differ in", "not known of it"],
    differences.map((of) => {
      const group = DATA.groups[of.group];
      const place = `${of.paper}, ${of.table}, ${of.row} (${kindOf(of)})${of.note && `; ${of.note}`}`;
      return [group.model, link(CELLS.get(group.cells[0]), group.method_label), group.bits, fixed(group.mean), fixed(of.value), signed(of.points),
        place, of.differs.join("; "), of.unknown.join(", ")];
    }));
}

const kindOf = (of) => of.kind.replace("_", "-");

function heatCell(difference) {
  if (!difference) return el("td", {});
  const group = DATA.groups[difference.group];
  const share = Math.min(1, Math.abs(difference.points) / FULL);
  const said = `measured ${fixed(group.mean)} %, published ${fixed(difference.value)} %; ${difference.source}${difference.note && `; ${difference.note}`}`;
  return el("td", { class: `number ${difference.points < 0 ? "below" : "above"}`, "--share": `${Math.round(share * FULLEST)}%`, title: said },
    difference.differs.length ? el("span", { class: "differs" }, DIFFERS) : null,
    link(CELLS.get(group.cells[0]), signed(difference.points)));
}
