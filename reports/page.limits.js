// Limits on the score and the costs, and the best point inside: the rule of hwdse.reports.pick.

// forgives a rounding error of one part in 10^12, as the limits of hwdse.reports do; nothing unmeasured is inside
function meets(axis, limit, i) {
  const found = axis.values[i];
  const room = Math.abs(limit) * 1e-12;
  return Number.isFinite(found) && (axis.lower ? found <= limit + room : found >= limit - room);
}

const insideAll = (axes, limits, i) => limits.every(([a, value]) => meets(axes[a], value, i));
const minimised = (axis, i) => (axis.lower ? axis.values[i] : -axis.values[i]);

// in the order in which they were set; maxima stand before minima, as on the command line of hwdse pick
function ordered(axes, limits) {
  return [...limits].sort((one, other) => Number(axes[other[0]].lower) - Number(axes[one[0]].lower));
}

// by validation score; ties go to the cheaper on the first limited cost (without one, the first cost), then to the earlier trial
function bestOf(axes, limits, candidates, numbers) {
  const costs = axes.map((axis, a) => [axis, a]).filter(([axis]) => axis.kind === "cost");
  const first = ordered(axes, limits).find(([a]) => axes[a].kind === "cost");
  const cost = first ? axes[first[0]] : costs.length ? costs[0][0] : null;
  const price = (i) => (cost === null ? 0 : Number.isNaN(cost.values[i]) ? Infinity : minimised(cost, i));
  let best = -1;
  for (const i of candidates) {
    if (best < 0) { best = i; continue; }
    const gain = minimised(axes[0], best) - minimised(axes[0], i);
    const saved = price(best) - price(i);
    if (gain > 0 || (gain === 0 && (saved > 0 || (!(saved < 0) && numbers[i] < numbers[best])))) best = i;
  }
  return best;
}

// what hwdse pick would be asked for the same; RUN is the folder of the run
function pickCommand(axes, limits) {
  const words = ordered(axes, limits).map(([a, value]) => {
    const axis = axes[a];
    const unit = axis.stored === "bitop" ? axis.unit.replace("BitOPs", "") : axis.unit;
    return (axis.lower ? "--max" : "--min") + ' "' + axis.key + " = " + Number((value / axis.factor).toPrecision(15)) + (unit ? " " + unit : "") + '"';
  });
  return ["hwdse pick RUN", ...words].join(" ");
}

// how a cost stands to a limit: as hwdse.margins says it
function standing(slack, error) {
  if (!(slack >= 0)) return "over";
  if (Number.isNaN(error)) return "error unknown";
  return error > slack ? "at risk" : "met";
}
