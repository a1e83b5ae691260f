"use strict";
// What can be done with a figure once it is drawn: read it with the keyboard, save it as SVG.
(() => {
  const V = window.voxstrata;
  const SVG = "http://www.w3.org/2000/svg";

  // -- names ----------------------------------------------------------------------------------
  const plain = (element) => {
    if (!element) return "";
    const copy = element.cloneNode(true);
    copy.querySelectorAll("ul, button, .unseen").forEach((e) => e.remove());
    copy.querySelectorAll("small").forEach((e) => e.replaceWith(`, ${e.textContent}`));
    return copy.textContent.replace(/\s+/g, " ").trim();
  };
  // What a figure or table shows: its own caption or label, else the nearest heading above it.
  const heading = (element) => {
    const section = element.closest("section");
    if (!section) return "";
    const before = [...section.querySelectorAll("h2, h3, h4")].filter((h) => h.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING);
    return plain(before.pop());
  };
  V.nameOf = (element) => {
    const figure = element.closest("figure");
    const chart = element.closest("[data-chart]");
    const own = [chart && chart.getAttribute("aria-label"), plain(figure && figure.querySelector("figcaption"))];
    const inside = own.filter((text, k) => text && own.indexOf(text) === k && !(k && own[0] && own[0].includes(text)));
    return inside.join(": ") || heading(element) || "figure";
  };
  V.headingOf = heading;
  V.fileName = (text, ending) => {
    const words = text.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
    return `${words.slice(0, 80) || "figure"}.${ending}`;
  };
  V.save = (name, type, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 2000);
  };
  V.tool = (text, label, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "tool";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.title = label;
    made.addEventListener("click", act);
    return made;
  };

  // -- SVG ------------------------------------------------------------------------------------
  // Vega's drawing with its title above and the legend below, so that it is read without the page.
  const framed = (text, title, legend) => {
    const inner = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    const [ink, ground] = [V.css("--ink"), V.css("--panel")];
    const font = getComputedStyle(document.body).fontFamily;
    const made = document.createElementNS(SVG, "svg");
    const put = (name, given, words = "") => {
      const e = document.createElementNS(SVG, name);
      Object.entries(given).forEach(([key, value]) => e.setAttribute(key, value));
      if (words) e.textContent = words;
      made.append(e);
      return e;
    };
    const measure = document.createElement("canvas").getContext("2d");
    const widthOf = (words, size) => { measure.font = `${size}px ${font}`; return measure.measureText(words).width; };
    const full = Math.max(Number(inner.getAttribute("width")), Math.min(420, widthOf(title, 13) + 20));
    const type = { "font-family": font, fill: ink };
    put("title", {}, title);
    const back = put("rect", { x: 0, y: 0, fill: ground });
    const rows = [];
    title.split(" ").forEach((word) => {
      const longer = rows.length ? `${rows[rows.length - 1]} ${word}` : word;
      if (!rows.length || widthOf(longer, 13) > full - 20) rows.push(word);
      else rows[rows.length - 1] = longer;
    });
    rows.forEach((row, k) => put("text", { ...type, x: 10, y: 20 + 17 * k, "font-size": 13, "font-weight": 600 }, row));
    const top = 17 * rows.length + 14;
    inner.setAttribute("y", top);
    made.append(inner);
    let [x, y] = [10, top + Number(inner.getAttribute("height")) + 8];
    legend.forEach((key) => {
      const room = key.colour ? (key.width ? 32 : 20) : 0;
      const wide = room + widthOf(key.label, 11) + 18;
      if (x > 10 && x + wide > full) { x = 10; y += 18; }
      if (key.colour) {
        const sample = V.sample(key);
        sample.setAttribute("x", x);
        sample.setAttribute("y", y);
        made.append(sample);
      }
      put("text", { ...type, x: x + room, y: y + 10, "font-size": 11 }, key.label);
      x += wide;
    });
    const height = y + (legend.length ? 24 : 0);
    Object.entries({ width: full, height, viewBox: `0 0 ${full} ${height}` }).forEach(([key, value]) => made.setAttribute(key, value));
    back.setAttribute("width", full);
    back.setAttribute("height", height);
    return new XMLSerializer().serializeToString(made);
  };

  // -- reading with the keyboard --------------------------------------------------------------
  // Everything in a drawing that has words, with its place in the element's pixels.
  V.spots = (view) => {
    const found = [];
    const [left, top] = view.origin();
    const pad = view.padding();
    let layer = 0;
    const visit = (mark, x, y) => mark.items.forEach((item) => {
      if (mark.marktype === "group") {
        item.items.forEach((child) => { layer += 1; visit(child, x + (item.x || 0), y + (item.y || 0)); });
      } else if (item.tooltip && item.datum && (item.datum.lines || item.datum.i !== undefined)) {
        found.push({ x: x + item.x + (item.width || 0) / 2, y: y + item.y + (item.height || 0) / 2, layer, datum: item.datum });
      }
    });
    visit(view.scenegraph().root, left + pad.left, top + pad.top);
    return found;
  };
  const readable = (holder, view) => {
    const live = document.createElement("div");
    live.className = "unseen";
    live.setAttribute("aria-live", "polite");
    const ring = document.createElement("i");
    ring.className = "ring";
    ring.hidden = true;
    holder.append(ring, live);
    const taken = new Set();
    const spots = V.spots(view).filter((spot) => {
      // A number written on a square is the same spot as the square.
      const key = [spot.x, spot.y, ...(spot.datum.lines || [])].join("|");
      return Number.isFinite(spot.x) && Number.isFinite(spot.y) && !taken.has(key) && taken.add(key);
    });
    spots.sort((a, b) => b.layer - a.layer); // what is drawn on top (values) before what lies below (controls)
    if (!spots.length) return false;
    const series = (spot) => spot.datum.lines[0];
    let at = -1;
    const leave = () => { ring.hidden = true; V.hideTip(); };
    const other = (step) => {
      // The nearest point of the series before or after this one.
      const names = [...new Set(spots.map(series))];
      const name = names[names.indexOf(series(spots[at])) + step];
      if (name === undefined) return at;
      const away = (k) => Math.abs(spots[k].x - spots[at].x) + 1e-3 * Math.abs(spots[k].y - spots[at].y);
      return [...spots.keys()].filter((k) => series(spots[k]) === name).reduce((a, b) => (away(b) < away(a) ? b : a));
    };
    holder.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { leave(); return; }
      const moves = {
        ArrowRight: () => Math.min(spots.length - 1, at + 1), ArrowLeft: () => Math.max(0, at - 1),
        ArrowUp: () => (at < 0 ? 0 : other(-1)), ArrowDown: () => (at < 0 ? 0 : other(1)),
        Home: () => 0, End: () => spots.length - 1,
      };
      if (!moves[event.key]) return;
      event.preventDefault();
      at = moves[event.key]();
      const { x, y, datum } = spots[at];
      const drawn = holder.querySelector("canvas");
      const box = drawn.getBoundingClientRect();
      ring.hidden = false;
      ring.style.left = `${drawn.offsetLeft + x - 8}px`;
      ring.style.top = `${drawn.offsetTop + Math.min(Math.max(y, 0), box.height) - 8}px`;
      live.textContent = datum.lines.join("; ");
      V.showTip(datum.lines, box.left + x, box.top + y);
    });
    holder.addEventListener("blur", leave);
    return true;
  };

  // Called for every drawn chart.
  V.dress = (holder, view, { legend, about, keys }) => {
    const name = V.nameOf(holder);
    holder.classList.add("drawing");
    holder.voxView = view;
    const reads = keys && readable(holder, view);
    if (reads) holder.tabIndex = 0;
    holder.dataset.key = `drawing-${name}`;
    holder.setAttribute("role", reads ? "application" : "img");
    holder.setAttribute("aria-label", reads ? `${name}; arrow keys read the points` : name);
    const title = [name, about].filter(Boolean).join(": ");
    const save = async () => V.save(V.fileName(title, "svg"), "image/svg+xml", framed(await view.toSVG(), title, legend));
    const tools = document.createElement("div");
    tools.className = "tools";
    const button = V.tool("SVG", `Download as SVG: ${name}`, save);
    button.dataset.key = `svg-${name}`;
    tools.append(button);
    holder.after(tools);
  };

  // Pictures that came with the page.
  V.dressPictures = () => document.querySelectorAll("main figure > img").forEach((picture) => {
    const [head, held] = picture.src.split(",");
    if (!head.startsWith("data:image/svg+xml;base64")) return;
    const name = picture.alt || V.nameOf(picture);
    const save = () => {
      const bytes = Uint8Array.from(atob(held), (c) => c.charCodeAt(0));
      V.save(V.fileName(heading(picture) || name, "svg"), "image/svg+xml", bytes);
    };
    const tools = document.createElement("div");
    tools.className = "tools";
    tools.append(V.tool("SVG", `Download as SVG: ${name}`, save));
    picture.after(tools);
  });
})();
