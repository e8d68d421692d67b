import { useEffect, useState } from "preact/hooks";
import { count, number } from "./numbers";
import type { OfferedSet } from "./protocol";
import { nameOf, namedSets, type Direction, type State } from "./state";
import type { Talk } from "./talk";

const LOW = -1;
const HIGH = 2;

interface Props {
  talk: Talk;
  state: State;
}

/** What is selected, in words: its set, name, direction, source and strength. */
export function Selecting({ talk, state }: Props) {
  const { scene, anatomy, choice } = state;
  if (!scene || !anatomy) return null;
  return (
    <section class="selecting" aria-label="selection">
      <div class="line">
        <SetText talk={talk} state={state} />
        <Menu talk={talk} state={state} />
      </div>
      <div class="line">
        <b class="called" aria-live="polite">{nameOf(state)}</b>
        <span class="note">{count(choice.members.size, "component")} of {anatomy.count}</span>
        <Keep talk={talk} state={state} />
        <span class="grow" />
        <button type="button" class="quiet" disabled={!choice.members.size} onClick={() => talk.take(new Set())}>nothing</button>
      </div>
      <div class="line ways">
        <Directions talk={talk} state={state} />
        <Sources talk={talk} state={state} />
        <Strength talk={talk} state={state} />
      </div>
    </section>
  );
}

function SetText({ talk, state }: Props) {
  const { set } = state.choice;
  const [text, setText] = useState(set);
  useEffect(() => setText(set), [set]);
  const send = (event: Event) => {
    event.preventDefault();
    talk.takeText(text);
  };
  return (
    <form class="grow line" onSubmit={send}>
      <input
        id="lab-set" class="grow" aria-label="set of components" placeholder="a set: L0.H1 L2.* *.MLP ~L3.H0" spellcheck={false} autocomplete="off"
        value={text} onInput={(event) => setText(event.currentTarget.value)} onBlur={(event) => text !== set && send(event)}
      />
    </form>
  );
}

function Menu({ talk, state }: Props) {
  const sets = namedSets(state);
  const families = [...new Set(sets.map((one) => one.family))];
  const chosen = sets.findIndex((one) => one.set === state.choice.set);
  const of = (one: OfferedSet) => `${one.title}${one.note ? ` (${one.note})` : ""}`;
  const take = (event: Event) => {
    const one = sets[Number((event.currentTarget as HTMLSelectElement).value)];
    if (one) talk.takeText(one.set, one.family === "kept" ? one.name : "");
  };
  return (
    <select class="sets" aria-label="sets with names" value={chosen} onChange={take}>
      <option value={-1}>sets…</option>
      {families.map((family) => (
        <optgroup key={family} label={family}>
          {sets.map((one, n) => one.family === family && <option key={n} value={n}>{of(one)}</option>)}
        </optgroup>
      ))}
    </select>
  );
}

/** Gives the selection a name of its own, which the menu and the address keep. */
function Keep({ talk, state }: Props) {
  const [asking, setAsking] = useState(false);
  const { choice, kept } = state;
  if (!choice.members.size) return null;
  if (!asking) return <button type="button" class="quiet" onClick={() => setAsking(true)}>name it</button>;
  const keep = (event: Event) => {
    event.preventDefault();
    const field = (event.currentTarget as HTMLFormElement).elements.namedItem("name") as HTMLInputElement;
    const name = field.value.trim();
    setAsking(false);
    if (!name) return;
    const others = kept.filter((one) => one.name !== name);
    talk.put({ kept: [...others, { family: "kept", name, set: choice.set, title: name, note: "" }] });
    talk.name(name);
  };
  return (
    <form class="line" onSubmit={keep}>
      <input name="name" aria-label="name of the selection" maxLength={60} ref={(field) => field?.focus()} onKeyDown={(event) => event.key === "Escape" && setAsking(false)} />
      <button type="submit">keep</button>
    </form>
  );
}

function Directions({ talk, state }: Props) {
  const { direction } = state.choice;
  const ways: [Direction, string][] = [
    ["take back", "tuned, with the selection from base"],
    ["graft", "base, with the selection from tuned"],
  ];
  return (
    <span class="buttons" role="radiogroup" aria-label="direction">
      {ways.map(([way, words]) => (
        <button key={way} type="button" role="radio" aria-checked={direction === way} title={words} onClick={() => talk.choose({ direction: way })}>
          {way}
        </button>
      ))}
    </span>
  );
}

function Sources({ talk, state }: Props) {
  const { scene, choice } = state;
  const recorded = scene?.recorded && new Set(scene.recorded.map((one) => one.source.split(":")[0]));
  const sources = (scene?.sources ?? []).filter((one) => !recorded || recorded.has(one.name));
  const [name, ...numbers] = choice.source.split(":");
  const one = sources.find((some) => some.name === name);
  if (choice.direction === "graft" || sources.length < 2) return null;
  const take = (next: string) => {
    const asked = sources.find((some) => some.name === next)?.numbers ?? [];
    talk.choose({ source: [next, ...asked.map((_, n) => (n === 0 && asked[0] !== "SEED" ? 1 : 0))].join(":") });
  };
  const renumber = (place: number, value: string) => {
    const next = [...numbers];
    next[place] = value;
    if (value !== "") talk.choose({ source: [name, ...next].join(":") }, true);
  };
  return (
    <>
      <label title={one?.words}>
        from{" "}
        <select aria-label="source" value={name} onChange={(event) => take(event.currentTarget.value)}>
          {sources.map((some) => <option key={some.name} value={some.name} title={some.words}>{some.name}</option>)}
        </select>
      </label>
      {one?.numbers.map((what, n) => (
        <label key={what}>{what.toLowerCase()} <input type="number" min={0} value={numbers[n] ?? ""} onInput={(event) => renumber(n, event.currentTarget.value)} /></label>
      ))}
    </>
  );
}

/** From tuned over base and beyond. */
function Strength({ talk, state }: Props) {
  const { scene, choice } = state;
  if (!scene?.live || choice.direction === "graft" || choice.source !== "base") return null;
  const put = (strength: number, smooth = true) => talk.choose({ strength }, smooth);
  return (
    <label class="strength">
      strength
      <input
        type="range" min={LOW} max={HIGH} step={0.05} value={choice.strength} list="lab-strengths" aria-label="strength"
        aria-valuetext={`${number(choice.strength, 2)}, where 0 is tuned and 1 is base`}
        onInput={(event) => put(Number(event.currentTarget.value))}
      />
      <datalist id="lab-strengths"><option value={0} label="tuned" /><option value={1} label="base" /></datalist>
      <output>{number(choice.strength, 2)}</output>
      <button type="button" class="quiet" disabled={choice.strength === 1} onClick={() => put(1, false)} title="base as it is">1</button>
    </label>
  );
}
