// The view Queue: what waits and runs, how long it takes, who works, which providers are closed; pause and resume,
// cancelling, and the way to the audit log.
import { Audit } from "./audit.js";
import { CancelDialog } from "./cancel.js";
import { Chart } from "./charts.js";
import { get, send } from "./http.js";
import { announce, Button, Empty, html, Icon, Trouble, useNow, usePolled, useState } from "./ui.js";
import { ago, count, duration, many, plain, sentence } from "./words.js";

const STATES = { queued: "busy", scheduled: "wait", running: "busy", completed: "good", dead: "bad", cancelled: "" };
export const KINDS = { chat: "Questions", ingest: "Documents", replay: "Replays" };

const JOBS = { chat: "question", ingest: "document", replay: "replay" };
/** Which jobs wait while the breaker before an operation is not closed. */
const NEEDS = { chat: "chat", embeddings: "ingest" };
const isClosed = ({ state }) => state === "closed";

/** What keeps the jobs of a kind from a worker, as `until …`. */
function obstacle(kind, { paused, breakers }) {
  if (paused.includes(kind)) return `until ${KINDS[kind].toLowerCase()} are resumed`;
  const breaker = breakers.find((one) => !isClosed(one) && NEEDS[one.operation] === kind);
  return breaker && `until ${breaker.provider} ${breaker.operation} answers again`;
}

/** What waits for a worker, and what for something else first. */
function waiting(queue) {
  const kinds = Object.keys(JOBS).map((kind) => ({ kind, queued: queue.kinds[kind].queued, until: obstacle(kind, queue) }));
  const free = kinds.reduce((sum, { queued, until }) => sum + (until ? 0 : queued), 0);
  const held = kinds.filter(({ queued, until }) => queued && until);
  const parts = held.map(({ kind, queued, until }) => `${many(queued, JOBS[kind])} held back ${until}`);
  if (free || !parts.length) parts.unshift(free ? `${many(free, "job")} could run now` : "Nothing waits for a worker");
  const oldest = queue.oldest_queued_age_ms;
  return `${parts.join("; ")}${oldest ? `; the oldest has waited ${duration(oldest)}` : ""}.`;
}

function Counts({ queue }) {
  const { counts } = queue;
  return html`<dl class="tiles">
    ${Object.keys(STATES).map((state) => html`<div class="card tile" key=${state}>
      <dt><span class=${`badge ${counts[state] ? STATES[state] : ""}`}>${state}</span></dt>
      <dd>${state === "dead" && counts.dead ? html`<a href="#/letters">${count(counts.dead)}</a>` : count(counts[state])}</dd></div>`)}
  </dl>
  <p class="faint">${waiting(queue)}</p>`;
}

const lastOf = (values) => values.findLast((value) => value !== null && value !== undefined);

function Kinds({ queue, items, onChanged }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(undefined);
  const order = async (verb, kind) => {
    setBusy(true);
    try {
      await send("POST", `/admin/queue/${verb}`, { json: { kinds: [kind] }, as: "admin" });
      announce(`${KINDS[kind]} are ${verb === "pause" ? "paused" : "handed out again"}`);
      setError(undefined);
      onChanged();
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const row = (kind) => {
    const history = items.map((item) => item.kinds[kind]);
    const sum = (flow) => (history.length ? count(history.reduce((all, one) => all + one[flow], 0)) : "");
    const paused = queue.paused.includes(kind);
    const wait = lastOf(history.map((one) => one.wait_ms?.p95));
    const run = lastOf(history.map((one) => one.run_ms?.p95));
    const verb = paused ? "resume" : "pause";
    return html`<tr key=${kind}>
      <th scope="row">${KINDS[kind]} ${paused && html`<span class="badge wait">paused</span>`}</th>
      <td class="num">${count(queue.kinds[kind].queued)}</td>
      <td class="num">${count(queue.kinds[kind].running)}</td>
      <td class="num wide-cell">${sum("submitted")}</td>
      <td class="num wide-cell">${sum("completed")}</td>
      <td class="num full-cell">${sum("retried")}</td>
      <td class="num full-cell">${sum("deferred")}</td>
      <td class="num wide-cell">${sum("dead")}</td>
      <td class="num full-cell">${sum("cancelled")}</td>
      <td class="num full-cell">${wait === undefined ? "" : duration(wait)}</td>
      <td class="num full-cell">${run === undefined ? "" : duration(run)}</td>
      <td class="num"><${Button} icon=${paused ? "play" : "pause"} kind=${paused ? "primary" : ""} disabled=${busy}
        aria-label=${`${paused ? "Resume" : "Pause"} ${KINDS[kind].toLowerCase()}`} onClick=${() => order(verb, kind)}><span class="wide-only">${paused ? "Resume" : "Pause"}</span><//></td>
    </tr>`;
  };
  return html`<section class="stack" aria-labelledby="kinds"><h2 id="kinds">By kind, now and over the last hour</h2>
    ${queue.paused.length > 0 && html`<p class="note">What is paused is still accepted, but not handed to workers until it is resumed.</p>`}
    ${error && html`<${Trouble} error=${error} />`}
    <div class="card scroll" tabindex="0" role="region" aria-label="Jobs by kind"><table>
      <thead><tr><th>Kind</th><th class="num">Queued</th><th class="num">Running</th><th class="num wide-cell">Submitted</th><th class="num wide-cell">Completed</th>
        <th class="num full-cell">Retried</th><th class="num full-cell">Deferred</th><th class="num wide-cell">Dead</th><th class="num full-cell">Cancelled</th>
        <th class="num full-cell">Waited, p95</th><th class="num full-cell">Ran, p95</th><th><span class="unseen">Pause or resume</span></th></tr></thead>
      <tbody>${["chat", "ingest"].map(row)}</tbody>
    </table></div></section>`;
}

function Charts({ items: all, interval }) {
  // The last interval is under way: what it has counted so far would look like a fall.
  const items = all.length > 1 ? all.slice(0, -1) : all;
  const times = items.map((item) => item.at);
  const per = 60_000 / interval;
  const flow = (name) => items.map((item) => item[name] * per);
  const spread = (name, part) => items.map((item) => item[name]?.[part] ?? null);
  const rate = (value) => `${value < 10 ? Math.round(value * 10) / 10 : count(Math.round(value))}/min`;
  return html`<section class="stack" aria-labelledby="hour"><h2 id="hour">The last hour</h2>
    <div class="charts">
      <${Chart} title="Throughput" times=${times} words=${rate} stacked=${true} series=${[
        { name: "completed", tone: "a", values: flow("completed") },
        { name: "dead", tone: "bad", values: flow("dead") },
      ]} />
      <${Chart} title="Waiting and running" times=${times} words=${count} series=${[
        { name: "queued", tone: "b", values: items.map((item) => item.queued) },
        { name: "scheduled", tone: "warn", values: items.map((item) => item.scheduled) },
        { name: "running", tone: "a", values: items.map((item) => item.running) },
      ]} />
      <${Chart} title="Wait time" times=${times} words=${duration} series=${[
        { name: "p50", tone: "a", values: spread("wait_ms", "p50") },
        { name: "p95", tone: "b", values: spread("wait_ms", "p95") },
      ]} />
      <${Chart} title="Run time" times=${times} words=${duration} series=${[
        { name: "p50", tone: "a", values: spread("run_ms", "p50") },
        { name: "p95", tone: "b", values: spread("run_ms", "p95") },
      ]} />
    </div></section>`;
}

const BREAKERS = { closed: ["good", "closed"], open: ["bad", "open"], half_open: ["wait", "half-open, one job is trying"] };

function Breaker({ breaker, read }) {
  const { provider, operation, state, code, message, retry_in_ms: retryIn } = breaker;
  const now = useNow(state !== "closed");
  const [tone, word] = BREAKERS[state];
  const left = retryIn === null || retryIn === undefined ? undefined : Math.max(0, retryIn - (now - read));
  return html`<li class=${`card breaker ${tone}`}>
    <div class="row"><strong class="grow">${provider} ${operation}</strong><span class=${`badge ${tone}`}>${word}</span></div>
    ${state !== "closed" && html`<p>${message ? sentence(message) : plain(code ?? "closed to all calls")}</p>
      ${left !== undefined && html`<p class="faint">${left > 0 ? `Next probe in ${duration(Math.ceil(left / 1000) * 1000)}` : "A probe is due"}. ${KINDS[NEEDS[operation]]} wait and use no attempt.</p>`}`}
  </li>`;
}

function Breakers({ some, read }) {
  return html`<ul class="breakers">${some.map((one) => html`<${Breaker} key=${one.provider + one.operation} breaker=${one} read=${read} />`)}</ul>`;
}

function Workers({ workers }) {
  if (!workers.length) return html`<${Empty} title="No worker is up"><p>Jobs wait until one is: start <code>ragq worker</code>.</p><//>`;
  return html`<div class="card scroll" tabindex="0" role="region" aria-label="Workers"><table>
    <thead><tr><th>Worker</th><th class="num">Running</th><th class="num wide-cell">Slots</th><th class="wide-cell">Version</th><th>Heard of</th></tr></thead>
    <tbody>${workers.map(({ id, version, slots, running, last_heartbeat_at: heard }) => html`<tr key=${id}>
      <td class="id">${id}</td><td class="num">${count(running)}</td>
      <td class="num wide-cell">${Object.entries(slots).map(([kind, n]) => `${count(n)} ${KINDS[kind].toLowerCase()}`).sort().join(", ")}</td>
      <td class="wide-cell">${version}</td><td>${ago(heard)}</td></tr>`)}</tbody>
  </table></div>`;
}

function Live() {
  const look = async (signal) => ({ ...(await get("/admin/queue", { as: "admin", signal })), read: Date.now() });
  const queue = usePolled(look, 2000);
  const history = usePolled((signal) => get("/admin/history?minutes=60", { as: "admin", signal }), 5000);
  if (queue.error && !queue.value) return html`<${Trouble} error=${queue.error} again=${queue.again} />`;
  if (!queue.value) return html`<p class="faint" role="status">Reading the queue…</p>`;
  const items = history.value?.items ?? [];
  const { breakers, read } = queue.value;
  const [closed, open] = [breakers.filter(isClosed), breakers.filter((one) => !isClosed(one))];
  return html`
    ${open.length > 0 && html`<section role="status" aria-label="Providers that are not called"><${Breakers} some=${open} read=${read} /></section>`}
    ${queue.error && html`<p class="note" role="status">${queue.error.title ?? queue.error.message}. These are the figures from before.</p>`}
    <${Counts} queue=${queue.value} />
    <${Kinds} queue=${queue.value} items=${items} onChanged=${queue.again} />
    ${items.length > 0 && html`<${Charts} items=${items} interval=${history.value.interval_ms} />`}
    ${history.error && !history.value && html`<${Trouble} error=${history.error} again=${history.again} />`}
    ${closed.length > 0 && html`<section class="stack" aria-labelledby="breakers"><h2 id="breakers">Circuit breakers</h2><${Breakers} some=${closed} read=${read} /></section>`}
    <section class="stack" aria-labelledby="workers"><h2 id="workers">Workers</h2><${Workers} workers=${queue.value.workers} /></section>`;
}

export function Queue({ parts: [part] }) {
  const [cancelling, setCancelling] = useState(false);
  const [cancelled, setCancelled] = useState(undefined);
  if (part === "audit") return html`<${Audit} />`;
  const { chat, ingest } = KINDS;
  return html`<div class="page">
    <header><h1>Queue</h1>
      <div class="row"><${Button} icon="stop" onClick=${() => setCancelling(true)}>Cancel jobs<//>
        <a class="button" href="#/queue/audit"><${Icon} name="list" />Audit log</a></div></header>
    ${cancelled !== undefined && html`<p class="note done" role="status">${many(cancelled, "job")} cancelled.</p>`}
    <${Live} />
    ${cancelling && html`<${CancelDialog} kinds=${{ chat, ingest }} onClose=${() => setCancelling(false)} onDone=${setCancelled} />`}
  </div>`;
}
