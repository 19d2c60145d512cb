// Building the page: text is only ever set as text, never as markup.

export function el(name, options = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") node.textContent = value;
    else if (key === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function listed(title, items) {
  if (!items.length) return null;
  const lines = items.map((item) => (item instanceof Node ? item : el("li", { text: item })));
  return el("div", {}, el("h4", { text: title }), el("ul", {}, ...lines));
}

// A record's time to the minute, as the page made by the server writes it.
export function moment(at) {
  return el("time", { datetime: at, text: at.slice(0, 16).replace("T", " ") });
}

// UCUM codes as a ward writes them; any other is shown as it is, without its annotations.
const UNITS = { Cel: "°C", "mm[Hg]": "mmHg", "10*3/uL": "×10³/µL", ug: "µg", "mmol/L": "mmol/L" };

export function unitOf(line) {
  return UNITS[line.unit] ?? (line.unit ?? "").replace(/[{}]/g, "");
}

export function age(ms) {
  const minutes = Math.floor(ms / 60000);
  if (minutes < 1) return "less than 1 min";
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 72 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}
