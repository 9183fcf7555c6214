// Starts what is interactive. Without this script the page still shows every figure and the table of all points.
const block = document.getElementById("hwdse-data");
if (block) startExplorer(JSON.parse(block.textContent), document.getElementById("explorer"));
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
(window.requestIdleCallback || setTimeout)(() => document.documentElement.classList.add("laid"));
