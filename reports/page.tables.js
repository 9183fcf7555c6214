// What one point costs, layer by layer, from the tables of the run: the arithmetic of hwdse.costs.CostTable.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

function decoded(text, wide) {
  if (!wide) return Array.from(text, (c) => DIGITS.indexOf(c));
  return Array.from({ length: text.length / 2 }, (_, k) => 64 * DIGITS.indexOf(text[2 * k]) + DIGITS.indexOf(text[2 * k + 1]));
}

const number = (value) => (value === "inf" ? Infinity : value === null ? NaN : value);

// {total, row, fixed, layers: [cost], sources: [name or ""], shares: {source: share}}; null where a layer has no width in the table
function breakdown(table, chosen, layers, sourceNames) {
  const column = new Map(table.options.map((option, j) => [option, j]));
  const at = chosen.map((option) => column.get(option));
  const totals = table.fixed.map(number);
  const parts = [];
  for (const [row, layer, values, which, sources] of table.entries) {
    const j = at[layer];
    if (j === undefined) return null;
    const wide = values.length > 64;
    const place = wide ? 64 * DIGITS.indexOf(which[2 * j]) + DIGITS.indexOf(which[2 * j + 1]) : DIGITS.indexOf(which[j]);
    const value = number(values[place]);
    totals[row] += value;
    parts.push([row, layer, value, sourceNames[Number(sources.length > 1 ? sources[j] : sources)]]);
  }
  for (const [row, first, second, there, here, wide, costs] of table.edges) {
    const value = number(costs[decoded(there, wide)[at[first]]][decoded(here, wide)[at[second]]]);
    totals[row] += value;
    parts.push([row, second, value, "conversions"]);
  }
  const worst = totals.indexOf(Math.max(...totals));
  const found = { total: totals[worst], row: table.rows[worst] || "", fixed: number(table.fixed[worst]), layers: layers.map(() => 0), sources: layers.map(() => ""), shares: {} };
  for (const [row, layer, value, source] of parts) {
    if (row !== worst || !value) continue;
    found.layers[layer] += value;
    if (source !== "conversions" || !found.sources[layer]) found.sources[layer] = source;
    found.shares[source] = (found.shares[source] || 0) + value / (found.total || 1);
  }
  if (found.fixed > 0) found.shares.fixed = found.fixed / found.total;
  return found;
}
