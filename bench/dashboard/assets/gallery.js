// Pictures of synthetic images, one a method and seed.

function picture(of, alt) {
  return el("img", { src: of.picture, alt, decoding: "async" });
}

function figureOf(of) {
  const images = of.images ? `, ${of.pictured ?? of.images} of ${count(of.images, "image")}` : "";
  return el("figure", {},
    picture(of, `Grid of synthetic images by ${of.method}, seed ${of.seed}`),
    el("figcaption", {}, el("span", { class: "dot", "--color": color(of.method), "aria-hidden": "true" }), link(of.cell, of.method),
      el("span", { class: "under" }, `seed ${of.seed}${images}`)));
}

function drawGallery(found) {
  const pictures = found.filter((of) => of.picture);
  const first = new Map(pictures.map((of) => [of.method, of]).reverse()); // the lowest seed of each method
  const rest = pictures.filter((of) => first.get(of.method) !== of);
  const place = byId("gallery");
  place.replaceChildren(...pictures.filter((of) => first.get(of.method) === of).map(figureOf));
  if (!pictures.length) place.append(el("p", { class: "empty" }, "No picture of synthetic images is kept for what is shown."));
  if (rest.length) {
    const more = el("button", { type: "button", onclick: () => more.parentNode.replaceWith(...rest.map(figureOf)) }, `Show ${count(rest.length, "picture")} of other seeds`);
    place.append(el("p", {}, more));
  }
  const left = found.filter((of) => of.left_out).length;
  if (left) place.append(el("p", { class: "note" }, `${count(left, "picture")} left out to keep this file small: see outputs/cache/calibration.`));
}
