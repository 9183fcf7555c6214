// The plot: marks, fronts, intervals, limits, the FP32 line. Drawn anew at every change; 2,000 points are a dozen paths.

const INK = "#1f2933", MUTED = "#5b6773", LIMIT = "#8a5a00";

function drawPlot(model, box, state) {
  const { axes, points } = model;
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) / 15;
  const width = Math.max(box.clientWidth, 280), height = Math.max(300 * rem, Math.min(0.56 * width, 560 * rem));
  const margin = { left: 66 * rem, right: 16 * rem, top: 14 * rem, bottom: 50 * rem };
  const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
  const x = chosenAxis(axes, model.groups, state.x), y = chosenAxis(axes, model.groups, state.y);
  const series = seriesOf(x, y).filter((s) => !state.hiddenDevices.has(s.device));
  const spanning = state.fit && state.visible.length ? state.visible : model.every;
  const all = (pick) => series.flatMap((s) => spanning.filter((i) => Number.isFinite(axes[s.x].values[i]) && Number.isFinite(axes[s.y].values[i])).map((i) => axes[pick(s)].values[i]));
  const reference = (axis) => (["score", "test"].includes(axis.kind) ? (model.data.reference[axis.kind] ?? NaN) : NaN);
  const predicted = state.predicted ? series.map((s) => predictedLine(model, s)) : [];
  const predictedEnds = (k) => predicted.flat().map((p) => p[k]);
  const cut = state.whole ? null : cutOf(y);
  const ends = y.kind === "score" ? series.flatMap((s) => frontOf(spanning.filter((i) => Number.isFinite(axes[s.x].values[i])), axes[s.x], axes[s.y]).flatMap((i) => points.interval[i] || [])) : [];
  const sx = scaleOf([...all((s) => s.x), reference(x)], state.logX, Math.floor(inner.width / (95 * rem)), null, x.lower, x.factor);
  const sy = scaleOf([...all((s) => s.y), ...ends, reference(y), ...(cut === null ? predictedEnds(1) : [])], state.logY, Math.floor(inner.height / (52 * rem)), cut, y.lower, y.factor);
  const px = (value) => margin.left + inner.width * sx.at(value), py = (value) => margin.top + inner.height * (1 - sy.at(value));
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", "font-size": 12.5 * rem, fill: INK });
  // an svg inside cuts off what is beyond the axes
  const inside = draw("svg", { x: margin.left, y: margin.top, width: inner.width, height: inner.height, viewBox: `${margin.left} ${margin.top} ${inner.width} ${inner.height}` });
  drawFrame(svg, { sx, sy, x, y, px, py, margin, inner, rem, width, height });
  svg.append(inside);
  const across = (value) => draw("path", { d: `M${margin.left} ${py(value)}H${margin.left + inner.width}`, stroke: MUTED, "stroke-dasharray": "6 4", "stroke-width": 1.3 * rem });
  const along = (value) => draw("path", { d: `M${px(value)} ${margin.top}V${margin.top + inner.height}`, stroke: MUTED, "stroke-dasharray": "6 4", "stroke-width": 1.3 * rem });
  if (Number.isFinite(reference(y))) inside.append(across(reference(y)));
  if (Number.isFinite(reference(x))) inside.append(along(reference(x)));
  drawLimits(inside, { axes, series, state, px, py, margin, inner, rem });

  const drawn = [], outside = { below: 0, unplaced: new Set() };
  const labels = [];
  for (const [k, s] of series.entries()) {
    const ax = axes[s.x], ay = axes[s.y];
    const usable = state.visible.filter((i) => {
      const fits = Number.isFinite(ax.values[i]) && Number.isFinite(ay.values[i]) && (!state.logX || ax.values[i] > 0) && (!state.logY || ay.values[i] > 0);
      if (!fits) outside.unplaced.add(i);
      return fits;
    });
    const front = frontOf(usable, ax, ay);
    const onFront = new Set(front);
    const band = predicted[k] && predicted[k].some((p) => p.length > 2);
    if (band) inside.append(draw("path", { d: bandOf(predicted[k], px, py, state, margin.top + inner.height), fill: s.colour || "#a8458b", "fill-opacity": 0.1, class: "predicted-band" }));
    if (predicted[k] && predicted[k].length) inside.append(draw("path", { d: polyline(predicted[k], px, py, state), fill: "none", stroke: s.colour || "#a8458b", "stroke-width": 1.6 * rem, "stroke-dasharray": "2 3", class: "predicted" }));
    if (state.byLoss) drawByLoss(inside, model, s, usable, px, py, rem);
    if (front.length) inside.append(draw("path", { d: staircase(front.map((i) => [px(ax.values[i]), py(ay.values[i])])), fill: "none", stroke: s.colour || INK, "stroke-width": 1.3 * rem, class: "front" }));
    if (ay.kind === "score" || ax.kind === "score") drawIntervals(inside, model, usable.length <= 150 ? usable : front, onFront, s, px, py, rem);
    const limit = cut === null ? null : cut;
    for (const [name, mark] of model.marks) {
      const mine = usable.filter((i) => points.allocator[i] === name);
      for (const bright of [false, true]) {
        let d = "";
        for (const i of mine) {
          const gone = limit !== null && (ay.lower ? ay.values[i] > limit : ay.values[i] < limit);
          if (bright !== (onFront.has(i) && !gone)) continue;
          const at = [px(ax.values[i]), gone ? (ay.lower ? margin.top + 7 * rem : margin.top + inner.height - 7 * rem) : py(ay.values[i])];
          drawn.push({ i, s, x: at[0], y: at[1], front: onFront.has(i), gone });
          if (gone) outside.below += 1;
          d += gone ? shape(ay.lower ? "^" : "v", at[0], at[1], 4 * rem) : shape(mark.shape, at[0], at[1], (bright ? 5.2 : 3.6) * rem);
          if (bright) labels.push({ x: at[0], y: at[1], text: points.number[i], side: ax.lower ? -1 : 1 });
        }
        const hollow = name === "uniform", colour = s.colour || mark.colour;
        if (d) svg.append(draw("path", { d, fill: hollow ? "#fff" : colour, stroke: hollow ? colour : "#fff", "stroke-width": (hollow ? 1.4 : 0.6) * rem, opacity: bright ? 1 : hollow ? 0.6 : 0.38, class: bright ? "marks on-front" : "marks" }));
      }
    }
  }
  drawLabels(svg, labels, rem);
  drawn.sort((p, q) => p.x - q.x || q.y - p.y);
  const ring = (i, cls, r, attributes) => drawn.filter((p) => p.i === i).forEach((p) => svg.append(draw("circle", { cx: p.x, cy: p.y, r: r * rem, fill: "none", class: cls, ...attributes })));
  if (state.best >= 0) ring(state.best, "best-ring", 10, { stroke: INK, "stroke-width": 2.4 * rem });
  if (state.open >= 0) ring(state.open, "open-ring", 14, { stroke: "#0b5d99", "stroke-width": 2.4 * rem, "stroke-dasharray": "5 3" });
  box.replaceChildren(svg);
  return { drawn, below: outside.below, unplaced: outside.unplaced.size, x, y, series, rem, scale: width / (svg.getBoundingClientRect().width || width), predicted: predicted.some((p) => p.length), ofScores: x.kind === "cost" && y.kind === "score" };
}

function drawFrame(svg, { sx, sy, x, y, px, py, margin, inner, rem, width, height }) {
  const bottom = margin.top + inner.height;
  for (const t of sx.ticks) {
    const at = px(t * x.factor);
    svg.append(draw("path", { d: `M${at} ${margin.top}V${bottom}`, stroke: "#e3e8ec", "stroke-width": rem }), draw("text", { x: at, y: bottom + 17 * rem, "text-anchor": "middle" }, tickText(t)));
  }
  for (const t of sy.ticks) {
    const at = py(t * y.factor);
    svg.append(draw("path", { d: `M${margin.left} ${at}H${width - margin.right}`, stroke: "#e3e8ec", "stroke-width": rem }), draw("text", { x: margin.left - 7 * rem, y: at + 4 * rem, "text-anchor": "end" }, tickText(t)));
  }
  svg.append(draw("path", { d: `M${margin.left} ${margin.top}V${bottom}H${width - margin.right}`, fill: "none", stroke: "#b5bec6", "stroke-width": rem }));
  const title = (axis, log, room) => {
    const short = headed(axis) + (log ? " · log" : ""), long = short + " · " + (axis.lower ? "lower" : "higher") + " is better";
    return long.length * 7.6 * rem < room ? long : short;
  };
  const middle = margin.top + inner.height / 2;
  svg.append(draw("text", { x: margin.left + inner.width / 2, y: height - 10 * rem, "text-anchor": "middle", class: "title" }, title(x, sx.log, inner.width)));
  svg.append(draw("text", { x: 14 * rem, y: middle, "text-anchor": "middle", transform: `rotate(-90 ${14 * rem} ${middle})`, class: "title" }, title(y, sy.log, inner.height)));
}

function drawLimits(inside, { axes, series, state, px, py, margin, inner, rem }) {
  const right = margin.left + inner.width, bottom = margin.top + inner.height;
  for (const [a, value] of state.limits) {
    const upper = axes[a].lower;
    for (const s of series) {
      const style = { stroke: series.length > 1 ? s.colour : LIMIT, "stroke-width": 1.5 * rem, "stroke-dasharray": "3 3", class: "limit" };
      if (s.x === a && !(state.logX && value <= 0)) {
        const at = Math.max(margin.left, Math.min(right, px(value)));
        if (series.length === 1) inside.append(draw("rect", { x: upper ? at : margin.left, y: margin.top, width: upper ? right - at : at - margin.left, height: inner.height, fill: "#f6ecd9", opacity: 0.6 }));
        inside.append(draw("path", { d: `M${at} ${margin.top}V${bottom}`, ...style }));
      }
      if (s.y === a && !(state.logY && value <= 0)) {
        const at = Math.max(margin.top, Math.min(bottom, py(value)));
        if (series.length === 1) inside.append(draw("rect", { x: margin.left, y: upper ? margin.top : at, width: inner.width, height: upper ? at - margin.top : bottom - at, fill: "#f6ecd9", opacity: 0.6 }));
        inside.append(draw("path", { d: `M${margin.left} ${at}H${right}`, ...style }));
      }
    }
  }
}

function drawIntervals(inside, model, chosen, onFront, s, px, py, rem) {
  const d = { true: "", false: "" }, cap = 3 * rem, ax = model.axes[s.x], ay = model.axes[s.y];
  for (const i of chosen) {
    const found = model.points.interval[i];
    if (!found) continue;
    if (ay.kind === "score") {
      const at = px(ax.values[i]), [low, high] = found.map(py);
      d[onFront.has(i)] += `M${at} ${low}V${high}M${at - cap} ${low}h${2 * cap}M${at - cap} ${high}h${2 * cap}`;
    }
    if (ax.kind === "score") {
      const at = py(ay.values[i]), [low, high] = found.map(px);
      d[onFront.has(i)] += `M${low} ${at}H${high}M${low} ${at - cap}v${2 * cap}M${high} ${at - cap}v${2 * cap}`;
    }
  }
  for (const bright of [false, true]) {
    if (d[bright]) inside.append(draw("path", { d: d[bright], fill: "none", stroke: s.colour || MUTED, "stroke-width": rem, opacity: bright ? 0.75 : 0.2, class: "intervals" }));
  }
}

// measured scores of the points that have the smallest expected loss at their cost: what the prediction alone would choose
function drawByLoss(inside, model, s, usable, px, py, rem) {
  const { axes } = model, ax = axes[s.x], ay = axes[s.y];
  const loss = axes.find((axis) => axis.kind === "loss");
  if (!loss || ax.kind !== "cost" || !["score", "test"].includes(ay.kind)) return;
  const chosen = frontOf(usable.filter((i) => Number.isFinite(loss.values[i])), ax, loss);
  inside.append(draw("path", { d: "M" + chosen.map((i) => px(ax.values[i]) + " " + py(ay.values[i])).join("L"), fill: "none", stroke: s.colour || "#a8458b", "stroke-width": 1.5 * rem, "stroke-dasharray": "2 3", class: "by-loss" }));
}

// corners of the front that the tables promise, as [x, y] of the plot; with the ends of the interval where a score is predicted
function predictedLine(model, s) {
  const { axes, data } = model, [ax, ay] = [axes[s.x], axes[s.y]];
  if (ax.kind === "cost" && ay.kind === "score") return (data.predictedScores.fronts[ax.key] || []).map((p) => p.map(number));
  const cost = ax.kind === "cost" ? ax : ay;
  if (cost.kind !== "cost" || (ax.kind !== "loss" && ay.kind !== "loss")) return [];
  const corners = (data.predicted[cost.key] || []).map((p) => p.map(number));
  return ax === cost ? corners : corners.map(([c, e]) => [e, c]);
}

// straight in the quantities themselves, so bent where an axis is logarithmic; (x, y) of each corner by what is asked
function between(corners, state, k) {
  const bent = state.logX || state.logY ? 8 : 1;
  const mixed = (p, q, n) => [p[0] + (n / bent) * (q[0] - p[0]), p[k] + (n / bent) * (q[k] - p[k])];
  return corners.flatMap((corner, i) => (i ? Array.from({ length: bent }, (_, n) => mixed(corners[i - 1], corner, n + 1)) : [[corner[0], corner[k]]])).filter(([a]) => !state.logX || a > 0);
}

function polyline(corners, px, py, state) {
  return "M" + between(corners, state, 1).filter(([, b]) => !state.logY || b > 0).map(([a, b]) => px(a) + " " + py(b)).join("L");
}

// between the lower ends of the intervals and the higher ones; an end below what a logarithmic axis can show lies on its edge
function bandOf(corners, px, py, state, edge) {
  const line = (k) => between(corners, state, k).map(([a, b]) => px(a) + " " + (state.logY && b <= 0 ? edge : py(b)));
  return "M" + [...line(2), ...line(3).reverse()].join("L") + "Z";
}

const staircase = (at) => "M" + at.map(([x, y], k) => (k ? "H" + x + "V" + y : x + " " + y)).join("");

// trial numbers on the free side of the staircase; one that would lie on another is left out
function drawLabels(svg, labels, rem) {
  const taken = [];
  for (const label of labels.sort((p, q) => p.x - q.x)) {
    if (taken.some((other) => Math.abs(other.x - label.x) < 26 * rem && Math.abs(other.y - label.y) < 13 * rem)) continue;
    taken.push(label);
    svg.append(draw("text", { x: label.x + 6 * rem * label.side, y: label.y - 7 * rem, "text-anchor": label.side < 0 ? "end" : "start", "font-size": 11 * rem, stroke: "#fff", "stroke-width": 3 * rem, "paint-order": "stroke", "stroke-linejoin": "round" }, String(label.text)));
  }
}
