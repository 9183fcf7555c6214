// The table of all points: sorting, filtering, walking through its rows by keyboard.

function pointsTable(model, open) {
  const table = document.getElementById("points");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows).sort((a, b) => a.dataset.i - b.dataset.i);
  const heads = Array.from(table.tHead.rows[0].cells);
  const axis = (kind) => model.axes.find((one) => one.kind === kind);
  const bits = model.axes.filter((one) => one.kind === "bits");
  const nothing = { values: new Float64Array(rows.length) };
  const columns = [
    { values: model.points.number }, null, model.axes[0], { values: model.points.interval.map((v) => (v ? v[0] : NaN)) },
    axis("test") || nothing, bits[0] || nothing, bits[1] || nothing, ...model.axes.filter((one) => one.kind === "cost"),
  ];
  rows.forEach((row) => { row.tabIndex = -1; });
  let focused = rows[0];
  focused.tabIndex = 0;

  function sort(column, head) {
    const descending = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const sign = descending ? -1 : 1, values = columns[column] && columns[column].values;
    const order = [...rows].sort((a, b) => {
      if (!values) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
      const x = values[a.dataset.i], y = values[b.dataset.i];
      const last = Number(!Number.isFinite(x)) - Number(!Number.isFinite(y)); // what cannot run or was not measured: last, either way
      return last || sign * (x - y) || a.dataset.i - b.dataset.i;
    });
    body.append(...order);
  }

  function move(to) {
    if (!to) return;
    focused.tabIndex = -1;
    focused = to;
    focused.tabIndex = 0;
    focused.focus();
  }

  function beside(row, step) {
    let next = row;
    do next = step > 0 ? next.nextElementSibling : next.previousElementSibling; while (next && next.hidden);
    return next;
  }

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column, head)));
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!row || String(getSelection())) return;
    move(row);
    open(Number(row.dataset.i), row);
  });
  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    if (row !== focused) move(row);
    if (event.key === "Enter" || event.key === " ") open(Number(row.dataset.i), row);
    else if (event.key === "ArrowDown") move(beside(row, 1));
    else if (event.key === "ArrowUp") move(beside(row, -1));
    else return;
    event.preventDefault();
  });

  return {
    cell: (i, column) => rows[i].cells[column].textContent,
    last: heads.length - 1,
    show(state) {
      const visible = new Set(state.visible);
      rows.forEach((row, i) => {
        if (row.hidden === visible.has(i)) row.hidden = !visible.has(i);
        row.classList.toggle("best", i === state.best);
        if (i === state.open) row.setAttribute("aria-current", "true");
        else row.removeAttribute("aria-current");
      });
      if (focused.hidden && state.visible.length) {
        focused.tabIndex = -1;
        focused = Array.from(body.rows).find((row) => !row.hidden);
        focused.tabIndex = 0;
      }
    },
  };
}
