import { useState } from "preact/hooks";
import { interval, number, percent, signed } from "./numbers";
import type { Controls, Effect, Measure, Scene } from "./protocol";
import { mainMeasure, nameOf, type State } from "./state";
import type { Talk } from "./talk";

const WIDTH = 120;
const FEW = 10;

/** The effects of the selection on all measures: estimated, then exact, beside random sets. */
export function Measures({ talk, state }: { talk: Talk; state: State }) {
  const { scene, choice, effects, estimated, controls, old } = state;
  const [all, setAll] = useState(false);
  const [largest, setLargest] = useState(false);
  if (!scene) return null;
  const nothing = !choice.members.size;
  const exact = by(effects && !old.effects ? effects.effects : []);
  const guess = by(estimated ?? []);
  const random = old.effects ? null : controls;
  const of = (one: Measure) => exact.get(one.name) ?? guess.get(one.name);
  const strength = (one: Measure) => {
    const found = of(one);
    if (!found || found.effect === null) return -1;
    return Math.abs(found.effect) / Math.max(1e-9, ((found.high ?? found.effect) - (found.low ?? found.effect)) / 2 || 1e-3);
  };
  const chosen = all ? scene.measures : fewOf(scene);
  const listed = largest ? [...chosen].sort((a, b) => strength(b) - strength(a)) : chosen;
  const unit = Math.max(0.002, ...listed.filter(isShare).map((one) => reach(of(one), random, one.name)));
  const side = choice.direction === "graft" ? "base" : "tuned";
  return (
    <section class="panel measures" aria-labelledby="lab-measures">
      <div class="line">
        <h2 id="lab-measures">Everything at once</h2>
        <span class="grow" />
        <span class="note">{nothing ? "" : reading(state)}</span>
      </div>
      {nothing ? (
        <>
          <p class="note">
            Nothing is selected. Click a head on the map, or begin with one of these: what is taken back shows here in every measure.
          </p>
          <span class="chips">
            {startsOf(scene).map((one) => <button key={one} type="button" onClick={() => talk.takeText(one)}>{one === "*" ? "everything" : one}</button>)}
          </span>
        </>
      ) : (
        <>
          {effects?.thin != null && !old.effects && (
            <p class="warn">Only {percent(effects.thin)} of the pool is left under this hybrid, too little to tell effects; draw its answers instead.</p>
          )}
          <div class="scroll" tabIndex={0} role="group" aria-label="effects">
            <table class={old.effects && !estimated ? "old" : ""} aria-busy={old.effects}>
              <thead>
                <tr>
                  <th class="words">measure</th>
                  <th class="bars">hybrid − {side}</th>
                  <th>effect</th>
                  <th class="wide">95% interval</th>
                  <th title="random sets of the same make-up whose effect is at least as large">random ≥</th>
                </tr>
              </thead>
              <tbody>
                {listed.map((one) => {
                  const found = of(one);
                  const limit = isShare(one) ? unit : Math.max(1e-6, reach(found, random, one.name));
                  const beyond = random?.beyond[one.name];
                  const told = found ? clear(found) : "";
                  return (
                    <tr key={one.name} class={told ? "" : "soft"} title={one.words}>
                      <td class="words">
                        <button type="button" class="bare" title={`colour the map by ${one.name}`} onClick={() => talk.paint(`effects ${one.name}`)}>{one.name}</button>
                      </td>
                      <td class="bars">
                        <Forest effect={found} exact={exact.has(one.name)} controls={random?.effects[one.name] ?? []} limit={limit} />
                      </td>
                      <td>{found ? `${exact.has(one.name) ? "" : "≈"}${signed(found.effect)}` : "–"}</td>
                      <td class="wide soft">{found ? interval(found.low, found.high) : ""}</td>
                      <td>{beyond == null ? "" : `${beyond} of ${random?.done}`}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </div>
          <div class="line">
            {scene.measures.length > fewOf(scene).length && (
              <button type="button" class="quiet" aria-expanded={all} onClick={() => setAll(!all)}>
                {all ? "fewer measures" : `all ${scene.measures.length} measures`}
              </button>
            )}
            <label><input type="checkbox" checked={largest} onChange={() => setLargest(!largest)} /> clearest first</label>
          </div>
          <Random talk={talk} state={state} />
        </>
      )}
    </section>
  );
}

/** Random sets that match the selection, one click away. */
function Random({ talk, state }: { talk: Talk; state: State }) {
  const { controls, old, scene } = state;
  if (!controls || old.effects || !scene || !controls.sets.length) return null;
  const main = mainMeasure(scene);
  return (
    <div class="random">
      <span class="note">{controls.done < controls.of ? `random sets, ${controls.done} of ${controls.of}` : "random sets of the same make-up"}</span>
      <span class="chips">
        {controls.sets.map((one, n) => (
          <button key={n} type="button" title={`${one.family}: ${one.set}, ${main} ${signed(controls.effects[main]?.[n])}`} onClick={() => talk.takeText(one.set, one.name)}>
            {one.name.length > 26 ? `random ${n + 1}` : one.name}
          </button>
        ))}
      </span>
    </div>
  );
}

interface ForestProps {
  effect?: Effect;
  exact: boolean;
  controls: (number | null)[];
  limit: number;
}

/** An effect with its interval beside those of random sets; hollow while it is estimated. */
function Forest({ effect, exact, controls, limit }: ForestProps) {
  const x = (value: number) => WIDTH / 2 + (WIDTH / 2 - 5) * Math.max(-1, Math.min(1, value / limit));
  const value = effect?.effect;
  return (
    <svg width={WIDTH} height={18} viewBox={`0 0 ${WIDTH} 18`} aria-hidden="true">
      <line x1={WIDTH / 2} x2={WIDTH / 2} y1={0} y2={18} stroke="var(--rule)" />
      {controls.map((one, n) => one !== null && <line key={n} class="control" x1={x(one)} x2={x(one)} y1={11} y2={17} />)}
      {effect && value != null && (
        <>
          {effect.low != null && effect.high != null && <line class="whisker" x1={x(effect.low)} x2={x(effect.high)} y1={7} y2={7} />}
          <circle class={exact ? "exact" : "estimated"} cx={x(value)} cy={7} r={3.6} />
        </>
      )}
    </svg>
  );
}

function by(effects: Effect[]): Map<string, Effect> {
  return new Map(effects.map((one) => [one.measure, one]));
}

function isShare(one: Measure): boolean {
  return one.role === "share" || one.role === "utility";
}

function clear(one: Effect): boolean {
  if (one.effect === null || Math.abs(one.effect) <= (one.floor ?? 0)) return false;
  return one.low == null || one.high == null || one.low > 0 || one.high < 0;
}

function reach(one: Effect | undefined, controls: Controls | null, name: string): number {
  const numbers = [one?.effect, one?.low, one?.high, ...(controls?.effects[name] ?? [])];
  return Math.max(0, ...numbers.map((value) => Math.abs(value ?? 0)));
}

/** The measures shown unless all are asked for: of each goal one, legality, and how far it is. */
function fewOf(scene: Scene): Measure[] {
  const main = scene.measures.find((one) => one.name === mainMeasure(scene));
  const plain = scene.measures.filter((one) => one.name === "legal" || (one.role === "utility" && !one.if_legal));
  const far = scene.measures.filter((one) => ["total variation", "top move changed", "entropy"].includes(one.name));
  const found = [...new Set([...(main ? [main] : []), ...plain, ...far])].slice(0, FEW);
  return found.length >= 3 ? found : scene.measures.slice(0, FEW);
}

/** Sets to begin with: each of the first layers, every MLP, everything. */
function startsOf(scene: Scene): string[] {
  const layers = scene.rows.slice(0, 4).map((one) => `${one.title}.*`);
  return [...layers, ...(scene.components.kind.includes("MLP") ? ["*.MLP"] : []), "*"];
}

function reading(state: State): string {
  const { effects, old, estimated, scene } = state;
  const noun = scene?.words.situation ?? "situation";
  if (old.effects) return estimated ? "estimated from attribution" : `reading ${nameOf(state)}`;
  if (!effects) return "";
  return effects.read < effects.of ? `exact on ${number(effects.read, 0)} of ${number(effects.of, 0)} ${noun}s`
    : `exact on ${number(effects.of, 0)} ${noun}s`;
}
