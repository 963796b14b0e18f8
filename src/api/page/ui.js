// What all views are made with: templates, icons, announcements, dialogs, small parts. No view of its own.
// Templates make nodes, never markup: whatever text they are given stays text.
import { h } from "./preact.js";
import { useEffect, useLayoutEffect, useRef, useState } from "./hooks.js";
import htm from "./htm.js";
import { store, useStore } from "./store.js";

export const html = htm.bind(h);
export { useEffect, useLayoutEffect, useRef, useState, useStore };

const ICONS = {
  ask: "M4 5h16v11H9l-5 4z",
  documents: "M6 3h8l4 4v14H6zM14 3v5h4M9 13h6M9 17h6",
  queue: "M4 6h16M4 12h16M4 18h9",
  letters: "M3 6h18v12H3zM3 7l9 7 9-7",
  send: "M12 19V6M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  done: "M5 13l4 4L19 7",
  again: "M20 11a8 8 0 1 0-2.3 5.7M20 5v6h-6",
  close: "M6 6l12 12M18 6L6 18",
  add: "M12 5v14M5 12h14",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  upload: "M12 15V4M7 9l5-5 5 5M5 15v5h14v-5",
  open: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  pause: "M9 5v14M15 5v14",
  play: "M8 5l11 7-11 7z",
  theme: "M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z",
  keys: "M20 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0zM12 12H3v4M7 12v3",
  help: "M9 9a3 3 0 1 1 4.2 2.8c-.9.4-1.2 1-1.2 2.2M12 18v.01",
  list: "M4 6h16M4 12h16M4 18h16",
  back: "M15 5l-7 7 7 7",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${ICONS[name]} /></svg>`;
}

/** A button with an icon; `label` alone is for assistive technology and the tooltip, children are shown. */
export function Button({ icon, label, kind = "", children, ...more }) {
  return html`<button type="button" class=${`button ${kind}`} aria-label=${children ? undefined : label} title=${label} ...${more}>
    ${icon && html`<${Icon} name=${icon} />`}${children}</button>`;
}

const said = store("");

/** Tells people who do not see the page what just happened. */
export function announce(text) {
  // The same words twice would not be heard the second time.
  said.set(said.get() === text ? `${text}\u00a0` : text);
}

export function Announcements() {
  return html`<div class="unseen" role="status" aria-live="polite">${useStore(said)}</div>`;
}

/** A modal dialog; Escape and a click beside it close it, focus goes back to where it was. */
export function Dialog({ title, onClose, children, wide = false }) {
  const ref = useRef(null);
  useLayoutEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog.showModal();
    // Not on the cross, where the browser would begin.
    dialog.querySelector(".dialog > :not(header) :is(input, select, textarea, button, a)")?.focus();
    return () => {
      dialog.close();
      before?.isConnected && before.focus();
    };
  }, []);
  const beside = (event) => event.target === ref.current && onClose();
  const cancelled = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${ref} class=${wide ? "wide" : ""} aria-label=${title} onCancel=${cancelled} onMouseDown=${beside}>
    <div class="dialog">
      <header><h2>${title}</h2><${Button} icon="close" label="Close" kind="quiet" onClick=${onClose} /></header>
      ${children}
    </div>
  </dialog>`;
}

/** Asks before something that can't be undone; `onYes` may take its time and fail. */
export function Confirm({ title, text, yes, onYes, onClose }) {
  const [state, setState] = useState({});
  const go = async () => {
    setState({ busy: true });
    try {
      await onYes();
      onClose();
    } catch (error) {
      setState({ error });
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <p>${text}</p>
    ${state.error && html`<${Trouble} error=${state.error} />`}
    <div class="row end">
      <${Button} onClick=${onClose}>Keep<//>
      <${Button} kind="danger" onClick=${go} disabled=${state.busy}>${yes}<//>
    </div>
  <//>`;
}

/** An error in words, with what to do next where that is known. */
export function Trouble({ error, again }) {
  return html`<div class="trouble" role="alert">
    <p><strong>${error.title ?? "That did not work"}</strong></p>
    <p>${error.message}</p>
    ${error.hint && html`<p>${error.hint}</p>`}
    ${again && html`<${Button} icon="again" onClick=${again}>Try again<//>`}
    ${error.requestId && html`<p class="faint">Request ${error.requestId}</p>`}
  </div>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><h2>${title}</h2>${children}</div>`;
}

/** Calls `look` now and every `every` milliseconds while the page is seen; gives what came last. */
export function usePolled(look, every, about = []) {
  const [state, setState] = useState({});
  const [round, setRound] = useState(0);
  useEffect(() => {
    const leaving = new AbortController();
    let timer;
    const turn = async () => {
      try {
        if (!document.hidden) {
          const value = await look(leaving.signal);
          if (!leaving.signal.aborted) setState({ value });
        }
      } catch (error) {
        if (!leaving.signal.aborted) setState((before) => ({ value: before.value, error }));
      }
      if (!leaving.signal.aborted) timer = setTimeout(turn, every);
    };
    const seen = () => {
      if (document.hidden) return;
      clearTimeout(timer);
      turn();
    };
    turn();
    document.addEventListener("visibilitychange", seen);
    return () => {
      leaving.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [round, ...about]);
  return { ...state, again: () => setRound((n) => n + 1) };
}

/** The time, each second, while `runs`. */
export function useNow(runs) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!runs) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [runs]);
  return now;
}

/** Puts text on the clipboard, also where the browser's own way needs HTTPS. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const before = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    before?.focus();
  }
  announce("Copied");
}
