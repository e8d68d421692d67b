import { useEffect, useRef, useState } from "preact/hooks";
import { percent } from "./numbers";
import { order, type Listing, type State } from "./state";
import type { Talk } from "./talk";

const HIGH = 30;
const AROUND = 8;

/** The situations, sorted by how much the hybrid changes them; only those in sight are drawn. */
export function Situations({ talk, state }: { talk: Talk; state: State }) {
  const { scene, changes, choice, listing, typed, old } = state;
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const listed = order(state);
  const at = listed.indexOf(choice.place ?? -1);
  useEffect(() => {
    const element = box.current;
    if (!element || at < 0) return;
    const [from, to] = [at * HIGH, (at + 1) * HIGH];
    if (from < element.scrollTop) element.scrollTop = from;
    else if (to > element.scrollTop + element.clientHeight) element.scrollTop = to - element.clientHeight;
  }, [choice.place, listing]);
  const hybrid = `${choice.set} ${choice.direction} ${choice.source} ${choice.strength}`;
  useEffect(() => box.current?.scrollTo({ top: 0 }), [hybrid]);
  if (!scene) return null;
  const noun = scene.words.situation ?? "situation";
  const total = scene.situations.text.length;
  const nothing = !choice.members.size;
  const byHybrid = !nothing && changes?.distance.some((one) => one);
  const distances = byHybrid && changes ? changes.distance : scene.situations.distance;
  const flips = byHybrid && changes ? changes.flip : scene.situations.flip;
  const first = Math.max(0, Math.floor(top / HIGH) - AROUND);
  const rows = listed.slice(first, first + 2 * AROUND + 14);
  const keys: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 };
  const onKey = (event: KeyboardEvent) => {
    if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    talk.step(keys[event.key]);
  };
  return (
    <section class="panel situations" aria-labelledby="lab-situations">
      <div class="line">
        <h2 id="lab-situations">{capital(noun)}s</h2>
        <span class="grow" />
        <span class="note">{listed.length < total + typed.length ? `${listed.length} of ${total + typed.length}` : `${total}`}</span>
      </div>
      <Filters talk={talk} state={state} />
      <div
        class={`list ${old.changes && !nothing ? "old" : ""}`} ref={box} tabIndex={0} role="listbox" aria-label={`${noun}s`}
        aria-activedescendant={at >= 0 ? `lab-situation-${listed[at]}` : undefined}
        onScroll={(event) => setTop(event.currentTarget.scrollTop)} onKeyDown={onKey}
      >
        <div style={{ height: `${listed.length * HIGH}px` }}>
          {rows.map((place, n) => {
            const mine = place >= total ? typed.find((one) => one.place === place) : undefined;
            const distance = mine ? null : distances[place];
            const outcome = changes?.outcome[place];
            return (
              <div
                key={place} id={`lab-situation-${place}`} role="option" aria-selected={place === choice.place} data-place={place}
                aria-setsize={listed.length} aria-posinset={first + n + 1}
                style={{ top: `${(first + n) * HIGH}px` }} onClick={() => talk.choose({ place })}
              >
                <span class="text">{mine ? mine.title : scene.situations.text[place]}</span>
                {mine && <span class="tag">typed</span>}
                {outcome && outcome !== "legal" && byHybrid && <span class="tag mark">{outcome}</span>}
                <span class="flip" title={flips[place] ? "the likeliest is another" : undefined}>{flips[place] ? "⇄" : ""}</span>
                <span class="gauge" aria-hidden="true"><i style={{ width: `${100 * (distance ?? 0)}%` }} /></span>
                <span class="far">{percent(distance)}</span>
              </div>
            );
          })}
        </div>
        {!listed.length && <p class="note">No {noun} is like that; change the filter.</p>}
      </div>
      <p class="note">{byHybrid ? "how much of the probability the selection moves" : "how much of the probability training moved"}; ⇄ the likeliest {scene.words.action ?? "answer"} is another</p>
      {scene.typed && <Typing talk={talk} state={state} />}
    </section>
  );
}

function Filters({ talk, state }: { talk: Talk; state: State }) {
  const { scene, changes, listing } = state;
  if (!scene) return null;
  const outcomes = [...new Set((changes?.outcome ?? []).filter((one): one is string => one !== null))].sort();
  const put = (patch: Partial<Listing>) => talk.list(patch);
  return (
    <div class="line filters">
      <select aria-label="order" value={listing.sort} onChange={(event) => put({ sort: event.currentTarget.value as Listing["sort"] })}>
        <option value="change">changed most</option>
        <option value="training">changed most by training</option>
        <option value="place">in order</option>
      </select>
      {outcomes.length > 1 && (
        <select aria-label="kind of the likeliest" value={listing.outcome} onChange={(event) => put({ outcome: event.currentTarget.value })}>
          <option value="">any kind</option>
          {outcomes.map((one) => <option key={one} value={one}>{one}</option>)}
        </select>
      )}
      {scene.features.length > 0 && (
        <select aria-label="feature" value={listing.feature} onChange={(event) => put({ feature: event.currentTarget.value })}>
          <option value="">any feature</option>
          {scene.features.map((one) => <option key={one} value={one}>{one}</option>)}
        </select>
      )}
      <label title="only where the likeliest is another than tuned's">
        <input type="checkbox" checked={listing.flip} onChange={() => put({ flip: !listing.flip })} /> flips
      </label>
      <input type="search" class="grow" placeholder="find" aria-label="find a text" value={listing.text} onInput={(event) => put({ text: event.currentTarget.value })} />
    </div>
  );
}

function Typing({ talk, state }: { talk: Talk; state: State }) {
  const [text, setText] = useState("");
  const typed = state.scene?.typed;
  if (!typed) return null;
  const send = (event: Event) => {
    event.preventDefault();
    if (text.trim()) talk.type(text);
  };
  const prompt = typed.what === "prompt";
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(event);
  };
  return (
    <form class="line typing" onSubmit={send}>
      {prompt ? (
        <textarea class="grow" rows={2} aria-label="type a prompt" placeholder="type a prompt of your own" value={text} onInput={(event) => setText(event.currentTarget.value)} onKeyDown={onKey} />
      ) : (
        <input class="grow" aria-label={`type a ${typed.what}`} placeholder={`type a ${typed.what}, like ${typed.example}`} value={text} onInput={(event) => setText(event.currentTarget.value)} />
      )}
      <button type="submit">try it</button>
    </form>
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
