"use strict";
// Which layers the figures show: chosen once, by model, for all figures. A twin follows its model.
(() => {
  const V = window.voxstrata;
  const groups = V.page.picks; // [[model, [layer, ...]], ...]
  const total = groups.reduce((sum, [, names]) => sum + names.length, 0);
  const SHARES = [[0, "the first"], [0.25, "¼"], [0.5, "½"], [0.75, "¾"], [1, "the last"]];
  const hidden = new Set();
  const keyOf = (owner, name) => JSON.stringify([owner, name]);

  V.layerShown = (owner, name) => !hidden.has(keyOf(owner, name));
  V.atShown = (at) => {
    const [model, name] = V.page.layers[at];
    return V.layerShown(V.page.models[model].owner, name);
  };
  V.layersSaid = () => (hidden.size ? `${hidden.size} of ${total} layers left out` : "");

  // -- the picker -----------------------------------------------------------------------------
  const made = (name, given = {}, ...content) => {
    const element = Object.assign(document.createElement(name), given);
    element.append(...content);
    return element;
  };
  const ends = []; // for each group, how to bring its controls in line with what is hidden
  const picker = document.getElementById("layer-picker");
  const shownOf = ([owner, names]) => names.map((name) => V.layerShown(owner, name));
  const settle = () => {
    // Nothing left to see is of no use to anybody: leaving out the last one brings all back.
    if (hidden.size === total) hidden.clear();
    ends.forEach((bring) => bring());
    const said = V.layersSaid();
    picker.querySelector("[role=status]").textContent = said || "All layers are shown";
    document.getElementById("layer-count").textContent = said ? `${total - hidden.size} of ${total}` : "all";
    document.querySelectorAll("[data-layer]").forEach((e) => { e.hidden = !V.layerShown(e.dataset.owner, e.dataset.layer); });
    V.redraw();
  };
  const keep = ([owner, names], wanted) => names.forEach((name, k) => {
    if (wanted(k, names.length)) hidden.delete(keyOf(owner, name));
    else hidden.add(keyOf(owner, name));
  });
  const select = (word, options, act) => {
    const list = made("select", { autocomplete: "off" }, ...options.map(([value, text]) => made("option", { value }, text)));
    list.addEventListener("change", act);
    return [made("label", {}, `${word} `, list), list];
  };
  // Two lists, of the first and the last layer to show; `act` gets both, the lesser first.
  const range = (options, act) => {
    const chosen = () => act(...[from.value, to.value].map(Number).sort((a, b) => a - b));
    const [fromLabel, from] = select("from", options, chosen);
    const [toLabel, to] = select("to", options, chosen);
    to.value = String(options[options.length - 1][0]);
    return { labels: [fromLabel, toLabel], from, to };
  };
  const button = (text, act) => {
    const pressed = made("button", { type: "button", className: "tool" }, text);
    pressed.addEventListener("click", () => { act(); settle(); });
    return pressed;
  };

  const whole = () => {
    const { labels, from, to } = range(SHARES, (low, high) => {
      const rounding = 1e-9;
      groups.forEach((group) => keep(group, (k, n) => k / (n - 1) >= low - rounding && k / (n - 1) <= high + rounding));
      settle();
    });
    const back = () => { from.value = "0"; to.value = "1"; };
    return made("fieldset", {}, made("legend", {}, "all models"), ...labels, made("span", { className: "chips" },
      button("all", () => { hidden.clear(); back(); }),
      button("every second", () => { groups.forEach((group) => keep(group, (k) => k % 2 === 0)); back(); })));
  };
  const one = (group) => {
    const [owner, names] = group;
    const { labels, from, to } = range(names.map((name, k) => [k, name]), (low, high) => {
      keep(group, (k) => k >= low && k <= high);
      settle();
    });
    const boxes = names.map((name) => {
      const box = made("input", { type: "checkbox", checked: true, autocomplete: "off" });
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(keyOf(owner, name));
        else hidden.add(keyOf(owner, name));
        settle();
      });
      return [box, made("label", { className: "pill" }, box, made("span", {}, name))];
    });
    ends.push(() => {
      const shown = shownOf(group);
      boxes.forEach(([box], k) => { box.checked = shown[k]; });
      from.selectedIndex = shown.indexOf(true);
      to.selectedIndex = shown.lastIndexOf(true);
    });
    return made("fieldset", {}, made("legend", {}, owner), ...labels, made("span", { className: "chips" }, ...boxes.map(([, label]) => label)));
  };

  V.startLayers = () => {
    if (!picker) return;
    const about = "Figures and their tables leave out the others. Pictures, best layers, best matches and sentences stay those of all layers.";
    picker.append(made("p", { className: "key" }, about), whole(), ...groups.map(one));
    const said = made("p", { className: "key" }, "All layers are shown");
    said.setAttribute("role", "status");
    picker.append(said);
    const fold = picker.closest("details");
    fold.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !fold.open) return;
      fold.open = false;
      fold.querySelector("summary").focus();
    });
    document.addEventListener("pointerdown", (event) => { if (!fold.contains(event.target)) fold.open = false; });
  };
})();
