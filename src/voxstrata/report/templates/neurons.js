"use strict";
// Neurons by layer: what was found beside what dealt labels give.
(() => {
  const V = window.voxstrata;
  const all = V.page.sections.neurons;

  V.painters["neuron-counts"] = async (element, _facet, place) => {
    const panel = all.panels[Number(place.dataset.panel)];
    const ground = V.css("--panel");
    const sets = { bands: [], means: [], dots: [] };
    const seen = panel.layers.filter((name) => V.layerShown(panel.owner, name));
    const sides = panel.sides.filter((side) => V.shows.twins || !side.hollow);
    sides.forEach((side, k) => {
      side.found.forEach((found, i) => {
        if (!seen.includes(panel.layers[i])) return;
        const at = { layer: panel.layers[i], side: k };
        if (found.low !== null && V.shows.controls) {
          sets.bands.push({ ...at, low: found.low, high: found.high });
          sets.means.push({ ...at, mean: found.mean });
        }
        if (found.y !== null) {
          sets.dots.push({ ...at, y: found.y, colour: V.colour(side.colour), fill: side.hollow ? ground : V.colour(side.colour), lines: found.lines });
        }
      });
    });
    if (!seen.length) { element.append(V.gone()); return; }
    const holder = document.createElement("div");
    element.append(holder);
    const legend = sides.map((side) => ({ label: side.hollow ? "untrained twin (hollow)" : "found", colour: V.colour(side.colour) }));
    if (V.shows.controls && sets.bands.length) legend.push({ label: "95 % of the dealings", colour: "#9a9a9a" });
    const edit = (spec) => {
      spec.autosize = { type: "fit", contains: "padding" };
      spec.width = Math.max(180, V.room(element));
      spec.height = 215;
      spec.layer = V.filled(spec.layer, sets);
      spec.layer.forEach((layer) => {
        layer.encoding.x.title = panel.axis;
        layer.encoding.x.scale = { domain: seen, paddingInner: 0.25, paddingOuter: 0.15 };
        layer.encoding.x.axis.labelAngle = panel.turned ? -90 : 0;
        layer.encoding.xOffset.scale = { domain: sides.map((_, k) => k) };
        if (layer.data.name === "means") layer.mark.color = V.css("--soft");
        const y = layer.encoding.y;
        y.scale = { domain: [0, panel.top], nice: true };
        y.title = "neurons";
      });
    };
    element.voxViews.push(await V.draw(holder, "neurons", sets, { edit, legend }));
  };
  V.painters["neuron-counts"].layers = true;
})();
