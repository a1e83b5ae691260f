"use strict";
// Curves over layers: the overview, one figure a property, switches shared by all of them.
(() => {
  const V = window.voxstrata;
  const all = V.page.sections.curves;
  const state = { relative: false, controls: new Set(), variant: all.properties.map(() => 0) };
  const GREY = "#8c8c8c";

  const labelOf = (m) => V.page.models[m].label;
  const layerOf = (at) => V.page.layers[at][1];
  const place = (at) => all.at[at][state.relative ? 1 : 0];
  const layersOf = (m) => V.page.layers.filter((l) => l[0] === m).length;
  const controlAt = (name) => all.controls.findIndex((c) => c.name === name);
  const shown = (curve) => !V.hidden.has(curve.model) && (V.shows.twins || all.looks[curve.model].twinOf === null)
    && !(curve.control && (!V.shows.controls || state.controls.has(curve.control)));

  // -- legend ---------------------------------------------------------------------------------
  const CONTROL_DASH = ["", "5 3", "2 2", "7 2 2 2", "1 3.5", "10 3", "4 2 1 2 1 2"];
  const keysOf = (models, controls) => {
    const present = all.order.filter((m) => models.has(m) && (V.shows.twins || all.looks[m].twinOf === null));
    const ofModels = present.map((m) => {
      const look = all.looks[m];
      const twin = look.twinOf === null ? "" : ` (untrained twin of ${look.twinNames})`;
      return {
        key: `model-${m}`, label: labelOf(m), title: `${V.page.models[m].spec}${twin}`, shown: !V.hidden.has(m),
        colour: look.colour, width: 2, dash: layersOf(m) === 1 ? "1.5 2.5" : look.untrained ? "5 3" : "", shape: look.shape,
        act: () => V.toggle(V.hidden, m, present),
      };
    });
    const ofControls = all.controls.map((c, k) => ({
      key: `control-${c.name}`, label: c.label, title: c.about || c.label, shown: !state.controls.has(c.name),
      colour: GREY, width: 1.2, dash: CONTROL_DASH[k % CONTROL_DASH.length], act: () => V.toggle(state.controls, c.name, null),
    })).filter((_, k) => V.shows.controls && controls.has(all.controls[k].name));
    return [...ofModels, ...ofControls];
  };
  const modelsIn = (variants) => new Set(variants.flatMap((v) => v.curves.map((c) => c.model)));
  const controlsIn = (variants) => new Set(variants.flatMap((v) => v.controls.map((c) => c.control)));

  // -- data -----------------------------------------------------------------------------------
  const linesOf = (variant, curve, point) => {
    const [at, value, low, high, n, groups, other] = point;
    const [, name, width, utterance] = V.page.layers[at];
    const about = [width ? `${width} wide` : "", utterance ? "one vector an utterance" : ""].filter(Boolean).join(", ");
    const control = curve.control ? all.controls[controlAt(curve.control)] : null;
    const lines = [
      `${labelOf(curve.model)}${all.looks[curve.model].twinOf === null ? "" : ", untrained"}`,
      `layer ${name}${about ? ` (${about})` : ""}${other ? ` against ${other}` : ""}`,
      `${control ? `${control.label}: ` : ""}${variant.label}: ${V.number(value)}`,
    ];
    lines.push(low === null || high === null ? "no interval" : `95 % interval ${V.number(low)} to ${V.number(high)}`);
    lines.push(`n = ${n.toLocaleString("en")}${groups ? ` in ${groups.toLocaleString("en")} groups` : ""}${variant.estimator ? `, ${variant.estimator}` : ""}`);
    if (!control) {
      const peak = variant.peaks.find(([m]) => m === curve.model);
      if (peak && peak[1] === at) lines.push(peak[3] || !peak[2].length ? "best layer of this model" : "best layer of this model, but no other is told apart from it");
      else if (peak && peak[2].includes(at)) lines.push(`not told apart from the best layer, ${layerOf(peak[1])}`);
    }
    return lines;
  };
  const collect = (variant) => {
    const data = { points: [], controls: [], alone: [], peaks: [] };
    variant.curves.filter(shown).forEach((curve) => {
      const look = all.looks[curve.model];
      const finite = curve.points.filter((p) => p[1] !== null);
      const seen = curve.points.filter(([at]) => V.atShown(at));
      const single = seen.filter((p) => p[1] !== null).length === 1;
      const both = { series: `m${curve.model}`, colour: look.colour, shape: look.shape, dash: look.untrained ? "untrained" : "trained", single };
      seen.forEach((p) => {
        const known = V.shows.intervals && p[2] !== null && p[3] !== null;
        data.points.push({ ...both, x: place(p[0]), y: p[1], low: known ? p[2] : null, high: known ? p[3] : null, lines: linesOf(variant, curve, p) });
        if (finite.length === 1 && p[1] !== null) data.alone.push({ y: p[1], colour: look.colour });
      });
      const peak = variant.peaks.find(([m]) => m === curve.model);
      const best = peak && peak[3] ? seen.find((p) => p[0] === peak[1]) : null;
      if (best) data.peaks.push({ x: place(best[0]), y: best[1], colour: look.colour });
    });
    variant.controls.filter(shown).forEach((curve) => {
      const dash = `control-${controlAt(curve.control) % CONTROL_DASH.length}`;
      curve.points.filter(([at]) => V.atShown(at)).forEach((p) => {
        data.controls.push({ series: `${curve.control} ${curve.model}`, dash, x: place(p[0]), y: p[1], lines: linesOf(variant, curve, p) });
      });
    });
    return data;
  };
  // 0 is always in view. A control far below everything else (R² of noise) does not squeeze the
  // curves: the axis ends a little below them, and the figure says what lies outside.
  const heights = (data) => {
    const finite = (list) => list.filter((v) => v !== null && Number.isFinite(v));
    const values = finite(data.points.flatMap((p) => [p.y, p.low, p.high]));
    const beside = finite(data.controls.map((p) => p.y));
    const high = Math.max(0, ...values, ...beside);
    const lowest = Math.min(0, ...values);
    const floor = Math.min(lowest, Math.max(Math.min(0, ...beside), lowest - 0.25 * (high - lowest)));
    const pad = 0.04 * (high - floor) || 0.04;
    const top = values.length && high > 0 ? high + pad : pad;
    const bottom = floor < 0 ? floor - pad : 0;
    return { domain: [bottom, top], outside: beside.filter((v) => v < bottom).length };
  };
  const breadth = (data) => {
    const xs = [...data.points, ...data.controls].map((p) => p.x);
    if (!xs.length) return [0, 1];
    const [low, high] = [Math.min(...xs), Math.max(...xs)];
    const pad = high > low ? 0.03 * (high - low) : 0.5;
    return [low - pad, high + pad];
  };
  const ticks = ([low, high], room, names) => {
    const lengths = Object.keys(names).filter((x) => x >= low && x <= high).map((x) => names[x].length);
    const each = Math.max(26, Math.min(60, 7 * Math.max(0, ...lengths) + 6));
    const step = [1, 2, 3, 4, 6, 8, 12, 24, 48].find((s) => ((high - low) / s) * each <= room) || 100;
    const found = [];
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) found.push(v);
    return found;
  };
  // What stands below 0 (the local encoder) or carries names has no number of its own.
  const tickNames = () => {
    const found = {};
    V.page.layers.forEach(([, name], at) => {
      const x = all.at[at][0];
      if (Number.isInteger(x)) found[x] = found[x] === undefined || found[x] === name ? name : String(x);
    });
    Object.keys(found).forEach((x) => { if (Number(x) < 0) found[x] = found[x] === x ? "" : found[x].replace(/^conv/, "c"); });
    return found;
  };

  const draw = async (holder, variant, size, small, legend) => {
    const data = collect(variant);
    const { domain, outside } = heights(data);
    const across = breadth(data);
    const names = tickNames();
    const view = await V.draw(holder, "curves", data, {
      legend: legend.filter((key) => key.shown),
      keys: !small,
      edit: (spec) => {
        Object.assign(spec, size);
        const values = ticks(across, size.width, names);
        spec.layer.forEach((layer) => {
          const { x, y } = layer.encoding;
          if (x) {
            x.scale = { ...x.scale, domain: across };
            x.title = small ? null : state.relative ? "relative depth" : "layer";
            x.axis = state.relative
              ? { grid: false, tickCount: small ? 3 : 6 }
              : { grid: false, values, tickCount: values.length, labelExpr: `${JSON.stringify(names)}[datum.value] || ''`, labelOverlap: false, labelLimit: 60 };
          }
          if (y) {
            y.scale = { ...y.scale, domain };
            y.title = small ? null : variant.axis;
            y.axis = { tickCount: small ? 3 : 6 };
          }
          if (small && layer.mark.type === "point" && layer.mark.opacity !== 0) layer.mark.size = layer.mark.filled ? 8 : 60;
          if (small && layer.mark.type === "line") layer.mark.strokeWidth *= 0.75;
          if (small && layer.mark.tooltip) layer.mark.size = 60;
        });
      },
    });
    return { view, outside };
  };

  // -- tables ---------------------------------------------------------------------------------
  const table = (variant) => {
    const made = document.createElement("table");
    const head = made.createTHead().insertRow();
    ["model", "layer", variant.label, "95 % interval", ...[...controlsIn([variant])].map((name) => all.controls[controlAt(name)].label), "n", "groups"].forEach((text) => {
      const th = document.createElement("th");
      th.scope = "col";
      th.textContent = text;
      head.append(th);
    });
    const body = made.createTBody();
    all.order.forEach((m) => {
      const curve = variant.curves.find((c) => c.model === m);
      if (!curve) return;
      const beside = [...controlsIn([variant])].map((name) => variant.controls.find((c) => c.model === m && c.control === name));
      curve.points.filter(([at]) => V.atShown(at)).forEach(([at, value, low, high, n, groups]) => {
        const held = beside.map((c) => (c && c.points.find((p) => p[0] === at)) || null);
        const exact = { 2: value, ...Object.fromEntries(held.map((p, k) => [4 + k, p && p[1]])) };
        const cells = [
          labelOf(m), layerOf(at), V.number(value), low === null || high === null ? "none" : `${V.number(low)} to ${V.number(high)}`,
          ...held.map((p) => (p ? V.number(p[1]) : "")), n.toLocaleString("en"), groups ? groups.toLocaleString("en") : "",
        ];
        const row = body.insertRow();
        cells.forEach((text, k) => {
          const cell = row.insertCell();
          cell.textContent = text;
          if (Number.isFinite(exact[k])) cell.dataset.value = exact[k];
        });
      });
    });
    return made;
  };
  // Made when it is first opened: long tables cost more than the figures.
  const fold = (variant) => {
    const made = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = "The same as a table";
    made.append(summary);
    made.addEventListener("toggle", () => {
      if (!made.open || made.children.length > 1) return;
      const scroll = document.createElement("div");
      scroll.className = "scroll tall";
      const full = table(variant);
      scroll.append(full);
      made.append(scroll);
      V.dressTable(full);
    });
    return made;
  };

  // -- painters -------------------------------------------------------------------------------
  V.painters.curves = async (element, _, spot) => {
    const at = Number(spot.dataset.property);
    const variant = all.properties[at].variants[state.variant[at]];
    const keys = keysOf(modelsIn([variant]), controlsIn([variant]));
    element.append(V.keyList(keys));
    const holder = document.createElement("div");
    holder.className = "wide";
    element.append(holder);
    const width = Math.max(240, Math.min(1060, V.room(element) - 78));
    const { view, outside } = await draw(holder, variant, { width, height: 270 }, false, keys);
    element.voxViews.push(view);
    if (outside) {
      const note = document.createElement("p");
      note.className = "key";
      note.textContent = outside === 1 ? "One control value lies below the axis." : `${outside} control values lie below the axis.`;
      element.append(note);
    }
    element.append(fold(variant));
  };

  V.painters["curves-overview"] = async (element) => {
    const mains = all.properties.map((p) => p.variants[0]);
    const keys = keysOf(modelsIn(mains), controlsIn(mains));
    element.append(V.keyList(keys));
    const grid = document.createElement("div");
    grid.className = "panels";
    element.append(grid);
    const columns = Math.max(1, Math.min(4, Math.floor(V.room(element) / 250)));
    const width = Math.max(130, Math.floor((V.room(element) - 22 * (columns - 1)) / columns) - 46);
    grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    for (const [k, property] of all.properties.entries()) {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const link = document.createElement("a");
      link.href = `#property-${property.key}`;
      link.textContent = property.title;
      const about = document.createElement("small");
      about.textContent = mains[k].axis;
      caption.append(link, about);
      const holder = document.createElement("div");
      figure.append(caption, holder);
      grid.append(figure);
      const { view } = await draw(holder, mains[k], { width, height: 110 }, true, keys.filter((key) => mains[k].curves.some((c) => key.key === `model-${c.model}`) || controlsIn([mains[k]]).has(key.key.slice(8))));
      element.voxViews.push(view);
    }
  };

  V.painters.curves.layers = true;
  V.painters["curves-overview"].layers = true;

  // -- switches -------------------------------------------------------------------------------
  document.querySelectorAll("input[name=depth]").forEach((radio) => {
    radio.addEventListener("change", () => {
      state.relative = radio.value === "relative";
      V.redraw();
    });
  });
  document.querySelectorAll("[data-variants]").forEach((select) => {
    const at = Number(select.dataset.variants);
    select.value = "0";
    select.addEventListener("change", () => {
      state.variant[at] = Number(select.value);
      document.querySelectorAll(`[data-variant^="${at}-"]`).forEach((e) => { e.hidden = e.dataset.variant !== `${at}-${select.value}`; });
      V.paint(document.querySelector(`[data-chart=curves][data-property="${at}"]`));
    });
  });
})();
