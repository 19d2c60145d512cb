// The page of the ward: every open alert in its unit, the most severe first, and how old the data of each stay are.
import { answerButton } from "./answer.js";
import { age, el, listed, moment, unitOf } from "./dom.js";
import { listen } from "./stream.js";

const RANK = { critical: 3, warning: 2, watch: 1, info: 0 };
const SHAPE = { critical: "▲▲", warning: "▲", watch: "◆", info: "●" };
const NOBODY = "unit not given";
const FIRST = 8; // lines of evidence on a card; the others are behind it
const NEWEST = "newest"; // the rule of a line that is only the newest reading
const wards = document.getElementById("wards");
const counts = document.getElementById("counts");

const alerts = new Map(); // alert_id -> alert
const cards = new Map(); // alert_id -> its card
let stays = new Map(); // pseudonym -> stay
let beyond = 0;
let names = new Map();
let dirty = false;
const changed = new Set(); // ids of alerts whose card is not up to date
const AT_ONCE = 12; // cards between two frames: a ward full of news must not hold up who scrolls
let known = null; // what was open when the connection was made again

function evidence(lines) {
  const rules = new Map();
  for (const line of lines) {
    const key = JSON.stringify([line.signal, line.value, line.effective_at, line.available_at, line.change, line.source]);
    rules.set(key, [line, [...(rules.get(key)?.[1] ?? []), line.rule]]);
  }
  return [...rules.values()]
    .sort(([a], [b]) => b.effective_at.localeCompare(a.effective_at))
    .map(([line, by]) => el("li", {}, line.signal,
      line.value === null ? null : el("b", { text: ` ${amount(line)}` }),
      line.change ? ` (${line.change})` : null,
      el("span", { class: "quiet" }, " measured ", moment(line.effective_at), ", known ", moment(line.available_at),
        line.source ? `, ${line.source}` : null, `, ${by.join(", ")}`)));
}

function amount(line) {
  return line.signal === "score" ? line.value.toFixed(2) : `${line.value} ${unitOf(line)}`;
}

function first(alert) {
  const cited = alert.evidence.filter((line) => line.rule !== NEWEST);
  const newest = new Map(); // of each signal: a ward looks for what moved, not for how often
  for (const line of [...cited].sort((a, b) => b.effective_at.localeCompare(a.effective_at))) if (!newest.has(line.signal)) newest.set(line.signal, line);
  const shown = [...newest.values()].slice(0, FIRST).map((line) => el("li", {},
    line.signal, line.value === null ? null : el("b", { text: ` ${amount(line)}` }),
    line.change && line.signal !== "score" ? ` (${line.change})` : null, el("span", { class: "quiet" }, " ", moment(line.effective_at))));
  return el("ul", { class: "first" }, ...shown);
}

function called(pseudonym) {
  const name = names.get(pseudonym);
  return el("a", { href: `/stays/${encodeURIComponent(pseudonym)}`, class: "stay", text: name ? `${name} (${pseudonym.slice(0, 6)})` : pseudonym });
}

function dataAge(pseudonym) {
  const stay = stays.get(pseudonym);
  if (!stay) return el("span", { class: "age", text: "" });
  if (stay.data_age_ms === null) return el("span", { class: "age silent", text: "no data yet" });
  return el("span", { class: stay.silent ? "age silent" : "age", text: `${stay.silent ? "no data for" : "data"} ${age(stay.data_age_ms)}${stay.silent ? "" : " old"}` });
}

function body(alert) {
  return [
    listed("Evidence, newest first", evidence(alert.evidence)),
    listed("Missing", alert.missing),
    listed("Speaks against", alert.against),
    listed("Also think of", alert.differentials.map((one) => `${one.name}: ${one.because}`)),
    listed("Could be checked", alert.checks),
    el("p", { class: "quiet", text: "Information, not orders." }),
  ];
}

function card(alert, open) {
  const details = el("details", { open }, el("summary", { text: "All evidence, what speaks against, checks" }));
  const fill = () => { if (details.open && details.children.length === 1) details.append(...body(alert).filter(Boolean)); };
  details.addEventListener("toggle", fill);
  fill();
  return el("article", { class: `alert ${alert.severity}`, id: `alert-${alert.alert_id}` },
    el("h3", {}, el("span", { class: "badge" }, el("span", { "aria-hidden": "true", text: `${SHAPE[alert.severity] ?? ""} ` }), alert.severity), ` ${alert.headline}`),
    el("p", { class: "facts" }, called(alert.stay), el("span", { text: alert.syndrome.replaceAll("_", " ") }),
      el("span", { class: `did ${alert.state}` }, `${alert.state} `, moment(alert.at)),
      alert.onset_at ? el("span", {}, "signs since ", moment(alert.onset_at), ` (${age(Date.parse(alert.at) - Date.parse(alert.onset_at))})`) : null,
      el("span", { text: `pump ${alert.gate.pump}, interruption ${alert.gate.interruption}` }),
      dataAge(alert.stay), answerButton(alert)),
    first(alert),
    line("Missing", alert.missing),
    line("Also think of", alert.differentials.map((one) => one.name)),
    details);
}

function line(title, items) {
  return items.length ? el("p", { class: "line" }, el("b", { text: `${title}: ` }), items.join("; ")) : null;
}

function place(alert) {
  const before = cards.get(alert.alert_id);
  const open = before?.querySelector("details").open ?? false;
  const focused = before?.contains(document.activeElement) ? document.activeElement.className : null;
  const made = card(alert, open);
  cards.set(alert.alert_id, made);
  if (before) before.replaceWith(made);
  if (focused) made.getElementsByClassName(focused)[0]?.focus();
}

function order(a, b) {
  return (RANK[b.severity] ?? 0) - (RANK[a.severity] ?? 0) || b.at.localeCompare(a.at) || a.alert_id.localeCompare(b.alert_id);
}

function section(unit) {
  for (const node of wards.children) if (node.dataset.unit === unit) return node;
  const made = el("section", { "data-unit": unit, "aria-label": unit }, el("h2"), el("div", { class: "cards" }), el("div", { class: "watched" }));
  const after = [...wards.children].find((node) => node.dataset.unit > unit);
  wards.insertBefore(made, after ?? null);
  return made;
}

function sync(parent, wanted) {
  wanted.forEach((node, at) => { if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at] ?? null); });
  while (parent.children.length > wanted.length) parent.lastChild.remove();
}

function tally(some) {
  const told = Object.keys(RANK).map((word) => [some.filter((one) => one.severity === word).length, word]).filter(([n]) => n);
  return told.map(([n, word]) => `${n} ${word}`).join(", ");
}

function watching(place, list) {
  const silent = list.filter((stay) => stay.silent).length;
  const head = list.length ? `${list.length} watched without an alert${silent ? `, ${silent} of them without data` : ""}` : "";
  let details = place.firstElementChild;
  if (!head) return place.replaceChildren();
  if (!details) {
    details = el("details", { on: { toggle: later } }, el("summary"), el("ul", { class: "stays" }));
    place.append(details);
  }
  const [summary, rows] = details.children;
  if (summary.textContent !== head) summary.textContent = head;
  const told = details.open ? list : []; // who is not looked at is not drawn
  rows.replaceChildren(...told.map((stay) => el("li", {}, el("span", { class: "stay", text: names.get(stay.stay) ?? stay.stay }), dataAge(stay.stay))));
  return undefined;
}

function draw() {
  dirty = false;
  for (const id of [...changed].slice(0, AT_ONCE)) {
    changed.delete(id);
    if (alerts.has(id)) place(alerts.get(id));
  }
  if (changed.size) return later();
  const open = [...alerts.values()].sort(order);
  const units = new Map();
  const of = (unit) => {
    const name = unit || NOBODY;
    if (!units.has(name)) units.set(name, { alerts: [], quiet: [] });
    return units.get(name);
  };
  for (const alert of open) of(alert.unit).alerts.push(alert);
  const alerted = new Set(open.map((alert) => alert.stay));
  for (const stay of stays.values()) if (!alerted.has(stay.stay)) of(stay.unit).quiet.push(stay);
  for (const [unit, mine] of units) {
    const [head, list, watched] = section(unit).children;
    const title = `${unit}: ${tally(mine.alerts) || "no alert"}`;
    if (head.textContent !== title) head.textContent = title;
    sync(list, mine.alerts.map((alert) => cards.get(alert.alert_id)));
    watching(watched, mine.quiet);
  }
  for (const node of [...wards.children]) if (!units.has(node.dataset.unit)) node.remove();
  counts.textContent = `${tally(open) || "no"} open alerts`;
  document.title = `${tally(open) || "no alerts"} · itbwatch`;
  if (beyond) counts.textContent += `; ${beyond} more stays are watched than are listed`;
  return undefined;
}

function later() {
  if (!dirty) requestAnimationFrame(draw);
  dirty = true;
}

function ages() {
  for (const [id, node] of cards) {
    const now = dataAge(alerts.get(id).stay);
    const shown = node.querySelector(".age");
    if (shown.textContent !== now.textContent) shown.replaceWith(now);
  }
}

listen({
  open() { known = new Set(alerts.keys()); },
  alert(alert) {
    known?.delete(alert.alert_id);
    alerts.set(alert.alert_id, alert);
    changed.add(alert.alert_id);
    later();
  },
  closed({ alert_id: id }) { drop(id); },
  stays(told) {
    stays = new Map(told.stays.map((stay) => [stay.stay, stay]));
    beyond = told.beyond;
    ages();
    later();
  },
  heartbeat() { // after a connection was made again everything open was told; the rest has ended meanwhile
    for (const id of known ?? []) drop(id);
    known = null;
  },
});

function drop(id) {
  alerts.delete(id);
  cards.delete(id);
  later();
}

const tools = document.getElementById("tools");
tools.hidden = false;
document.getElementById("names").addEventListener("change", async (event) => {
  const text = await event.target.files[0]?.text();
  names = new Map((text ?? "").split(/\r?\n/).map((line) => [line.slice(0, line.indexOf(",")).trim(), line.slice(line.indexOf(",") + 1).trim()]).filter(([stay, name]) => stay && name));
  for (const id of alerts.keys()) changed.add(id);
  later();
});
