// Where the page begins: the frame around the views, which view is shown, theme, keys, shortcuts, the server's health.
import { Ask } from "./ask.js";
import { runAll } from "./turns.js";
import { forget, key, changes, Locked } from "./keys.js";
import { get, Unreachable } from "./http.js";
import { store } from "./store.js";
import { html, announce, Announcements, Button, Dialog, Icon, Trouble, useEffect, useLayoutEffect, useRef, useState, usePolled, useStore } from "./ui.js";
import { render } from "./preact.js";
import { setTheme, theme } from "./theme.js";
import { add, dropped } from "./uploads.js";

/** Resolves when a stylesheet holds. */
function style(name) {
  const href = `/page/${name}`;
  if (document.querySelector(`link[href="${href}"]`)) return Promise.resolve();
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
  const there = new Promise((resolve, reject) => {
    link.onload = resolve;
    link.onerror = () => {
      // The next try is to ask for it again.
      link.remove();
      reject(new Unreachable());
    };
  });
  document.head.append(link);
  return there;
}

/** The views by the first part of the hash, and whose they are; those not seen first are loaded when asked for. */
const VIEWS = {
  ask: { title: "Ask", icon: "ask", kind: "api", load: async () => Ask },
  documents: {
    title: "Documents",
    icon: "documents",
    kind: "api",
    load: async () => (await Promise.all([import("./documents.js"), style("documents.css")]))[0].Documents,
  },
  queue: {
    title: "Queue",
    icon: "queue",
    kind: "admin",
    load: async () => (await Promise.all([import("./queue.js"), style("documents.css"), style("operator.css")]))[0].Queue,
  },
  letters: {
    title: "Dead letters",
    icon: "letters",
    kind: "admin",
    load: async () => (await Promise.all([import("./letters.js"), style("documents.css"), style("operator.css")]))[0].Letters,
  },
};

/** Where the view Ask was last; going back to it goes on with the same conversation. */
let asked = "#/ask";

function placeOf(view, now) {
  return view === "ask" && now !== "ask" ? asked : `#/${view}`;
}

function route() {
  const [name = "", ...parts] = location.hash.replace(/^#\/?/, "").split("/");
  const view = Object.hasOwn(VIEWS, name) ? name : "ask";
  if (view === "ask") asked = location.hash || "#/ask";
  return { view, parts: parts.map(decoded) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function useRoute() {
  const [now, setNow] = useState(route);
  useEffect(() => {
    const changed = () => setNow(route());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return now;
}

/** Rises whenever the server says that it is well. */
const beats = store(0);

async function look(signal) {
  const health = await get("/health/ready", { signal });
  beats.set(beats.get() + 1);
  return health;
}

/** Whether the server is well, in a word; what is wrong, on demand. */
function Health() {
  const [open, setOpen] = useState(false);
  const { value, error } = usePolled(look, 10_000);
  const state = error ? "down" : (value?.status ?? "ready");
  const words = { ready: "Ready", degraded: "Degraded", down: error?.status ? "Not ready" : "Unreachable" };
  const before = useRef(state);
  useEffect(() => {
    if (before.current !== state) announce(`The server is ${words[state].toLowerCase()}`);
    before.current = state;
  }, [state]);
  return html`<button type="button" class=${`health ${state}`} onClick=${() => setOpen(true)} aria-label=${`Server: ${words[state]}`}>
      <span class="dot" aria-hidden="true"></span><span class="word">${words[state]}</span></button>
    ${open && html`<${About} state=${words[state]} degraded=${value?.degraded ?? []} error=${error} onClose=${() => setOpen(false)} />`}`;
}

/** What this process is made of; the server wrote it into the page. */
function About({ state, degraded, error, onClose }) {
  const terms = [...document.querySelectorAll("#about dt")];
  return html`<${Dialog} title="This server" onClose=${onClose}>
    ${error ? html`<${Trouble} error=${error} />` : html`<p>${state}.</p>`}
    ${degraded.map(({ component, code, message }) => html`<p class="note" key=${component + code}><strong>${component}</strong>: ${message}</p>`)}
    <dl class="pairs">${terms.map((term) => html`<dt>${term.textContent}</dt><dd>${term.nextElementSibling.textContent}</dd>`)}</dl>
    <p><a href="/openapi.json">The HTTP API</a> (OpenAPI 3.1)</p>
  <//>`;
}

const SHORTCUTS = [
  ["Alt + 1 … 4", "Ask, Documents, Queue, Dead letters"],
  ["Alt + N", "New conversation"],
  ["Alt + Q", "To the question field"],
  ["Enter", "Send the question"],
  ["Shift + Enter", "New line in the question"],
  ["Escape", "Close a source or a dialog"],
];

function Help({ onClose }) {
  return html`<${Dialog} title="Keyboard" onClose=${onClose}>
    <dl class="pairs">${SHORTCUTS.map(([keys, does]) => html`<dt><kbd>${keys}</kbd></dt><dd>${does}</dd>`)}</dl>
  <//>`;
}

function useShortcuts() {
  useEffect(() => {
    const onKeyDown = (event) => {
      if (!event.altKey || event.ctrlKey || event.metaKey) return;
      const views = Object.keys(VIEWS);
      const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
      if (digit && views[digit - 1]) location.hash = placeOf(views[digit - 1], route().view);
      else if (event.code === "KeyN") location.hash = "#/ask";
      else if (event.code === "KeyQ" && route().view !== "ask") location.hash = asked;
      else if (event.code === "KeyQ") document.getElementById("question")?.focus();
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);
}

/** Files dropped anywhere are taken in; without this the browser would leave the page to show them. */
function useDrops() {
  useEffect(() => {
    const files = (event) => event.dataTransfer?.types.includes("Files");
    const onDragOver = (event) => files(event) && event.preventDefault();
    const onDrop = async (event) => {
      if (!files(event) || event.defaultPrevented) return;
      event.preventDefault();
      add(await dropped(event.dataTransfer));
      location.hash = "#/documents";
    };
    addEventListener("dragover", onDragOver);
    addEventListener("drop", onDrop);
    return () => {
      removeEventListener("dragover", onDragOver);
      removeEventListener("drop", onDrop);
    };
  }, []);
}

const THEMES = { system: "as the system has it", light: "light", dark: "dark" };

function Tools() {
  const now = useStore(theme);
  const [help, setHelp] = useState(false);
  useStore(changes);
  const held = key("api") || key("admin");
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(now) + 1) % names.length];
  return html`
    ${held && html`<${Button} icon="keys" label="Forget the keys of this tab" kind="quiet" onClick=${forget} />`}
    <${Button} icon="theme" label=${`Colours: ${THEMES[now]}. Change to ${THEMES[next]}`} kind="quiet" onClick=${() => setTheme(next)} />
    <span class="wide-only"><${Button} icon="help" label="Keyboard shortcuts" kind="quiet" onClick=${() => setHelp(true)} /></span>
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}`;
}

/** The view, once its script is there; if the server is away, then when it is back. */
function View({ view, parts }) {
  const [state, setState] = useState({});
  const [round, setRound] = useState(0);
  const beat = useStore(beats);
  const again = () => setRound((n) => n + 1);
  useEffect(() => {
    if (state.error) again();
  }, [beat]);
  useEffect(() => {
    let left = false;
    VIEWS[view].load().then(
      (Shown) => left || setState({ view, Shown }),
      (error) => left || setState({ view, error }),
    );
    return () => {
      left = true;
    };
  }, [view, round]);
  if (state.view !== view) return html`<p class="page faint late" role="status">Loading…</p>`;
  const trouble = { title: "This part of the page could not be loaded", message: "It is tried again by itself once the server answers." };
  if (state.error) return html`<div class="page"><${Trouble} error=${trouble} again=${again} /></div>`;
  return html`<${state.Shown} parts=${parts} />`;
}

function App() {
  const { view, parts } = useRoute();
  const main = useRef(null);
  const shown = useRef(view);
  useShortcuts();
  useDrops();
  useLayoutEffect(() => {
    document.title = `${VIEWS[view].title} · ragq`;
    // After a change of view a screen reader and the keyboard begin where the new view begins.
    if (shown.current !== view) main.current.focus();
    shown.current = view;
  }, [view]);
  const links = Object.entries(VIEWS);
  const skip = (event) => {
    event.preventDefault();
    main.current.focus();
  };
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header class="top">
      <a class="brand" href="#/ask"><img src="/page/icon.svg" alt="" width="26" height="26" />ragq</a>
      <nav class="views" aria-label="Views">
        ${links.map(([name, { title, icon }]) => html`<a href=${placeOf(name, view)} aria-current=${name === view ? "page" : undefined} key=${name}>
          <${Icon} name=${icon} /><span>${title}</span></a>`)}
      </nav>
      <div class="tools"><${Health} /><${Tools} /></div>
    </header>
    <main id="main" tabindex="-1" ref=${main}><${Locked} kind=${VIEWS[view].kind}><${View} view=${view} parts=${parts} /><//></main>
    <${Announcements} />`;
}

const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
runAll();
