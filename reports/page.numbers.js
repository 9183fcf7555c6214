// Numbers as the tables of the page write them, and ticks of axes.

function figure(axis, value) {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return axis.lower ? "cannot run" : "–";
  const number = value / axis.factor;
  if (axis.stored === "fraction") return number.toFixed(2);
  if (Math.abs(number) >= 1000) return Number(significant(number, 1 + Math.floor(Math.log10(Math.abs(number))))).toLocaleString("en-GB");
  const kept = significant(number, 4);
  return kept && Math.abs(kept) < 1e-4 ? kept.toExponential().replace(/e-(\d)$/, "e-0$1") : String(kept);
}

// to so many digits; what lies exactly between two goes to the even one, as in Python, so that no number differs from the tables of the page
function significant(number, digits) {
  const up = Number(number.toPrecision(digits));
  const [all] = Math.abs(number).toExponential(60).replace(".", "").split("e");
  if (!/^50*$/.test(all.slice(digits)) || Number(all[digits - 1]) % 2) return up;
  return Math.sign(number) * Number(all.slice(0, digits) + "e" + (Number(number.toExponential().split("e")[1]) - digits + 1));
}

const quantity = (axis, value) => (Number.isFinite(value) && axis.unit ? figure(axis, value) + " " + axis.unit : figure(axis, value));
const headed = (axis) => (axis.unit ? axis.label + " [" + axis.unit + "]" : axis.label);
const share = (value) => (value > 0 && value < 0.001 ? "< 0.1 %" : (100 * value).toFixed(1) + " %");
const median = (values) => Array.from(values).filter(Number.isFinite).sort((a, b) => a - b)[Math.floor(values.length / 2)];

// A limit to so many digits that can be read, rounded to the loose side, so that the value it was made from stays inside.
function loosened(value, factor, upper) {
  const number = value / factor;
  if (!number) return 0;
  const digits = 10 ** (4 - Math.floor(Math.log10(Math.abs(number))));
  const scaled = number * digits;
  const near = Math.round(scaled);
  const kept = Math.abs(scaled - near) < 1e-7 ? near : upper ? Math.ceil(scaled) : Math.floor(scaled);
  return Number((kept / digits).toPrecision(6));
}

function linearTicks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((s) => s * power >= raw) * power;
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) found.push(Number((k * step).toPrecision(12)));
  return found;
}

function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  if (decades < 0.7) return linearTicks(low, high, count).filter((t) => t > 0);
  const digits = decades * 3 <= count ? [1, 2, 5] : [1];
  const every = Math.ceil(decades / Math.max(count, 1));
  const found = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p += 1) {
    if (digits.length === 1 && p % every) continue;
    for (const d of digits) {
      const t = Number((d * 10 ** p).toPrecision(6));
      if (t >= low * 0.999 && t <= high * 1.001) found.push(t);
    }
  }
  return found;
}

const tickText = (t) => (Math.abs(t) >= 1e6 || (t && Math.abs(t) < 1e-3) ? t.toExponential().replace("e+", "e") : t.toLocaleString("en-GB", { maximumSignificantDigits: 6 }));
