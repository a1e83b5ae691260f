"use strict";
// Layers of a model in a task: scores alone, weights in the sum, losses; and weights as heat maps.
(() => {
  const V = window.voxstrata;
  const all = V.page.sections["probing-layers"];
  const SETS = ["bands", "levels", "bars", "errors", "curves", "dots", "spots"];
  const AXIS = 44; // pixels left of every part, so that parts stand one below the other

  const setsOf = (part, panel, seen) => {
    const layer = (at) => panel.layers[at];
    const there = (at) => seen.includes(layer(at));
    const shown = part.spots.filter((s) => there(s.at) && s.y !== null && (V.shows.twins || !s.twin));
    const known = shown.filter((s) => s.low !== null && V.shows.intervals);
    const dash = (s) => (s.twin ? "twin" : "plain");
    return {
      bands: V.shows.intervals ? part.bands.map(([low, high]) => ({ low, high })) : [],
      levels: part.levels.map(([y, colour, pattern]) => ({ y, colour, dash: pattern })),
      bars: part.bars.filter(([at]) => there(at)).map(([at, y]) => ({ layer: layer(at), y })),
      errors: known.map((s) => ({ layer: layer(s.at), low: s.low, high: s.high, colour: s.colour })),
      curves: shown.filter((s) => s.joined).map((s) => ({ layer: layer(s.at), y: s.y, series: s.lines[0], colour: s.colour, dash: dash(s) })),
      dots: part.dots.filter(([at]) => there(at)).map(([at, y]) => ({ layer: layer(at), y })),
      spots: shown.map((s) => ({
        layer: layer(s.at), y: s.y, colour: s.colour, fill: s.hollow ? V.css("--panel") : s.colour, shape: s.shape, lines: s.lines,
      })),
    };
  };
  const turned = (names) => names.some((name) => name.length > 3);

  V.painters["probing-layers"] = async (element, _facet, place) => {
    const panel = all.panels[Number(place.dataset.panel)];
    const seen = panel.layers.filter((name) => V.layerShown(panel.owner, name));
    if (!seen.length) { element.append(V.gone()); return; }
    const holder = document.createElement("div");
    element.append(holder);
    const data = {};
    const width = Math.max(140, V.room(element) - AXIS - 14);
    const edit = (spec) => {
      const layers = spec.layer;
      delete spec.layer;
      spec.spacing = 6;
      spec.vconcat = panel.parts.map((part, k) => {
        const sets = setsOf(part, panel, seen);
        SETS.forEach((name) => { data[`${name}${k}`] = sets[name]; });
        const last = k === panel.parts.length - 1;
        return {
          width,
          height: 74,
          title: { text: part.title, fontSize: 11, fontWeight: "normal", anchor: "start", frame: "group", offset: 3, color: V.css("--soft") },
          layer: V.filled(structuredClone(layers), sets).map((one) => {
            const { x, y } = one.encoding;
            if (x) {
              x.scale = { type: "band", domain: seen, paddingInner: 0.25, paddingOuter: 0.15 };
              x.axis = { ...x.axis, labelAngle: turned(seen) ? -60 : 0, labels: last, ticks: last };
            }
            y.axis = { tickCount: 3, minExtent: AXIS, maxExtent: AXIS };
            // Scores need no 0; weights and losses are read from it.
            y.scale = { zero: !part.title.startsWith("score"), nice: true };
            return { ...one, data: { name: `${one.data.name}${k}` } };
          }),
        };
      });
    };
    const view = await V.draw(holder, "probing-layers", data, { edit, legend: all.keys, about: panel.under });
    element.voxViews.push(view);
  };
  V.painters["probing-layers"].layers = true;

  V.painters["weight-map"] = async (element, _facet, place) => {
    const map = all.maps[Number(place.dataset.map)];
    const seen = map.layers.map((_, at) => at).filter((at) => V.layerShown(map.owner, map.layers[at]));
    if (!seen.length) { element.append(V.gone()); return; }
    const holder = document.createElement("div");
    element.append(holder);
    const [wide, tall] = [Math.max(24, Math.min(52, Math.floor(820 / seen.length))), 24];
    const left = 12 + Math.max(...map.tasks.map((name) => name.length)) * 6;
    const cells = [];
    const texts = map.tasks.map((name, row) => ({ kind: "row", x: left - 6, y: 6 + row * tall + tall / 2, text: name }));
    const below = 6 + map.tasks.length * tall;
    const names = seen.map((at) => map.layers[at]);
    const turn = names.some((name) => name.length * 6.5 > wide);
    names.forEach((text, k) => texts.push({ kind: turn ? "column-turned" : "column", x: left + (k + 0.5) * wide, y: below + (turn ? 5 : 10), text }));
    map.values.forEach((row, i) => seen.forEach((at, k) => {
      const v = row[at];
      if (v === null) return;
      const [x, y] = [left + k * wide, 6 + i * tall];
      cells.push({
        x, x2: x + wide, y, y2: y + tall, cx: x + wide / 2, cy: y + tall / 2, v, light: v > 0.45 * map.top,
        text: V.number(v).replace(/^0\./, "."), lines: [map.tasks[i], `layer ${map.layers[at]}`, `${map.title.split(" (")[0]}: ${V.number(v)}`],
      });
    }));
    const view = await V.draw(holder, "weight-map", { cells, texts, marks: [], cursor: [] }, {
      scale: [0, map.top],
      edit: (spec) => {
        spec.width = left + seen.length * wide + 6;
        spec.height = below + (turn ? 14 + 6 * Math.max(...names.map((name) => name.length)) : 22);
        spec.padding = 0;
        spec.autosize = "none";
        spec.layer[0].encoding.color.condition.scale.domain = [0, map.top];
      },
    });
    element.voxViews.push(view);
  };
  V.painters["weight-map"].layers = true;
})();
