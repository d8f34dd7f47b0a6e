// Words and choices that act on the table and on every chart.

const OPTIONS = new Map(FIELDS.map(({ key, of }) => [key, [...new Set(DATA.cells.map(of))].filter(Boolean).sort(inOrder)]));
const GROUPINGS = FIELDS.filter(({ key }) => key !== "status");

// A button that opens a list of boxes: several values of one field at once.
function choice({ key, title }) {
  const said = el("b", {});
  const list = el("div", { class: "options" });
  const details = el("details", { class: "choice", "data-key": key }, el("summary", {}, el("span", {}, title), said), list);
  details.addEventListener("toggle", () => {
    if (!details.open) return;
    for (const other of document.querySelectorAll("details.choice[open]")) if (other !== details) other.open = false;
    list.replaceChildren(...optionsOf(key).map((value) => el("label", {},
      el("input", { type: "checkbox", checked: state[key].has(value), onchange: () => toggled(key, value) }), el("span", {}, value))));
  });
  details.draw = () => {
    const [first] = state[key];
    said.textContent = !state[key].size ? "all" : state[key].size === 1 ? first : `${state[key].size} of ${optionsOf(key).length}`;
    details.classList.toggle("chosen", state[key].size > 0);
    for (const box of list.querySelectorAll("input")) box.checked = state[key].has(box.nextSibling.textContent);
  };
  return details;
}

// What an address asks for is a choice too, be it of no cell here.
const optionsOf = (key) => [...new Set([...OPTIONS.get(key), ...state[key]])];

function setUpFilters() {
  const words = el("input", { type: "search", placeholder: "such as zeroq w4a8", oninput: (event) => changedRows({ q: event.target.value }) });
  const choices = FIELDS.filter(({ key }) => optionsOf(key).length > 1 || state[key].size).map(choice);
  const groupings = GROUPINGS.filter(({ key }) => OPTIONS.get(key).length > 1);
  byId("filters").append(
    el("label", { class: "words" }, el("span", {}, "Words"), words), ...choices,
    el("button", { type: "reset", class: "quiet" }, "Clear filters"));
  byId("view").append(
    choose("Rows", "rows", [["seeds", "seeds together"], ["cells", "every cell"]]),
    choose("Group by", "by", [["", "nothing"], ...groupings.map(({ key, title }) => [key, title.toLowerCase()])]),
    exports(["CSV"], () => exportBoard()));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    changedRows({ q: "", ...Object.fromEntries(FIELDS.map(({ key }) => [key, new Set()])) });
  });
  addEventListener("pointerdown", (event) => {
    for (const open of document.querySelectorAll("details.choice[open]")) if (!open.contains(event.target)) open.open = false;
  });
}

// A choice of one value, kept in the address.
function choose(title, key, options) {
  const node = select(title, options, state[key], (value) => changedRows({ [key]: value }));
  node.dataset.state = key;
  return node;
}

function drawFilters() {
  for (const details of document.querySelectorAll("details.choice")) details.draw();
  const words = byId("filters").querySelector("input[type=search]");
  if (words.value !== state.q) words.value = state.q;
  for (const label of document.querySelectorAll("label[data-state]")) label.querySelector("select").value = state[label.dataset.state];
  byId("filters").querySelector("[type=reset]").hidden = !state.q && !FIELDS.some(({ key }) => state[key].size);
}
