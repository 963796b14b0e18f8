// Runs the turns of conversations: submits, follows, cancels. A turn runs on whatever view is shown, and is taken up
// again after a reload; its id is the idempotency key, so that sending again makes no second job.
import { conversation, conversations, kept, note } from "./conversations.js";
import { events } from "./events.js";
import { get, passing, pause, send } from "./http.js";
import { begin, isOver, stand, step } from "./job.js";
import { changed } from "./keys.js";
import { store } from "./store.js";
import { announce } from "./ui.js";

/** Browsers open six connections to a server; streams may not take them all. */
const STREAMS = 3;
const LOOK_EVERY = 2000;

/** What runs in this tab, by the turn's id: `{ job: store, leave: AbortController }`. */
const running = new Map();
let streams = 0;

/** The job of a turn that runs in this tab. */
export const jobOf = (turn) => running.get(turn.id)?.job;

/** Sends the question until the server has taken or refused it. */
async function submit(conversationId, turn, job, signal) {
  const json = { query: turn.query, conversation_id: conversationId, collection: turn.collection };
  for (let failures = 0; ; failures += 1) {
    try {
      const response = await send("POST", "/chat", { json, headers: { "idempotency-key": turn.id }, signal });
      return (await response.json()).job_id;
    } catch (error) {
      if (signal.aborted) throw error;
      if (error.status === 401) {
        await changed(signal);
      } else if (passing(error)) {
        const wait = error.retryAfter ?? Math.min(15_000, 500 * 2 ** failures);
        const retryAt = new Date(Date.now() + wait).toISOString();
        job.set({ ...job.get(), error: { message: error.title ?? error.message, retry_at: retryAt } });
        await pause(wait, signal);
      } else {
        const message = error.errors?.map((field) => field.message).join(", ") || error.message;
        job.set({ ...job.get(), phase: "refused", error: { code: error.code, message } });
        return undefined;
      }
    }
  }
}

/** Asks for the place in the queue, the count of attempts and, if no event came, the end. */
async function look(id, job, signal) {
  try {
    const view = await get(`/job-status?job_id=${id}`, { signal });
    job.set(stand(job.get(), view));
  } catch (error) {
    if (error.status === 404) job.set({ ...job.get(), phase: "lost" });
  }
}

async function keepLooking(id, job, signal) {
  while (!signal.aborted) {
    if (["sending", "queued", "deferred", "retrying"].includes(job.get().phase)) await look(id, job, signal);
    await pause(LOOK_EVERY, signal).catch(() => {});
  }
}

async function follow(id, job, signal) {
  while (streams >= STREAMS && !isOver(job.get())) await pause(200, signal);
  if (isOver(job.get())) return;
  streams += 1;
  try {
    const onLine = (connected) => job.get().connected !== connected && job.set({ ...job.get(), connected });
    for await (const event of events(id, { signal, onLine })) {
      if (isOver(job.get()) && job.get().phase !== "dead") return;
      job.set({ ...step(job.get(), event), connected: true });
    }
  } catch (error) {
    if (error.status === 404) job.set({ ...job.get(), phase: "lost" });
    else throw error;
  } finally {
    streams -= 1;
  }
}

async function run(conversationId, turn) {
  const leave = new AbortController();
  const job = store(begin());
  running.set(turn.id, { job, leave });
  try {
    const id = turn.job ?? (await submit(conversationId, turn, job, leave.signal));
    if (id) {
      if (!turn.job) note(conversationId, turn.id, { job: id });
      if (job.get().phase === "sending") job.set({ ...job.get(), id, phase: "queued", error: undefined });
      job.set({ ...job.get(), id });
      keepLooking(id, job, leave.signal);
      await follow(id, job, leave.signal);
      await look(id, job, leave.signal);
    }
  } catch (error) {
    if (!leave.signal.aborted) job.set({ ...job.get(), phase: "lost", error: { message: error.message } });
  }
  leave.abort();
  if (!isOver(job.get())) return;
  announce(ENDS[job.get().phase]);
  note(conversationId, turn.id, { end: kept(job.get()) });
  running.delete(turn.id);
}

const ENDS = {
  completed: "The answer is complete",
  dead: "The question failed",
  cancelled: "The question was cancelled",
  refused: "The question was refused",
  lost: "The answer is no longer kept",
};

/** Runs every turn that has no end yet: new ones, those that ran when the page was left, those of another tab. */
export function runAll() {
  const go = () => {
    for (const { id, turns } of conversations.get()) {
      for (const turn of turns) if (!turn.end && !running.has(turn.id)) run(id, turn);
    }
  };
  conversations.watch(go);
  go();
}

/** Looks whether questions that were given up have been put back into the queue: those are followed again. */
export async function recheck(conversationId) {
  for (const { id, job, end } of conversation(conversationId)?.turns ?? []) {
    if (end?.phase !== "dead" || end.gone || !job) continue;
    try {
      const { status, error } = await get(`/job-status?job_id=${job}`);
      if (status !== "dead") note(conversationId, id, { end: undefined });
      else if (error.message !== end.error.message) note(conversationId, id, { end: { ...end, error } });
    } catch (error) {
      // Nobody can try it again.
      if (error.status === 404) note(conversationId, id, { end: { ...end, gone: true } });
    }
  }
}

/** Cancels the turn's job; the answer's stream says that it is so. A question not yet accepted is just not sent. */
export async function cancel(conversationId, turn) {
  const known = conversation(conversationId)?.turns.find((one) => one.id === turn.id);
  const mine = running.get(turn.id);
  if (known?.job) {
    const view = await (await send("DELETE", `/jobs/${known.job}`)).json();
    if (mine) mine.job.set(stand(mine.job.get(), view));
  } else if (mine) {
    mine.job.set({ ...mine.job.get(), phase: "cancelled" });
    mine.leave.abort();
  }
}
