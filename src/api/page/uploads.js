// Files on their way into the index: sent a few at a time, then watched until their jobs end. Goes on whatever view is
// shown. XMLHttpRequest, because fetch can't say how much of a body has been sent.
import { get, headersFor, passing, pause, Problem, unique, Unreachable } from "./http.js";
import { changed, refuse } from "./keys.js";
import { refreshCollections } from "./library.js";
import { store } from "./store.js";
import { announce } from "./ui.js";
import { binary, many } from "./words.js";

const AT_ONCE = 3;
const LOOK_EVERY = 700;
/** Jobs asked about in one look; those submitted first end first. */
const LOOKED_AT = 12;
/** The most bytes that a request may have; the server wrote it into the page. */
const MOST = Number(document.querySelector('meta[name="max-body-bytes"]').content);
const TOO_LARGE = { phase: "failed", code: "body_too_large", message: `Larger than ${binary(MOST)}: split it.` };

/** `{ id, name, size, phase, sent?, position?, chunks?, code?, message?, document?, ended? }`, in the order they were given. */
export const uploads = store([]);
/** Rises when a file has been taken in, so that lists are read anew. */
export const taken = store(0);

const OVER = ["done", "unchanged", "failed"];
export const isOver = ({ phase }) => OVER.includes(phase);

/** How many have ended so far: by it the list shows the newest results first. */
let ends = 0;

function change(id, facts) {
  const more = isOver(facts) ? { ...facts, ended: (ends += 1) } : facts;
  uploads.set(uploads.get().map((one) => (one.id === id ? { ...one, ...more } : one)));
}

/** Failures first, since they need somebody; then what is worked on, what has ended, and what waits. */
const RANKS = { failed: 0, waiting: 1, uploading: 1, reading: 1, done: 2, unchanged: 2, queued: 3, chosen: 4 };

/** The files in the order in which people look for them, of those that have ended the last one first. */
export const ranked = (all) => all.toSorted((one, other) => RANKS[one.phase] - RANKS[other.phase] || (other.ended ?? 0) - (one.ended ?? 0));

/** Takes what has ended off the list. */
export function clear() {
  uploads.set(uploads.get().filter((one) => !isOver(one)));
}

function post(one, onSent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    if (one.collection) form.append("collection", one.collection);
    form.append("file", one.file, one.name);
    request.open("POST", "/documents");
    for (const [name, value] of Object.entries(headersFor("api"))) request.setRequestHeader(name, value);
    request.setRequestHeader("idempotency-key", one.id);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    request.onerror = () => reject(new Unreachable());
    request.onload = () => {
      const wait = Number(request.getResponseHeader("retry-after")) * 1000;
      const body = request.response ?? {};
      if (request.status < 300) resolve(body.items[0]);
      else reject(new Problem(request.status, body, wait || undefined));
    };
    request.send(form);
  });
}

/** Sends one file until the server has taken or refused it. */
async function upload(one) {
  for (let failures = 0; ; failures += 1) {
    change(one.id, { phase: "uploading", sent: 0, message: undefined });
    try {
      const item = await post(one, (sent) => change(one.id, { sent }));
      const { document_id: document, job_id: job, error } = item;
      return change(one.id, error ? { phase: "failed", ...error } : { phase: "queued", document, job, file: undefined });
    } catch (error) {
      if (error.status === 401) {
        refuse("api");
        change(one.id, { phase: "waiting", message: "Waits for an API key" });
        await changed();
      } else if (passing(error)) {
        const wait = error.retryAfter ?? Math.min(20_000, 1000 * 2 ** failures);
        change(one.id, { phase: "waiting", message: `${error.title ?? error.message}; it is sent again by itself` });
        await pause(wait);
      } else if (error.code === TOO_LARGE.code) {
        return change(one.id, TOO_LARGE);
      } else {
        const why = error.items?.[0]?.error ?? { code: error.code, message: error.errors?.[0]?.message ?? error.message };
        return change(one.id, { phase: "failed", ...why });
      }
    }
  }
}

let sending = 0;

async function pump() {
  while (sending < AT_ONCE) {
    const next = uploads.get().find((one) => one.phase === "chosen");
    if (!next) return;
    sending += 1;
    upload(next).finally(() => {
      sending -= 1;
      pump();
      watch();
    });
  }
}

/** What a job's state says of its file. */
function progress({ status, position, result, error }) {
  switch (status) {
    case "completed":
      return { phase: result.unchanged ? "unchanged" : "done", chunks: result.chunks, message: undefined };
    case "dead":
      return { phase: "failed", code: error.code, message: error.message };
    case "cancelled":
      return { phase: "failed", message: "Its job was cancelled" };
    case "scheduled":
      return { phase: "queued", message: error?.message, position: undefined };
    case "running":
      return { phase: "reading", message: undefined, position: undefined };
    default:
      return { phase: "queued", position };
  }
}

async function look(one) {
  try {
    change(one.id, progress(await get(`/job-status?job_id=${one.job}`)));
  } catch (error) {
    if (error.status === 404) change(one.id, { phase: "failed", message: "Its job is no longer there" });
  }
}

let watching = false;

async function watch() {
  if (watching) return;
  watching = true;
  for (;;) {
    const open = uploads.get().filter((one) => one.job && !isOver(one));
    if (!open.length) break;
    const before = uploads.get().filter(isOver).length;
    await Promise.all(open.slice(0, LOOKED_AT).map(look));
    if (uploads.get().filter(isOver).length > before) taken.set(taken.get() + 1);
    await pause(LOOK_EVERY);
  }
  watching = false;
  if (!uploads.get().every(isOver)) return;
  const failed = uploads.get().filter(({ phase }) => phase === "failed").length;
  announce(failed ? `All files are worked on, ${failed} failed` : "All files are taken in");
  refreshCollections();
}

/** Whether a path within a folder is one that people do not mean when they give the folder: `.git`, `.DS_Store`. */
const hidden = (path) => path.split("/").some((part) => part.startsWith("."));

/** The files of a folder that was chosen; what is hidden in it is left out. */
export const chosenFolder = (files) => [...files].filter((file) => !hidden(file.webkitRelativePath));

/** The files of a drop, those in folders included. What was dropped is read at once: it is gone after the event. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const files = [];
  const walk = async (entry) => {
    if (hidden(entry.fullPath)) return;
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      const path = entry.fullPath.replace(/^\//, "");
      files.push(path === file.name ? file : new File([file], path, { type: file.type }));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return files;
}

/** Takes these files in; a folder's files keep their path as their name. */
export function add(files, collection) {
  const chosen = [...files].map((file) => ({
    id: unique(),
    name: file.webkitRelativePath || file.name,
    size: file.size,
    file,
    collection,
    phase: "chosen",
  }));
  uploads.set([...uploads.get(), ...chosen]);
  for (const { id, size } of chosen) if (size > MOST) change(id, TOO_LARGE);
  announce(`${many(chosen.length, "file")} chosen`);
  pump();
}

// What has not been sent yet is lost with the page; what the server has goes on without it.
addEventListener("beforeunload", (event) => {
  if (uploads.get().some(({ phase }) => ["chosen", "uploading", "waiting"].includes(phase))) event.preventDefault();
});
