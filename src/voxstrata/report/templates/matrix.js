"use strict";
// Heat maps: the big matrix and the pairs. Positions are whole pixels, so cells have no seams.
(() => {
  const V = window.voxstrata;
  const canvas = document.createElement("canvas").getContext("2d");
  const widthOf = (text, font) => {
    canvas.font = `${font} ${getComputedStyle(document.body).fontFamily}`;
    return canvas.measureText(text).width;
  };
  const label = (f, row) => (f.info[row].utterance ? `${f.info[row].name} ◆` : f.info[row].name);

  // Offsets of rows along one side; models are kept apart so far that their names fit.
  const layOut = (f, rows, cell, named) => {
    const at = [];
    const blocks = [];
    let next = 0;
    rows.forEach((row, k) => {
      const model = f.info[row].model;
      const last = blocks[blocks.length - 1];
      if (!last || last.model !== model) {
        if (last) next += Math.max(4, named ? 17 - (next - last.start) : 4);
        blocks.push({ model, start: next, end: next });
      }
      at[k] = next;
      next += cell;
      blocks[blocks.length - 1].end = next;
    });
    return { at, blocks, length: next };
  };
  // Which names there is room for: every k-th of each model, counted from its first layer.
  const thin = (side, cell, pitch) => {
    const every = Math.max(1, Math.ceil(pitch / cell));
    const keep = side.at.map(() => false);
    let last = -1;
    side.at.forEach((start, k) => {
      const block = side.blocks.find((b) => start >= b.start && start < b.end);
      if (Math.round((start - block.start) / cell) % every) return;
      if (last >= 0 && start - side.at[last] < pitch) {
        // A model's first layer takes precedence over the last of the model before.
        if (start !== block.start || side.blocks.some((b) => b.start === side.at[last])) return;
        keep[last] = false;
      }
      keep[k] = true;
      last = k;
    });
    return keep;
  };

  // `cell`: side of a square, pixels; with `fit`, at most that, and so small that all fit in.
  const drawMatrix = async (element, f, rows, columns, { cell: most, fit = 0, named, best, print }) => {
    const small = "10px";
    const bold = "bold 12px";
    const longest = (list, font) => Math.max(0, ...list.map((text) => widthOf(text, font)));
    const rowLabels = rows.map((r) => label(f, r));
    const columnLabels = columns.map((c) => label(f, c));
    const nameOf = (block) => V.page.models[block.model].label;
    // Room left of the squares: layer names, and beyond each model's own the model's.
    const tickRoom = (model) => 8 + longest(rowLabels.filter((_, k) => f.info[rows[k]].model === model), small);
    const present = [...new Set(rows.map((r) => f.info[r].model))];
    const left = Math.ceil(Math.max(...present.map((m) => tickRoom(m) + (named ? 12 + widthOf(V.page.models[m].label, bold) : 0))));
    const slanted = (block) => (block.start + block.end) / 2 + widthOf(nameOf(block), bold) * 0.82 + 14;
    const overhangOf = (side) => (named ? Math.max(8, ...side.blocks.map((b) => slanted(b) - side.length)) : 8);
    let cell = most;
    let across = layOut(f, columns, cell, named);
    while (fit && cell > 4 && left + across.length + overhangOf(across) > fit) {
      cell -= 1;
      across = layOut(f, columns, cell, named);
    }
    const down = layOut(f, rows, cell, named);
    const overhang = overhangOf(across);
    const turned = cell < 15 || columnLabels.some((text) => widthOf(text, small) > cell - 2);
    const top = named ? Math.ceil(longest(across.blocks.map(nameOf), bold) * 0.574) + 16 : 6;
    const bottom = (turned ? Math.ceil(longest(columnLabels, small)) : 12) + 12;
    const width = Math.ceil(left + across.length + overhang);
    const height = top + down.length + bottom;

    const [low, high] = f.ends;
    const cells = [];
    rows.forEach((i, a) => columns.forEach((j, b) => {
      const c = f.cell(i, j);
      if (!c.compared) return;
      const x = left + across.at[b];
      const y = top + down.at[a];
      const share = c.v === null ? 0 : (c.v - low) / (high - low);
      const text = print && c.v !== null ? V.number(c.v).replace(/^(−?)0\./, "$1.") : "";
      cells.push({ x, x2: x + cell, y, y2: y + cell, cx: x + cell / 2, cy: y + cell / 2, v: c.v, i, j, text, light: share > 0.45 || c.v === null });
    }));
    const texts = [];
    const keepRows = thin(down, cell, 10.5);
    const keepColumns = thin(across, cell, turned ? 10.5 : 13);
    rows.forEach((_, a) => {
      if (keepRows[a]) texts.push({ kind: "row", x: left - 5, y: top + down.at[a] + cell / 2, text: rowLabels[a] });
    });
    columns.forEach((_, b) => {
      if (!keepColumns[b]) return;
      const x = left + across.at[b] + cell / 2;
      const y = top + down.length + (turned ? 5 : 10);
      texts.push({ kind: turned ? "column-turned" : "column", x, y, text: columnLabels[b] });
    });
    if (named) {
      down.blocks.forEach((b) => texts.push({ kind: "model-row", x: left - tickRoom(b.model) - 6, y: top + (b.start + b.end) / 2, text: nameOf(b) }));
      across.blocks.forEach((b) => texts.push({ kind: "model-column", x: left + (b.start + b.end) / 2 - 2, y: top - 8, text: nameOf(b) }));
    }
    const marks = [];
    (best || []).forEach(([row, column, , tie]) => {
      const a = rows.indexOf(row);
      const b = columns.indexOf(column);
      if (a >= 0 && b >= 0) marks.push({ x: left + across.at[b] + cell / 2, y: top + down.at[a] + cell / 2, tie, i: row, j: column });
    });

    // Keyboard: arrow keys move a cursor over the cells, and what it is on is read out.
    const live = document.createElement("div");
    live.className = "unseen";
    live.setAttribute("aria-live", "polite");
    const holder = document.createElement("div");
    element.append(holder, live);
    let a = 0;
    let b = 0;
    let view = null;
    const place = (i, j) => {
      const x = left + across.at[columns.indexOf(j)];
      const y = top + down.at[rows.indexOf(i)];
      return { x, x2: x + cell, y, y2: y + cell, i, j };
    };
    const mark = (datum) => view && view.data("cursor", datum ? [datum] : []).runAsync();
    const hover = (datum, event) => {
      if (!datum || datum.i === undefined) { V.hideTip(); mark(null); return; }
      V.showTip(V.cellLines(f, datum.i, datum.j), event.clientX, event.clientY);
      mark(place(datum.i, datum.j));
    };
    view = await V.draw(holder, "matrix", { cells, texts, marks, cursor: [] }, {
      onHover: hover,
      keys: false,
      scale: f.ends,
      about: `${f.label}, one row per ${f.unit}`,
      edit: (spec) => {
        spec.width = width;
        spec.height = height;
        spec.padding = 0;
        spec.autosize = "none";
        spec.layer[0].encoding.color.condition.scale.domain = f.ends;
      },
    });
    element.voxViews.push(view);
    holder.tabIndex = 0;
    holder.setAttribute("role", "application");
    holder.setAttribute("aria-label", `${V.nameOf(holder)}: heat map of ${rows.length} by ${columns.length} layers; arrow keys read the cells`);
    const move = (event) => {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const by = moves[event.key];
      if (event.key === "Escape") { V.hideTip(); mark(null); return; }
      if (!by) return;
      event.preventDefault();
      a = Math.min(rows.length - 1, Math.max(0, a + by[0]));
      b = Math.min(columns.length - 1, Math.max(0, b + by[1]));
      const at = place(rows[a], columns[b]);
      mark(at);
      const lines = V.cellLines(f, rows[a], columns[b]);
      live.textContent = lines.join("; ");
      const box = holder.getBoundingClientRect();
      V.showTip(lines, box.left + at.x2, box.top + at.y2);
    };
    holder.addEventListener("keydown", move);
    holder.addEventListener("blur", () => { V.hideTip(); mark(null); });
    holder.addEventListener("pointerleave", () => { V.hideTip(); mark(null); });
  };

  const shown = (f) => (row) => !V.hidden.has(f.info[row].model) && V.atShown(f.layers[row]);
  V.painters.matrix = (element, f) => {
    if (f.models.length > 1) element.append(V.keyList(V.modelKeys(f.models, false)));
    const rows = f.info.map((_, i) => i).filter(shown(f));
    if (!rows.length) { element.append(V.gone()); return null; }
    return drawMatrix(element, f, rows, rows, { cell: 26, fit: V.room(element), named: true });
  };

  V.painters.pairs = async (element, f) => {
    const paths = (V.page.sections.paths || {}).paths;
    const key = V.page.facets.indexOf(f);
    const pairs = [];
    f.models.forEach((a) => pairs.push([a, a]));
    f.models.forEach((a, k) => f.models.forEach((b, m) => {
      if (f.symmetric ? m > k : m !== k) pairs.push([a, b]);
    }));
    if (f.models.length > 1) element.append(V.keyList(V.modelKeys(f.models, false)));
    const smaller = ([a, b]) => Math.min(f.rows(a).length, f.rows(b).length);
    pairs.sort((p, q) => smaller(q) - smaller(p));
    const groups = { within: document.createElement("div"), across: document.createElement("div") };
    for (const [name, group] of Object.entries(groups)) {
      group.className = "multiples";
      const head = document.createElement("h3");
      head.textContent = name === "within" ? "Within a model" : "Across models";
      if (name === "within" || f.models.length > 1) element.append(head, group);
    }
    for (const [first, second] of pairs) {
      if (V.hidden.has(first) || V.hidden.has(second)) continue;
      // Wide reads better than tall: the model with fewer layers goes down the side.
      const turn = f.symmetric && f.rows(second).length < f.rows(first).length;
      const [a, b] = turn ? [second, first] : [first, second];
      const rows = f.rows(a).filter(shown(f));
      const columns = f.rows(b).filter(shown(f));
      if (!rows.length || !columns.length || (a === b && rows.length < 2)) continue;
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const [from, to] = [V.page.models[a].label, V.page.models[b].label];
      const strong = document.createElement("strong");
      strong.textContent = from;
      caption.append(strong);
      if (a !== b) {
        const other = document.createElement("strong");
        other.textContent = to;
        caption.append(" down, ", other, " across");
      }
      const body = document.createElement("div");
      body.voxViews = [];
      figure.append(caption, body);
      groups[a === b ? "within" : "across"].append(figure);
      const longer = Math.max(rows.length, columns.length);
      const cell = Math.max(11, Math.min(28, Math.floor(325 / longer)));
      const found = a !== b && paths ? paths[key].find((p) => p.from === a && p.to === b) : null;
      await drawMatrix(body, f, rows, columns, { cell, named: false, best: found && longer > 1 ? found.matches : null, print: cell >= 23 && !found });
      element.voxViews.push(...body.voxViews);
    }
  };
  V.painters.matrix.layers = true;
  V.painters.pairs.layers = true;
})();
