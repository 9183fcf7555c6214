// The controls above the plot: axes, limits with sliders, legends.

function axisControls(model, state, changed) {
  const choices = [
    ...model.axes.map((axis, a) => [String(a), axis.label]),
    ...model.groups.map((group, g) => ["g" + g, group.name + ", each accelerator"]),
  ];
  const choose = (key, text) => make("label", null, text, make("select", { id: "axis-" + key, on: { change: (event) => { state[key] = event.target.value; state.suggestLog(key); log[key].querySelector("input").checked = state["log" + key.toUpperCase()]; changed(); } } },
    choices.map(([value, label]) => make("option", { value, selected: value === state[key] }, label))));
  const check = (id, text, key) => make("label", { class: "check" }, make("input", { type: "checkbox", id, checked: state[key], on: { change: (event) => { state[key] = event.target.checked; changed(); } } }), text);
  const log = { x: check("log-x", "log", "logX"), y: check("log-y", "log", "logY") };
  return make("div", { class: "controls axes" }, choose("y", "vertical axis"), log.y, choose("x", "horizontal axis"), log.x, check("whole", "whole range", "whole"), check("fit", "fit to the points inside", "fit"),
    Object.keys(model.data.predicted).length ? check("predicted", "predicted front", "predicted") : null,
    model.axes.some((axis) => axis.kind === "loss") ? check("by-loss", "what expected loss alone would choose", "byLoss") : null);
}

// one limit: slider over the measured values, number box with unit, clear
function limitControl(model, state, a, changed) {
  const axis = model.axes[a], upper = axis.lower;
  const stops = [...new Set(Array.from(axis.values).filter(Number.isFinite))].sort((p, q) => (upper ? p - q : q - p)); // tight to loose
  if (stops.length < 2) return null;
  const name = axis.label + (upper ? " at most" : " at least");
  const range = make("input", { type: "range", min: 0, max: stops.length, step: 1, "aria-label": name + ", slider", id: "slider-" + a });
  const box = make("input", { type: "number", step: "any", inputmode: "decimal", "aria-label": name + (axis.unit ? ", in " + axis.unit : ""), id: "limit-" + a });
  const clear = make("button", { type: "button", "aria-label": "Clear the limit on " + axis.label, title: "clear" }, "✕");
  const row = make("div", { class: "limit" }, make("span", { class: "name", title: name }, axis.label + (upper ? " ≤" : " ≥")), box, make("span", { class: "unit" }, axis.unit || ""), clear, range);

  function show() {
    const limit = state.limits.find(([other]) => other === a);
    range.setAttribute("aria-valuetext", limit ? quantity(axis, limit[1]) : "no limit");
    row.classList.toggle("set", Boolean(limit));
    clear.disabled = !limit;
    if (document.activeElement !== box) box.value = limit ? Number((limit[1] / axis.factor).toPrecision(6)) : "";
    if (document.activeElement !== range || !limit) {
      const count = limit ? stops.filter((v, i) => (upper ? v <= limit[1] * (1 + 1e-9) : v >= limit[1] * (1 - 1e-9))).length : stops.length + 1;
      range.value = count - 1;
    }
  }
  function set(value) {
    const at = state.limits.findIndex(([other]) => other === a);
    const wanted = value !== null && Number.isFinite(value) ? [[a, value]] : [];
    state.limits.splice(at < 0 ? state.limits.length : at, at < 0 ? 0 : 1, ...wanted); // the first that was set stays the first
    changed();
  }
  range.addEventListener("input", () => {
    const k = Number(range.value);
    set(k >= stops.length ? null : loosened(stops[k], axis.factor, upper) * axis.factor);
  });
  box.addEventListener("input", () => set(box.value === "" ? null : Number(box.value) * axis.factor));
  clear.addEventListener("click", () => { box.value = ""; set(null); box.focus(); });
  return { row, show };
}

function limitControls(model, state, changed) {
  const limited = model.axes.map((axis, a) => a).filter((a) => ["score", "cost"].includes(model.axes[a].kind));
  const made = limited.map((a) => limitControl(model, state, a, changed)).filter(Boolean);
  const preset = make("select", { id: "preset", on: { change: (event) => {
    if (event.target.value === "") return;
    state.limits = model.data.budgets[Number(event.target.value)].limits.map(([a, value]) => [a, value]);
    changed();
  } } }, make("option", { value: "" }, "–"), model.data.budgets.map((budget, k) => make("option", { value: k }, budget.name)));
  const clear = make("button", { type: "button", id: "clear", on: { click: () => { state.limits = []; changed(); } } }, "clear all limits");
  const node = make("fieldset", { class: "limits" }, make("legend", null, "Limits"),
    make("div", { class: "controls" }, model.data.budgets.length ? make("label", null, "take those of a budget of the sweep", preset) : null, clear),
    make("div", { class: "sliders" }, made.map((one) => one.row)));
  return {
    node,
    show() {
      made.forEach((one) => one.show());
      clear.disabled = !state.limits.length;
      const same = model.data.budgets.findIndex((b) => b.limits.length === state.limits.length && b.limits.every(([a, v]) => state.limits.some(([c, w]) => a === c && v === w)));
      preset.value = same < 0 ? "" : String(same);
    },
  };
}

function legends(model, state, changed) {
  const toggle = (hidden, name, glyph, text) => {
    const button = make("button", { type: "button", class: "key", "aria-pressed": "true", on: { click: () => {
      if (hidden.has(name)) hidden.delete(name); else hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      changed();
    } } }, glyph, text);
    return button;
  };
  const glyph = (d, fill, stroke) => draw("svg", { viewBox: "0 0 16 16", class: "glyph", "aria-hidden": "true" }, draw("path", { d, fill, stroke, "stroke-width": 1.5 }));
  const line = (dash, colour) => draw("svg", { viewBox: "0 0 26 16", class: "glyph long", "aria-hidden": "true" }, draw("path", { d: "M1 8H25", fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash }));
  const marks = [...model.marks].map(([name, mark]) => toggle(state.hidden, name, glyph(shape(mark.shape, 8, 8, 5), name === "uniform" ? "#fff" : mark.colour, mark.colour), name + " (" + model.points.allocator.filter((n) => n === name).length + ")"));
  const still = (icon, text) => make("span", { class: "key still" }, icon, text);
  const node = make("div", { class: "legend", role: "group", "aria-label": "Legend: a button hides or shows its points" });
  return {
    node,
    show(drawn) {
      const several = seriesOf(drawn.x, drawn.y).filter((s) => s.device);
      const devices = several.map((s) => {
        const button = toggle(state.hiddenDevices, s.device, glyph("M3 3H13V13H3Z", s.colour, s.colour), s.device);
        button.setAttribute("aria-pressed", String(!state.hiddenDevices.has(s.device)));
        return button;
      });
      const focus = document.activeElement && node.contains(document.activeElement) ? document.activeElement.textContent : null;
      const box = { count: drawn.drawn.length };
      node.replaceChildren(...marks, ...devices, ...(box.count ? [still(line("", "#1f2933"), "front")] : []),
        ...(drawn.hasReference ? [still(line("6 4", "#5b6773"), "FP32")] : []),
        ...(drawn.predicted ? [still(line("2 3", "#a8458b"), drawn.ofScores ? "predicted from the tables" : "least expected loss by the tables")] : []),
        ...(drawn.byLoss ? [still(line("2 3", "#a8458b"), "chosen by expected loss")] : []));
      if (focus) [...node.querySelectorAll("button")].find((b) => b.textContent === focus)?.focus();
    },
  };
}
