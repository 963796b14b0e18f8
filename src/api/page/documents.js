// The view Documents: files in, each with its progress; the list of what is there; collections; one document.
import { Document, Remove } from "./document.js";
import { getPages } from "./http.js";
import { collections, refreshCollections } from "./library.js";
import { Button, Empty, html, Icon, Trouble, useEffect, usePolled, useRef, useState, useStore } from "./ui.js";
import { add, chosenFolder, clear, dropped, isOver, ranked, taken, uploads } from "./uploads.js";
import { ago, bytes, count, date, hint, many, sentence } from "./words.js";

/** As many as the server gives at once: they come by id and are shown newest first. */
const PAGE = 500;
const ENDINGS = ".md,.markdown,.txt,.text,.html,.htm,.pdf,.docx";

/** A button that opens the browser's dialog for files. */
function Chooser({ label, kind, onChosen, ...more }) {
  const input = useRef(null);
  const chosen = () => {
    onChosen([...input.current.files]);
    // The same choice once more is a change again.
    input.current.value = "";
  };
  return html`<input type="file" class="unseen" multiple ref=${input} onChange=${chosen} tabindex="-1" aria-label=${label} ...${more} />
    <${Button} kind=${kind} onClick=${() => input.current.click()}>${label}<//>`;
}

function Drop({ names }) {
  const [over, setOver] = useState(false);
  const [collection, setCollection] = useState("");
  const give = (files) => files.length && add(files, collection.trim() || undefined);
  const onDrop = async (event) => {
    event.preventDefault();
    setOver(false);
    give(await dropped(event.dataTransfer));
  };
  const onDragOver = (event) => {
    event.preventDefault();
    setOver(true);
  };
  return html`<section class=${`drop ${over ? "over" : ""}`} aria-label="Add documents"
      onDragOver=${onDragOver} onDragLeave=${() => setOver(false)} onDrop=${onDrop}>
    <${Icon} name="upload" />
    <p><strong>Drop files or folders here</strong></p>
    <p class="faint">Markdown, text, HTML, PDF and Word. The same name again replaces what was there.</p>
    <div class="row">
      <${Chooser} label="Choose files" kind="primary" accept=${ENDINGS} onChosen=${give} />
      <${Chooser} label="Choose a folder" webkitdirectory=${true} onChosen=${(files) => give(chosenFolder(files))} />
      <label for="into">into</label>
      <input id="into" list="into-names" placeholder="default" value=${collection} size="14" maxlength="100" pattern="[A-Za-z0-9._\\-]+"
        title="Letters, digits and . _ -" onInput=${(event) => setCollection(event.target.value)} />
      <datalist id="into-names">${names.map((name) => html`<option key=${name} value=${name} />`)}</datalist>
    </div>
  </section>`;
}

function stage({ phase, sent, position, chunks, message, code }) {
  switch (phase) {
    case "chosen":
      return ["", "Waits to be sent"];
    case "waiting":
      return ["wait", message];
    case "uploading":
      return ["busy", `Sending, ${Math.round(sent * 100)} %`];
    case "queued":
      return message ? ["wait", `Deferred: ${message}`] : ["busy", position ? `Queued, ${count(position)} before it` : "Queued"];
    case "reading":
      return ["busy", "Reading"];
    case "done":
      return ["good", `Ready, ${many(chunks, "chunk")}`];
    case "unchanged":
      return ["good", "Unchanged"];
    default:
      return ["bad", [sentence(message), hint(code)].filter(Boolean).join(" ")];
  }
}

function Upload({ one }) {
  const [tone, text] = stage(one);
  return html`<li class="upload">
    <span class="name">${one.document && one.phase !== "failed" ? html`<a href=${`#/documents/${encodeURIComponent(one.document)}`}>${one.name}</a>` : one.name}</span>
    <span class="faint num">${bytes(one.size)}</span>
    ${tone === "bad" ? html`<span class="bad why">${text}</span>` : html`<span class=${`badge ${tone}`}>${text}</span>`}
    ${one.phase === "uploading" && html`<progress value=${one.sent} max="1" aria-label=${`Sending ${one.name}`}></progress>`}
  </li>`;
}

/** The files of this visit. */
function Uploads() {
  const all = useStore(uploads);
  if (!all.length) return null;
  const over = all.filter(isOver).length;
  const failed = all.filter(({ phase }) => phase === "failed").length;
  const rest = all.length - failed;
  const ready = over === all.length ? rest : 0;
  return html`<section class="card stack" aria-labelledby="uploads">
    <div class="row">
      <h2 id="uploads" class="grow">${over === all.length ? `${many(rest, "file")} taken in` : `${count(over)} of ${many(all.length, "file")} done`}
        ${failed > 0 && html`<span class="bad">, ${count(failed)} failed</span>`}</h2>
      ${ready > 0 && html`<a class="button primary" href="#/ask">Ask about ${ready === 1 ? "it" : "them"}</a>`}
      ${over > 0 && html`<${Button} kind="quiet" onClick=${clear}>Clear the list<//>`}
    </div>
    <progress class="whole" value=${over} max=${all.length} aria-label="Files done"></progress>
    <ul class="uploads" tabindex="0" aria-label="Files">${ranked(all).map((one) => html`<${Upload} key=${one.id} one=${one} />`)}</ul>
  </section>`;
}

const STATES = { pending: "busy", ready: "good", failed: "bad", deleting: "wait" };

function Row({ record, onRemove }) {
  const { document_id: id, title, source, collection, state, chunks, size_bytes: size, updated_at: updated, error } = record;
  return html`<tr>
    <td class="title"><a href=${`#/documents/${encodeURIComponent(id)}`} data-id=${id}>${title}</a>
      ${source && source !== title && html`<span class="faint">${source}</span>`}
      ${error && html`<span class="bad">${sentence(error.message)} ${hint(error.code)}</span>`}</td>
    <td class="wide-cell">${collection}</td>
    <td><span class=${`badge ${STATES[state]}`}>${state}</span></td>
    <td class="num wide-cell">${state === "failed" ? "" : count(chunks)}</td>
    <td class="num wide-cell">${state === "failed" ? "" : bytes(size)}</td>
    <td class="wide-cell"><time datetime=${updated} title=${date(updated)}>${ago(updated)}</time></td>
    <td><${Button} icon="trash" kind="quiet" label=${`Delete ${title}`} onClick=${() => onRemove(record)} /></td>
  </tr>`;
}

function List({ collection }) {
  const [pages, setPages] = useState(1);
  const [search, setSearch] = useState("");
  const [removing, setRemoving] = useState(undefined);
  const news = useStore(taken);
  const look = (signal) => getPages("/documents", { collection, limit: PAGE }, pages, { signal });
  const { value, error, again } = usePolled(look, 4000 * pages, [collection, pages, news]);
  const onGone = useNext(value, removing);
  if (error && !value) return html`<${Trouble} error=${error} again=${again} />`;
  if (!value) return html`<p class="faint" role="status">Reading the list…</p>`;
  const words = search.trim().toLowerCase();
  const fits = ({ title, source }) => !words || `${title} ${source ?? ""}`.toLowerCase().includes(words);
  const shown = value.items.filter(fits).sort((one, other) => other.updated_at.localeCompare(one.updated_at));
  if (!value.items.length) return html`<${Empty} title=${collection ? "This collection is empty" : "No documents yet"}>
    <p>Drop files above, or run <code>ragq ingest FOLDER</code>. A few seconds later you can <a href="#/ask">ask about them</a>.</p><//>`;
  return html`<div class="row"><label class="unseen" for="search">Search titles</label>
      <input id="search" type="search" placeholder="Search titles" value=${search} onInput=${(event) => setSearch(event.target.value)} /></div>
    <div class="card scroll" tabindex="0" role="region" aria-label="Documents"><table>
      <thead><tr><th>Title</th><th class="wide-cell">Collection</th><th>State</th><th class="num wide-cell">Chunks</th>
        <th class="num wide-cell">Size</th><th class="wide-cell">Changed</th><th><span class="unseen">Delete</span></th></tr></thead>
      <tbody>${shown.map((record) => html`<${Row} key=${record.document_id} record=${record} onRemove=${setRemoving} />`)}</tbody>
    </table>${!shown.length && html`<p class="faint">No title has “${search}” in it${value.more ? " so far; load more below" : ""}.</p>`}</div>
    ${value.more && html`<p class="faint">These are the first ${count(value.items.length)} by their ids. There are more.</p>
      <div><${Button} onClick=${() => setPages(pages + 1)}>Load more<//></div>`}
    ${removing && html`<${Remove} record=${removing} onClose=${() => setRemoving(undefined)} onGone=${() => onGone(removing.document_id, again)} />`}`;
}

/** Once a row is gone from the list, the focus that was in it goes to the row after it. */
function useNext(value, removing) {
  const [gone, setGone] = useState(undefined);
  useEffect(() => {
    if (!gone || removing || value.items.some(({ document_id: id }) => id === gone.id)) return;
    const row = document.querySelector(`[data-id="${CSS.escape(gone.next)}"]`);
    if (document.activeElement === document.body) (row ?? document.getElementById("main")).focus();
    setGone(undefined);
  }, [gone, removing, value]);
  return (id, renew) => {
    const ids = [...document.querySelectorAll("[data-id]")].map((link) => link.dataset.id);
    const at = ids.indexOf(id);
    setGone({ id, next: ids[at + 1] ?? ids[at - 1] ?? "" });
    renew();
  };
}

function Collections({ items, current, onChoose }) {
  if (items.length < 2) return null;
  const all = items.reduce((sum, one) => sum + one.documents, 0);
  const tab = (name, label, documents) => html`<button type="button" class="tab" aria-pressed=${current === name} onClick=${() => onChoose(name)} key=${label}>
    ${label} <span class="faint">${count(documents)}</span></button>`;
  return html`<div class="tabs" role="group" aria-label="Collections">
    ${tab(undefined, "All", all)}${items.map(({ name, documents }) => tab(name, name, documents))}</div>`;
}

export function Documents({ parts: [id] }) {
  const { items = [] } = useStore(collections);
  const [collection, setCollection] = useState(undefined);
  const news = useStore(taken);
  const before = useRef(id);
  useEffect(() => {
    refreshCollections();
  }, [news]);
  useEffect(() => {
    // As after a change of view.
    if (before.current !== id) document.getElementById("main").focus();
    before.current = id;
  }, [id]);
  if (id) return html`<${Document} id=${id} key=${id} />`;
  const documents = items.reduce((sum, one) => sum + one.documents, 0);
  const size = items.reduce((sum, one) => sum + one.size_bytes, 0);
  return html`<div class="page">
    <header><h1>Documents</h1>${documents > 0 && html`<p class="faint">${many(documents, "document")}, ${bytes(size)} of text</p>`}</header>
    <${Drop} names=${items.map(({ name }) => name)} />
    <${Uploads} />
    <${Collections} items=${items} current=${collection} onChoose=${setCollection} />
    <${List} collection=${collection} key=${collection ?? ""} />
  </div>`;
}
