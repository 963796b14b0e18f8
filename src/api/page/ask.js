// The view Ask: conversations, the thread, the question field, and the source beside it.
import { addTurn, conversations, remove } from "./conversations.js";
import { unique } from "./http.js";
import { collections, refreshCollections } from "./library.js";
import { Reader } from "./reader.js";
import { Turn } from "./turn.js";
import { recheck } from "./turns.js";
import { announce, Button, Confirm, Dialog, html, Icon, useEffect, useLayoutEffect, usePolled, useRef, useState, useStore } from "./ui.js";
import { ago, count, many } from "./words.js";
import { Welcome } from "./welcome.js";

/** The longest question that a server takes, unless it is told otherwise. */
const LONGEST = 16_000;
const DRAFT = "ragq.draft.";

const go = (id) => {
  location.hash = id ? `#/ask/${id}` : "#/ask";
};

function List({ current, onChosen }) {
  const all = useStore(conversations);
  const [leaving, setLeaving] = useState(undefined);
  const drop = async ({ id }) => {
    remove(id);
    sessionStorage.removeItem(DRAFT + id);
    if (id === current) go();
  };
  return html`<nav class="conversations" aria-label="Conversations">
    <a class="button primary" href="#/ask" onClick=${onChosen}><${Icon} name="add" />New conversation</a>
    <ul>
      ${all.map((one) => html`<li key=${one.id} class=${one.id === current ? "current" : ""}>
        <a href=${`#/ask/${one.id}`} aria-current=${one.id === current ? "page" : undefined} onClick=${onChosen}>
          <span class="name">${one.title}</span><span class="faint">${ago(new Date(one.at).toISOString())}</span></a>
        <${Button} icon="trash" label=${`Forget the conversation "${one.title}"`} kind="quiet" onClick=${() => setLeaving(one)} />
      </li>`)}
    </ul>
    ${leaving && html`<${Confirm} title="Forget the conversation?" yes="Forget" onYes=${() => drop(leaving)} onClose=${() => setLeaving(undefined)}
      text=${`"${leaving.title}" with its ${many(leaving.turns.length, "question")} is removed from this browser. This can't be undone.`} />`}
  </nav>`;
}

/** What is written and not yet sent; the session has it, so that another view or a reload does not lose it. */
function useDraft(id) {
  const name = DRAFT + id;
  const [draft, setDraft] = useState(() => sessionStorage.getItem(name) ?? "");
  const change = (text) => {
    setDraft(text);
    try {
      if (text) sessionStorage.setItem(name, text);
      else sessionStorage.removeItem(name);
    } catch {
      // Where there is no room it lives as long as the field does.
    }
  };
  return [draft, change];
}

/** How much room a long question has left. */
function Room({ length }) {
  if (length < LONGEST * 0.9) return null;
  const over = length - LONGEST;
  return html`<p class=${`room ${over > 0 ? "bad" : "faint"}`}>
    ${over > 0 ? `Too long by ${many(over, "character")}: ${count(LONGEST)} can be asked` : `${many(-over, "character")} left`}</p>`;
}

/** The question field: Enter sends, Shift and Enter makes a new line. */
function Composer({ id, onAsk, empty, away }) {
  const { items = [] } = useStore(collections);
  const [query, setQuery] = useDraft(id);
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
  const text = query.trim();
  // As the server counts; a short question need not be counted.
  const length = text.length < LONGEST * 0.9 ? 0 : [...text].length;
  const long = length > LONGEST;
  const ready = text && !long;
  useEffect(() => long && announce("The question is too long"), [long]);
  const submit = (event) => {
    event.preventDefault();
    if (!ready) return;
    onAsk(text, collection || undefined);
    setQuery("");
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  };
  return html`<form class="composer" onSubmit=${submit}>
    ${away && html`<div class="newest"><${Button} onClick=${toEnd}>To the newest<//></div>`}
    <div class="box">
      <label class="unseen" for="question">Your question</label>
      <textarea id="question" ref=${field} rows="1" value=${query}
        placeholder=${empty ? "Give it documents first, then ask" : "Ask about your documents"}
        onInput=${(event) => setQuery(event.target.value)} onKeyDown=${onKeyDown}></textarea>
      <${Room} length=${length} />
      <div class="row">
        <label class="unseen" for="collection">Look in</label>
        <select id="collection" value=${collection} onChange=${(event) => setCollection(event.target.value)}>
          <option value="">All documents</option>
          ${items.map(({ name, documents }) => html`<option key=${name} value=${name}>${name} (${documents})</option>`)}
        </select>
        <span class="grow"></span>
        <button class="button primary round" aria-label="Ask" title="Ask" disabled=${!ready}><${Icon} name="send" /></button>
      </div>
    </div>
  </form>`;
}

const toEnd = () => document.scrollingElement.scrollTo({ top: document.scrollingElement.scrollHeight });

/** Keeps the end of the thread in view while it grows, unless the reader has scrolled away; gives whether that is so. */
function useStickyEnd(about) {
  const [away, setAway] = useState(false);
  useEffect(() => {
    const page = document.scrollingElement;
    let near = true;
    setAway(false);
    const scrolled = () => {
      near = page.scrollHeight - page.scrollTop - innerHeight < 120;
      setAway(!near);
    };
    const grown = new ResizeObserver(() => (near ? toEnd() : scrolled()));
    toEnd();
    addEventListener("scroll", scrolled, { passive: true });
    grown.observe(document.querySelector(".thread"));
    return () => {
      removeEventListener("scroll", scrolled);
      grown.disconnect();
    };
  }, about);
  return away;
}

/** Looks now, each minute and whenever somebody comes back whether what was given up is tried again. */
function useSecondTries(id) {
  const { again } = usePolled(() => recheck(id), 60_000, [id]);
  useEffect(() => {
    addEventListener("focus", again);
    return () => removeEventListener("focus", again);
  }, []);
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
  const away = useStickyEnd([id, turns.length]);
  useSecondTries(id);
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
      <${Composer} id=${id ?? "new"} onAsk=${ask} empty=${empty} key=${id ?? "new"} away=${away && turns.length > 0} />
    </div>
    ${source && html`<${Reader} citation=${source} onClose=${() => setSource(undefined)} />`}
    ${drawer && html`<${Dialog} title="Conversations" onClose=${() => setDrawer(false)}>
      <${List} current=${id} onChosen=${() => setDrawer(false)} /><//>`}
  </div>`;
}
