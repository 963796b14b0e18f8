// What dead letters are about: the question, or the document's name. The list of letters has no payloads, so that it
// stays small; they are asked for one by one, a few at a time, and what they were about is kept until the page is left.
import { get } from "./http.js";
import { store } from "./store.js";
import { useEffect, useStore } from "./ui.js";

const AT_ONCE = 4;
const LONGEST = 160;
const NAMELESS = { chat: "A question", ingest: "A document", replay: "A replay" };

/** What a job was to do, in a line. */
export function subjectOf({ kind, payload }) {
  const { query, title, source, document_id: document, change } = payload ?? {};
  const text = kind === "chat" ? query : (title ?? source ?? document);
  const line = (typeof text === "string" ? text : "").replace(/\s+/g, " ").trim();
  const short = line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line || NAMELESS[kind];
  return change === "delete" ? `Delete ${short}` : short;
}

const known = store({});
const asked = new Set();

// A letter that was edited and died again is about something else.
const nameOf = (letter) => `${letter.job_id} ${letter.dead_at}`;

async function learn(letters) {
  const left = letters.filter((letter) => !asked.has(nameOf(letter)));
  for (const letter of left) asked.add(nameOf(letter));
  const some = async () => {
    for (let letter = left.shift(); letter; letter = left.shift()) {
      try {
        const whole = await get(`/admin/dlq/${letter.job_id}`, { as: "admin" });
        known.set({ ...known.get(), [nameOf(letter)]: subjectOf(whole) });
      } catch {
        asked.delete(nameOf(letter));
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
}

/** What says of a letter what it is about; until that is known, of which kind it is. */
export function useSubjects(letters) {
  const all = useStore(known);
  useEffect(() => {
    learn(letters);
  }, [letters.map(nameOf).join()]);
  return (letter) => all[nameOf(letter)] ?? NAMELESS[letter.kind];
}
