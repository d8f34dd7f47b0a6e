// Heading, notices, and which of the two views is shown: everything, or one cell.

const { about } = DATA;
let scrolled = 0;

function drawHead() {
  byId("title").textContent = about.title;
  const finished = DATA.cells.filter(done);
  const models = new Set(finished.map((cell) => cell.model));
  const methods = new Set(finished.map((cell) => cell.method).filter((method) => method !== FLOAT));
  const failed = DATA.cells.filter((cell) => cell.status === "failed").length;
  const skipped = DATA.cells.filter((cell) => cell.status === "skipped").length;
  byId("summary").textContent = [
    `${count(finished.length, "cell")} measured`, failed && `${failed} failed`, skipped && `${skipped} skipped`,
    count(models.size, "network"), count(methods.size, "method"), moment(about.made_at),
  ].filter(Boolean).join(" \u00b7 ");
  const list = (items) => () => el("div", {},
    items.some((item) => item.includes("FOLDER")) ? el("p", { class: "note" }, "FOLDER stands for folders of the machine that made this page.") : null,
    el("ul", {}, items.map((item) => el("li", {}, el("code", {}, item)))));
  if (about.missing.length) byId("notices").append(disclosure(`${count(about.missing.length, "cell")} of this experiment not run: the commands`, list(about.missing)));
  if (DATA.warnings.length) byId("notices").append(disclosure(`${count(DATA.warnings.length, "record")} left out or in doubt`, list(DATA.warnings)));
  byId("foot").append(el("p", {}, `Made by quantization-bench ${about.version} on ${moment(about.made_at)}. Nothing here is fetched from a network.`));
}

// An address that names nothing but a place keeps what is chosen; any other says all of it.
function readAddress() {
  const parameters = fragment();
  const place = parameters.has("cell") || sectionOf(parameters);
  if (place && parameters.size === 1) writeState();
  else readState(parameters);
}

function route() {
  const id = fragment().get("cell");
  const cell = CELLS.get(id);
  const wasCell = !byId("cell").hidden;
  if (cell && !wasCell) scrolled = scrollY;
  byId("overview").hidden = byId("sections").hidden = Boolean(cell);
  byId("tray").classList.toggle("away", Boolean(cell));
  document.querySelector(".masthead").classList.toggle("small", Boolean(cell));
  byId("cell").hidden = !cell;
  if (cell) {
    document.title = `${cell.method_label} ${cell.bits}: ${about.title}`;
    drawCell(cell);
    scrollTo(0, 0);
    return;
  }
  document.title = about.title;
  if (!wasCell) return;
  byId("cell").replaceChildren();
  scrollTo(0, scrolled);
  document.querySelector(`#board a[href="#cell=${CSS.escape(route.last ?? "")}"]`)?.focus({ preventScroll: true });
}

const goTo = (section) => byId(section).scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });

function empty() {
  byId("overview").replaceChildren(el("section", {}, el("h2", {}, "No cell is measured yet"),
    el("p", {}, "Measure some, then make this page again:"), copyable("bench run -m experiment=demo"), copyable("bench dashboard")));
  byId("sections").hidden = true;
}

drawHead();
readState(fragment());
if (DATA.cells.length) {
  setUpFilters();
  setUpBoard();
  drawFilters();
  drawBoard();
  drawComparison();
} else empty();
addEventListener("hashchange", () => {
  const before = stateParameters().toString();
  readAddress();
  route();
  if (stateParameters().toString() !== before) changed();
  route.last = fragment().get("cell") ?? route.last;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector("details.choice[open]");
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  } else if (!byId("cell").hidden) location.hash = "leaderboard";
});
// The charting library is the next script: it is there when the document is.
addEventListener("DOMContentLoaded", () => {
  if (DATA.cells.length) {
    setUpCharts();
    drawCharts();
  }
  route();
  route.last = fragment().get("cell");
  const section = sectionOf(fragment());
  if (section) byId(section).scrollIntoView();
});
