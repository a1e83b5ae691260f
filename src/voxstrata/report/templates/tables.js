"use strict";
// Every table can be sorted by a column and saved as csv.
(() => {
  const V = window.voxstrata;
  const NOTHING = new Set(["", "–", "none", "not run", "not known", "no value", "no interval", "unknown"]);
  const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  const flat = (text) => text.replace(/\s+/g, " ").trim();
  // What a cell says first: small print below it does not count.
  // `data-value` holds more digits than are shown.
  const said = (cell) => {
    if (cell.dataset.value) return cell.dataset.value;
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("small").forEach((e) => e.remove());
    return flat(copy.textContent) || flat(cell.textContent);
  };
  const numberIn = (text) => {
    const found = /^[<>≈†+]?\s*([-−]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:e[-+−]?\d+)?)(?![\w.])/i.exec(text);
    if (!found || !/\d/.test(found[1])) return NaN;
    return Number(found[1].replace(/,/g, "").replace(/−/g, "-"));
  };
  const sort = (table, column, direction) => {
    const bodies = [...table.tBodies].filter((body) => !body.classList.contains("published"));
    const cells = bodies.flatMap((body) => [...body.rows]).map((row) => row.cells[column]).filter(Boolean);
    const known = cells.map(said).filter((text) => !NOTHING.has(text));
    const numeric = known.length > 0 && known.every((text) => Number.isFinite(numberIn(text)));
    bodies.forEach((body) => {
      const rows = [...body.rows];
      rows.forEach((row, k) => { if (row.voxAt === undefined) row.voxAt = k; });
      const key = (row) => {
        const text = row.cells[column] ? said(row.cells[column]) : "";
        return NOTHING.has(text) ? null : numeric ? numberIn(text) : text;
      };
      const held = new Map(rows.map((row) => [row, key(row)]));
      rows.sort((a, b) => {
        if (direction === "none") return a.voxAt - b.voxAt;
        const [x, y] = [held.get(a), held.get(b)];
        // What has no value stands last, whichever way.
        if (x === null || y === null) return (x === null) - (y === null) || a.voxAt - b.voxAt;
        const by = numeric ? x - y : order.compare(x, y);
        return (direction === "ascending" ? by : -by) || a.voxAt - b.voxAt;
      });
      body.append(...rows);
    });
  };

  // Spreadsheets run text that starts so; a name of a model or recording must not.
  const NUMBER = /^[-+][\d.,]+(e[-+]?\d+)?( [^=|!@+*/&]*)?$/i;
  const harmless = (text) => (/^[-=+@\t\r]/.test(text) && !NUMBER.test(text) ? `'${text}` : text);
  const cellText = (cell) => {
    if (cell.dataset.value) return cell.dataset.value;
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("small").forEach((e) => e.replaceWith(` (${e.textContent})`));
    copy.querySelectorAll("br").forEach((e) => e.replaceWith("; "));
    const text = flat(copy.textContent).replace(/^−(?=[\d.])/, "-");
    return /^-?\d{1,3}(,\d{3})+(\.\d+)?$/.test(text) ? text.replace(/,/g, "") : text;
  };
  V.csv = (table) => [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].filter((cell) => !cell.hidden).map((cell) => {
    const text = harmless(cellText(cell));
    return /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  }).join(",")).join("\r\n") + "\r\n";

  const nameOf = (table) => {
    const fold = table.closest("details");
    const of = V.headingOf(table);
    const summary = fold ? flat(fold.querySelector("summary").textContent) : "";
    return [of, summary].filter(Boolean).join(": ") || "table";
  };
  V.dressTable = (table) => {
    if (table.voxDressed) return;
    table.voxDressed = true;
    const name = nameOf(table);
    table.setAttribute("aria-label", name);
    const heads = table.tHead && table.tHead.rows.length === 1 ? [...table.tHead.rows[0].cells] : [];
    const rows = [...table.tBodies].reduce((sum, body) => sum + body.rows.length, 0);
    if (rows > 1) {
      heads.forEach((head, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "sort";
        button.append(...head.childNodes);
        head.append(button);
        head.setAttribute("aria-sort", "none");
        button.addEventListener("click", () => {
          const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")];
          heads.forEach((h) => h.setAttribute("aria-sort", "none"));
          head.setAttribute("aria-sort", next);
          sort(table, column, next);
        });
      });
    }
    const tools = document.createElement("div");
    tools.className = "tools";
    tools.append(V.tool("csv", `Download as csv: ${name}`, () => V.save(V.fileName(name, "csv"), "text/csv", V.csv(table))));
    (table.closest(".scroll") || table).after(tools);
  };
  V.dressTables = () => document.querySelectorAll("main table").forEach(V.dressTable);
})();
