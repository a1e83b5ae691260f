"use strict";
// Shared by all sections: the data, the measure and unit switch, drawing, tooltips, theme.
window.voxstrata = (() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const SCALE = page.scale;
  const PALETTE = ["#2f7ed8", "#e08a00", "#0f9d6b", "#c9579b", "#7a5bd0", "#c8452f", "#26a3b8", "#8a8f2a"];
  const painters = {};
  // What the reader hid: models in every figure that draws them, and what stands beside curves.
  const hidden = new Set();
  const shows = { twins: true, controls: true, intervals: true };
  let current = 0;

  const colour = (model) => PALETTE[model % PALETTE.length];

  // -- facets ---------------------------------------------------------------------------------
  const unpack = (packed) => {
    if (packed.cell) return packed;
    const size = packed.layers.length;
    const place = (i, j) => {
      if (!packed.symmetric) return i * size + j;
      const [a, b] = i <= j ? [i, j] : [j, i];
      return a * size - (a * (a - 1)) / 2 + (b - a);
    };
    const one = (counts, k) => (Array.isArray(counts) ? counts[k] : counts);
    packed.cell = (i, j) => {
      const k = place(i, j);
      const raw = packed.value[k];
      const v = typeof raw === "number" ? raw / SCALE : null;
      const below = packed.below[k];
      const above = packed.above[k];
      const known = v !== null && below !== null && above !== null;
      return {
        compared: raw !== false,
        v,
        low: known ? (raw - below) / SCALE : null,
        high: known ? (raw + above) / SCALE : null,
        n: one(packed.n, k),
        groups: one(packed.groups, k),
      };
    };
    packed.info = packed.layers.map((at) => {
      const [model, name, width, utterance, depth] = page.layers[at];
      return { model, name, width, utterance: utterance === 1, depth };
    });
    packed.rows = (model) => packed.info.map((l, i) => (l.model === model ? i : -1)).filter((i) => i >= 0);
    packed.models = [...new Set(packed.info.map((l) => l.model))].sort((a, b) => a - b);
    return packed;
  };
  const facet = () => (page.facets.length ? unpack(page.facets[current]) : null);

  // -- words ----------------------------------------------------------------------------------
  const number = (v) => {
    if (v === null || v === undefined) return "no value";
    const near = Math.abs(v) >= 0.995 && Math.abs(v) < 0.9995;
    let text = v.toFixed(near ? 3 : 2);
    if (Number(text) === 0) text = text.replace("-", "");
    return text.replace("-", "−");
  };
  const interval = (c) => (c.low === null ? number(c.v) : `${number(c.v)} [${number(c.low)}, ${number(c.high)}]`);
  const layerName = (f, row) => `${page.models[f.info[row].model].label}/${f.info[row].name}`;
  const side = (f, row) => {
    const l = f.info[row];
    const width = l.width ? `${l.width} wide` : "width unknown";
    return `${layerName(f, row)} (${width}${l.utterance ? ", one vector an utterance" : ""})`;
  };
  const cellLines = (f, i, j) => {
    const c = f.cell(i, j);
    const lines = [side(f, i), side(f, j)];
    if (!c.compared) return [...lines, "not compared"];
    lines.push(`${f.label}: ${number(c.v)}`);
    if (c.v !== null) {
      lines.push(c.low === null ? "no interval" : `95 % interval ${number(c.low)} to ${number(c.high)}`);
    }
    lines.push(`n = ${c.n.toLocaleString("en")} ${f.unit}s${c.groups ? ` in ${c.groups.toLocaleString("en")} groups` : ""}`);
    return lines;
  };

  // -- tooltip --------------------------------------------------------------------------------
  const tip = document.getElementById("tip");
  const hideTip = () => { tip.hidden = true; };
  const showTip = (lines, x, y) => {
    tip.replaceChildren(...lines.map((line, k) => {
      const row = document.createElement("div");
      row.textContent = line;
      if (k === 2) row.className = "strong";
      return row;
    }));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > window.innerWidth ? x - box.width - 12 : x + 16;
    const top = y + 16 + box.height > window.innerHeight ? y - box.height - 12 : y + 16;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, top)}px`;
  };

  // -- drawing --------------------------------------------------------------------------------
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const theme = () => {
    const ink = css("--ink") || "#222";
    const faint = css("--line") || "#ddd";
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent",
      font,
      view: { stroke: null },
      text: { color: ink },
      axis: { labelColor: ink, titleColor: ink, gridColor: faint, domainColor: faint, tickColor: faint, labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 8, tickCount: 6 },
    };
  };
  // Draws a chart of the page's specs: `data` fills its named data sets, `edit` changes the copy.
  // What has `lines` is read by pointing or, unless `keys` is false, with arrow keys. `legend` goes
  // below the saved figure, `about` into its title.
  const linesAt = (datum, event) => {
    if (!datum || !datum.lines) hideTip();
    else showTip(datum.lines, event.clientX, event.clientY);
  };
  // Without data a layer has no extent, which Vega warns of.
  const filled = (layers, sets) => layers.filter((layer) => sets[layer.data.name].length);
  // A colour scale as a legend of five steps.
  const ladder = (view, [low, high]) => [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const value = low + share * (high - low);
    return { label: number(value), colour: view.scale("color")(value) };
  });
  const draw = async (element, name, data, { edit = null, onHover = linesAt, legend = [], scale = null, about = "", keys = true } = {}) => {
    const spec = structuredClone(page.specs[name]);
    spec.datasets = data;
    if (edit) edit(spec);
    const handler = (_, event, item, value) => {
      if (!value || !item) { onHover(null, event); return; }
      onHover(item.datum, event);
    };
    const result = await window.vegaEmbed(element, spec, {
      mode: "vega-lite", renderer: "canvas", actions: false, config: theme(), tooltip: handler,
      scaleFactor: 1, ast: false,
    });
    const of = element.closest("[data-chart]");
    const left = of && painters[of.dataset.chart].layers ? window.voxstrata.layersSaid() : "";
    window.voxstrata.dress(element, result.view, {
      legend: scale ? ladder(result.view, scale) : legend, about: [about, left].filter(Boolean).join("; "), keys,
    });
    return result.view;
  };
  const room = (stage) => {
    const css = getComputedStyle(stage);
    return stage.clientWidth - parseFloat(css.paddingLeft) - parseFloat(css.paddingRight);
  };
  const setColours = (spec, models) => {
    const visit = (node) => {
      if (!node || typeof node !== "object") return;
      if (node.field === "model" && node.scale) {
        node.scale = { domain: models.map((m) => page.models[m].label), range: models.map(colour) };
      }
      Object.values(node).forEach(visit);
    };
    visit(spec);
  };

  const remark = (text, kind = "key") => {
    const made = document.createElement("p");
    made.className = kind;
    made.textContent = text;
    return made;
  };
  const gone = () => remark("All models or layers of this figure are hidden.", "absent");
  // Each drawing gets a stage of its own, so one that is overtaken by a switch draws off-page.
  // Who pressed a key inside stays on the same key of the new drawing.
  const paint = async (element) => {
    (element.voxStage ? element.voxStage.voxViews : []).forEach((view) => view.finalize());
    const held = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    const stage = document.createElement("div");
    stage.voxViews = [];
    element.style.minHeight = `${element.offsetHeight}px`;
    element.voxStage = stage;
    element.replaceChildren(stage);
    // Printed pages are always light; a chart drawn for a dark page keeps its dark ground.
    stage.style.backgroundColor = getComputedStyle(document.documentElement).getPropertyValue("--panel");
    try {
      const painter = painters[element.dataset.chart];
      await painter(stage, facet(), element);
      if (painter.layers && window.voxstrata.layersSaid()) stage.append(remark(`${window.voxstrata.layersSaid()}: see “Layers shown”.`));
    } catch (error) {
      stage.textContent = "This figure could not be drawn.";
      console.error(error);
    }
    if (element.voxStage !== stage) return;
    element.style.minHeight = "";
    if (held !== undefined) {
      const again = stage.querySelector(`[data-key="${CSS.escape(held)}"]`);
      if (again && document.activeElement === document.body) again.focus({ preventScroll: true });
    }
  };
  const charts = () => [...document.querySelectorAll("[data-chart]")];
  // All charts are drawn one after another, the one nearest to the reader's eye first.
  let round = 0;
  const away = (element) => {
    const box = element.getBoundingClientRect();
    return Math.max(0, box.top - window.innerHeight, -box.bottom);
  };
  const redraw = async () => {
    hideTip();
    const mine = ++round;
    let waiting = charts();
    document.documentElement.dataset.drawn = "no";
    while (waiting.length && mine === round) {
      waiting.sort((a, b) => away(a) - away(b));
      await paint(waiting.shift());
      await new Promise((resume) => { setTimeout(resume, 0); });
    }
    if (mine === round) document.documentElement.dataset.drawn = "yes";
  };

  // -- the switch -----------------------------------------------------------------------------
  const show = (index) => {
    current = index;
    const f = page.facets[index];
    document.querySelectorAll("[data-facet]").forEach((e) => { e.hidden = Number(e.dataset.facet) !== index; });
    const measure = document.getElementById("measure");
    measure.value = f.label;
    document.querySelectorAll("input[name=unit]").forEach((radio) => {
      const reachable = page.facets.some((g) => g.label === f.label && g.unit === radio.value);
      radio.disabled = !reachable;
      radio.checked = radio.value === f.unit;
    });
    document.querySelectorAll("[data-end]").forEach((e) => { e.textContent = number(f.ends[Number(e.dataset.end)]); });
    document.querySelectorAll("[data-now]").forEach((e) => { e.textContent = `${f.label}, one row per ${f.unit}`; });
    redraw();
  };
  const choose = (label, unit) => {
    const exact = page.facets.findIndex((f) => f.label === label && f.unit === unit);
    show(exact >= 0 ? exact : page.facets.findIndex((f) => f.label === label));
  };

  const toggle = (set, key, others) => {
    if (set.has(key)) set.delete(key);
    else set.add(key);
    // Nothing left to see is of no use to anybody: pressing the last one brings all back.
    if (others && others.every((k) => set.has(k))) set.clear();
    redraw();
  };

  const start = () => {
    window.voxstrata.dressTables();
    window.voxstrata.dressPictures();
    window.voxstrata.startLayers();
    document.querySelectorAll("[data-show]").forEach((box) => {
      box.checked = true;
      box.addEventListener("change", () => { shows[box.dataset.show] = box.checked; redraw(); });
    });
    if (!page.facets.length && !charts().length) return;
    const measure = document.getElementById("measure");
    if (measure) measure.addEventListener("change", () => choose(measure.value, page.facets[current].unit));
    document.querySelectorAll("input[name=unit]").forEach((radio) => {
      radio.addEventListener("change", () => choose(page.facets[current].label, radio.value));
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    let width = window.innerWidth;
    let timer = 0;
    window.addEventListener("resize", () => {
      if (window.innerWidth === width) return;
      width = window.innerWidth;
      clearTimeout(timer);
      timer = setTimeout(redraw, 200);
    });
    window.addEventListener("scroll", hideTip, { passive: true });
    if (page.facets.length) show(0);
    else redraw();
  };

  return { page, painters, hidden, shows, toggle, colour, facet, number, interval, layerName, side, cellLines, showTip, hideTip, linesAt, css, filled, draw, room, setColours, gone, paint, redraw, start };
})();
