// Cancelling many jobs: by kind and state, counted first.
import { send } from "./http.js";
import { announce, Button, Dialog, html, Trouble, useState } from "./ui.js";
import { count, many } from "./words.js";

const STATES = { queued: "Queued: wait for a worker", scheduled: "Scheduled: wait for their time", running: "Running: are worked on now" };

export function CancelDialog({ kinds, onClose, onDone }) {
  const [kind, setKind] = useState("");
  const [states, setStates] = useState(["queued", "scheduled"]);
  const [limit, setLimit] = useState("");
  const [outcome, setOutcome] = useState({});
  const order = async (dryRun) => {
    setOutcome({ ...outcome, busy: true, error: undefined });
    const json = { kind: kind || undefined, status: states, limit: limit ? Number(limit) : undefined, dry_run: dryRun };
    try {
      return await (await send("POST", "/admin/jobs/cancel", { json, as: "admin" })).json();
    } catch (error) {
      setOutcome({ error });
      return undefined;
    }
  };
  const dryRun = async () => {
    const found = await order(true);
    if (!found) return;
    announce(`${many(found.matched, "job")} would be cancelled`);
    setOutcome({ matched: found.matched });
  };
  const cancel = async () => {
    const done = await order(false);
    if (!done) return;
    announce(`${many(done.cancelled, "job")} cancelled`);
    onDone(done.cancelled);
    onClose();
  };
  // Another choice is of other jobs: they are counted anew.
  const change = (set) => (event) => {
    set(event.target.value);
    setOutcome({});
  };
  const toggle = (state) => {
    setStates(states.includes(state) ? states.filter((other) => other !== state) : [...states, state]);
    setOutcome({});
  };
  const { matched, busy, error } = outcome;
  return html`<${Dialog} title="Cancel jobs" onClose=${onClose}>
    <p>A cancelled job is over for good: nobody gets its answer, and calls to the provider that are under way are closed.</p>
    <div class="fields">
      <label for="kind">Of the kind</label>
      <select id="kind" value=${kind} onChange=${change(setKind)}>
        <option value="">All</option>
        ${Object.entries(kinds).map(([name, title]) => html`<option key=${name} value=${name}>${title}</option>`)}
      </select>
      <label for="limit">Altogether, at most</label>
      <input id="limit" type="number" min="1" step="1" value=${limit} placeholder="all" onInput=${change(setLimit)} />
    </div>
    <fieldset class="stack"><legend>In the state</legend>
      ${Object.entries(STATES).map(([state, title]) => html`<label class="row" key=${state}>
        <input type="checkbox" checked=${states.includes(state)} onChange=${() => toggle(state)} />${title}</label>`)}
    </fieldset>
    ${matched !== undefined && html`<p class="note" role="status">${matched === 0 ? "Nothing matches." : html`<strong>${many(matched, "job")}</strong> would be cancelled.`}</p>`}
    ${error && html`<${Trouble} error=${error} />`}
    <div class="row end">
      <${Button} onClick=${dryRun} disabled=${busy || !states.length} kind=${matched === undefined ? "primary" : ""}>Dry run<//>
      <${Button} onClick=${cancel} disabled=${busy || !matched} kind="danger">${matched ? `Cancel ${count(matched)}` : "Cancel jobs"}<//>
    </div>
  <//>`;
}
