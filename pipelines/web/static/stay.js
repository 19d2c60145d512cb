// The page of one stay: made by the server, and asked for again when its alert changes, or after half a minute.
import { answerButton } from "./answer.js";
import { listen } from "./stream.js";

const AGAIN_MS = 30000;
const mine = document.body.dataset.stay;
const shown = new Map(); // alert_id -> alert
let asked = Date.now();
let waiting = false;

async function again() {
  if (waiting) return;
  waiting = true;
  asked = Date.now();
  try {
    const response = await fetch(location.pathname);
    if (response.status === 404) return ended();
    if (!response.ok) return;
    const made = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("stay");
    const open = new Set([...document.querySelectorAll("#stay details")].map((one, at) => (one.open ? at : -1)));
    document.getElementById("stay").replaceChildren(...made.childNodes);
    document.querySelectorAll("#stay details").forEach((one, at) => { one.open = open.has(at); });
    buttons();
  } catch { /* the banner says that nothing answers */ } finally {
    waiting = false;
  }
}

function ended() {
  const told = document.createElement("p");
  told.className = "notice";
  told.textContent = "No alert of this stay is open any more, or another worker has it.";
  document.getElementById("stay").prepend(told);
}

function buttons() {
  const places = document.querySelectorAll("#stay article.alert");
  [...shown.values()].forEach((alert) => {
    const place = [...places].find((one) => one.textContent.includes(alert.headline));
    if (place && !place.querySelector(".answer")) place.append(answerButton(alert) ?? "");
  });
}

listen({
  alert(alert) {
    if (alert.stay !== mine) return;
    const before = shown.get(alert.alert_id);
    shown.set(alert.alert_id, alert);
    if (before) again(); else buttons();
  },
  closed({ alert_id: id }) { if (shown.delete(id)) again(); },
  heartbeat() { if (Date.now() - asked > AGAIN_MS) again(); },
});
