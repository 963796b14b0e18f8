// Replaying many dead letters: counted first, at a rate, followed to the end. Which replays this tab began is kept in
// its session, so that a reload still shows how they go.
import { get, send } from "./http.js";
import { store } from "./store.js";
import { announce, Button, Dialog, html, Trouble, useEffect, usePolled, useState, useStore } from "./ui.js";
import { count, duration, many, plain } from "./words.js";

const SLOT = "ragq.replays";

const replays = store(JSON.parse(sessionStorage.getItem(SLOT) ?? "[]"));
replays.watch((all) => sessionStorage.setItem(SLOT, JSON.stringify(all)));

/** Asks how many match, then replays them; `filter` is what `POST /admin/dlq/replay` takes. */
export function ReplayDialog({ title, filter, onClose }) {
  const [rate, setRate] = useState("5");
  const [limit, setLimit] = useState("");
  const [state, setState] = useState({});
  const wish = (more) => ({
    ...filter,
    rate_per_second: rate ? Number(rate) : undefined,
    limit: limit ? Number(limit) : undefined,
    ...more,
  });
  const order = async (more) => {
    setState({ ...state, busy: true, error: undefined });
    try {
      return await (await send("POST", "/admin/dlq/replay", { json: wish(more), as: "admin" })).json();
    } catch (error) {
      setState({ error });
      return undefined;
    }
  };
  const dryRun = async () => {
    const found = await order({ dry_run: true });
    if (!found) return;
    announce(`${many(found.matched, "dead letter")} would be replayed`);
    setState({ matched: found.matched });
  };
  const replay = async () => {
    const begun = await order({});
    if (!begun) return;
    replays.set([{ id: begun.job_id, title, matched: begun.matched }, ...replays.get()]);
    announce(`The replay of ${many(begun.matched, "dead letter")} has begun`);
    onClose();
  };
  // With another limit other letters are meant, which are counted anew; the rate does not change how many they are.
  const changeLimit = (event) => {
    setLimit(event.target.value);
    setState({});
  };
  const { matched, busy, error } = state;
  const seconds = matched && Number(rate) ? (matched / Number(rate)) * 1000 : 0;
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <p>They go back into the queue under their own ids, with all attempts before them. If the cause is not mended they die of it again; the replay then stops by itself.</p>
    <div class="fields">
      <label for="rate">Each second, at most</label>
      <input id="rate" type="number" min="0.001" max="10000" step="any" value=${rate} placeholder="no limit" onInput=${(event) => setRate(event.target.value)} />
      <label for="limit">Altogether, at most</label>
      <input id="limit" type="number" min="1" step="1" value=${limit} placeholder="all" onInput=${changeLimit} />
    </div>
    ${matched !== undefined && html`<p class="note" role="status">${matched === 0 ? "Nothing matches any more." : html`<strong>${many(matched, "dead letter")}</strong> would be replayed${seconds > 2000 ? `, in about ${duration(seconds)}` : ""}.`}</p>`}
    ${error && html`<${Trouble} error=${error} />`}
    <div class="row end">
      <${Button} onClick=${dryRun} disabled=${busy} kind=${matched === undefined ? "primary" : ""}>Dry run<//>
      <${Button} onClick=${replay} disabled=${busy || !matched} kind=${matched ? "primary" : ""}>${matched ? `Replay ${count(matched)}` : "Replay"}<//>
    </div>
  <//>`;
}

const ENDED = ["completed", "dead", "cancelled"];
const STOPPED = { same_cause_returned: "stopped: the same cause came back", cancelled: "stopped" };

function Progress({ one }) {
  const [ended, setEnded] = useState(false);
  const { value, error } = usePolled((signal) => get(`/job-status?job_id=${one.id}`, { as: "admin", signal }), ended ? 60_000 : 1000, [ended]);
  const [trouble, setTrouble] = useState(undefined);
  useEffect(() => {
    if (!ENDED.includes(value?.status) || ended) return;
    setEnded(true);
    announce(`The replay has ended: ${value.status}`);
  }, [value?.status]);
  const { matched = one.matched, replayed = 0, skipped = 0, failed_again: again = 0 } = value?.result ?? value?.progress ?? {};
  const stopped = STOPPED[value?.result?.stopped] ?? (value?.status === "cancelled" ? "stopped" : undefined);
  const stop = () => send("DELETE", `/jobs/${one.id}`, { as: "admin" }).catch(setTrouble);
  const away = () => replays.set(replays.get().filter((other) => other.id !== one.id));
  const facts = [`${count(replayed)} of ${count(matched)} replayed`, skipped && `${count(skipped)} skipped`, again && `${count(again)} failed again`, stopped];
  return html`<li class="card stack replay">
    <div class="row"><strong class="grow">${one.title}</strong>
      <span class=${`badge ${value?.status === "completed" && !stopped ? "good" : ended ? "wait" : "busy"}`}>${plain(value?.status ?? "queued")}</span>
      ${ended ? html`<${Button} kind="quiet" icon="close" label="Take it off the list" onClick=${away} />` : html`<${Button} icon="stop" onClick=${stop}>Stop<//>`}</div>
    <progress value=${replayed + skipped} max=${Math.max(1, matched)} aria-label=${one.title}></progress>
    <p class="faint">${facts.filter(Boolean).join(", ")}</p>
    ${(trouble || (error && !value)) && html`<p class="bad" role="alert">${(trouble ?? error).message}</p>`}
  </li>`;
}

export function Replays() {
  const all = useStore(replays);
  if (!all.length) return null;
  return html`<section class="stack" aria-labelledby="replays"><h2 id="replays">Replays</h2>
    <ul class="stack">${all.map((one) => html`<${Progress} key=${one.id} one=${one} />`)}</ul></section>`;
}
