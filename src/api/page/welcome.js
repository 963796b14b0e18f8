// What an empty conversation shows: on an empty system the way to a first cited answer, else what can be asked.
import { get, pause, send } from "./http.js";
import { refreshCollections } from "./library.js";
import { QUESTIONS, SAMPLE } from "./sample.js";
import { html, Icon, Trouble, useState } from "./ui.js";
import { count, many } from "./words.js";

/** Takes the sample in and waits until it can be found. */
async function takeSample() {
  const { job_id: job } = await (await send("POST", "/documents", { json: SAMPLE })).json();
  for (;;) {
    const view = await get(`/job-status?job_id=${job}&wait_ms=10000`);
    if (view.status === "completed") return refreshCollections();
    if (view.status === "dead") throw new Error(view.error.message);
    await pause(200);
  }
}

function Suggestions({ onAsk }) {
  return html`<ul class="suggestions">
    ${QUESTIONS.map((question) => html`<li key=${question}><button type="button" onClick=${() => onAsk(question)}>${question}</button></li>`)}
  </ul>`;
}

function First({ onAsk }) {
  const [state, setState] = useState({});
  const take = () => {
    setState({ busy: true });
    takeSample().then(
      () => setState({}),
      (error) => setState({ error }),
    );
  };
  return html`<p class="lead">There are no documents yet. Give it some, and every answer will show where it comes from.</p>
    <div class="starts">
      <a class="card start" href="#/documents"><${Icon} name="upload" /><strong>Your own documents</strong>
        <span class="faint">Drop Markdown, text, HTML, PDF or Word files. Each can be asked about a moment later.</span></a>
      <button type="button" class="card start" onClick=${take} disabled=${state.busy}><${Icon} name="documents" />
        <strong>${state.busy ? "Taking it in…" : "A sample to try"}</strong>
        <span class="faint">A page about how ragq works. Delete it again whenever you like.</span></button>
    </div>
    ${state.error && html`<${Trouble} error=${state.error} again=${take} />`}`;
}

export function Welcome({ items, error, onAsk }) {
  if (!items) return error ? html`<${Trouble} error=${error} again=${refreshCollections} />` : html`<p class="faint late" role="status">Loading…</p>`;
  if (items.length === 0) return html`<${First} onAsk=${onAsk} />`;
  const documents = items.reduce((sum, one) => sum + one.documents, 0);
  const sampled = items.some((one) => one.name === SAMPLE.collection);
  return html`<p class="lead">${documents === 1 ? "One document is" : `${count(documents)} documents are`} ready
      ${items.length > 1 ? ` in ${many(items.length, "collection")}` : ""}. Answers cite the passages they are made from.</p>
    ${sampled && html`<${Suggestions} onAsk=${onAsk} />`}`;
}
