// The life of a question's job as the page sees it: a pure step from one state to the next for each event.

/** Before anything is known. `phase` is one of the words of `PHASES`. */
export const begin = () => ({ phase: "sending", text: "", citations: [], attempt: 0, connected: true });

/** How an event changes what is seen. A new attempt makes void what earlier ones wrote. */
export function step(job, { event, seq: _, ...data }) {
  const next = { ...job, attempt: data.attempt ?? job.attempt };
  switch (event) {
    case "created":
    case "replayed":
      return { ...next, phase: "queued", text: "", citations: [], error: undefined, waiting: undefined };
    case "started":
      return { ...next, phase: "running", text: "", position: undefined, error: undefined, waiting: undefined };
    case "passages":
      return { ...next, citations: data.citations };
    case "delta":
      return { ...next, phase: "answering", text: job.text + data.text };
    case "deferred":
    case "retrying":
      return { ...next, phase: event, error: { code: data.code, message: data.message, retry_at: data.retry_at } };
    case "completed":
      return { ...next, phase: "completed", ...answered(data.result) };
    case "dead":
      return { ...next, phase: "dead", error: data.error };
    case "cancelled":
      return { ...next, phase: "cancelled" };
    default:
      return job;
  }
}

const answered = (result) => ({
  text: result.answer,
  citations: result.citations,
  model: result.model,
  truncated: result.truncated,
  degraded: result.retrieval?.degraded,
  usage: result.usage,
});

/** What `GET /job-status` adds: the place in the queue, what holds the job up, and the end where its event was not seen. */
export function stand(job, view) {
  const took = view.finished_at ? Date.parse(view.finished_at) - Date.parse(view.created_at) : undefined;
  const waiting = view.waiting_for && { for: view.waiting_for, at: view.retry_at };
  const next = { ...job, waiting, position: view.position, attempt: view.attempt, attempts: view.max_attempts, took, spent: view.usage_total };
  if (view.status === "completed") return { ...next, phase: "completed", ...answered(view.result) };
  if (view.status === "dead") return { ...next, phase: "dead", error: view.error };
  if (view.status === "cancelled") return { ...next, phase: "cancelled" };
  return next;
}

export const isOver = (job) => ["completed", "dead", "cancelled", "refused", "lost"].includes(job.phase);
