"use strict";
// Line charts over relative depth: best-matching layers, and change from layer to layer.
(() => {
  const V = window.voxstrata;
  const ends = (c) => (c.low === null || c.high === null || !V.shows.intervals ? { low: c.v, high: c.v } : { low: c.low, high: c.high });
  const entitle = (spec, title) => spec.layer.forEach((layer) => { layer.encoding.y.title = title; });
  const floor = (f, points) => {
    const lows = points.map((p) => p.low);
    return Math.min(0, ...lows, f.ends[0]);
  };

  const table = (f, path) => {
    const made = document.createElement("table");
    const head = made.createTHead().insertRow();
    const from = V.page.models[path.from].label;
    const to = V.page.models[path.to].label;
    [`layer of ${from}`, `nearest layer of ${to}`, "value", "95 % interval", "runner-up", "clear lead"].forEach((text) => {
      const th = document.createElement("th");
      th.scope = "col";
      th.textContent = text;
      head.append(th);
    });
    const body = made.createTBody();
    path.matches.filter(([row]) => V.atShown(f.layers[row])).forEach(([row, column, runner, tie, rivals]) => {
      const c = f.cell(row, column);
      const second = runner === null ? "none" : `${f.info[runner].name}: ${V.interval(f.cell(row, runner))}`;
      const verdict = tie === null ? (runner === null ? "only one layer" : "no interval") : tie ? `tie (${rivals} overlap)` : "yes";
      const tr = body.insertRow();
      if (tie === true) tr.className = "tie";
      const values = [f.info[row].name, f.info[column].name, V.number(c.v), c.low === null ? "none" : `${V.number(c.low)} to ${V.number(c.high)}`, second, verdict];
      values.forEach((text) => { tr.insertCell().textContent = text; });
    });
    return made;
  };

  V.painters.paths = async (element, f, place) => {
    const index = V.page.facets.indexOf(f);
    const all = V.page.sections.paths.paths[index];
    const model = Number(place.dataset.model);
    const mine = all.filter((p) => p.from === model && p.matches.length);
    if (!mine.length) {
      place.closest("article").hidden = true;
      return;
    }
    place.closest("article").hidden = false;
    const points = [];
    const shown = mine.filter((path) => !V.hidden.has(path.to));
    shown.forEach((path) => path.matches.filter(([row]) => V.atShown(f.layers[row])).forEach(([row, column, runner, tie]) => {
      const c = f.cell(row, column);
      const lines = V.cellLines(f, row, column);
      if (runner !== null) lines.push(`runner-up ${V.layerName(f, runner)}: ${V.interval(f.cell(row, runner))}`);
      lines.push(tie === true ? "intervals overlap: the data do not tell which is nearer" : tie === false ? "clear of its runner-up" : "");
      points.push({
        model: V.page.models[path.to].label, depth: f.info[row].depth, other: f.info[column].depth, value: c.v,
        ...ends(c), tie, alone: path.matches.length === 1,
        lines: lines.filter(Boolean),
      });
    }));
    const others = mine.map((p) => p.to);
    const keys = V.modelKeys(others);
    element.append(V.keyList(keys));
    if (!points.length) { element.append(V.gone()); return; }
    const holder = document.createElement("div");
    holder.className = "wide";
    element.append(holder);
    const diagonal = [{ depth: 0, other: 0 }, { depth: 1, other: 1 }];
    const width = Math.max(220, Math.min(460, Math.floor((V.room(element) - 150) / 2)));
    const view = await V.draw(holder, "paths", { points, diagonal }, {
      legend: keys.filter((key) => key.shown),
      about: `${f.label}, one row per ${f.unit}`,
      edit: (spec) => {
        V.setColours(spec, others);
        spec.hconcat.forEach((panel) => { panel.width = width; });
        const domain = [floor(f, points), f.ends[1]];
        entitle(spec.hconcat[0], `${f.label} of best match`);
        spec.hconcat[0].layer.forEach((layer) => {
          layer.encoding.y.scale = { domain, nice: false };
        });
      },
    });
    element.voxViews.push(view);
    const fold = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = "The same as a table";
    fold.append(summary);
    mine.forEach((path) => {
      const scroll = document.createElement("div");
      scroll.className = "scroll";
      scroll.append(table(f, path));
      fold.append(scroll);
    });
    element.append(fold);
    fold.querySelectorAll("table").forEach(V.dressTable);
  };

  V.painters.steps = async (element, f) => {
    const mine = V.page.sections.steps.steps[V.page.facets.indexOf(f)];
    if (!mine.length) {
      element.textContent = "No model has two layers here.";
      return;
    }
    const points = [];
    mine.filter(({ model }) => !V.hidden.has(model)).forEach(({ model, cells }) => cells.filter((ends) => ends.every((row) => V.atShown(f.layers[row]))).forEach(([row, column]) => {
      const c = f.cell(row, column);
      points.push({
        model: V.page.models[model].label, depth: (f.info[row].depth + f.info[column].depth) / 2, value: c.v,
        ...ends(c), tie: false, alone: cells.length === 1,
        lines: V.cellLines(f, row, column),
      });
    }));
    const models = mine.map((m) => m.model);
    const keys = V.modelKeys(models);
    element.append(V.keyList(keys));
    if (!points.length) { element.append(V.gone()); return; }
    const holder = document.createElement("div");
    holder.className = "wide";
    element.append(holder);
    const width = Math.max(260, Math.min(940, V.room(element) - 70));
    const view = await V.draw(holder, "steps", { points }, {
      legend: keys.filter((key) => key.shown),
      about: `${f.label}, one row per ${f.unit}`,
      edit: (spec) => {
        V.setColours(spec, models);
        spec.width = width;
        entitle(spec, `${f.label} of layer l with l+1`);
        const low = Math.min(...points.map((p) => p.low));
        const high = Math.max(...points.map((p) => p.high));
        const pad = 0.04 * (high - low) || 0.01;
        spec.layer.forEach((layer) => { layer.encoding.y.scale = { domain: [low - pad, high + pad], nice: false }; });
      },
    });
    element.voxViews.push(view);
  };
  V.painters.paths.layers = true;
  V.painters.steps.layers = true;
})();
