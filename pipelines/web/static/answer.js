// Answering an alert. The token is asked for once and kept in this page alone: no cookie, so nothing another site could use.
import { el } from "./dom.js";

const ACTIONS = { acknowledge: "acknowledge", snooze: "snooze", confirm: "confirm: it is withdrawal", dismiss: "dismiss" };
const REASONS = {
  pump_checked_ok: "pump checked, it works", pump_fault_found: "pump fault found", sepsis_confirmed: "sepsis confirmed",
  overdose: "overdose", post_restoration: "expected after restoration", other: "other",
};
let token = "";

export function answerButton(alert) {
  if (!("answers" in document.body.dataset)) return null;
  return el("button", { type: "button", class: "answer", text: "Answer…", on: { click: () => ask(alert) } });
}

function choice(name, label, words) {
  const options = Object.entries(words).map(([value, text]) => el("option", { value, text }));
  return el("label", {}, label, el("select", { name }, ...options));
}

function ask(alert) {
  const said = el("p", { role: "status", class: "said" });
  const hours = el("label", {}, "hours of snooze", el("input", { name: "hours", type: "number", min: "0.5", max: "12", step: "0.5", value: "2" }));
  const key = el("input", { name: "token", type: "password", autocomplete: "off", required: true, value: token });
  const form = el("form", { method: "dialog" },
    el("h2", { text: alert.headline }),
    choice("action", "answer", ACTIONS), choice("reason", "reason", REASONS), hours,
    el("label", {}, "your token", key), said,
    el("div", { class: "buttons" },
      el("button", { type: "submit", text: "Send" }),
      el("button", { type: "button", text: "Cancel", on: { click: () => dialog.close() } })));
  const dialog = el("dialog", { "aria-label": "Answer an alert" }, form);
  const action = form.elements.namedItem("action");
  const shown = () => { hours.hidden = action.value !== "snooze"; };
  action.addEventListener("change", shown);
  shown();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    token = key.value;
    const told = { action: action.value, reason: form.elements.namedItem("reason").value };
    if (told.action === "snooze") told.hours = Number(form.elements.namedItem("hours").value);
    said.textContent = "sending";
    said.textContent = await send(alert.alert_id, told);
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

async function send(alertId, told) {
  try {
    const response = await fetch(`/api/alerts/${encodeURIComponent(alertId)}/acknowledgements`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(told),
    });
    const body = await response.json();
    if (response.ok) return `sent by ${body.by}; it shows here as soon as the service has taken it`;
    if (response.status === 401) token = "";
    return `not taken: ${body.error}`;
  } catch {
    return "not sent: the service does not answer";
  }
}
