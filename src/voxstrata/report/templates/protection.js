"use strict";
// A protection run: scores by size, and how much better protection is.
(() => {
  const V = window.voxstrata;
  const all = V.page.sections.protection;
  const hidden = new Set();
  // The names in the figure's caption become buttons that hide and show what they name.
  const keysOf = (place, panel) => {
    const labels = panel.series.map((one) => one.label);
    const items = [...place.closest("figure").querySelectorAll("figcaption .legend li")];
    return items.map((item, k) => {
      const label = item.textContent.trim();
      const one = panel.series[k];
      const shown = !one || !hidden.has(one.label);
      if (one) {
        const mark = item.querySelector(".mark");
        const key = { key: one.label, label, shown, act: () => V.toggle(hidden, one.label, labels) };
        const held = item.contains(document.activeElement);
        item.parentElement.classList.add("keys");
        item.replaceChildren(V.keyButton(key, mark, label));
        if (held) item.firstChild.focus({ preventScroll: true });
      }
      return { label, shown, colour: one ? one.colour : V.css("--soft"), width: one ? 0 : 1.5, dash: k > panel.series.length ? "5 4" : "" };
    });
  };

  V.painters.protection = async (element, _facet, place) => {
    const panel = all.panels[Number(place.dataset.panel)];
    const [ink, ground] = [V.css("--ink"), V.css("--panel")];
    const sets = { bands: [], levels: [], bars: [], means: [], spots: [] };
    if (panel.band) sets.bands.push({ low: panel.band[0], high: panel.band[1] });
    panel.levels.forEach((level) => sets.levels.push({ ...level, colour: level.dash === "plain" ? "#8c8c8c" : ink }));
    const keys = keysOf(place, panel);
    panel.series.forEach((one, k) => {
      if (hidden.has(one.label)) return;
      const colour = one.colour;
      one.means.forEach(([x, y]) => sets.means.push({ x, y, series: k, colour }));
      one.spots.forEach((spot) => {
        if (spot.low !== null && V.shows.intervals) sets.bars.push({ x: spot.x, low: spot.low, high: spot.high, colour });
        sets.spots.push({ x: spot.x, y: spot.y, colour, fill: spot.clear ? colour : ground, shape: one.marker, lines: spot.lines });
      });
    });
    const holder = document.createElement("div");
    element.append(holder);
    const edit = (spec) => {
      spec.width = Math.max(200, V.room(element) - 62);
      spec.height = 230;
      spec.layer = V.filled(spec.layer, sets);
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
    element.voxViews.push(await V.draw(holder, "protection", sets, { edit, legend: keys.filter((key) => key.shown) }));
  };
})();
