// One dead letter: what was to be done, every attempt, and what can be done now: edit, replay, discard.
import { get, send } from "./http.js";
import { store } from "./store.js";
import { subjectOf } from "./subjects.js";
import { announce, Button, Confirm, copy, html, Icon, Trouble, useEffect, usePolled, useState } from "./ui.js";
import { count, date, duration, hint, many, plain, sentence, time } from "./words.js";

const path = (id) => `/admin/dlq/${encodeURIComponent(id)}`;
const OUTCOMES = { retried: "wait", deferred: "wait", lease_lost: "bad", died: "bad" };
/** What was done last, in words, with a link: said above the list. */
export const deed = store(undefined);

function back(done) {
  deed.set(done);
  location.hash = "#/letters";
}

function Attempts({ attempts }) {
  if (!attempts.length) return html`<p class="faint">It was never handed to a worker.</p>`;
  return html`<div class="card scroll" tabindex="0" role="region" aria-label="Attempts"><table>
    <thead><tr><th class="num">Attempt</th><th>Outcome</th><th>Why</th><th class="wide-cell">Begun</th><th class="num wide-cell">Took</th><th class="wide-cell">Worker</th></tr></thead>
    <tbody>${attempts.map((one) => html`<tr key=${one.delivery}>
      <td class="num">${count(one.attempt)}</td>
      <td><span class=${`badge ${OUTCOMES[one.outcome]}`}>${plain(one.outcome)}</span></td>
      <td class="title">${one.error ? sentence(one.error.message) : "Its worker was lost."} ${one.error && html`<span class="faint">${plain(one.error.code)}</span>`}</td>
      <td class="wide-cell"><time datetime=${one.started_at} title=${date(one.started_at)}>${time(one.started_at)}</time></td>
      <td class="num wide-cell">${duration(Date.parse(one.ended_at) - Date.parse(one.started_at))}</td>
      <td class="id wide-cell">${one.worker}</td></tr>`)}</tbody>
  </table></div>`;
}

/** The payload of a question as it may be sent back, and whether it was changed. */
function useEdit(letter) {
  const before = letter ? JSON.stringify(letter.payload, null, 2) : "";
  const [text, setText] = useState(before);
  useEffect(() => setText(before), [before]);
  let payload;
  try {
    payload = JSON.parse(text);
  } catch (error) {
    return { text, setText, wrong: error.message, changed: true };
  }
  const setQuery = (query) => setText(JSON.stringify({ ...payload, query }, null, 2));
  return { text, setText, setQuery, payload, changed: text !== before };
}

function Payload({ letter, edit }) {
  if (letter.kind !== "chat") {
    return html`<p class="faint">A document's job is replayed as it was; to change it, upload the document again.</p>
      <pre class="card payload" tabindex="0">${edit.text}</pre>`;
  }
  return html`<div class="stack">
    <div class="stack tight"><label for="query">Question</label>
      <textarea id="query" rows="3" value=${edit.payload?.query ?? ""} disabled=${!edit.payload} onInput=${(event) => edit.setQuery(event.target.value)}></textarea></div>
    <details><summary>All that was asked, as JSON</summary>
      <label class="unseen" for="payload">Payload</label>
      <textarea id="payload" class="payload" rows="10" spellcheck=${false} value=${edit.text} onInput=${(event) => edit.setText(event.target.value)}></textarea>
    </details>
    ${edit.wrong && html`<p class="bad" role="alert">This is not JSON: ${edit.wrong}</p>`}
  </div>`;
}

/** A job that is no dead letter: what became of it, as far as the operator may see it. */
function Fate({ id, onDead }) {
  const { value: job, error } = usePolled((signal) => get(`/job-status?job_id=${id}`, { as: "admin", signal }), 1000, [id]);
  useEffect(() => {
    if (job?.status === "dead") onDead();
  }, [job?.status]);
  if (error && !job) {
    const gone = { title: "There is no such dead letter", message: "It was discarded or has expired; or it was replayed, and only its tenant can see what came of it." };
    return html`<${Trouble} error=${error.status === 404 ? gone : error} />`;
  }
  if (!job) return html`<p class="faint" role="status">Looking for the job…</p>`;
  const { answer, document_id: document } = job.result ?? {};
  return html`<header><h1>No longer a dead letter</h1></header>
    <p>Job <span class="id">${id}</span> <span class=${`badge ${job.status === "completed" ? "good" : "busy"}`}>${plain(job.status)}</span></p>
    ${job.status !== "completed" && job.error && html`<p>${sentence(job.error.message)}</p>`}
    ${answer && html`<section class="stack" aria-labelledby="answer"><h2 id="answer">Its answer</h2><div class="card doctext">${answer}</div></section>`}
    ${document && html`<p><a href=${`#/documents/${encodeURIComponent(document)}`}>Its document</a></p>`}`;
}

/** A name that is copied with a click. */
function Name({ text, what }) {
  return html`<span class="id">${text}</span> <${Button} kind="quiet" icon="copy" label=${`Copy the ${what}`} onClick=${() => copy(text)} />`;
}

function Detail({ id }) {
  const [state, setState] = useState({});
  const [trouble, setTrouble] = useState(undefined);
  const [discarding, setDiscarding] = useState(false);
  const load = () =>
    get(path(id), { as: "admin" }).then(
      (letter) => setState({ letter }),
      (error) => setState({ error }),
    );
  useEffect(() => {
    load();
  }, [id]);
  const { letter, error } = state;
  const edit = useEdit(letter);
  if (error?.code === "dead_letter_not_found") return html`<${Fate} id=${id} onDead=${load} />`;
  if (error) return html`<${Trouble} error=${error} />`;
  if (!letter) return html`<p class="faint" role="status">Reading the dead letter…</p>`;
  const subject = subjectOf(letter);
  const replay = async () => {
    try {
      await send("POST", `${path(id)}/replay`, { json: edit.changed ? { payload: edit.payload } : {}, as: "admin" });
      announce("It is queued again");
      back({ text: `“${edit.changed ? subjectOf({ ...letter, payload: edit.payload }) : subject}” is queued again.`, href: `#/letters/${id}`, link: "See what comes of it" });
    } catch (failure) {
      setTrouble(failure);
    }
  };
  const remove = async () => {
    await send("DELETE", path(id), { as: "admin" });
    back({ text: `“${subject}” is discarded.`, href: "#/queue/audit", link: "Audit log" });
  };
  const facts = [letter.kind, `tenant ${letter.tenant}`, many(letter.attempt, "attempt"), letter.lost_leases > 0 && `${count(letter.lost_leases)} lost leases`, `submitted ${date(letter.created_at)}`, `died ${date(letter.dead_at)}`];
  return html`
    <header><h1>${subject}</h1></header>
    <p><strong class="bad">${sentence(letter.error.message)}</strong> <span class="faint">${plain(letter.error.code)}, ${plain(letter.reason)}</span></p>
    <p class="faint">${facts.filter(Boolean).join(" · ")}</p>
    <dl class="pairs names"><dt>Job</dt><dd><${Name} text=${id} what="job's id" /></dd><dt>Request</dt><dd><${Name} text=${letter.request_id} what="request's id" /></dd></dl>
    ${hint(letter.error.code) && html`<p class="note">${hint(letter.error.code)}</p>`}
    <section class="stack" aria-labelledby="what"><h2 id="what">What was to be done</h2><${Payload} letter=${letter} edit=${edit} /></section>
    ${trouble && html`<${Trouble} error=${trouble} />`}
    <div class="row">
      <${Button} kind="primary" icon="again" disabled=${Boolean(edit.wrong)} onClick=${replay}>${edit.changed ? "Replay as edited" : "Replay"}<//>
      <${Button} kind="danger" icon="trash" onClick=${() => setDiscarding(true)}>Discard<//>
    </div>
    <section class="stack" aria-labelledby="attempts"><h2 id="attempts">Attempts</h2><${Attempts} attempts=${letter.attempts} /></section>
    <details><summary>Everything, as JSON</summary>
      <${Button} icon="copy" onClick=${() => copy(JSON.stringify(letter, null, 2))}>Copy<//>
      <pre class="card payload" tabindex="0">${JSON.stringify(letter, null, 2)}</pre></details>
    ${discarding && html`<${Confirm} title="Discard for good?" yes="Discard" onYes=${remove} onClose=${() => setDiscarding(false)}
      text="The dead letter will be gone, with its payload and attempts. This can't be undone." />`}`;
}

export function Letter({ id }) {
  return html`<p><a class="back" href="#/letters"><${Icon} name="back" />All dead letters</a></p>
    <${Detail} id=${id} />`;
}
