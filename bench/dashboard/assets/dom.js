// Elements and numbers. Text from results goes through textContent only: it is never markup.

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const byId = (id) => document.getElementById(id);

// Numbers in names count as numbers: W16 comes after W4.
const inOrder = new Intl.Collator("en", { numeric: true }).compare;

const MINUS = "\u2212";

function fixed(value, digits = 2) {
  return value === null || value === undefined ? "" : value.toFixed(digits).replace("-", MINUS);
}

function signed(value, digits = 2) {
  if (value === null || value === undefined) return "";
  return (value > 0 ? "+" : "") + fixed(value, digits);
}

// Names such as mixed_precision_resnet20 or MP4/A8 may break after these marks.
const breakable = (text) => text.split(/(?<=[_./])/).flatMap((part) => [part, el("wbr")]);

const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

function seconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 0.0995) return `${fixed(value * 1000, 0)} ms`;
  if (value < 100) return `${fixed(value, 1)} s`;
  return value < 6000 ? `${fixed(value / 60, 1)} min` : `${fixed(value / 3600, 1)} h`;
}

const moment = (iso) => new Date(iso).toISOString().slice(0, 16).replace("T", " ") + " UTC";

function select(label, options, value, onchange) {
  const chosen = el("select", { onchange: (event) => onchange(event.target.value) });
  for (const [key, text] of options) chosen.append(el("option", { value: key, selected: key === value }, text));
  return el("label", {}, el("span", {}, label), chosen);
}

function grid(headers, rows, attributes = {}) {
  const head = el("tr", {}, headers.map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map((row) => el("tr", {}, row.map((value) => el("td", {}, value))));
  return el("table", { class: "grid", ...attributes }, el("thead", {}, head), el("tbody", {}, body));
}

// Content that is made only when a reader opens it.
function disclosure(summary, make) {
  const details = el("details", {}, el("summary", {}, summary));
  details.addEventListener("toggle", () => details.children.length === 1 && details.append(make()), { once: true });
  return details;
}

function copyable(text) {
  const button = el("button", { type: "button", class: "quiet" }, "Copy");
  const code = el("code", { tabindex: "0" }, text);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // a page from disk may not reach the clipboard
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return el("div", { class: "command" }, code, button);
}
