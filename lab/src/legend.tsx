import { isNull } from "./colour";
import { number, signed } from "./numbers";
import type { Colouring } from "./protocol";
import { mainMeasure, type State } from "./state";
import type { Talk } from "./talk";

const GROUPS: [string, string][] = [
  ["weights", "change of weights"],
  ["effects", "effect of taking it back alone"],
  ["attribution", "estimated effect"],
];

/** Components that are named as the largest. */
const FEW = 5;

/** What the map is coloured by. */
export function ColourPicker({ talk, state, colouring }: { talk: Talk; state: State; colouring: Colouring }) {
  const { scene } = state;
  if (!scene) return null;
  const unswept = scene.live && !scene.colourings.some((one) => one.group === "effects" && !one.values.includes(null));
  const sweep = () => {
    talk.paint(`effects ${mainMeasure(scene)}`);
    talk.sweep();
  };
  return (
    <div class="line">
      <label class="grow">
        <span class="name">colour</span>
        <select
          aria-label="colour of the map" value={colouring.key}
          onChange={(event) => talk.paint(event.currentTarget.value)}
        >
          {GROUPS.map(([group, words]) => {
            const those = scene.colourings.filter((one) => one.group === group);
            return those.length > 0 && (
              <optgroup key={group} label={words}>
                {those.map((one) => <option key={one.key} value={one.key}>{one.title}</option>)}
              </optgroup>
            );
          })}
        </select>
      </label>
      {unswept && (
        <button type="button" title="take back every component alone, and colour the map by what that does" onClick={sweep}>
          measure each alone
        </button>
      )}
    </div>
  );
}

/** The components that the map's colour is strongest in, of the selection where it has several; a click selects one. */
export function Largest({ talk, state, colouring }: { talk: Talk; state: State; colouring: Colouring }) {
  const { anatomy, choice } = state;
  if (!anatomy) return null;
  const several = choice.members.size > 1 && choice.members.size < anatomy.count;
  const size = (one: number) => Math.abs(colouring.values[one] ?? 0);
  const listed = [...(several ? choice.members : anatomy.names.keys())]
    .filter((one) => size(one) > 0 && !isNull(colouring, one))
    .sort((a, b) => size(b) - size(a) || a - b)
    .slice(0, FEW);
  const told = colouring.scale === "diverging" ? signed : number;
  return (
    <div class="line largest" role="group" aria-label="largest on the map">
      <span class="note">{several ? "largest of the selection" : "largest"}</span>
      <span class="chips">
        {listed.length ? listed.map((one) => (
          <button key={one} type="button" onClick={() => talk.take(new Set([one]))}>{anatomy.names[one]} <span class="soft">{told(colouring.values[one])}</span></button>
        )) : <span class="note">none is more than chance</span>}
      </span>
    </div>
  );
}

/** The scale, with what its ends mean. */
export function Legend({ colouring }: { colouring: Colouring }) {
  const diverging = colouring.scale === "diverging";
  const steps = diverging ? Array.from({ length: 25 }, (_, n) => n - 12) : Array.from({ length: 13 }, (_, n) => n);
  const name = (step: number) => `${colouring.scale[0]}${step < 0 ? "m" : ""}${Math.abs(step)}`;
  const width = 130 / steps.length;
  const limit = number(colouring.limit);
  return (
    <figure class="legend" aria-label={`scale of ${colouring.title}, to ${limit}`} title={colouring.words}>
      <svg width={132} height={24} aria-hidden="true">
        {steps.map((step, n) => (
          <rect key={step} x={1 + n * width} y={0} width={width + 0.4} height={8} fill={`var(--${name(step)})`} />
        ))}
        <text x={1} y={20}>{diverging ? `−${limit}` : "0"}</text>
        {diverging && <text x={66} y={20} text-anchor="middle">0</text>}
        <text x={131} y={20} text-anchor="end">{limit}</text>
      </svg>
    </figure>
  );
}
