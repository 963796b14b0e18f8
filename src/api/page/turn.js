// One question with its answer: the job's life, the answer as it comes, its sources, what can be done with it.
import { isOver } from "./job.js";
import { Markdown } from "./markdown.js";
import { excerpt } from "./reader.js";
import { cancel, jobOf } from "./turns.js";
import { store } from "./store.js";
import { Button, copy, html, useEffect, useLayoutEffect, useNow, useRef, useState, useStore } from "./ui.js";
import { count, duration, hint, many, sentence, time, until } from "./words.js";

const nothing = store(undefined);
const starting = { phase: "sending", text: "", citations: [], attempt: 0 };

function place({ position }) {
  if (position === undefined || position === null) return "Queued";
  return position === 0 ? "Queued, next in line" : `Queued, ${many(position, "question")} before it`;
}

function attempt(job) {
  if (job.attempt < 2) return "";
  return job.attempts ? `, attempt ${job.attempt} of ${job.attempts}` : `, attempt ${job.attempt}`;
}

/** What holds up a job that could be worked on, in a sentence. */
function held({ waiting }) {
  switch (waiting?.for) {
    case "paused":
      return { tone: "wait", text: "Waiting: the operators have paused questions" };
    case "provider":
      return { tone: "wait", text: "Waiting: the model provider does not answer. Your question is kept", at: waiting.at, next: "Next try " };
    default:
      return undefined;
  }
}

/** A job after a failure: when it goes on, or what it waits for once that time has come. */
function after(job, now, word, goesOn) {
  const { code, message, retry_at: at } = job.error;
  const why = `${word}: ${sentence(message)}`;
  if (Date.parse(at) > now) return { tone: "wait", text: `${why} ${goesOn(time(at))}`, at, code };
  const state = held(job) ?? { tone: "wait", text: "Waiting for its turn" };
  return { ...state, text: `${why} ${state.text}`, code };
}

/** What the job is doing, in a sentence; `busy` phases have a moving mark. */
function life(job, now) {
  const { code, message, retry_at: at } = job.error ?? {};
  switch (job.phase) {
    case "sending":
      return at ? { tone: "wait", text: `${sentence(message)} Sending it again at ${time(at)}`, at } : { tone: "busy", text: "Sending" };
    case "queued":
      return held(job) ?? { tone: "busy", text: place(job) };
    case "running":
      return job.citations.length
        ? { tone: "busy", text: `Reading ${many(job.citations.length, "passage")}${attempt(job)}` }
        : { tone: "busy", text: `Running: looking for passages${attempt(job)}` };
    case "answering":
      return { tone: "busy", text: `Answering${attempt(job)}` };
    case "deferred":
      return after(job, now, "Deferred", (when) => `It goes on at ${when} and no attempt is used`);
    case "retrying":
      return after(job, now, "Retrying", (when) => `The next attempt is at ${when}`);
    case "dead":
      return { tone: "bad", text: `Given up for now: ${sentence(message)}${job.gone ? "" : " An operator can try it again; the answer would appear here"}`, code };
    case "cancelled":
      return { tone: "over", text: "Cancelled" };
    case "refused":
      return { tone: "bad", text: `Not accepted: ${message}`, code };
    case "lost":
      return { tone: "bad", text: "The server no longer has this answer. Ask again to get a new one" };
    default:
      return undefined;
  }
}

function Life({ job }) {
  const now = useNow(!isOver(job) && Boolean(job.waiting?.at ?? job.error?.retry_at));
  const state = life(job, now);
  if (!state) return null;
  const what = hint(state.code);
  return html`<div class=${`life ${state.tone}`}>
    <span class="mark" aria-hidden="true"></span>
    <p><span aria-live="polite">${sentence(state.text)}${what ? ` ${what}` : ""}</span>
      ${state.at && html` <span class="faint" aria-hidden="true">${state.next}${until(state.at, now)}</span>`}</p>
  </div>
  ${job.connected === false && !isOver(job) && html`<p class="life wait" role="status"><span class="mark" aria-hidden="true"></span>
    The connection is lost. The answer goes on by itself as soon as the server can be reached.</p>`}`;
}

/** What the answer cost: its tokens, those of its prompt, and of calls that came to nothing. */
function cost({ usage, spent }) {
  if (!usage?.total_tokens) return undefined;
  const { calls = 1, wasted_tokens: wasted = 0 } = spent ?? {};
  const parts = [`${count(usage.prompt_tokens)} read`, `${count(usage.completion_tokens)} written`];
  if (wasted) parts.push(`${count(wasted)} more wasted in ${many(calls, "call")}`);
  return `${many(usage.total_tokens, "token")} (${parts.join(", ")})`;
}

/** Where no model wrote the answer, it says nothing but what a document says. */
const written = ({ model }) => !["extractive", "none"].includes(model);

function Facts({ job }) {
  const facts = [
    written(job) ? job.model : job.citations.length > 0 && "quoted from the documents",
    job.took !== undefined && duration(job.took),
    cost(job),
    job.attempt > 1 && `attempt ${job.attempt}`,
    job.degraded && "found by words alone: the embedding model failed",
    job.truncated && "cut short at the model's length limit",
  ];
  return html`<p class="facts faint">${facts.filter(Boolean).join(" · ")}</p>`;
}

function Sources({ job, onSource }) {
  const { citations } = job;
  if (!citations.length) return written(job) && html`<p class="note">No source cited: check this before you rely on it.</p>`;
  return html`<ul class="sources" aria-label="Sources">
    ${citations.map((citation) => html`<li key=${citation.index}>
      <button type="button" class="source" onClick=${() => onSource(citation)}>
        <span class="chip still">${citation.index}</span>
        <span class="name">${citation.title}</span>
        <span class="quote">${excerpt(citation).replace(/[#*_`>|\s]+/g, " ")}</span>
      </button>
    </li>`)}
  </ul>`;
}

/** Puts the answer on the clipboard, and says for two seconds that it is there. */
function Copy({ job }) {
  const [copied, setCopied] = useState(0);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(0), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  const onClick = () => copy(plainText(job)).then(() => setCopied((times) => times + 1));
  return html`<${Button} icon=${copied ? "done" : "copy"} kind="quiet" onClick=${onClick}>${copied ? "Copied" : "Copy"}<//>`;
}

/** What was asked; a very long question folded. */
function Question({ turn: { query, collection } }) {
  const long = query.length > 1000 || query.split("\n").length > 12;
  const [whole, setWhole] = useState(false);
  const top = useRef(null);
  // It is read from its beginning.
  useLayoutEffect(() => whole && top.current.scrollIntoView({ block: "start" }), [whole]);
  return html`<div class="question" ref=${top}><p class=${long && !whole ? "folded" : ""}>${query}</p>
    ${long && html`<${Button} kind="quiet" aria-expanded=${whole} onClick=${() => setWhole(!whole)}>${whole ? "Show less" : "Show all of it"}<//>`}
    ${collection && html`<p class="faint">in ${collection}</p>`}</div>`;
}

/** The text that "Copy" gives: the answer with its sources. */
function plainText({ text, citations }) {
  const sources = citations.map((one) => `[${one.index}] ${one.title}${one.source && one.source !== one.title ? ` (${one.source})` : ""}`);
  return sources.length ? `${text}\n\n${sources.join("\n")}\n` : text;
}

export function Turn({ conversation, turn, onSource, onAgain }) {
  const running = useStore(jobOf(turn) ?? nothing);
  const [trouble, setTrouble] = useState(undefined);
  const job = running ?? turn.end ?? starting;
  const over = isOver(job);
  const cite = (n) => {
    const citation = job.citations.find((one) => one.index === n);
    return citation && html`<button type="button" class="chip" title=${citation.title} aria-label=${`Source ${n}: ${citation.title}`}
      onClick=${() => onSource(citation)}>${n}</button>`;
  };
  const actions = useRef(null);
  const stopped = useRef(false);
  const stop = () => {
    stopped.current = true;
    cancel(conversation, turn).catch(setTrouble);
  };
  // The button that had the keyboard's focus is gone.
  useEffect(() => {
    if (over && stopped.current && document.activeElement === document.body) actions.current.querySelector("button:last-of-type").focus();
  }, [over]);
  const answered = job.phase === "completed";
  return html`<article class="turn" aria-label=${`Question: ${turn.query}`}>
    <${Question} turn=${turn} />
    <div class="answer">
      <${Life} job=${job} />
      ${job.text && html`<div aria-live="polite" aria-busy=${!over}><${Markdown} text=${job.text} cite=${cite} /></div>`}
      ${answered && html`<${Sources} job=${job} onSource=${onSource} /><${Facts} job=${job} />`}
      ${trouble && html`<p class="bad" role="alert">${trouble.message}</p>`}
      <div class="row actions" ref=${actions}>
        ${!over && html`<${Button} icon="stop" onClick=${stop}>Cancel<//>`}
        ${answered && html`<${Copy} job=${job} />`}
        ${over && html`<${Button} icon="again" kind="quiet" onClick=${onAgain}>Ask again<//>`}
      </div>
    </div>
  </article>`;
}
