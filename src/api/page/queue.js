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

function Counts({ queue }) {
  const { counts, backlog, oldest_queued_age_ms: oldest } = queue;
  return html`<dl class="tiles">
    ${Object.keys(STATES).map((state) => html`<div class="card tile" key=${state}>
      <dt><span class=${`badge ${counts[state] ? STATES[state] : ""}`}>${state}</span></dt>
      <dd>${state === "dead" && counts.dead ? html`<a href="#/letters">${count(counts.dead)}</a>` : count(counts[state])}</dd></div>`)}
  </dl>
  <p class="faint">${backlog ? `${many(backlog, "job")} could run now` : "Nothing waits for a worker"}${oldest ? `; the oldest has waited ${duration(oldest)}` : ""}.</p>`;
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
      <td class="num">${history.length ? count(history.at(-1).queued) : ""}</td>
      <td class="num">${history.length ? count(history.at(-1).running) : ""}</td>
      <td class="num wide-cell">${sum("submitted")}</td>
      <td class="num wide-cell">${sum("completed")}</td>
      <td class="num wide-cell">${sum("retried")}</td>
      <td class="num wide-cell">${sum("deferred")}</td>
      <td class="num wide-cell">${sum("dead")}</td>
      <td class="num wide-cell">${wait === undefined ? "" : duration(wait)}</td>
      <td class="num wide-cell">${run === undefined ? "" : duration(run)}</td>
      <td class="num"><${Button} icon=${paused ? "play" : "pause"} kind=${paused ? "primary" : ""} disabled=${busy}
        aria-label=${`${paused ? "Resume" : "Pause"} ${KINDS[kind].toLowerCase()}`} onClick=${() => order(verb, kind)}><span class="wide-only">${paused ? "Resume" : "Pause"}</span><//></td>
    </tr>`;
  };
  return html`<section class="stack" aria-labelledby="kinds"><h2 id="kinds">By kind, over the last hour</h2>
    ${queue.paused.length > 0 && html`<p class="note">What is paused is still accepted, but not handed to workers until it is resumed.</p>`}
    ${error && html`<${Trouble} error=${error} />`}
    <div class="card scroll" tabindex="0" role="region" aria-label="Jobs by kind"><table>
      <thead><tr><th>Kind</th><th class="num">Queued</th><th class="num">Running</th><th class="num wide-cell">Submitted</th><th class="num wide-cell">Completed</th>
        <th class="num wide-cell">Retried</th><th class="num wide-cell">Deferred</th><th class="num wide-cell">Dead</th>
        <th class="num wide-cell">Waited, p95</th><th class="num wide-cell">Ran, p95</th><th><span class="unseen">Pause or resume</span></th></tr></thead>
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
  return html`<li class="card breaker">
    <div class="row"><strong class="grow">${provider} ${operation}</strong><span class=${`badge ${tone}`}>${word}</span></div>
    ${state !== "closed" && html`<p>${message ? sentence(message) : plain(code ?? "closed to all calls")}</p>
      ${left !== undefined && html`<p class="faint">${left > 0 ? `Next probe in ${duration(Math.ceil(left / 1000) * 1000)}` : "A probe is due"}. Questions wait and use no attempt.</p>`}`}
  </li>`;
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
  return html`
    ${queue.error && html`<p class="note" role="status">${queue.error.title ?? queue.error.message}. These are the figures from before.</p>`}
    <${Counts} queue=${queue.value} />
    <${Kinds} queue=${queue.value} items=${items} onChanged=${queue.again} />
    ${items.length > 0 && html`<${Charts} items=${items} interval=${history.value.interval_ms} />`}
    ${history.error && !history.value && html`<${Trouble} error=${history.error} again=${history.again} />`}
    ${queue.value.breakers.length > 0 && html`<section class="stack" aria-labelledby="breakers"><h2 id="breakers">Circuit breakers</h2>
      <ul class="breakers">${queue.value.breakers.map((one) => html`<${Breaker} key=${one.provider + one.operation} breaker=${one} read=${queue.value.read} />`)}</ul></section>`}
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
    ${cancelled !== undefined && html`<p class="note" role="status">${many(cancelled, "job")} cancelled.</p>`}
    <${Live} />
    ${cancelling && html`<${CancelDialog} kinds=${{ chat, ingest }} onClose=${() => setCancelling(false)} onDone=${setCancelled} />`}
  </div>`;
}
