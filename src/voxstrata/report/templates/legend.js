"use strict";
// Names under a figure's title: pressing one hides or shows what it names, in all figures.
(() => {
  const V = window.voxstrata;
  const SVG = "http://www.w3.org/2000/svg";
  const MARKS = {
    circle: "M13 2.6a3.4 3.4 0 1 0 .01 0Z", square: "M10 3h6v6h-6Z", "triangle-up": "M13 2l4 7.5h-8Z",
    diamond: "M13 1.6l3.6 4.4l-3.6 4.4l-3.6-4.4Z", "triangle-down": "M13 10l4-7.5h-8Z",
    cross: "M11.7 2h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7Z",
  };

  // A key: { key, label, title, shown, act } and how it looks: { colour, width, dash, shape }, or
  // { colour } alone for a square, or nothing.
  V.sample = ({ colour, width = 0, dash = "", shape = "" }) => {
    const svg = document.createElementNS(SVG, "svg");
    const add = (name, given) => {
      const made = document.createElementNS(SVG, name);
      Object.entries(given).forEach(([key, value]) => made.setAttribute(key, value));
      svg.append(made);
    };
    svg.setAttribute("width", width ? "26" : "14");
    svg.setAttribute("height", "12");
    svg.setAttribute("aria-hidden", "true");
    if (!width) add("rect", { x: 0, y: 0, width: 12, height: 12, rx: 3, fill: colour });
    else add("path", { d: "M1 6H25", stroke: colour, "stroke-width": width, "stroke-dasharray": dash || "none" });
    if (width && MARKS[shape]) add("path", { d: MARKS[shape], fill: colour });
    return svg;
  };
  V.keyButton = ({ key, label, title, shown, act }, ...content) => {
    const made = document.createElement("button");
    made.type = "button";
    made.title = title || label;
    made.dataset.key = key;
    made.setAttribute("aria-pressed", String(shown));
    made.append(...content, ...(content.length ? [] : [label]));
    made.addEventListener("click", act);
    return made;
  };
  V.keyList = (keys) => {
    const list = document.createElement("ul");
    list.className = "legend keys";
    list.setAttribute("aria-label", "Shown in the figures");
    keys.forEach((key) => {
      const item = document.createElement("li");
      item.append(V.keyButton(key, ...(key.colour ? [V.sample(key)] : []), key.label));
      list.append(item);
    });
    return list;
  };
  // Keys of models in the colours of matrices and best matches.
  V.modelKeys = (models, coloured = true) => models.map((m) => ({
    key: `model-${m}`, label: V.page.models[m].label, title: V.page.models[m].spec, shown: !V.hidden.has(m),
    colour: coloured ? V.colour(m) : null, act: () => V.toggle(V.hidden, m, models),
  }));
})();
