// The explorer: state, what follows from it, and the parts that show it.

function startExplorer(data, root) {
  const values = (axis) => Float64Array.from(axis.values, number);
  const axes = data.axes.map((axis) => ({ ...axis, values: values(axis) }));
  const model = {
    data, axes, points: data.points, groups: groupsOf(axes),
    marks: new Map(data.allocators.map((mark) => [mark.name, mark])),
    costs: axes.map((axis, a) => [axis, a]).filter(([axis]) => axis.kind === "cost"),
    every: data.points.number.map((_, i) => i),
    sourceNames: Object.keys(data.sources).filter((name) => name !== "fixed"),
    errorOf: (axis, i) => number((Array.isArray(axis.errors) ? axis.errors[i] : axis.errors) ?? null),
  };
  const count = data.points.number.length;
  const firstLimited = data.budgets.flatMap((b) => b.limits.map(([a]) => a)).find((a) => axes[a].kind === "cost");
  const state = {
    x: String(firstLimited ?? (model.costs.length ? model.costs[0][1] : axes.length - 1)), y: "0", logX: false, logY: false, whole: false, fit: false,
    byLoss: false, predicted: true, limits: [], hidden: new Set(), hiddenDevices: new Set(), visible: [], best: -1, open: -1, axis: null,
    suggestLog(key) {
      const members = state[key].startsWith("g") ? model.groups[Number(state[key].slice(1))].members.map(([, a]) => axes[a]) : [axes[Number(state[key])]];
      const found = members.flatMap((axis) => Array.from(axis.values).filter(Number.isFinite));
      const least = Math.min(...found);
      state["log" + key.toUpperCase()] = ["cost", "loss"].includes(members[0].kind) && least > 0 && Math.max(...found) / least > 30;
    },
  };
  state.suggestLog("x");

  const plot = make("div", { id: "plot", tabindex: "0", role: "application", "aria-roledescription": "plot", "aria-describedby": "plot-how" });
  const tip = make("div", { id: "tip", role: "status", hidden: true });
  const frame = make("div", { class: "plot" }, plot, tip);
  const picked = make("p", { id: "picked", "aria-live": "polite" });
  const command = make("p", { class: "note", id: "pick-command" });
  const omitted = make("p", { class: "note", id: "omitted" });
  const panel = make("aside", { id: "point", tabindex: "0", hidden: true, "aria-labelledby": "point-title" });
  const limits = limitControls(model, state, changed), legend = legends(model, state, changed);
  const csv = make("button", { type: "button", id: "csv", on: { click: () => save(data.stem + "-points.csv", pointsFile(model, state.visible), "text/csv") } }, "Save these points (CSV)");
  const how = make("p", { class: "note", id: "plot-how" }, "Point at a mark for its numbers, click it for all about it. By keyboard: arrow keys walk along the front, Enter opens. Limits filter the plot and the table; a slider stops at each measured value.");
  root.append(axisControls(model, state, changed), legend.node, make("div", { class: "stage" }, make("div", { class: "left" }, frame, omitted, picked, command, make("div", { class: "controls" }, csv), how), panel, limits.node));
  root.hidden = false;

  let drawn = null, opener = null, cursor = -1, pending = 0, slower = 0;
  const table = pointsTable(model, open);
  const details = pointPanel(model, panel, table, close);

  function derive() {
    state.visible = [];
    for (let i = 0; i < count; i += 1) if (!state.hidden.has(data.points.allocator[i]) && insideAll(axes, state.limits, i)) state.visible.push(i);
    const limited = state.limits.length > 0 || state.hidden.size > 0;
    state.best = limited ? bestOf(axes, state.limits, state.visible, data.points.number) : -1;
    const shownAxis = chosenAxis(axes, model.groups, state.x);
    state.axis = shownAxis.group ? shownAxis.group.members[0][1] : Number(state.x);
  }

  function render() {
    drawn = drawPlot(model, plot, state);
    drawn.hasReference = [drawn.x, drawn.y].some((axis) => ["score", "test"].includes(axis.kind) && Number.isFinite(data.reference[axis.kind] ?? NaN));
    drawn.byLoss = state.byLoss && plot.querySelector(".by-loss") !== null;
    plot.setAttribute("aria-label", `${drawn.y.label} against ${drawn.x.label}: ${new Set(drawn.drawn.map((p) => p.i)).size} points, ${drawn.drawn.filter((p) => p.front).length} on the front`);
    const said = [];
    if (drawn.below) said.push(`${drawn.below} ${drawn.below === 1 ? "mark lies" : "marks lie"} beyond the frame (arrows at its edge); "whole range" shows them.`);
    if (drawn.unplaced) said.push(`${drawn.unplaced} of the points ${drawn.unplaced === 1 ? "has" : "have"} no value on these axes${state.logX || state.logY ? " (or none above 0, on a log scale)" : ""} and ${drawn.unplaced === 1 ? "is" : "are"} not drawn.`);
    const tied = data.tied ? "" : "; layers that must share a width can only raise it";
    if (drawn.ofScores && state.predicted) {
      if (drawn.predicted) said.push("Dotted: the score to expect of the widths with the smallest expected loss at that cost, " + data.predictedScores.said);
      else if (data.predictedScores.refused) said.push("No score is predicted along the tables' front: " + data.predictedScores.refused + ".");
    } else if (drawn.predicted) said.push("Dotted: no widths have a smaller expected loss at that cost, by the run's tables for plain quantisers" + tied + ". Trials whose quantisers have a loss table of their own may lie below.");
    if (drawn.byLoss) said.push("Dotted: the measured scores of the points with the smallest expected loss at their cost.");
    omitted.textContent = said.join(" ");
    legend.show(drawn);
  }

  function say() {
    const limited = state.limits.length > 0 || state.hidden.size > 0;
    command.textContent = state.limits.length && !state.hidden.size && state.best >= 0 ? "The same on the command line (RUN is the run folder): " + pickCommand(axes, state.limits) : "";
    if (!limited) picked.textContent = `${count.toLocaleString("en-GB")} measured points.`;
    else if (state.best < 0) picked.textContent = "No measured point is inside these limits. " + nearest();
    else {
      const i = state.best, interval = data.points.interval[i];
      const costs = state.limits.filter(([a]) => a).map(([a]) => axes[a].label + " " + quantity(axes[a], axes[a].values[i])).join(", ");
      picked.textContent = `${state.visible.length.toLocaleString("en-GB")} of ${count.toLocaleString("en-GB")} points are inside; the best by validation is ${data.points.name[i]} with ${quantity(axes[0], axes[0].values[i])}` +
        (interval ? ` (95 % interval ${interval.map((v) => figure(axes[0], v)).join(" to ")} ${axes[0].unit})` : "") + (costs ? `: ${costs}` : "") + ".";
    }
  }

  // for each limit the nearest value where the others hold, or failing that at all
  function nearest() {
    return state.limits.map(([a]) => {
      const others = state.limits.filter(([b]) => b !== a);
      const every = [...Array(count).keys()].filter((i) => !state.hidden.has(data.points.allocator[i]) && Number.isFinite(axes[a].values[i]));
      const reach = (all) => all.reduce((best, i) => (best < 0 || minimised(axes[a], i) < minimised(axes[a], best) ? i : best), -1);
      const given = reach(every.filter((i) => insideAll(axes, others, i))), alone = reach(every);
      if (alone < 0) return `Nothing measured has ${axes[a].label}.`;
      const i = given < 0 ? alone : given;
      return `${axes[a].label}: the nearest ${given < 0 || !others.length ? "of all" : "where the other limits hold"} is ${quantity(axes[a], axes[a].values[i])} (${data.points.name[i]}).`;
    }).join(" ");
  }

  function changed() {
    derive();
    limits.show();
    root.setAttribute("aria-busy", "true");
    if (pending) return;
    pending = requestAnimationFrame(() => {
      pending = 0;
      render();
      say();
      clearTimeout(slower);
      slower = setTimeout(() => {
        table.show(state);
        if (state.open >= 0) details.show(state.open, state);
        root.removeAttribute("aria-busy");
      }, 100); // a long table is laid out anew once a slider rests, not at each of its steps
    });
  }

  function open(i, from) {
    opener = from || plot;
    state.open = i;
    const title = details.show(i, state);
    root.classList.add("opened");
    render();
    table.show(state);
    title.focus({ preventScroll: true });
    if (from) panel.scrollIntoView({ block: "nearest" });
  }

  function close() {
    state.open = -1;
    panel.hidden = true;
    root.classList.remove("opened");
    render();
    table.show(state);
    if (opener && opener.isConnected) opener.focus();
  }

  function point(mark) {
    if (!mark) { tip.hidden = true; return; }
    const i = mark.i, ax = axes[mark.s.x], ay = axes[mark.s.y], interval = data.points.interval[i];
    const most = mostBits(data);
    const lines = [ay, ax, ...(ay !== axes[0] && ax !== axes[0] ? [axes[0]] : [])].map((axis) => make("div", null, axis.label + ": " + quantity(axis, axis.values[i]) + (axis === axes[0] && interval ? " (" + interval.map((v) => figure(axis, v)).join(" to ") + ")" : "")));
    const chosen = chosenOptions(model, i).map((option) => formatsOf(model, option));
    const strip = chosen.length ? make("table", { class: "strip" }, [["W", 0], ["A", 1]].map(([head, k]) => make("tr", null, make("th", { scope: "row" }, head), chosen.slice(0, 32).map((pair) => bitsCell(pair[k], most))))) : null;
    tip.replaceChildren(make("strong", null, data.points.name[i]), ...lines, strip || "", ...(chosen.length > 32 ? [make("div", null, `the first 32 of ${chosen.length} layers`)] : []));
    tip.hidden = false;
    const box = frame.getBoundingClientRect(), svg = plot.querySelector("svg").getBoundingClientRect();
    const k = svg.width / plot.querySelector("svg").viewBox.baseVal.width;
    const left = svg.left - box.left + mark.x * k, top = svg.top - box.top + mark.y * k;
    tip.style.left = Math.max(0, Math.min(left + 14, box.width - tip.offsetWidth - 2)) + "px";
    tip.style.top = (top + 16 + tip.offsetHeight > box.height ? Math.max(0, top - tip.offsetHeight - 14) : top + 16) + "px";
  }

  function under(event) {
    const svg = plot.querySelector("svg"), box = svg.getBoundingClientRect(), k = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * k, y = (event.clientY - box.top) * k;
    let best = null, least = (15 * drawn.rem) ** 2;
    for (const mark of drawn.drawn) {
      const d = (mark.x - x) ** 2 + (mark.y - y) ** 2 - (mark.front ? 9 * drawn.rem ** 2 : 0);
      if (d <= least) { best = mark; least = d; }
    }
    return best;
  }

  plot.addEventListener("pointermove", (event) => { const mark = under(event); plot.style.cursor = mark ? "pointer" : ""; point(mark); });
  plot.addEventListener("pointerleave", () => point(null));
  plot.addEventListener("click", (event) => { const mark = under(event); if (mark) open(mark.i, null); });
  plot.addEventListener("blur", () => point(null));
  plot.addEventListener("keydown", (event) => {
    const walk = drawn.drawn.filter((mark) => mark.front);
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
    if (event.key === "Escape") return point(null);
    if (!walk.length) return;
    if (event.key === "Enter" && walk[cursor]) open(walk[cursor].i, null);
    else if (event.key === "Home") cursor = 0;
    else if (event.key === "End") cursor = walk.length - 1;
    else if (steps[event.key]) cursor = Math.max(0, Math.min(walk.length - 1, cursor + (cursor < 0 ? 1 : steps[event.key])));
    else return;
    event.preventDefault();
    point(walk[Math.min(cursor, walk.length - 1)]);
  });
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  new ResizeObserver(() => { if (drawn) { point(null); render(); } }).observe(frame);
  derive();
  limits.show();
  render();
  say();
  table.show(state);
}

// the points as CSV, in stored units, which the header names
function pointsFile(model, visible) {
  const quoted = (text) => (/[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
  const known = (value) => (Number.isNaN(value) ? "" : Number.isFinite(value) ? String(value) : "inf");
  const ends = model.points.interval;
  const head = ["trial", "allocator", ...model.axes.map((axis) => axis.label + (axis.stored ? " [" + axis.stored + "]" : "")), "95% low", "95% high", "allocation"];
  const lines = visible.map((i) => [
    String(model.points.number[i]), model.points.allocator[i], ...model.axes.map((axis) => known(axis.values[i])), ...(ends[i] ? ends[i].map(String) : ["", ""]),
    chosenOptions(model, i).map((option, k) => (option ? model.data.layers[k] + "=" + model.data.options[option] : "")).filter(Boolean).join(" "),
  ]);
  return [head, ...lines].map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}
