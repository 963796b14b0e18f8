// Requests to the API this page came from, and its problems as errors with words for people.
import { key, refuse } from "./keys.js";

export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body.detail ?? body.title ?? `The server answered ${status}`);
    this.status = status;
    this.title = body.title;
    this.code = body.code;
    this.errors = body.errors ?? [];
    this.items = body.items;
    this.requestId = body.request_id;
    this.retryAfter = retryAfter;
  }
}

/** The server did not answer at all. */
export class Unreachable extends Error {
  constructor() {
    super("Is it running, and is the network there? Nothing that was accepted is lost.");
    this.title = "The server does not answer";
  }
}

/** Whether the same request may succeed a little later. */
export const passing = (error) => error instanceof Unreachable || [429, 502, 503, 504].includes(error.status);

export function headersFor(as) {
  const mine = key(as);
  return mine ? { authorization: `Bearer ${mine}` } : {};
}

/** The error that a response is. */
export async function problemOf(response, as) {
  if (response.status === 401) refuse(as);
  const wait = Number(response.headers.get("retry-after"));
  const body = await response.json().catch(() => ({}));
  return new Problem(response.status, body, wait > 0 ? wait * 1000 : undefined);
}

/** Sends a request; gives the response of a success and throws everything else. */
export async function send(method, path, { json, headers, as = "api", signal } = {}) {
  const init = { method, signal, headers: { ...headersFor(as), ...headers }, credentials: "omit" };
  if (json !== undefined) {
    init.headers["content-type"] = "application/json";
    init.body = JSON.stringify(json);
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    throw signal?.aborted ? error : new Unreachable();
  }
  if (!response.ok) throw await problemOf(response, as);
  return response;
}

/** The JSON that a GET gives. */
export const get = async (path, options) => (await send("GET", path, options)).json();

/** A path with parameters; those without a value are left out. */
export function withQuery(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** So many pages of a list as one, with whatever else the first of them says. */
export async function getPages(path, parameters, pages, options) {
  let first;
  let cursor;
  const items = [];
  for (let page = 0; page < pages; page += 1) {
    const got = await get(withQuery(path, { ...parameters, cursor }), options);
    first ??= got;
    items.push(...got.items);
    cursor = got.next_cursor;
    if (!cursor) break;
  }
  return { ...first, items, more: Boolean(cursor) };
}

export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const over = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", over);
      resolve();
    }, ms);
    signal?.addEventListener("abort", over, { once: true });
    return undefined;
  });
}

/** Something that no one else has: a name for a conversation, or a request that may be sent again. */
export function unique() {
  const random = crypto.getRandomValues(new Uint8Array(12));
  return [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
