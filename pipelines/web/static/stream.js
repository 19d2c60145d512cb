// The events of the service, and a banner as soon as they fail to come: silence must never look like health.

const BEAT_MS = 1000 * Number(document.body.dataset.heartbeat);
const banner = document.getElementById("banner");
const state = document.getElementById("state");

let heard = Date.now();
let missing = [];
let silent = "";

export function listen(handlers) {
  const source = new EventSource("/api/events");
  for (const name of ["alert", "closed", "stays", "heartbeat"]) {
    source.addEventListener(name, (event) => {
      heard = Date.now();
      const data = JSON.parse(event.data);
      if (name === "heartbeat") missing = data.missing;
      if (name === "stays") silent = silence(data.stays);
      handlers[name]?.(data);
      judge();
    });
  }
  source.addEventListener("open", () => handlers.open?.());
  setInterval(judge, 500);
  judge();
}

function silence(stays) {
  const quiet = stays.filter((stay) => stay.silent).length;
  return stays.length && quiet === stays.length ? "No data of any watched stay for two hours or more" : "";
}

function judge() {
  const gone = Date.now() - heard > 2 * BEAT_MS;
  const told = [
    gone ? `No connection since ${new Date(heard).toLocaleTimeString()}: what is shown may be old` : "",
    !gone && missing.length ? `The service is not ready: ${missing.join("; ")}` : "",
    gone ? "" : silent,
  ].filter(Boolean);
  if (banner.textContent !== told.join(". ")) banner.textContent = told.join(". ");
  banner.hidden = told.length === 0;
  document.body.classList.toggle("stale", gone);
  const text = gone ? "not connected" : missing.length ? "not ready" : "live";
  if (state && state.textContent !== text) state.textContent = text;
}
