// What is drawn against what: series, their front, and the range of the axes.

const DEVICE_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d1f", "#56b4e9", "#e69f00", "#333333"];

// one metric of several accelerators, in one unit: {name, members: [[accelerator, axis]]}
function groupsOf(axes) {
  const found = new Map();
  axes.forEach((axis, a) => {
    if (axis.kind !== "cost" || !axis.on) return;
    const key = axis.name + "|" + axis.stored + "|" + axis.lower;
    if (!found.has(key)) found.set(key, { name: axis.name, members: [] });
    found.get(key).members.push([axis.on, a]);
  });
  return [...found.values()].filter((group) => group.members.length > 1);
}

// an axis of the plot: one quantity, or a group, shown in the unit of its largest member
function chosenAxis(axes, groups, choice) {
  if (!choice.startsWith("g")) return { ...axes[Number(choice)], of: () => Number(choice), group: null };
  const group = groups[Number(choice.slice(1))];
  const members = new Map(group.members);
  const largest = group.members.map(([, a]) => axes[a]).reduce((one, other) => (other.factor > one.factor ? other : one));
  return { ...largest, label: group.name + ", each accelerator", of: (device) => members.get(device), group };
}

// one series, or one per accelerator that every group in use knows
function seriesOf(x, y) {
  const groups = [x.group, y.group].filter(Boolean);
  if (!groups.length) return [{ device: "", x: x.of(), y: y.of(), colour: null }];
  const devices = groups[0].members.map(([device]) => device).filter((device) => groups.every((g) => g.members.some(([d]) => d === device)));
  return devices.map((device, k) => ({ device, x: x.of(device), y: y.of(device), colour: DEVICE_COLOURS[k % DEVICE_COLOURS.length] }));
}

// points that no other beats in both, from the best of the first; of equal ones the earlier
function frontOf(points, first, second) {
  const sign = [first.lower ? 1 : -1, second.lower ? 1 : -1];
  const order = [...points].sort((p, q) => sign[0] * (first.values[p] - first.values[q]) || sign[1] * (second.values[p] - second.values[q]) || p - q);
  let least = Infinity;
  return order.filter((i) => {
    const value = sign[1] * second.values[i];
    if (value >= least) return false;
    least = value;
    return true;
  });
}

// the end of a score or loss axis, where a few broken points would press all others together: as in the static figures
function cutOf(axis) {
  if (!["score", "test", "loss"].includes(axis.kind)) return null;
  const sign = axis.lower ? 1 : -1;
  const found = Array.from(axis.values).filter(Number.isFinite).map((v) => sign * v).sort((a, b) => a - b);
  if (found.length < 5) return null;
  const best = found[0], worst = found[found.length - 1], usual = found[Math.ceil(0.75 * (found.length - 1))];
  return worst - best <= 3 * (usual - best) || usual === best ? null : sign * (best + 2 * (usual - best));
}

// {low, high, at(value) -> 0..1, ticks, log}
function scaleOf(values, log, count, cut, lower, factor) {
  const inside = values.filter((v) => Number.isFinite(v) && (!log || v > 0)).map((v) => v / factor);
  let low = Math.min(...inside), high = Math.max(...inside);
  if (cut !== null && lower) high = Math.min(high, cut / factor);
  if (cut !== null && !lower) low = Math.max(low, cut / factor);
  if (!inside.length) [low, high] = log ? [1, 10] : [0, 1];
  if (low === high) [low, high] = log ? [low / 1.5, high * 1.5] : [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)];
  const warp = log ? Math.log10 : (v) => v;
  const pad = 0.04 * (warp(high) - warp(low));
  const from = warp(low) - pad, to = warp(high) + pad;
  const ends = log ? [10 ** from, 10 ** to] : [from, to];
  return {
    low: ends[0], high: ends[1], log,
    at: (value) => (warp(value / factor) - from) / (to - from),
    ticks: log ? logTicks(ends[0], ends[1], count) : linearTicks(ends[0], ends[1], count),
  };
}
