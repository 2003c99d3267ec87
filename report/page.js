"use strict";
// Shows the values under the pointer: a vertical line and a small box beside it.
for (const figure of document.querySelectorAll("figure.chart")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const plot = figure.querySelector(".plot"), svg = plot.querySelector("svg"), tip = figure.querySelector(".tip"), cursor = figure.querySelector(".cursor");
  const [left, right, top, bottom] = data.box, [low, high] = data.range;

  // nearest is the index of the point of xs, which ascends, that is closest to x.
  const nearest = (xs, x) => {
    let a = 0, b = xs.length - 1;
    while (b - a > 1) {
      const m = (a + b) >> 1;
      if (xs[m] < x) a = m; else b = m;
    }
    return Math.abs(xs[a] - x) <= Math.abs(xs[b] - x) ? a : b;
  };

  const hide = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
  const show = (event) => {
    const box = svg.getBoundingClientRect(), scale = box.width / data.width;
    const x = (event.clientX - box.left) / scale;
    if (x < left || x > right) return hide();
    const step = low + (x - left) / (right - left) * (high - low);
    tip.replaceChildren();
    let at = null;
    const near = (high - low) / 100; // of a step counts as the same one: long curves are drawn with fewer points
    for (const c of data.curves) {
      if (c.x.length === 0) continue;
      const i = nearest(c.x, step);
      if (at === null) at = c.x[i];
      const row = document.createElement("div"), value = document.createElement("b");
      value.textContent = c.y[i];
      row.append(c.name + (Math.abs(c.x[i] - at) <= near ? " " : " (step " + c.x[i] + ") "), value);
      tip.append(row);
    }
    const head = document.createElement("div");
    head.textContent = "step " + at;
    tip.prepend(head);
    tip.hidden = false;
    const px = left + (at - low) / (high - low) * (right - left);
    cursor.setAttribute("visibility", "visible");
    for (const [name, v] of [["x1", px], ["x2", px], ["y1", top], ["y2", bottom]]) cursor.setAttribute(name, v);
    const place = px * scale + 12;
    const seen = plot.scrollLeft + plot.clientWidth; // of a wide chart in a narrow window
    tip.style.left = (place + tip.offsetWidth > seen ? Math.max(plot.scrollLeft, px * scale - 12 - tip.offsetWidth) : place) + "px";
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerleave", hide);
}
