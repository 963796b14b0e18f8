// The audit log: what operators did, newest first, an action with its outcome as one row.
import { getPages } from "./http.js";
import { Button, Empty, html, Icon, Trouble, usePolled, useState } from "./ui.js";
import { ago, count, date, plain } from "./words.js";

const PAGE = 100;

/** What the entries of an action have in common; those of an older ragq have no `action_id`. */
const nameOf = (entry) => entry.action_id ?? entry.request_id + entry.action;

/** An entry is written before and after each action: once it has an outcome, that it was begun is no news. */
function actions(entries) {
  const ended = new Set(entries.filter(({ stage }) => stage !== "begun").map(nameOf));
  return entries.filter((entry) => entry.stage !== "begun" || !ended.has(nameOf(entry)));
}

const OUTCOMES = { begun: ["wait", "begun"], done: ["good", "done"], failed: ["bad", "failed"] };

const JOB = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;

/** The ids of jobs in a text as links. */
function linked(text) {
  return text.split(/([,; ]+)/).map((part) => (JOB.test(part) ? html`<a href=${`#/letters/${part}`} key=${part}>${part}</a>` : part));
}

const NAMES = { code: "cause" };

/** One thing that was asked for, in words: `rate per second 5`; what was not asked for has none. */
function wish([name, value]) {
  if (value === false) return [];
  if (value === true) return [plain(name)];
  return [`${NAMES[name] ?? plain(name)} ${plain([value].flat().join(" and "))}`];
}

const asked = (detail) => Object.entries(detail ?? {}).flatMap(wish).join(", ");

function Row({ entry }) {
  const { at, action, stage, actor, remote_address: address, subject, count: times, detail, request_id: request } = entry;
  const [tone, word] = OUTCOMES[stage];
  return html`<tr>
    <td><time datetime=${at} title=${date(at)}>${ago(at)}</time></td>
    <td class="title"><strong>${plain(action)}</strong> <span class=${`badge ${tone}`}>${word}</span>
      <span class="faint">${linked([subject, asked(detail)].filter(Boolean).join(" · "))}</span></td>
    <td class="num">${stage === "begun" ? "" : count(times)}</td>
    <td class="wide-cell" title=${`Request ${request}`}>${actor}${address ? ` from ${address}` : ""}</td>
  </tr>`;
}

function List() {
  const [pages, setPages] = useState(1);
  const look = (signal) => getPages("/admin/audit", { limit: PAGE }, pages, { as: "admin", signal });
  const { value, error, again } = usePolled(look, 5000, [pages]);
  if (error && !value) return html`<${Trouble} error=${error} again=${again} />`;
  if (!value) return html`<p class="faint" role="status">Reading the audit log…</p>`;
  if (!value.items.length) return html`<${Empty} title="Nothing was done yet"><p>Whatever an operator pauses, resumes, replays, discards or cancels is written down here.</p><//>`;
  return html`<div class="card scroll" tabindex="0" role="region" aria-label="Audit log"><table>
      <thead><tr><th>When</th><th>What</th><th class="num">How many</th><th class="wide-cell">Who</th></tr></thead>
      <tbody>${actions(value.items).map((entry) => html`<${Row} key=${nameOf(entry) + entry.stage} entry=${entry} />`)}</tbody>
    </table></div>
    ${value.more && html`<div><${Button} onClick=${() => setPages(pages + 1)}>Load more<//></div>`}`;
}

export function Audit() {
  return html`<div class="page">
    <p><a class="back" href="#/queue"><${Icon} name="back" />Queue</a></p>
    <header><h1>Audit log</h1></header>
    <${List} />
  </div>`;
}
