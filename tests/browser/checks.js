// What the tests ask of a page, put into it before its own scripts run.
"use strict";
window.checks = (() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const start = (e) => e.outerHTML.slice(0, 120);
  const named = (e) => Boolean((e.getAttribute("aria-label") || e.getAttribute("alt") || "").trim());
  const shown = (e) => e.checkVisibility();

  const headings = () => all("h1, h2, h3, h4, h5, h6").map((h) => [Number(h.tagName[1]), h.textContent.trim()]);

  // Figures without a text, controls without a name.
  const nameless = () => {
    const figure = (c) => { const e = c.closest("[role=application], [role=img]"); return e && named(e); };
    return [
      ...all("canvas").filter((c) => !figure(c)),
      ...all("main img, [role=application], [role=img], [role=group], [role=region]").filter((e) => !named(e)),
      ...all("button, summary").filter((b) => !named(b) && !b.textContent.trim()),
      ...all("select, input").filter((i) => !i.labels.length || !i.labels[0].textContent.trim()),
      ...all("table").filter((t) => !named(t) && !t.caption),
    ].map(start);
  };

  // Numbers everything that the Tab key has to reach, and notes where it comes.
  const stops = () => {
    const kept = all("a[href], button, select, input, summary, [tabindex='0']")
      .filter((e) => shown(e) && !e.disabled && (e.type !== "radio" || e.checked));
    const ringed = (e) => {
      const css = e && getComputedStyle(e);
      return Boolean(e) && parseFloat(css.outlineWidth) > 0 && css.outlineStyle !== "none";
    };
    window.reached = [];
    document.addEventListener("focusin", ({ target }) => {
      const at = kept.indexOf(target);
      if (at >= 0) window.reached.push([at, ringed(target) || ringed(target.nextElementSibling)]);
    });
    return kept.map(start);
  };

  // What does not fit on the page or into its box.
  const cut = () => {
    const bad = [];
    const edge = window.innerWidth + 1;
    all("main *").filter((e) => shown(e) && !e.closest(".unseen, svg")).forEach((e) => {
      const css = getComputedStyle(e);
      const box = e.getBoundingClientRect();
      if (box.width && box.right > edge) bad.push(`${Math.round(box.right - edge)} beyond the edge: ${start(e)}`);
      if (css.overflowX !== "visible" && e.clientWidth && e.scrollWidth > e.clientWidth + 1) bad.push(`cut across: ${start(e)}`);
      if (css.overflowY !== "visible" && e.clientHeight && e.scrollHeight > e.clientHeight + 1) bad.push(`cut below: ${start(e)}`);
    });
    return bad;
  };

  const visible = (selector) => all(selector).filter(shown).map(start);

  // From 0 for black to 1 for white; of a colour of the body.
  const luminance = (name) => {
    const [r, g, b] = getComputedStyle(document.body)[name].match(/[\d.]+/g).map(Number);
    return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
  };

  // Points of the k-th figure of a kind, in pixels of the window, with what its data holds.
  const spots = (chart, k = 0) => {
    const holder = all(`[data-chart=${chart}] .drawing`)[k];
    holder.scrollIntoView({ block: "center", behavior: "instant" });
    const box = holder.querySelector("canvas").getBoundingClientRect();
    return window.voxstrata.spots(holder.voxView)
      .filter((s) => s.x >= 0 && s.y >= 0 && s.x < box.width && s.y < box.height)
      .map((s) => ({ x: box.left + s.x, y: box.top + s.y, lines: s.datum.lines || [], at: [s.datum.i, s.datum.j] }));
  };
  // A data set that is empty is left out of some charts.
  const data = (chart, name, k = 0) => {
    const view = all(`[data-chart=${chart}] .drawing`)[k].voxView;
    return name in view.getState({ data: () => true, signals: () => false }).data ? view.data(name).map((d) => ({ ...d })) : [];
  };
  const tip = () => {
    const e = document.getElementById("tip");
    return e.hidden ? [] : [...e.children].map((line) => line.textContent);
  };
  return { headings, nameless, stops, cut, visible, luminance, spots, data, tip };
})();
