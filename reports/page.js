"use strict";
// Sorting and filtering of the table of points. Without this script the page still shows everything.
(function () {
  const table = document.getElementById("points");
  const form = document.getElementById("limits");
  if (!table || !form) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const picked = document.getElementById("picked");
  const higher = table.dataset.better === "higher";
  const SCORE = 2;

  // a cell's number; an empty data-v (cannot run, not measured) is NaN
  const value = (row, column) => {
    const text = row.cells[column].dataset.v;
    return text === undefined || text === "" ? NaN : Number(text);
  };

  // by score; ties go to the cheaper on the first limited cost, then to the earlier trial, as in hwdse.reports.pick
  function better(row, best, inputs) {
    const gain = (value(row, SCORE) - value(best, SCORE)) * (higher ? 1 : -1);
    if (gain !== 0) return gain > 0;
    const cost = inputs.find((box) => Number(box.dataset.column) !== SCORE);
    const column = cost ? Number(cost.dataset.column) : SCORE + 5; // the first cost
    const saved = (value(best, column) - value(row, column)) * (cost && cost.dataset.upper === "0" ? -1 : 1);
    return saved ? saved > 0 : value(row, 0) < value(best, 0);
  }

  function filter() {
    const inputs = Array.from(form.querySelectorAll("input")).filter((box) => box.value !== "");
    const allocator = form.querySelector("select").value;
    let best = null;
    let shown = 0;
    for (const row of rows) {
      const inside = (!allocator || row.dataset.allocator === allocator) && inputs.every((box) => {
        const found = value(row, Number(box.dataset.column));
        const limit = Number(box.value);
        return box.dataset.upper === "1" ? found <= limit : found >= limit; // NaN is never inside
      });
      row.hidden = !inside;
      row.classList.remove("best");
      if (!inside) continue;
      shown += 1;
      if (best === null || better(row, best, inputs)) best = row;
    }
    const limited = inputs.length > 0 || allocator;
    if (best && limited) best.classList.add("best");
    const name = best && best.cells[0].textContent + " " + best.cells[1].textContent;
    const score = best && heads[SCORE].textContent.trim() + " " + best.cells[SCORE].textContent;
    picked.textContent = !limited ? "" : best
      ? shown + " of " + rows.length + " points are inside; the best by validation is " + name + " (" + score + ")."
      : "No measured point is inside these limits.";
  }

  function sort(column, head) {
    const descending = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const numbers = rows.some((row) => row.cells[column].dataset.v !== undefined);
    const sign = descending ? -1 : 1;
    rows.sort((a, b) => {
      if (!numbers) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
      const x = value(a, column), y = value(b, column);
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y); // unmeasured last, either way
      return sign * (x - y);
    });
    body.append(...rows);
  }

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column, head)));
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
})();
