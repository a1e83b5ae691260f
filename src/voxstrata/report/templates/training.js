"use strict";
// Curves over training steps: what was logged, faint, under a smoothed line.
(() => {
  const V = window.voxstrata;
  const all = V.page.sections.training;
  const COLOURS = ["#2f7ed8", "#e08a00", "#0f9d6b", "#c9579b"];
  const digits = (v) => {
    const size = Math.abs(v);
    if (size >= 1000) return Math.round(v).toLocaleString("en");
    const text = size >= 1e-3 || size === 0 ? String(Number(v.toPrecision(4))) : v.toExponential(2);
    return text.replace("-", "−");
  };
  const LABEL = "datum.value !== 0 && abs(datum.value) < 0.001 ? format(datum.value, '.1~e') : format(datum.value, ',.6~r')";
  // Marks of a logarithmic axis: powers of ten, with 2 and 5 between where there are few.
  const decades = (...lists) => {
    const values = lists.flat();
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const powers = [];
    for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k += 1) powers.push(10 ** k);
    const between = powers.length > 4 ? [1] : [1, 2, 5];
    return powers.flatMap((p) => between.map((b) => b * p)).filter((v) => v >= low && v <= high);
  };
  const hidden = new Set();
  const keysOf = (lines) => lines.map(({ label }, k) => ({
    key: label, label, shown: !hidden.has(label), colour: COLOURS[k % COLOURS.length],
    act: () => V.toggle(hidden, label, lines.map((line) => line.label)),
  }));

  V.painters.training = async (element, _facet, place) => {
    const panel = all.panels[Number(place.dataset.panel)];
    const sets = { raw: [], smooth: [], dots: [], points: [] };
    const keys = keysOf(panel.lines);
    panel.lines.forEach((line, k) => {
      if (!keys[k].shown) return;
      const colour = COLOURS[k % COLOURS.length];
      line.step.forEach((x, i) => {
        const raw = { x, y: line.raw[i], series: line.label, colour };
        const soft = line.smooth ? { ...raw, y: line.smooth[i] } : raw;
        if (line.smooth) sets.raw.push(raw);
        sets.smooth.push(soft);
        if (line.dots) sets.dots.push(raw);
        const passed = all.perEpoch ? `, pass ${(x / all.perEpoch).toFixed(2)}` : "";
        const unit = panel.unit ? ` ${panel.unit}` : "";
        const lines = [line.label, `step ${x.toLocaleString("en")}${passed}`, `${digits(line.raw[i])}${unit}`];
        if (line.smooth) lines.push(`smoothed ${digits(line.smooth[i])}${unit}`);
        sets.points.push({ x, y: soft.y, lines });
      });
    });
    if (panel.lines.length > 1) element.append(V.keyList(keys));
    const holder = document.createElement("div");
    element.append(holder);
    const edit = (spec) => {
      spec.width = Math.max(200, V.room(element) - 62);
      spec.height = 190;
      spec.layer = V.filled(spec.layer, sets);
      spec.layer.forEach((layer) => {
        const y = layer.encoding.y;
        y.axis = { tickCount: 5, labelExpr: LABEL };
        if (panel.zero) y.scale = { zero: true };
        if (panel.log) {
          y.scale = { type: "log", nice: false };
          y.axis.values = decades(sets.points.map((p) => p.y), sets.raw.map((p) => p.y));
        }
      });
    };
    element.voxViews.push(await V.draw(holder, "training", sets, { edit, legend: panel.lines.length > 1 ? keys.filter((key) => key.shown) : [] }));
  };
})();
