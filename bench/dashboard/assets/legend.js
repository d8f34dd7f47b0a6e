// One legend for all charts: a colour a method, a shape a recipe. A click hides what it names, everywhere.

function mark(path, colour) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const drawn = document.createElementNS(space, "path");
  for (const [name, value] of [["viewBox", "-1.2 -1.2 2.4 2.4"], ["width", 12], ["height", 12], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
  drawn.setAttribute("d", path);
  drawn.style.fill = colour;
  svg.append(drawn);
  return svg;
}

const methodsOf = (groups) => METHODS.filter((method) => groups.some((group) => group.method === method));
const recipesOf = (groups) => RECIPES.filter((recipe) => groups.some((group) => group.recipe === recipe));

function chip(key, value, values, symbol) {
  const hidden = state[key].has(value);
  const only = () => changed({ [key]: new Set(values.filter((other) => other !== value)) });
  return el("button", { type: "button", class: "chip", "aria-pressed": String(!hidden), title: "click: hide or show; double click: this one only",
    onclick: () => toggled(key, value), ondblclick: only }, symbol, value);
}

function drawLegend(groups) {
  const [methods, recipes] = [methodsOf(groups), recipesOf(groups)];
  const chips = [
    el("span", { class: "note" }, "method"),
    ...methods.map((method) => chip("hide", method, methods, mark(SHAPES[0], color(method)))),
    recipes.length > 1 ? el("span", { class: "note" }, "recipe") : null,
    ...(recipes.length > 1 ? recipes.map((recipe) => chip("hide-recipe", recipe, recipes, mark(shape(recipe), "var(--muted)"))) : []),
  ];
  const hidden = state.hide.size + state["hide-recipe"].size;
  const all = el("button", { type: "button", class: "quiet", onclick: () => changed({ hide: new Set(), "hide-recipe": new Set() }) }, "Show all");
  byId("legend").replaceChildren(...chips.filter(Boolean), hidden ? all : "");
}

// Of a saved chart.
function legendEntries(groups) {
  const recipes = recipesOf(groups);
  return [
    ...methodsOf(groups).map((method) => ({ text: method, path: SHAPES[0], colour: color(method) })),
    ...(recipes.length > 1 ? recipes.map((recipe) => ({ text: recipe, path: shape(recipe), colour: "var(--muted)" })) : []),
  ];
}
