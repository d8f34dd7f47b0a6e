// What is shown, as a file: rows as CSV, charts as SVG and PNG.

function save(name, content, type) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// A button a kind of file.
function exports(kinds, make) {
  const button = (kind) => el("button", { type: "button", class: "quiet", "aria-label": `Save as ${kind}`, onclick: () => make(kind) }, kind);
  return el("div", { class: "exports", role: "group", "aria-label": "Save what is shown" }, kinds.map(button));
}

function csvField(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// columns: pairs of a title and what a row has there.
function csvText(columns, rows) {
  const lines = [columns.map(([title]) => title), ...rows.map((row) => columns.map(([, of]) => of(row)))];
  return lines.map((line) => `${line.map(csvField).join(",")}\r\n`).join("");
}

const saveCsv = (name, columns, rows) => save(`${name}.csv`, csvText(columns, rows), "text/csv;charset=utf-8");

// A colour of the theme as other programs read it.
function plainColor(value) {
  const probe = el("span", { hidden: true });
  probe.style.color = value;
  document.body.append(probe);
  const brush = el("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  brush.fillStyle = getComputedStyle(probe).color;
  probe.remove();
  brush.fillRect(0, 0, 1, 1);
  const [red, green, blue] = brush.getImageData(0, 0, 1, 1).data;
  return `#${[red, green, blue].map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
const FONT = 'font-family="Inter, system-ui, sans-serif"';

// The legend as SVG: entries side by side, in as many lines as they take.
function legendSvg(entries, width) {
  const brush = el("canvas").getContext("2d");
  brush.font = "12px Inter, system-ui, sans-serif";
  let [x, y] = [0, 0];
  const parts = entries.map(({ text, path, colour }) => {
    const wide = 34 + brush.measureText(text).width;
    if (x && x + wide > width) [x, y] = [0, y + 20];
    const part = `<g transform="translate(${x + 8},${y + 8})"><path d="${path}" transform="scale(5)" fill="${colour}"/>` +
      `<text x="12" y="4" font-size="12" ${FONT} fill="var(--text)">${escaped(text)}</text></g>`;
    x += wide;
    return part;
  });
  return { text: parts.join(""), height: entries.length ? y + 28 : 0 };
}

// The panels of a chart below its title and legend, with colours in place of the theme's variables.
function chartSvg(title, place) {
  const panels = [...place.querySelectorAll(".holder svg")];
  const width = Math.max(...panels.map((panel) => panel.clientWidth)) + 32;
  const legend = legendSvg(legendEntries(place.legend ?? []), width - 32);
  let y = 48;
  const parts = [`<text x="16" y="28" font-size="15" font-weight="600" ${FONT} fill="var(--text)">${escaped(title)}</text>`,
    `<g transform="translate(16,${y})">${legend.text}</g>`];
  y += legend.height;
  for (const panel of panels) {
    const heading = panel.closest(".panel-of")?.dataset.title;
    if (heading) parts.push(`<text x="16" y="${(y += 18)}" font-size="12" font-weight="600" ${FONT} fill="var(--muted)">${escaped(heading)}</text>`);
    const inner = new XMLSerializer().serializeToString(panel).replace("<svg", `<svg x="16" y="${y + 8}"`);
    parts.push(inner);
    y += panel.clientHeight + 16;
  }
  const text = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}"><rect width="100%" height="100%" fill="var(--surface)"/>${parts.join("")}</svg>`;
  const known = new Map();
  const resolve = (value) => known.get(value) ?? known.set(value, plainColor(value)).get(value);
  return { width, height: y, text: text.replace(/var\(--[\w-]+\)|light-dark\(oklch\([^)]*\), oklch\([^)]*\)\)/g, resolve) };
}

async function savePng(name, { text, width, height }) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = el("canvas", { width: 2 * width, height: 2 * height });
  canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
  canvas.toBlob((blob) => save(`${name}.png`, blob, "image/png"));
}

function exportChart(kind, place, title) {
  const name = place.dataset.chart;
  if (kind === "CSV") saveCsv(name, place.columns, place.rows);
  else if (kind === "SVG") save(`${name}.svg`, chartSvg(title, place).text, "image/svg+xml");
  else savePng(name, chartSvg(title, place));
}
