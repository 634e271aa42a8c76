import { byId, cell, element, json, say } from "./dom.js";

const MOST_ROWS = 300;
const form = byId("filter");
let shown = [];
let missing = "";
let chosen = null;
let paused = false;
let source = null;

// ---- the list

function query() {
  const given = [...new FormData(form)].filter(([, value]) => value.trim() !== "");
  const text = new URLSearchParams(given).toString();
  return text ? `?${text}` : "";
}

function statusClass(request) {
  if (request.status === null || request.status >= 500) return "bad";
  return request.status >= 400 ? "warn" : "good";
}

function row(request) {
  const link = element("a", { href: `/inspect/${request.number}${query()}` }, `${request.method} ${request.target}`);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(String(request.number), true);
  });
  const status = [request.status ?? "client left", request.code].filter(Boolean).join(" ");
  const name = element("td", { "data-label": "Request", class: "mono" }, link);
  const made = element("tr", { "data-number": String(request.number) }, name,
    cell("Route", request.route ?? "–", ""),
    cell("Status", request.attempts > 1 ? `${status}, ${request.attempts} attempts` : status, statusClass(request)),
    cell("Time, ms", String(request.took_ms), "number"),
    cell("At", request.at.slice(11, 19), ""));
  if (chosen === String(request.number)) mark(made, true);
  return made;
}

function mark(one, is) {
  one.classList.toggle("chosen", is);
  if (is) one.setAttribute("aria-current", "true");
  else one.removeAttribute("aria-current");
}

function sayCount() {
  say(byId("shown"), `${missing}${shown.length} ${shown.length === 1 ? "request" : "requests"}${query() ? " match" : ""}`);
}

async function showList() {
  const asked = query();
  const { requests } = await json(`/inspect${asked}`);
  if (asked !== query()) return;
  shown = requests.slice(0, MOST_ROWS);
  byId("rows").replaceChildren(...shown.map(row));
  byId("routes").replaceChildren(...[...new Set(shown.map((one) => one.route ?? "-"))].map((id) => element("option", { value: id })));
  sayCount();
}

function add(request) {
  if (shown.some((one) => one.number === request.number)) return;
  shown.unshift(request);
  byId("rows").prepend(row(request));
  while (shown.length > MOST_ROWS) {
    shown.pop();
    byId("rows").lastElementChild.remove();
  }
  sayCount();
}

function follow() {
  source?.close();
  source = null;
  if (paused) return;
  source = new EventSource(`/inspect/events${query()}`);
  source.addEventListener("open", () => state("live", "good"));
  source.addEventListener("error", () => state("no answer", "bad"));
  source.addEventListener("request", (event) => add(JSON.parse(event.data)));
  source.addEventListener("lost", () => showList());
}

function state(text, kind) {
  say(byId("state"), text);
  byId("state").className = `badge ${kind}`;
}

async function refresh() {
  follow();
  try {
    await showList();
  } catch {
    state("no answer", "bad");
  }
}

// ---- one request

function part(title, ...children) {
  return element("section", {}, element("h3", {}, title), ...children);
}

function heads(headers) {
  return headers.map(([name, value]) => `${name}: ${value}`).join("\n");
}

function bodyOf(body) {
  if (body.bytes === 0) return element("p", { class: "faint" }, body.cut ? "The body was not read, or did not arrive." : "No body.");
  const size = body.cut ? `${body.bytes} bytes, the beginning:` : `${body.bytes} bytes`;
  const text = body.text === null ? null : element("pre", { tabindex: "0", "aria-label": "Body" }, pretty(body));
  return element("div", {}, element("p", { class: "faint" }, body.text === null ? `${size}, no text` : size), text);
}

function pretty(body) {
  if (body.cut) return body.text;
  try {
    return JSON.stringify(JSON.parse(body.text), null, 2);
  } catch {
    return body.text;
  }
}

function pre(text, label) {
  return element("pre", { tabindex: "0", "aria-label": label }, text);
}

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/** A row for each step; the bar is decoration, the numbers are in the cells. */
function stepsOf(details) {
  const all = Math.max(details.took_ms, 0.001);
  const rows = details.steps.map((step) => {
    const bar = svg("svg", { class: "steps", viewBox: "0 0 100 8", height: 12, preserveAspectRatio: "none", "aria-hidden": "true" });
    const width = Math.max(((step.to_ms - step.from_ms) / all) * 100, 0.5);
    const rect = svg("rect", { x: Math.min((step.from_ms / all) * 100, 99.5), y: 0, width, height: 8 });
    if (step.is_pause) rect.setAttribute("class", "pause");
    bar.append(rect);
    return element("tr", {}, cell("Step", step.name, ""), cell("Milliseconds", (step.to_ms - step.from_ms).toFixed(3), "number"),
      element("td", { "data-label": "" }, bar));
  });
  const head = element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Step"),
    element("th", { scope: "col", class: "number" }, "ms"), element("th", { scope: "col" }, element("span", { class: "hidden-label" }, "Bar"))));
  return element("table", { "aria-label": "Time of each step" }, head, element("tbody", {}, ...rows));
}

/** Our text beside the other side's, with the first line that differs. */
function compared(title, own, other) {
  const lines = own.split("\n");
  const theirs = other.split("\n");
  const at = lines.findIndex((line, index) => line !== theirs[index]);
  const note = own === other ? "Both are the same." : `They differ in line ${(at < 0 ? lines.length : at) + 1}.`;
  return part(title, element("p", {}, note),
    element("div", { class: "columns" },
      element("div", {}, element("p", { class: "faint" }, "Signed here"), pre(own, `${title}, signed here`)),
      element("div", {}, element("p", { class: "faint" }, "Expected by AWS"), pre(other, `${title}, expected by AWS`))));
}

function signatureOf(attempt, expected) {
  const { signature } = attempt;
  if (!signature) return [];
  if (expected) {
    return [element("p", {}, `Signed with ${signature.keys}`),
      compared("Canonical request", signature.canonical_request, expected.canonical_request),
      compared("String to sign", signature.string_to_sign, expected.string_to_sign)];
  }
  return [element("p", {}, `Signed with ${signature.keys}`),
    element("p", { class: "faint" }, "Canonical request"), pre(signature.canonical_request, "Canonical request"),
    element("p", { class: "faint" }, "String to sign"), pre(signature.string_to_sign, "String to sign")];
}

function attemptOf(attempt, index) {
  const result = attempt.status ?? attempt.failure ?? "no answer";
  const retry = attempt.retry ? `, retried: ${attempt.retry}` : "";
  return element("div", {}, element("p", {}, `${index + 1}. ${result}${retry}`),
    attempt.headers.length > 0 ? pre(heads(attempt.headers), `Headers of answer ${index + 1}`) : null);
}

function routesOf(details) {
  const rows = details.candidates.map((route) => element("tr", {}, cell("Route", route.id, ""),
    cell("Matches", route.takes_it ? "yes" : "no", route.takes_it ? "good" : ""), cell("Why", route.why, ""), cell("File", route.file, "mono")));
  const head = element("thead", {}, element("tr", {}, ...["Route", "Matches", "Why", "File"].map((name) => element("th", { scope: "col" }, name))));
  const more = details.more_candidates > 0 ? element("p", { class: "faint" }, `${details.more_candidates} more routes`) : null;
  return part("Routes, by the settings in use now", element("table", { "aria-label": "Routes" }, head, element("tbody", {}, ...rows)), more);
}

function show(details) {
  const { client, outgoing, response } = details;
  const last = details.attempts_made.at(-1);
  say(byId("details-title"), `${details.method} ${details.target}`);
  byId("again").hidden = !details.sends_again;
  byId("again").disabled = client.body.cut;
  const status = [response.status ?? "The client left before the response", response.code].filter(Boolean).join(" ");
  const facts = [["Request id", details.request_id], ["At", details.at], ["Route", details.route ? `${details.route} (${details.pattern})` : "none"],
    ["Response", status], ["Time", `${details.took_ms} ms`], ["Settings", `generation ${details.generation}`]];
  byId("body").replaceChildren(
    element("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
    details.log.length > 0 ? part("Log lines", ...details.log.map((line) => element("p", { class: line.level === "error" ? "bad" : line.level === "warn" ? "warn" : "" },
      `${line.after_ms} ms ${line.level}: ${line.text}`))) : part("Log lines", element("p", { class: "faint" }, "None.")),
    part("Time", stepsOf(details)),
    part("From the client", element("p", { class: "faint" }, `${client.version}${client.tls ? " over TLS" : ""}, from ${client.ip ?? "a Unix socket"}`),
      pre(`${details.method} ${details.target}\n${heads(client.headers)}`, "Head from the client"), bodyOf(client.body)),
    routesOf(details),
    outgoing ? part("To AWS", element("p", { class: "faint" }, `${outgoing.endpoint}${outgoing.tls ? " over TLS" : ""}`),
      pre(`${outgoing.request_line}\n${heads(outgoing.headers)}`, "Head to AWS"), bodyOf(outgoing.body)) : "",
    last?.signature ? part("Signature", ...signatureOf(last, details.expected)) : "",
    details.attempts_made.length > 0 ? part("Attempts", ...details.attempts_made.map(attemptOf), bodyOf(details.reply_body)) : "",
    part("To the client", pre(`${status}\n${heads(response.headers)}`, "Head to the client"), bodyOf(response.body)));
  byId("copy-curl").dataset.text = details.copies.curl;
  byId("copy-explain").dataset.text = details.copies.explain;
}

async function choose(id, isNew) {
  let details;
  missing = "";
  try {
    // as it stands in the address, where a `%` may not be escaped
    details = await json(isNew ? `/inspect/${encodeURIComponent(id)}` : `/inspect/${id}`);
  } catch (error) {
    missing = `Request ${id} is not kept. `;
    sayCount();
    return;
  }
  chosen = String(details.number);
  for (const one of byId("rows").children) mark(one, one.dataset.number === chosen);
  byId("details").hidden = false;
  byId("columns").classList.remove("empty");
  say(byId("done"), "");
  show(details);
  if (isNew) {
    history.pushState(null, "", `/inspect/${chosen}${query()}`);
    byId("details-title").focus();
  }
}

function close() {
  byId("details").hidden = true;
  byId("columns").classList.add("empty");
  const row = [...byId("rows").children].find((one) => one.dataset.number === chosen);
  chosen = null;
  for (const one of byId("rows").children) mark(one, false);
  history.pushState(null, "", `/inspect${query()}`);
  (row?.querySelector("a") ?? byId("list-title")).focus();
}

async function copy(event) {
  const { text } = event.target.dataset;
  try {
    await navigator.clipboard.writeText(text);
    say(byId("done"), "Copied; secrets are PLACEHOLDER.");
  } catch {
    // without a secure context there is no clipboard: select the text by hand
    byId("body").prepend(pre(text, "Command"));
    say(byId("done"), "The browser allows no copy; the command is below.");
  }
}

async function again() {
  byId("again").disabled = true;
  const answer = await fetch(`/inspect/${chosen}/again`, { method: "POST" });
  say(byId("done"), (await answer.json()).message);
  byId("again").disabled = false;
}

function ofLocation() {
  const given = new URLSearchParams(location.search);
  for (const name of ["route", "status", "text"]) form.elements[name].value = given.get(name) ?? "";
  const id = /^\/inspect\/([^/]+)$/.exec(location.pathname);
  if (id) choose(id[1], false);
  else byId("details").hidden = true;
}

let typing = 0;
form.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    history.replaceState(null, "", `${location.pathname}${query()}`);
    refresh();
  }, 200);
});
form.addEventListener("submit", (event) => event.preventDefault());
byId("pause").addEventListener("click", (event) => {
  paused = !paused;
  event.target.setAttribute("aria-pressed", String(paused));
  say(event.target, paused ? "Continue" : "Pause");
  if (paused) {
    follow();
    state("paused", "warn");
  } else refresh();
});
byId("close").addEventListener("click", close);
byId("copy-curl").addEventListener("click", copy);
byId("copy-explain").addEventListener("click", copy);
byId("again").addEventListener("click", again);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !byId("details").hidden) close();
});
addEventListener("popstate", () => {
  ofLocation();
  refresh();
});
ofLocation();
refresh();
