// The API key and the admin token: asked for when the server wants them, kept in the tab's session only.
import { store, useStore } from "./store.js";
import { html, useState } from "./ui.js";

const SLOTS = { api: "ragq.api-key", admin: "ragq.admin-token" };

/** Which of the two the server has refused or asked for. */
const wanted = store({ api: false, admin: false });
/** Rises whenever a key was given. */
export const changes = store(0);

export const key = (kind) => sessionStorage.getItem(SLOTS[kind]);

export function refuse(kind) {
  wanted.set({ ...wanted.get(), [kind]: true });
}

export function give(kind, value) {
  sessionStorage.setItem(SLOTS[kind], value);
  wanted.set({ ...wanted.get(), [kind]: false });
  changes.set(changes.get() + 1);
}

/** Forgets the keys and all that was read with them; the page begins anew, so that nothing of it stays in memory. */
export function forget() {
  sessionStorage.clear();
  location.reload();
}

/** Resolves when a key is given. */
export function changed(signal) {
  return new Promise((resolve, reject) => {
    const stop = changes.watch(() => {
      stop();
      resolve();
    });
    signal?.addEventListener("abort", () => {
      stop();
      reject(signal.reason);
    });
  });
}

const TEXTS = {
  api: {
    title: "This server wants an API key",
    label: "API key",
    text: "Your operator has one for you. It decides which documents and questions you see.",
  },
  admin: {
    title: "This is for the operator",
    label: "Admin token",
    text: "ragq up showed it at its first start and keeps it in the file admin-token in its data folder; elsewhere it is what RAGQ_ADMIN_TOKEN was set to.",
  },
};

function KeyForm({ kind }) {
  const [value, setValue] = useState("");
  const [tried, setTried] = useState(Boolean(key(kind)));
  const texts = TEXTS[kind];
  const submit = (event) => {
    event.preventDefault();
    setTried(true);
    if (value.trim()) give(kind, value.trim());
  };
  return html`<form class="card keyform" onSubmit=${submit}>
    <h1>${texts.title}</h1>
    <p>${texts.text}</p>
    <label for=${`key-${kind}`}>${texts.label}</label>
    <div class="row">
      <input id=${`key-${kind}`} type="password" autocomplete="off" spellcheck=${false} required value=${value}
        onInput=${(event) => setValue(event.target.value)} />
      <button class="button primary">Use it</button>
    </div>
    ${tried && html`<p class="bad" role="alert">The server did not take the one it was given.</p>`}
    <p class="faint">Kept in this tab until it is closed, and sent to this server only.</p>
  </form>`;
}

/** The children, or the question for the key that they need. */
export function Locked({ kind, children }) {
  const needs = useStore(wanted)[kind];
  const given = useStore(changes);
  return needs ? html`<${KeyForm} kind=${kind} key=${given} />` : children;
}
