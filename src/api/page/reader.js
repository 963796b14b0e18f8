// A cited passage in its document, with the cited text marked. Spans count bytes of the document's normalised text,
// so the text is cut as bytes. Of a long document only the surroundings are shown at first.
import { send } from "./http.js";
import { Button, html, Icon, Trouble, useEffect, useLayoutEffect, useRef, useState } from "./ui.js";

const AROUND = 6_000;
const MORE = 30_000;

const decode = (bytes) => new TextDecoder().decode(bytes);

/** A place at or before `at` where a character begins. */
function boundary(bytes, at) {
  let place = Math.max(0, Math.min(bytes.length, at));
  while (place > 0 && place < bytes.length && (bytes[place] & 0xc0) === 0x80) place -= 1;
  return place;
}

/** Where the passage stands now: at its span, or, if the document has changed, wherever its text is. */
function find(bytes, { start, end, text }) {
  if (end <= bytes.length && decode(bytes.subarray(start, end)).startsWith(text)) return { start, end, moved: false };
  const at = decode(bytes).indexOf(text);
  if (at < 0) return undefined;
  const before = new TextEncoder().encode(decode(bytes).slice(0, at)).length;
  return { start: before, end: before + new TextEncoder().encode(text).length, moved: true };
}

/** What of its passage a citation marks, as places in the passage: what the answer draws on, or all of it. */
function marks({ start, support = [] }, length) {
  const inside = support.map((span) => ({ from: span.start - start, to: span.end - start }));
  return inside.length && inside.every(({ from, to }) => from >= 0 && to <= length) ? inside : [{ from: 0, to: length }];
}

/** A few words of what is cited: where the answer draws on it, or from its beginning. */
export function excerpt({ text, excerpt: known, ...citation }) {
  const bytes = new TextEncoder().encode(text);
  return known ?? decode(bytes.subarray(marks(citation, bytes.length)[0].from)).slice(0, 200);
}

/** The bytes of a passage with what the citation marks. */
function Passage({ bytes, citation, first }) {
  const spans = marks(citation, bytes.length);
  const cut = (from, to) => decode(bytes.subarray(from, to));
  return html`<span class="passage">
    ${spans.map(({ from, to }, n) => html`${cut(spans[n - 1]?.to ?? 0, from)}<mark ref=${n ? undefined : first} tabindex="-1">${cut(from, to)}</mark>`)}
    ${cut(spans.at(-1).to)}</span>`;
}

/** What was cited, where its document no longer has it. */
function Gone({ citation }) {
  return html`<blockquote class="doctext"><${Passage} bytes=${new TextEncoder().encode(citation.text)} citation=${citation} /></blockquote>`;
}

/** The text of a document, `passage` marked and brought into view; without a passage, from its beginning. */
export function DocumentText({ id, passage }) {
  const [state, setState] = useState({});
  const mark = useRef(null);
  const load = () => {
    const leaving = new AbortController();
    const read = async () => {
      const response = await send("GET", `/documents/${encodeURIComponent(id)}/text`, { signal: leaving.signal });
      const bytes = new Uint8Array(await response.arrayBuffer());
      const place = passage && find(bytes, passage);
      const [start, end] = place ? [place.start - AROUND, place.end + AROUND] : [0, AROUND * 2];
      setState({ bytes, place, from: boundary(bytes, start), to: boundary(bytes, end) });
    };
    setState({});
    read().catch((error) => !leaving.signal.aborted && setState({ error }));
    return () => leaving.abort();
  };
  useEffect(load, [id, passage]);
  useLayoutEffect(() => {
    const tall = mark.current?.offsetHeight > 400;
    mark.current?.scrollIntoView({ block: tall ? "start" : "center" });
  }, [state.bytes]);
  const { bytes, place, from, to, error } = state;
  if (error) return html`<${Trouble} error=${error} again=${error.status === 404 ? undefined : load} />
    ${passage && html`<p>This is what was cited:</p><${Gone} citation=${passage} />`}`;
  if (!bytes) return html`<p class="faint" role="status">Reading the document…</p>`;
  const cut = (start, end) => decode(bytes.subarray(start, end));
  const marked = place
    ? html`${cut(from, place.start)}<${Passage} bytes=${bytes.subarray(place.start, place.end)} citation=${passage} first=${mark} />${cut(place.end, to)}`
    : cut(from, to);
  return html`
    ${place?.moved && html`<p class="note">The document has changed since it was cited; the passage is still in it.</p>`}
    ${passage && !place && html`<p class="note">The document has changed and no longer has the passage. This is what was cited:</p>
      <${Gone} citation=${passage} />`}
    ${from > 0 && html`<${Button} onClick=${() => setState({ ...state, from: boundary(bytes, from - MORE) })}>Show what comes before<//>`}
    <div class="doctext">${marked}</div>
    ${to < bytes.length && html`<${Button} onClick=${() => setState({ ...state, to: boundary(bytes, to + MORE) })}>Show what follows<//>`}`;
}

/** The panel beside a conversation. Escape closes it; focus goes back to the chip that opened it. */
export function Reader({ citation, onClose }) {
  const panel = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    panel.current.focus();
    return () => before?.isConnected && before.focus();
  }, [citation]);
  const onKeyDown = (event) => event.key === "Escape" && onClose();
  const { index, title, source, document_id: id, chunk } = citation;
  return html`<aside class="reader" ref=${panel} tabindex="-1" aria-label=${`Source ${index}: ${title}`} onKeyDown=${onKeyDown}>
    <header>
      <span class="chip still">${index}</span>
      <div class="grow"><h2>${title}</h2><p class="faint">${source && source !== title ? `${source}, ` : ""}${`passage ${chunk + 1}`}</p></div>
      <a class="button quiet" href=${`#/documents/${encodeURIComponent(id)}`} title="Open the document" aria-label="Open the document">
        <${Icon} name="open" /></a>
      <${Button} icon="close" label="Close the source" kind="quiet" onClick=${onClose} />
    </header>
    <div class="scroller" tabindex="0" role="region" aria-label="Text of the document"><${DocumentText} id=${id} passage=${citation} /></div>
  </aside>`;
}
