import { byId, cell, element, json, say, span } from "./dom.js";

const MOST_ROWS = 200;
const STATES = { ready: "good", "not ready": "bad", stopping: "warn" };
const BREAKERS = { closed: "good", open: "bad", "half-open": "warn" };
let last = null;
let paused = false;

function problems(status) {
  const found = [];
  if (status.settings.rejected.length > 0) {
    const lines = status.settings.rejected.join("\n");
    found.push([`Changed settings are rejected; generation ${status.settings.generation} stays in use.`, lines]);
  }
  const { source } = status.settings;
  if (source?.error) found.push([`The last fetch of the settings failed; bundle ${source.bundle} stays in use.`, source.error]);
  for (const route of status.routes) {
    if (route.keys && !route.keys.ready) found.push([`Route ${route.id} has no keys.`, route.keys.text]);
  }
  if (status.descriptors.shortage) found.push(["File descriptors are scarce.", status.descriptors.shortage]);
  if (status.log_lines_lost > 0) found.push([`${status.log_lines_lost} log lines are lost: standard error is read too slowly.`]);
  for (const { task, failures } of status.failed_tasks) found.push([`The task ${task} has failed ${failures} times and was restarted.`]);
  const certificates = status.listeners.map((listener) => [listener.setting, listener.certificate]);
  certificates.push(...status.routes.map((route) => [`client certificate of route ${route.id}`, route.certificate]));
  for (const [name, certificate] of certificates) {
    if (certificate && certificate.state !== "valid") found.push([`The certificate of ${name}: ${certificate.state}, until ${certificate.expires}.`]);
  }
  return found;
}

function showProblems(status) {
  const found = problems(status).slice(0, 20);
  const box = byId("problems");
  const key = JSON.stringify(found);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(...found.map(([title, detail]) => {
    const note = element("div", { class: "note bad-note" }, element("strong", {}, title));
    if (detail) note.append(element("pre", {}, detail));
    return note;
  }));
}

function sourceText({ address, bundle, serial, age_seconds: age }) {
  const number = serial === null ? "" : `, serial ${serial}`;
  return `${address}, bundle ${bundle}${number}, fetched ${span(age)} ago`;
}

function facts(status) {
  const { connections, descriptors, settings } = status;
  const listener = ({ address, certificate }) =>
    certificate ? `${address}, certificate ${certificate.state}, until ${certificate.expires}` : address;
  return [
    ["Version", status.version],
    ["Uptime", `${span(status.uptime_seconds)}, since ${status.started}`],
    ["Settings", `generation ${settings.generation}, in use since ${settings.since}`],
    ...(settings.source ? [["Source", sourceText(settings.source)]] : []),
    ["Clock", `${status.now}, ${status.clock.text}`],
    ...status.listeners.map((one) => [one.setting, listener(one)]),
    ["Connections", `${connections.clients} of at most ${connections.most_clients} clients, ${connections.refused} refused; ${connections.upstream_idle} idle to AWS`],
    ["In flight", `${connections.requests_in_flight} requests`],
    ["File descriptors", `${descriptors.open ?? "unknown"} open, limit ${descriptors.limit ?? "none"}`],
    ["Log lines lost", String(status.log_lines_lost)],
    ["Without a route", `${status.unrouted.requests} requests`],
  ];
}

function showFacts(status) {
  const list = byId("facts");
  const rows = facts(status);
  if (list.children.length !== rows.length * 2) {
    list.replaceChildren(...rows.flatMap(() => [element("dt"), element("dd")]));
  }
  rows.forEach(([name, value], at) => {
    say(list.children[2 * at], name);
    say(list.children[2 * at + 1], value);
  });
}

function cells(route) {
  const number = (value) => (value === null ? "–" : String(value));
  const worst = route.codes.map(({ code, count }) => `${code} ${count}`).join(", ");
  return [
    ["Route", route.enabled ? route.id : `${route.id} (disabled)`, ""],
    ["Matches", route.pattern, "mono"],
    ["Target", route.target, "mono"],
    ["Keys", route.keys ? route.keys.text : "–", route.keys && !route.keys.ready ? "bad" : ""],
    ["Breaker", route.breaker ?? "–", BREAKERS[route.breaker] ?? ""],
    ["Requests", number(route.requests), "number"],
    ["Errors", worst ? `${route.errors} (${worst})` : number(route.errors), route.errors > 0 ? "number bad" : "number"],
    ["Refused", number(route.refused), route.refused > 0 ? "number warn" : "number"],
    ["p50, ms", number(route.p50_ms), "number"],
    ["p99, ms", number(route.p99_ms), "number"],
    ["In flight", number(route.in_flight), "number"],
  ];
}

function matching(status) {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (route) =>
    [route.id, route.pattern, route.target, route.backend, route.breaker, route.keys?.text].join(" ").toLowerCase();
  return status.routes.filter((route) => words.every((word) => text(route).includes(word)));
}

function showRoutes(status) {
  const found = matching(status);
  const shown = found.slice(0, MOST_ROWS);
  const rows = byId("rows");
  while (rows.children.length > shown.length) rows.lastElementChild.remove();
  shown.forEach((route, at) => {
    const row = rows.children[at] ?? rows.appendChild(element("tr"));
    cells(route).forEach(([label, text, kind], column) => {
      const own = row.children[column] ?? row.appendChild(cell(label, "", kind));
      say(own, text);
      if (own.className !== kind) own.className = kind;
    });
  });
  const more = found.length > shown.length ? `, the first ${MOST_ROWS} are shown` : "";
  say(byId("shown"), `${found.length} of ${status.routes.length} routes${more}`);
  showFailures([...shown, { id: "(without a route)", last_failure: status.unrouted.last_failure }]);
}

function showFailures(routes) {
  const failed = routes.filter((route) => route.last_failure);
  failed.sort((a, b) => a.last_failure.seconds_ago - b.last_failure.seconds_ago);
  const box = byId("failures");
  const key = JSON.stringify(failed.map((route) => [route.id, route.last_failure.at, route.last_failure.request_id]));
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(...failed.map(failure));
  if (failed.length === 0) box.append(element("p", { class: "faint" }, "No request has failed since the start."));
}

function failure({ id, last_failure: last }) {
  const status = [last.status, last.code].filter(Boolean).join(" ");
  const name = byId("to-inspect").hidden
    ? element("code", {}, last.request_id)
    : element("a", { href: `/inspect?text=${encodeURIComponent(last.request_id)}` }, last.request_id);
  return element("section", { class: "failure", "aria-label": `Last failure of ${id}` },
    element("h3", {}, `${id} ${status}`),
    element("p", {}, `${last.at}, request id `, name),
    element("p", {}, element("strong", {}, "Cause: "), last.cause),
    last.cure ? element("p", {}, element("strong", {}, "Cure: "), last.cure) : null);
}

function show(status) {
  last = status;
  const state = byId("state");
  say(state, status.state);
  state.className = `badge ${STATES[status.state] ?? "warn"}`;
  byId("to-inspect").hidden = !status.inspector;
  showProblems(status);
  showFacts(status);
  showRoutes(status);
}

async function follow() {
  if (!paused && !document.hidden) {
    try {
      show(await json("/"));
    } catch {
      say(byId("state"), "no answer");
      byId("state").className = "badge bad";
    }
  }
  setTimeout(follow, last && last.routes.length > 500 ? 10000 : 2000);
}

byId("filter").addEventListener("input", () => last && showRoutes(last));
byId("pause").addEventListener("click", (event) => {
  paused = !paused;
  event.target.setAttribute("aria-pressed", String(paused));
  say(event.target, paused ? "Continue" : "Pause");
});
follow();
