// Conversations and their turns, kept in the browser: without keys across visits, with a key only as long as the key,
// in the tab's session. What runs is kept as the id of its job, so that a reload goes on with it.
import { unique } from "./http.js";
import { changes, key } from "./keys.js";
import { excerpt } from "./reader.js";
import { store } from "./store.js";

const PREFIX = "ragq.conversation.";
const MOST = 50;
/** Of a cited passage only so much is kept; the document has the rest. */
const QUOTED = 400;

const shelf = () => (key("api") ? sessionStorage : localStorage);

function read() {
  const found = [];
  for (const name of Object.keys(shelf())) {
    if (!name.startsWith(PREFIX)) continue;
    try {
      found.push(JSON.parse(shelf().getItem(name)));
    } catch {
      shelf().removeItem(name);
    }
  }
  return found.sort((a, b) => b.at - a.at);
}

/** All conversations, the latest first. */
export const conversations = store(read());
changes.watch(() => conversations.set(read()));
// Another tab wrote.
addEventListener("storage", (event) => event.key?.startsWith(PREFIX) && conversations.set(read()));

export const conversation = (id) => conversations.get().find((one) => one.id === id);

function write(one) {
  const text = JSON.stringify(one);
  for (;;) {
    try {
      return shelf().setItem(PREFIX + one.id, text);
    } catch {
      const oldest = read().filter((other) => other.id !== one.id).at(-1);
      // Not even this one fits: then it lives as long as the page does.
      if (!oldest) return undefined;
      shelf().removeItem(PREFIX + oldest.id);
    }
  }
}

function save(one) {
  write(one);
  const others = conversations.get().filter((other) => other.id !== one.id);
  const all = [one, ...others].sort((a, b) => b.at - a.at);
  for (const old of all.splice(MOST)) shelf().removeItem(PREFIX + old.id);
  conversations.set(all);
}

export function remove(id) {
  shelf().removeItem(PREFIX + id);
  conversations.set(conversations.get().filter((one) => one.id !== id));
}

/** Adds a question; `id` of a conversation that is not there yet begins it. */
export function addTurn(id, query, collection) {
  const turn = { id: unique(), query, collection, at: Date.now() };
  const before = conversation(id) ?? { id, title: query.slice(0, 80), turns: [] };
  save({ ...before, at: turn.at, turns: [...before.turns, turn] });
}

/** Writes something to a turn, if it is still there. */
export function note(id, turnId, facts) {
  const one = conversation(id);
  if (!one) return;
  save({ ...one, turns: one.turns.map((turn) => (turn.id === turnId ? { ...turn, ...facts } : turn)) });
}

/** What is kept of a job that has ended. */
export function kept(job) {
  const citations = job.citations.map((citation) => ({ ...citation, excerpt: excerpt(citation), text: citation.text.slice(0, QUOTED) }));
  const { connected: _, position: __, ...rest } = job;
  return { ...rest, citations };
}
