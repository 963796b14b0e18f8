// Figures, times and states in words for people.

const number = new Intl.NumberFormat("en");
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });

export const count = (n) => number.format(n);
export const many = (n, thing) => `${count(n)} ${thing}${n === 1 ? "" : "s"}`;

export function bytes(n) {
  const units = ["B", "kB", "MB", "GB"];
  let at = 0;
  while (n >= 1000 && at < units.length - 1) {
    n /= 1000;
    at += 1;
  }
  return `${one.format(n)} ${units[at]}`;
}

/** A limit, which people set in powers of two: `32 MiB`. */
export function binary(n) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  const at = Math.min(units.length - 1, Math.floor(Math.log2(n) / 10));
  return `${one.format(n / 1024 ** at)} ${units[at]}`;
}

export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${one.format(ms / 1000)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.round((ms % 60_000) / 1000)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** How long until then, in whole seconds or more. */
export function until(at, now) {
  const ms = Date.parse(at) - now;
  return ms <= 0 ? "now" : `in ${duration(Math.ceil(ms / 1000) * 1000)}`;
}

export function ago(at, now = Date.now()) {
  const ms = now - Date.parse(at);
  if (ms < 10_000) return "just now";
  if (ms < 60_000) return `${Math.floor(ms / 1000)} s ago`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ago`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h ago`;
  return date(at);
}

export const date = (at) => day.format(new Date(at));
export const time = (at) => clock.format(new Date(at));
export const plain = (word) => word.replaceAll("_", " ");
/** Text with a capital and a full stop. */
export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** What to do about a failure, by its code; nothing for those that pass by themselves. */
const HINTS = {
  unsupported_format: "Convert it to .md, .txt, .html, .pdf or .docx.",
  document_mislabelled: "Give the file the ending that fits its content.",
  document_encrypted: "Remove the password and upload it again.",
  document_damaged: "Get a whole copy of the file.",
  document_too_large: "Split the document, or raise the limit in the settings.",
  parser_timeout: "Split the document, or raise RAGQ_INGEST__PARSER_TIMEOUT_MS.",
  parser_memory: "Split the document, or raise RAGQ_INGEST__PARSER_MEMORY_BYTES.",
  parser_crashed: "Convert the document to another format.",
  provider_unauthorized: "The operator has to mend the provider's key; waiting questions go on by themselves.",
  model_not_found: "The operator has to set a model that the provider has.",
  quota_exhausted: "The provider's account has no money left; waiting questions go on when it has.",
  context_too_long: "Ask a shorter question, or start a new conversation.",
  content_refused: "The provider refused the question or its answer: word it differently.",
  collection_not_found: "Choose another collection.",
  deadline_exceeded: "Ask again, with more time.",
};
export const hint = (code) => HINTS[code];
