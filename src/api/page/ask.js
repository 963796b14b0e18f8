// The view Ask: conversations, the thread, the question field, and the source beside it.
import { addTurn, conversations, remove } from "./conversations.js";
import { unique } from "./http.js";
import { collections, refreshCollections } from "./library.js";
import { Reader } from "./reader.js";
import { Turn } from "./turn.js";
import { Button, Dialog, html, Icon, useEffect, useLayoutEffect, useRef, useState, useStore } from "./ui.js";
import { ago } from "./words.js";
import { Welcome } from "./welcome.js";

const go = (id) => {
  location.hash = id ? `#/ask/${id}` : "#/ask";
};

function List({ current, onChosen }) {
  const all = useStore(conversations);
  const drop = (id) => {
    remove(id);
    if (id === current) go();
  };
  return html`<nav class="conversations" aria-label="Conversations">
    <a class="button primary" href="#/ask" onClick=${onChosen}><${Icon} name="add" />New conversation</a>
    <ul>
      ${all.map((one) => html`<li key=${one.id} class=${one.id === current ? "current" : ""}>
        <a href=${`#/ask/${one.id}`} aria-current=${one.id === current ? "page" : undefined} onClick=${onChosen}>
          <span class="name">${one.title}</span><span class="faint">${ago(new Date(one.at).toISOString())}</span></a>
        <${Button} icon="trash" label=${`Forget the conversation "${one.title}"`} kind="quiet" onClick=${() => drop(one.id)} />
      </li>`)}
    </ul>
  </nav>`;
}

/** The question field: Enter sends, Shift and Enter makes a new line. */
function Composer({ onAsk, empty }) {
  const { items = [] } = useStore(collections);
  const [query, setQuery] = useState("");
  const [collection, setCollection] = useState("");
  const field = useRef(null);
  // On a screen that is touched, the keyboard would cover half of it.
  useEffect(() => {
    if (!matchMedia("(pointer: coarse)").matches) field.current.focus({ preventScroll: true });
  }, []);
  useLayoutEffect(() => {
    field.current.style.height = "auto";
    field.current.style.height = `${Math.min(field.current.scrollHeight + 2, 220)}px`;
  }, [query]);
  const submit = (event) => {
    event.preventDefault();
    if (!query.trim()) return;
    onAsk(query.trim(), collection || undefined);
    setQuery("");
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  };
  return html`<form class="composer" onSubmit=${submit}>
    <div class="box">
      <label class="unseen" for="question">Your question</label>
      <textarea id="question" ref=${field} rows="1" maxlength="16000" value=${query}
        placeholder=${empty ? "Give it documents first, then ask" : "Ask about your documents"}
        onInput=${(event) => setQuery(event.target.value)} onKeyDown=${onKeyDown}></textarea>
      <div class="row">
        <label class="unseen" for="collection">Look in</label>
        <select id="collection" value=${collection} onChange=${(event) => setCollection(event.target.value)}>
          <option value="">All documents</option>
          ${items.map(({ name, documents }) => html`<option key=${name} value=${name}>${name} (${documents})</option>`)}
        </select>
        <span class="grow"></span>
        <button class="button primary round" aria-label="Ask" title="Ask" disabled=${!query.trim()}><${Icon} name="send" /></button>
      </div>
    </div>
  </form>`;
}

/** Keeps the end of the thread in view while it grows, unless the reader has scrolled away from it. */
function useStickyEnd(about) {
  useEffect(() => {
    const page = document.scrollingElement;
    page.scrollTop = page.scrollHeight;
    let near = true;
    const scrolled = () => {
      near = page.scrollHeight - page.scrollTop - innerHeight < 120;
    };
    const grown = new ResizeObserver(() => near && page.scrollTo({ top: page.scrollHeight }));
    addEventListener("scroll", scrolled, { passive: true });
    grown.observe(document.querySelector(".thread"));
    return () => {
      removeEventListener("scroll", scrolled);
      grown.disconnect();
    };
  }, about);
}

export function Ask({ parts: [id] }) {
  const all = useStore(conversations);
  const { items, error } = useStore(collections);
  const [source, setSource] = useState(undefined);
  const [drawer, setDrawer] = useState(false);
  const one = all.find((conversation) => conversation.id === id);
  const turns = one?.turns ?? [];
  const empty = items?.length === 0;
  useEffect(() => {
    refreshCollections();
    if (!empty) return undefined;
    // Somebody may be taking documents in from elsewhere.
    const timer = setInterval(refreshCollections, 5000);
    return () => clearInterval(timer);
  }, [empty]);
  useEffect(() => setSource(undefined), [id]);
  // A source that was opened while its answer grew: now that the answer is whole, it is known what it draws on.
  const end = turns.find((turn) => turn.id === source?.turn)?.end;
  useEffect(() => {
    const support = end?.citations.find(({ index }) => index === source.index)?.support;
    if (support && !source.support) setSource({ ...source, support });
  }, [end]);
  useStickyEnd([id, turns.length]);
  const ask = (query, collection) => {
    const mine = id ?? unique();
    addTurn(mine, query, collection);
    if (!id) go(mine);
  };
  return html`<div class=${`ask ${source ? "with-source" : ""}`}>
    <div class="side"><${List} current=${id} /></div>
    <div class="middle">
      ${all.length > 0 && html`<div class="drawer-button"><${Button} icon="list" onClick=${() => setDrawer(true)}>Conversations<//></div>`}
      <div class="thread">
        <h1 class=${turns.length ? "unseen" : ""}>${one?.title ?? "What would you like to know?"}</h1>
        ${turns.length === 0 && html`<${Welcome} items=${items} error=${error} onAsk=${ask} />`}
        ${turns.map((turn) => html`<${Turn} key=${turn.id} conversation=${id} turn=${turn} onSource=${(citation) => setSource({ ...citation, turn: turn.id })}
          onAgain=${() => ask(turn.query, turn.collection)} />`)}
      </div>
      <${Composer} onAsk=${ask} empty=${empty} key=${id ?? "new"} />
    </div>
    ${source && html`<${Reader} citation=${source} onClose=${() => setSource(undefined)} />`}
    ${drawer && html`<${Dialog} title="Conversations" onClose=${() => setDrawer(false)}>
      <${List} current=${id} onChosen=${() => setDrawer(false)} /><//>`}
  </div>`;
}
