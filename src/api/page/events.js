// A job's events, read by fetch because an EventSource can't send a key. A connection that breaks or falls silent is
// opened again after the last event that was seen; nothing comes twice.
import { headersFor, pause, problemOf, Unreachable } from "./http.js";
import { changed } from "./keys.js";

const FINAL = ["completed", "cancelled"];
/** The server sends a comment every 15 seconds. */
const SILENT = 40_000;

/** Splits a stream into server-sent events: `{event, data}`, or `{retry}`. */
async function* parse(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let block = {};
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      const lines = (rest + value).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (block.data !== undefined || block.retry !== undefined) yield block;
          block = {};
          continue;
        }
        const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (field === "data") block.data = block.data === undefined ? text : `${block.data}\n${text}`;
        else if (field === "event" || field === "retry") block[field] = text;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function open(job, after, signal, as) {
  const headers = { ...headersFor(as), accept: "text/event-stream" };
  if (after >= 0) headers["last-event-id"] = String(after);
  let response;
  try {
    response = await fetch(`/jobs/${job}/events`, { headers, signal, credentials: "omit", cache: "no-store" });
  } catch {
    throw new Unreachable();
  }
  if (!response.ok) throw await problemOf(response, as);
  return response;
}

/** One connection: gives its events; ends when the server closes it, the line breaks or nothing comes for long. */
async function* connection(job, after, signal, as) {
  const mine = new AbortController();
  const quit = () => mine.abort();
  signal.addEventListener("abort", quit);
  let timer = setTimeout(quit, SILENT);
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(quit, SILENT);
  };
  try {
    const response = await open(job, after, mine.signal, as);
    if (response.status === 204) yield { over: true };
    else yield* parse(response.body, alive);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", quit);
    mine.abort();
  }
}

/**
 * All events of a job from the first to the last, `{event, ...data}`, over as many connections as it takes.
 * `onLine(false)` says that the connection is lost, `onLine(true)` that it is back.
 */
export async function* events(job, { signal, as = "api", onLine = () => {} }) {
  let after = -1;
  let failures = 0;
  let dead = false;
  while (!signal.aborted) {
    let atOnce = false;
    try {
      for await (const { over, event, data, retry } of connection(job, after, signal, as)) {
        if (over) return;
        onLine(true);
        failures = 0;
        if (retry !== undefined) atOnce = retry === "0";
        if (data === undefined) continue;
        const value = JSON.parse(data);
        if (value.seq <= after) continue;
        after = value.seq;
        yield { ...value, event };
        if (FINAL.includes(event)) return;
        // Of a job that was put back into the queue the log goes on after its death.
        dead = event === "dead";
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) await changed(signal);
      else if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
    }
    if (signal.aborted || dead) return;
    if (!atOnce) onLine(false);
    failures += 1;
    const most = Math.min(10_000, 250 * 2 ** failures);
    await pause(atOnce && failures < 3 ? 50 : most / 2 + (Math.random() * most) / 2, signal);
  }
}
