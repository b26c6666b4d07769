const byId = id => document.getElementById(id);
const percent = value => value.toFixed(2);
const count = value => value.toLocaleString("en");

// Every text reaches the page through here, as text.
function filled(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}
// Scrolls a frame, and nothing around it, until a node inside it can be seen.
function reveal(frame, node) {
  if (!node) return;
  const inside = node.getBoundingClientRect(), outside = frame.getBoundingClientRect(), margin = 30;
  const way = (start, end) => inside[start] < outside[start] || inside[end] - inside[start] > outside[end] - outside[start]
    ? inside[start] - outside[start] - margin : inside[end] > outside[end] ? inside[end] - outside[end] + margin : 0;
  frame.scrollTo(frame.scrollLeft + way("left", "right"), frame.scrollTop + way("top", "bottom"));
}
const el = (tag, properties = {}, ...children) => filled(document.createElement(tag), properties, children);
