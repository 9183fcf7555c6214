// Elements from names and text. Text is only ever set as text: no name in a run becomes markup.

function put(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== "") node.append(child);
  return node;
}

const make = (tag, attributes, ...children) => put(document.createElement(tag), attributes, children);
const SVG = (() => { const box = document.createElement("div"); box.innerHTML = "<svg></svg>"; return box.firstChild.namespaceURI; })();
const draw = (tag, attributes, ...children) => put(document.createElementNS(SVG, tag), attributes, children);

// a box that scrolls where its table is wider, by keyboard too
const scrolling = (label, table) => make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label }, table);

function save(name, text, type) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// a mark of an allocator around (x, y); as hwdse.reports.style names them
function shape(kind, x, y, r) {
  const path = (...points) => "M" + points.map(([dx, dy]) => (x + dx * r).toFixed(1) + " " + (y + dy * r).toFixed(1)).join("L") + "Z";
  switch (kind) {
    case "s": return path([-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]);
    case "^": return path([0, -1.15], [1.05, 0.85], [-1.05, 0.85]);
    case "v": return path([0, 1.15], [1.05, -0.85], [-1.05, -0.85]);
    case "<": return path([-1.15, 0], [0.85, 1.05], [0.85, -1.05]);
    case ">": return path([1.15, 0], [-0.85, 1.05], [-0.85, -1.05]);
    case "D": return path([0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]);
    case "P": return path([-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]);
    case "X": return path([-1, -0.5], [-0.5, -1], [0, -0.5], [0.5, -1], [1, -0.5], [0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5], [-0.5, 1], [-1, 0.5], [-0.5, 0]);
    default: {
      const d = r.toFixed(1);
      return "M" + (x - r).toFixed(1) + " " + y.toFixed(1) + "a" + d + " " + d + " 0 1 0 " + (2 * r).toFixed(1) + " 0a" + d + " " + d + " 0 1 0 " + (-2 * r).toFixed(1) + " 0Z";
    }
  }
}
