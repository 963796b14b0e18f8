// The view Dead letters: groups by cause, the list, one letter with its payload and attempts, replay and discard.
import { get, getPages, send, withQuery } from "./http.js";
import { KINDS } from "./queue.js";
import { ReplayDialog, Replays } from "./replay.js";
import { deed, Letter } from "./letter.js";
import { useSubjects } from "./subjects.js";
import { Button, Confirm, Empty, html, Trouble, useEffect, usePolled, useState, useStore } from "./ui.js";
import { ago, count, date, many, plain, sentence } from "./words.js";

const PAGE = 50;
const JOB = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;

function Groups({ groups, chosen, onChoose, onReplay }) {
  return html`<ul class="groups">
    ${groups.map((group) => {
      const { reason, code, count: letters } = group;
      const mine = chosen?.reason === reason && chosen?.code === code;
      return html`<li class=${`card group ${mine ? "chosen" : ""}`} key=${reason + code}>
        <button type="button" class="grow cause" aria-pressed=${mine} onClick=${() => onChoose(mine ? undefined : { reason, code })}>
          <strong>${plain(code)}</strong><span class="faint">${plain(reason)}</span></button>
        <span class="figure">${count(letters)}</span>
        <${Button} icon="again" aria-label=${`Replay group ${plain(code)}, ${plain(reason)}`} onClick=${() => onReplay(group)}>Replay group<//>
      </li>`;
    })}
  </ul>`;
}

function Row({ letter, subject, checked, onCheck }) {
  const { job_id: id, kind, error, reason, attempt, dead_at: died, tenant } = letter;
  return html`<tr>
    <td><input type="checkbox" aria-label=${`Select “${subject}”, ${id}`} checked=${checked} onChange=${() => onCheck(id)} /></td>
    <td class="title"><a href=${`#/letters/${id}`}>${subject}</a>
      <span class="bad">${sentence(error.message)}</span>
      <span class="faint">${plain(error.code)}, ${plain(reason)} · ${id}</span></td>
    <td class="wide-cell">${KINDS[kind]}</td>
    <td class="wide-cell">${tenant}</td>
    <td class="num wide-cell">${count(attempt)}</td>
    <td><time datetime=${died} title=${date(died)}>${ago(died)}</time></td>
  </tr>`;
}

/** Finds letters of the list by words of theirs; a whole id is gone to, whether the list has it or not. */
function Find({ words, onWords }) {
  const submit = (event) => {
    event.preventDefault();
    const id = words.trim().toUpperCase();
    if (JOB.test(id)) location.hash = `#/letters/${id}`;
  };
  return html`<form role="search" onSubmit=${submit}><label class="unseen" for="find">Find by id or words</label>
    <input id="find" type="search" placeholder="Find by id or words" value=${words} onInput=${(event) => onWords(event.target.value)} /></form>`;
}

/** What was done last to a letter, and the way to what came of it. */
function Deed() {
  const done = useStore(deed);
  useEffect(() => () => deed.set(undefined), []);
  return done && html`<p class="note done row"><span class="grow">${done.text} <a href=${done.href}>${done.link}</a></span>
    <${Button} kind="quiet" icon="close" label="Close this message" onClick=${() => deed.set(undefined)} /></p>`;
}

/** Discards letters one by one; those that are gone already are as good as discarded. */
async function discard(ids) {
  for (const id of ids) {
    try {
      await send("DELETE", `/admin/dlq/${id}`, { as: "admin" });
    } catch (error) {
      if (error.status !== 404) throw error;
    }
  }
}

function List() {
  const [kind, setKind] = useState("");
  const [cause, setCause] = useState(undefined);
  const [pages, setPages] = useState(1);
  const [chosen, setChosen] = useState([]);
  const [dialog, setDialog] = useState(undefined);
  const [words, setWords] = useState("");
  const about = [kind, cause?.reason, cause?.code, pages];
  const all = usePolled((signal) => get(withQuery("/admin/dlq", { kind, limit: 1 }), { as: "admin", signal }), 4000, [kind]);
  const list = usePolled((signal) => getPages("/admin/dlq", { kind, ...cause, limit: PAGE }, pages, { as: "admin", signal }), 4000, about);
  const subjectOf = useSubjects(list.value?.items ?? []);
  const error = list.error ?? all.error;
  if (error && !list.value) return html`<${Trouble} error=${error} again=${list.again} />`;
  if (!list.value || !all.value) return html`<p class="faint" role="status">Reading the dead letters…</p>`;
  const sought = words.trim().toLowerCase();
  const fits = (letter) => `${letter.job_id} ${subjectOf(letter)} ${letter.error.message}`.toLowerCase().includes(sought);
  const shown = list.value.items.filter(fits);
  const ids = shown.map((letter) => letter.job_id);
  const selected = chosen.filter((id) => ids.includes(id));
  const check = (id) => setChosen((before) => (before.includes(id) ? before.filter((one) => one !== id) : [...before, id]));
  const checkAll = () => setChosen(selected.length === ids.length ? [] : ids);
  const remove = async (gone) => {
    await discard(gone);
    deed.set({ text: `Discarded: ${many(gone.length, "dead letter")}.`, href: "#/queue/audit", link: "Audit log" });
  };
  const renew = () => {
    setDialog(undefined);
    setChosen([]);
    list.again();
    all.again();
  };
  const replayGroup = ({ reason, code }) =>
    setDialog({ replay: { reason, code, kind: kind || undefined }, title: `Replay ${plain(code)}, ${plain(reason)}` });
  const filters = html`<div class="row">
    <label for="kind">Kind</label>
    <select id="kind" value=${kind} onChange=${(event) => setKind(event.target.value)}>
      <option value="">All</option>${Object.entries(KINDS).map(([name, word]) => html`<option key=${name} value=${name}>${word}</option>`)}</select>
    <${Find} words=${words} onWords=${setWords} />
    <span class="grow"></span>
    ${selected.length > 0 && html`<span class="faint">${count(selected.length)} selected</span>
      <${Button} icon="again" onClick=${() => setDialog({ replay: { ids: selected }, title: `Replay ${many(selected.length, "selected dead letter")}` })}>Replay selected<//>
      <${Button} icon="trash" kind="danger" onClick=${() => setDialog({ discard: selected })}>Discard selected<//>`}
  </div>`;
  if (!all.value.groups.length) {
    return html`${kind && filters}<${Empty} title="No dead letters"><p>Every job has either succeeded or is still being tried. Jobs that are given up come here, with the reason and every attempt.</p><//>`;
  }
  return html`
    <${Groups} groups=${all.value.groups} chosen=${cause} onChoose=${setCause} onReplay=${replayGroup} />
    ${filters}
    <div class="card scroll" tabindex="0" role="region" aria-label="Dead letters"><table>
      <thead><tr><th><input type="checkbox" aria-label="Select all" checked=${selected.length > 0 && selected.length === ids.length} onChange=${checkAll} /></th>
        <th>What was to be done</th><th class="wide-cell">Kind</th><th class="wide-cell">Tenant</th><th class="num wide-cell">Attempts</th><th>Died</th></tr></thead>
      <tbody>${shown.map((letter) => html`<${Row} key=${letter.job_id} letter=${letter} subject=${subjectOf(letter)} checked=${selected.includes(letter.job_id)} onCheck=${check} />`)}</tbody>
    </table>${!shown.length && html`<p class="faint">No letter has “${words}” in it${list.value.more ? " so far; load more below, or give its whole id" : ""}.</p>`}</div>
    ${list.value.more && html`<div><${Button} onClick=${() => setPages(pages + 1)}>Load more<//></div>`}
    ${dialog?.replay && html`<${ReplayDialog} title=${dialog.title} filter=${dialog.replay} onClose=${renew} />`}
    ${dialog?.discard && html`<${Confirm} title="Discard for good?" yes=${`Discard ${count(dialog.discard.length)}`} onClose=${renew} onYes=${() => remove(dialog.discard)}
      text=${`${many(dialog.discard.length, "dead letter")} will be gone, with payload and attempts. This can't be undone.`} />`}`;
}

export function Letters({ parts: [id] }) {
  const shown = id ? html`<${Letter} id=${id} key=${id} />` : html`<header><h1>Dead letters</h1></header><${Deed} /><${Replays} /><${List} />`;
  return html`<div class="page">${shown}</div>`;
}
