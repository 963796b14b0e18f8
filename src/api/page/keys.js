// The API key and the admin token: asked for when the server wants them, kept in the tab's session only.
import { store, useStore } from "./store.js";
import { html, useEffect, useRef, useState } from "./ui.js";

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
    wrong: "The server did not take the one it was given.",
  },
  admin: {
    title: "Sign in as operator",
    label: "Admin token",
    text: html`Paste the admin token that <code>ragq up</code> printed (it is kept in <code>data/admin-token</code>), or the one in
      <code>RAGQ_ADMIN_TOKEN</code>.`,
    wrong: "Wrong token.",
  },
};

function KeyForm({ kind }) {
  const [value, setValue] = useState("");
  // It is asked for again, so the one that is held was refused.
  const [refused] = useState(() => Boolean(key(kind)));
  const texts = TEXTS[kind];
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const submit = (event) => {
    event.preventDefault();
    if (value.trim()) give(kind, value.trim());
  };
  return html`<form class="card keyform" onSubmit=${submit}>
    <h1>${texts.title}</h1>
    <p>${texts.text}</p>
    <label for=${`key-${kind}`}>${texts.label}</label>
    <div class="row">
      <input id=${`key-${kind}`} type="password" autocomplete="off" spellcheck=${false} required value=${value} ref=${field}
        onInput=${(event) => setValue(event.target.value)} />
      <button class="button primary">Use it</button>
    </div>
    ${refused && html`<p class="bad" role="alert">${texts.wrong}</p>`}
    <p class="faint">Kept in this tab until it is closed, and sent to this server only.</p>
  </form>`;
}

/** The children, or the question for the key that they need. */
export function Locked({ kind, children }) {
  const needs = useStore(wanted)[kind];
  const given = useStore(changes);
  return needs ? html`<${KeyForm} kind=${kind} key=${given} />` : children;
}
