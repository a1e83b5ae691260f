"use strict";
// A protection run: scores by size, and how much better protection is.
(() => {
  const V = window.voxstrata;
  const all = V.page.sections.protection;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const onHover = (datum, event) => {
    if (!datum || !datum.lines) { V.hideTip(); return; }
    V.showTip(datum.lines, event.clientX, event.clientY);
  };

  V.painters.protection = async (element, _facet, place) => {
    const panel = all.panels[Number(place.dataset.panel)];
    const [ink, ground] = [css("--ink"), css("--panel")];
    const sets = { bands: [], levels: [], bars: [], means: [], spots: [] };
    if (panel.band) sets.bands.push({ low: panel.band[0], high: panel.band[1] });
    panel.levels.forEach((level) => sets.levels.push({ ...level, colour: level.dash === "plain" ? "#8c8c8c" : ink }));
    panel.series.forEach((one, k) => {
      const colour = one.colour;
      one.means.forEach(([x, y]) => sets.means.push({ x, y, series: k, colour }));
      one.spots.forEach((spot) => {
        if (spot.low !== null) sets.bars.push({ x: spot.x, low: spot.low, high: spot.high, colour });
        sets.spots.push({ x: spot.x, y: spot.y, colour, fill: spot.clear ? colour : ground, shape: one.marker, lines: spot.lines });
      });
    });
    const holder = document.createElement("div");
    element.append(holder);
    const edit = (spec) => {
      spec.width = Math.max(200, V.room(element) - 62);
      spec.height = 230;
      // Without data a layer has no extent, which Vega warns of.
      spec.layer = spec.layer.filter((layer) => sets[layer.data.name].length);
      spec.layer.forEach((layer) => {
        if (layer.encoding.x) {
          layer.encoding.x.scale.domain = panel.x.ends;
          layer.encoding.x.axis = { values: panel.x.ticks, grid: false, labelExpr: panel.x.log ? "round(pow(2, datum.value))" : "datum.value" };
        }
        layer.encoding.y.scale.domain = panel.y;
        layer.encoding.y.title = panel.title;
        layer.encoding.y.axis = { tickCount: 5 };
      });
    };
    element.voxViews.push(await V.draw(holder, "protection", sets, { edit, onHover }));
  };
})();
