// One document: its record, its chunks as they are searched, its text, and its deletion.
import { get, pause, send, withQuery } from "./http.js";
import { refreshCollections } from "./library.js";
import { DocumentText } from "./reader.js";
import { Button, Confirm, html, Icon, Trouble, useEffect, usePolled, useState } from "./ui.js";
import { bytes, count, date, hint, many, sentence } from "./words.js";

const path = (id) => `/documents/${encodeURIComponent(id)}`;

/** Deletes a document and waits until it is gone. */
async function remove(id) {
  const { job_id: job } = await (await send("DELETE", path(id))).json();
  for (;;) {
    const { status, error } = await get(`/job-status?job_id=${job}&wait_ms=10000`);
    if (status === "completed") return refreshCollections();
    if (status === "dead") throw new Error(error.message);
    await pause(200);
  }
}

export function Remove({ record, onClose, onGone }) {
  const go = async () => {
    await remove(record.document_id);
    onGone();
  };
  return html`<${Confirm} title="Delete this document?" yes="Delete" onYes=${go} onClose=${onClose}
    text=${`“${record.title}” can no longer be found or asked about. Answers that cite it keep what they quoted.`} />`;
}

function Chunks({ id }) {
  const [state, setState] = useState({ items: [] });
  const load = async (cursor) => {
    try {
      const page = await get(withQuery(`${path(id)}/chunks`, { limit: 50, cursor }));
      setState((before) => ({ items: cursor ? [...before.items, ...page.items] : page.items, cursor: page.next_cursor, loaded: true }));
    } catch (error) {
      // It changed between two pages: what was shown is of another version.
      if (error.code === "document_changed") load();
      else setState((before) => ({ ...before, error }));
    }
  };
  useEffect(() => {
    load();
  }, [id]);
  if (state.error) return html`<${Trouble} error=${state.error} again=${() => load()} />`;
  if (!state.loaded) return html`<p class="faint" role="status">Reading the chunks…</p>`;
  return html`<ol class="chunks">
    ${state.items.map((chunk) => html`<li class="card" key=${chunk.ordinal}>
      <p class="faint"><strong>${chunk.ordinal + 1}</strong> ${chunk.headings.join(" › ")} <span class="nowrap">bytes ${count(chunk.start)} to ${count(chunk.end)}</span></p>
      <div class="doctext">${chunk.text}</div>
    </li>`)}
  </ol>
  ${state.cursor && html`<div><${Button} onClick=${() => load(state.cursor)}>Show more<//></div>`}`;
}

export function Document({ id }) {
  const [view, setView] = useState("chunks");
  const [removing, setRemoving] = useState(false);
  const { value: record, error } = usePolled((signal) => get(path(id), { signal }), 3000, [id]);
  const back = () => {
    location.hash = "#/documents";
  };
  const leave = html`<p><a class="back" href="#/documents"><${Icon} name="back" />All documents</a></p>`;
  if (error && (!record || error.status === 404)) {
    return html`<div class="page">${leave}<${Trouble} error=${error} /></div>`;
  }
  if (!record) return html`<div class="page">${leave}<p class="faint" role="status">Reading the document…</p></div>`;
  const { title, source, collection, state, chunks, size_bytes: size, updated_at: updated, error: failure } = record;
  const tab = (name, label) => html`<button type="button" class="tab" aria-pressed=${view === name} onClick=${() => setView(name)}>${label}</button>`;
  return html`<div class="page">
    ${leave}
    <header><h1>${title}</h1>
      <${Button} icon="trash" kind="danger" onClick=${() => setRemoving(true)}>Delete<//></header>
    <p class="faint">${[source !== title && source, `collection ${collection}`, state, many(chunks, "chunk"), bytes(size), `changed ${date(updated)}`].filter(Boolean).join(" · ")}</p>
    ${failure && html`<div class="trouble"><p><strong>${state === "failed" ? "It could not be taken in" : "The newest version could not be taken in; the one before is still asked"}</strong></p>
      <p>${sentence(failure.message)} ${hint(failure.code)}</p></div>`}
    ${record.version && html`<div class="tabs" role="group" aria-label="Show">${tab("chunks", "Chunks")}${tab("text", "Text")}</div>
      ${view === "chunks" ? html`<${Chunks} id=${id} key=${record.version} />` : html`<div class="card stack"><${DocumentText} id=${id} /></div>`}`}
    ${removing && html`<${Remove} record=${record} onClose=${() => setRemoving(false)} onGone=${back} />`}
  </div>`;
}
