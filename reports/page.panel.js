// One point: its widths layer by layer, what each costs and how that is known, the room in every budget, the command, the files.

function shade(bits, most) {
  const t = Math.min(1, Math.max(0, (bits - 1) / Math.max(most - 1, 1)));
  const mix = [[232, 241, 250], [8, 64, 112]].reduce((from, to) => from.map((c, k) => Math.round(c + t * (to[k] - c))));
  const linear = mix.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return { background: `rgb(${mix.join(",")})`, color: light > 0.2 ? "#1f2933" : "#fff" };
}

// A format's label and its bits; [] where the record holds none.
function bitsCell([label, bits], most) {
  const cell = make("td", { class: "bits" }, label || "–");
  if (bits) Object.assign(cell.style, shade(bits, most));
  return cell;
}

function chosenOptions(model, i) {
  const text = model.points.allocation[i];
  return text ? decoded(text, model.data.options.length > 64) : [];
}

const formatsOf = (model, option) => model.data.operands[option] || [[], []];
const mostBits = (data) => Math.max(...data.operands.filter(Boolean).flat().map(([, bits]) => bits));

function sourceFill(model, source, node) {
  const colours = { conversions: { colour: "#8c6d1f", hatch: "/" } };
  const { colour, hatch } = model.data.sources[source] || colours[source] || { colour: "#66727f", hatch: "" };
  const line = "rgba(255,255,255,.65)";
  const hatches = {
    "/": `repeating-linear-gradient(45deg, ${line} 0 2px, transparent 2px 6px)`,
    x: `repeating-linear-gradient(45deg, ${line} 0 1.5px, transparent 1.5px 5px), repeating-linear-gradient(-45deg, ${line} 0 1.5px, transparent 1.5px 5px)`,
    ".": `radial-gradient(${line} 1.2px, transparent 1.4px) 0 0 / 5px 5px`,
  };
  node.style.background = (hatches[hatch] ? hatches[hatch] + ", " : "") + colour;
  return node;
}

// the table of the point's own quantisers, else that of plain weights: no table at all for codebooks whose own was not kept
function tableOf(model, i, axis) {
  const { data, points } = model, scheme = points.scheme[i] || "", own = axis.key + " " + scheme;
  const codebook = scheme.startsWith("codebook") && !Object.keys(data.tables).some((key) => key.endsWith(" " + scheme));
  if (data.left.includes(own) || (!data.tables[own] && data.left.includes(axis.key))) return { why: "The table is too large for this page; hwdse explain reads it from the run folder." };
  if (codebook) return { why: "This point holds its weights as indices into codebooks; the run keeps the tables of plain weights only, which cost otherwise. No breakdown is shown." };
  const table = data.tables[own] || data.tables[axis.key];
  return table ? { table } : { why: "The record holds no table of this." };
}

// {found} from the tables, or {why} not: a breakdown that does not add up to what the trial was costed at is not shown
function explained(model, i, axis) {
  const { table, why } = tableOf(model, i, axis);
  if (why) return { why };
  const chosen = chosenOptions(model, i);
  if (!chosen.length) return { why: "The record holds no widths of this point." };
  const found = breakdown(table, chosen, model.data.layers, model.sourceNames);
  if (!found) return { why: "The tables of the run do not have the widths of this point." };
  const measured = axis.values[i];
  if (found.total === measured || Math.abs(found.total - measured) <= 1e-5 * Math.abs(measured)) return { why: "", found };
  return { why: "The table of the run gives " + quantity(axis, found.total) + ", the trial was costed at " + quantity(axis, measured) + " by another table (" + (model.points.scheme[i] || "unknown quantisers") + "). No breakdown is shown." };
}

function costsTable(model, i) {
  const line = ([axis]) => {
    const error = model.errorOf(axis, i);
    const { why, found } = explained(model, i, axis);
    const sources = why || !Number.isFinite(axis.values[i]) ? [] : Object.entries(found.shares).filter(([, s]) => s > 0).sort((a, b) => b[1] - a[1]);
    const bar = make("span", { class: "bar", "aria-hidden": "true" }, sources.map(([name, s]) => {
      const part = sourceFill(model, name, make("i"));
      part.style.width = 100 * s + "%";
      return part;
    }));
    const words = sources.map(([name, s]) => name + " " + share(s)).join(", ");
    return make("tr", null, make("th", { scope: "row" }, axis.label), make("td", { class: "n" }, quantity(axis, axis.values[i])),
      make("td", { class: "n" }, !Number.isFinite(axis.values[i]) ? "–" : Number.isNaN(error) ? "unknown" : error ? "± " + quantity(axis, error) : "exact"), make("td", null, sources.length ? bar : null, words || "–"));
  };
  const rows = model.costs.map(line);
  return scrolling("Costs of the point", make("table", { class: "facts" }, make("thead", null, make("tr", null, ["cost", "value", "may be off by", "how it is known"].map((h, k) => make("th", { scope: "col", class: k === 1 || k === 2 ? "n" : null }, h)))), make("tbody", null, rows)));
}

function layersTable(model, i, axis) {
  const chosen = chosenOptions(model, i);
  if (!chosen.length) return make("p", { class: "note" }, "The record holds no widths of this point.");
  const most = mostBits(model.data);
  const { why, found } = axis ? explained(model, i, axis) : { why: "The run has no cost." };
  const finite = !why && Number.isFinite(found.total);
  const top = finite ? Math.max(...found.layers, found.fixed) || 1 : 1;
  const part = (value, source) => {
    const bar = make("span", { class: "bar", "aria-hidden": "true" }, sourceFill(model, source, make("i")));
    bar.firstChild.style.width = (100 * value) / top + "%";
    return [make("td", { class: "n" }, quantity(axis, value)), make("td", { class: "n" }, share(value / (found.total || 1))), make("td", { class: "wide" }, bar, source)];
  };
  const rows = model.data.layers.map((name, k) => {
    const [w, a] = formatsOf(model, chosen[k]);
    return make("tr", null, make("th", { scope: "row" }, name), bitsCell(w, most), bitsCell(a, most), finite ? (found.layers[k] ? part(found.layers[k], found.sources[k]) : [make("td", { class: "n" }, "–"), make("td"), make("td")]) : null);
  });
  if (finite && found.fixed) rows.push(make("tr", null, make("th", { scope: "row" }, "(no layer's)"), make("td"), make("td"), part(found.fixed, "fixed")));
  const heads = ["layer", "weights", "input", ...(finite ? [axis.label, "share", "how it is known"] : [])];
  const said = why || (Number.isFinite(found.total) ? (found.row ? "The largest of several sums: " + found.row + "; layers that add nothing to it have a dash." : "") : axis.on + " cannot run these widths.");
  return make("div", null, said ? make("p", { class: "note" }, said) : null, scrolling("Layers of the point", make("table", { class: "facts layers" },
    make("thead", null, make("tr", null, heads.map((h, k) => make("th", { scope: "col", class: k === 3 || k === 4 ? "n" : null }, h)))), make("tbody", null, rows))));
}

const STANDS = { met: ["✓", "in"], "at risk": ["!", "doubt"], "error unknown": ["?", "doubt"], over: ["✗", "out"] };

function budgetsTable(model, i, limits) {
  const mine = limits.length ? [{ name: "your limits", limits }] : [];
  const rows = [...mine, ...model.data.budgets].flatMap((budget) => budget.limits.map(([a, limit], k) => {
    const axis = model.axes[a], value = axis.values[i];
    const room = axis.lower ? limit - value : value - limit;
    const holds = meets(axis, limit, i);
    const stands = standing(holds ? Math.max(room, 0) : -1, axis.kind === "cost" ? model.errorOf(axis, i) : 0);
    const left = !Number.isFinite(room) ? "–" : (holds ? "" : "over by ") + quantity(axis, Math.abs(room)) + (limit ? " (" + (100 * Math.abs(room / limit)).toFixed(1) + " %)" : "");
    return make("tr", null, k ? null : make("th", { scope: "rowgroup", rowspan: budget.limits.length }, budget.name),
      make("td", null, axis.label + (axis.lower ? " ≤ " : " ≥ ") + quantity(axis, limit)), make("td", { class: "n" }, left), make("td", { class: "stands " + STANDS[stands][1] }, STANDS[stands][0] + " " + stands));
  }));
  if (!rows.length) return make("p", { class: "note" }, "The run has no budget with a known limit.");
  return scrolling("Budgets and the point", make("table", { class: "facts" }, make("thead", null, make("tr", null, ["budget", "limit", "room left", "the limit is"].map((h, k) => make("th", { scope: "col", class: k === 2 ? "n" : null }, h)))), make("tbody", null, rows)));
}

// the hand-off document, schema hwdse.allocation/2, with what the record knows
function allocationFile(model, i) {
  const { data, points } = model;
  const chosen = chosenOptions(model, i);
  const layers = Object.fromEntries(data.layers.map((name, k) => [name, chosen[k]]).filter(([, option]) => option).map(([name, option]) => [name, data.options[option]]));
  const measures = Object.fromEntries(model.axes.filter((axis) => ["score", "cost", "loss"].includes(axis.kind)).map((axis) => [axis.key, Number.isFinite(axis.values[i]) ? axis.values[i] : null]));
  return JSON.stringify({ schema: "hwdse.allocation/2", layers, task: data.task, graph: data.graph, weights: data.weights, scheme: points.scheme[i], number: points.number[i], measures, samples: points.samples[i] }, null, 2) + "\n";
}

function pointPanel(model, box, table, close) {
  let costAxis = null; // what the layers are shown for: kept from point to point
  return {
    show(i, state) {
      const { points, data } = model;
      const name = points.name[i], score = model.axes[0], interval = points.interval[i];
      const known = model.axes.filter((axis) => axis.kind !== "cost").map((axis) => axis.label + " " + quantity(axis, axis.values[i]) + (axis === score && interval ? " (95 % interval " + interval.map((v) => figure(score, v)).join(" to ") + " " + score.unit + ")" : ""));
      const chosen = [...model.costs.map(([, a]) => a), ...model.axes.keys()].filter((a, k, all) => data.tables[model.axes[a].key] && ["cost", "loss"].includes(model.axes[a].kind) && all.indexOf(a) === k);
      const wanted = costAxis ?? chosen.find((a) => a === state.axis) ?? chosen[0];
      const layers = make("div", null, layersTable(model, i, model.axes[wanted]));
      const select = make("select", { on: { change: (event) => { costAxis = Number(event.target.value); layers.replaceChildren(layersTable(model, i, model.axes[costAxis])); } } },
        chosen.map((a) => make("option", { value: a, selected: a === wanted }, model.axes[a].label)));
      const knobs = [["target", table.last - 2], ["budget", table.last - 1], ["knobs and notes", table.last]].map(([what, k]) => what + ": " + table.cell(i, k)).join(" · ");
      const title = make("h3", { tabindex: "-1", id: "point-title" }, name);
      box.replaceChildren(
        make("div", { class: "head" }, title, make("button", { type: "button", class: "close", "aria-label": "Close " + name, on: { click: close } }, "close ✕")),
        make("p", null, known.join(", ") + "."), make("p", { class: "note" }, knobs),
        make("div", { class: "controls" },
          points.allocation[i] ? make("button", { type: "button", class: "download", on: { click: () => save(data.stem + "-" + points.number[i] + ".json", allocationFile(model, i), "application/json") } }, "Save its allocation (JSON)") : null),
        make("div", { class: "parts" },
          make("div", null, make("h4", null, "Widths and cost by layer"), chosen.length ? make("div", { class: "controls" }, make("label", null, "shown by layer", select)) : null, layers),
          make("div", null, make("h4", null, "Room left in each budget"), budgetsTable(model, i, state.limits), make("h4", null, "What it costs"), costsTable(model, i))),
        make("h4", null, "Make it again"), make("pre", { tabindex: "0", class: "command", "aria-label": "Command" }, points.command[i]), make("p", { class: "note" }, data.said[points.said[i]]),
        data.sweep.text && points.command[i].startsWith("hwdse sweep") ? make("div", { class: "controls" }, make("button", { type: "button", class: "sweep", on: { click: () => save(data.sweep.name, data.sweep.text, "application/toml") } }, "Save " + data.sweep.name)) : "",
      );
      box.hidden = false;
      return title;
    },
  };
}
