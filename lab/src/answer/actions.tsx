import { useState } from "preact/hooks";
import { percent, points } from "../numbers";
import { SIDES, type Side } from "../protocol";
import { change, type Compared, type Outcome } from "./outcomes";

const FEW = 12;

interface Props {
  outcomes: Outcome[];
  compared: Compared;
  shown: ReadonlySet<Side>;
  noun: string;
  light: (name: string) => void;
}

/** What may be done, sorted by change: a bar a side, dashed where it is no legal action. */
export function Actions({ outcomes, compared, shown, noun, light }: Props) {
  const [all, setAll] = useState(false);
  const { from, to } = compared;
  const listed = all ? outcomes : outcomes.slice(0, FEW);
  const limit = Math.max(0.05, ...outcomes.flatMap((one) => SIDES.map((side) => one.p[side] ?? 0)));
  return (
    <div class="actions" onPointerLeave={() => light("")}>
      <table>
        <thead>
          <tr>
            <th class="words">{noun}</th>
            <th class="bars"><span class="hidden">probabilities as bars</span></th>
            <th>{from}</th>
            <th>{to}</th>
            <th title={`percentage points, ${to} − ${from}`}>change</th>
          </tr>
        </thead>
        <tbody>
          {listed.map((one) => {
            const moved = change(one, from, to);
            return (
              <tr key={`${one.kind}${one.name}`} class={one.kind ? "illegal" : undefined} onPointerEnter={() => light(one.name)}>
                <td class="words">{one.kind ? <><span class="mark">illegal</span> {one.name}</> : one.name}</td>
                <td class="bars">
                  <Bars one={one} limit={limit} shown={shown} />
                </td>
                <td>{percent(one.p[from])}</td>
                <td>{percent(one.p[to])}</td>
                <td class={(moved ?? 0) > 0.0005 ? "more" : (moved ?? 0) < -0.0005 ? "less" : "soft"}>{points(moved)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {outcomes.length > FEW && (
        <button type="button" class="quiet" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? "only the most changed" : `all ${outcomes.length}`}
        </button>
      )}
    </div>
  );
}

function Bars({ one, limit, shown }: { one: Outcome; limit: number; shown: ReadonlySet<Side> }) {
  const sides = SIDES.filter((side) => shown.has(side));
  return (
    <svg viewBox="0 0 100 16" preserveAspectRatio="none" aria-hidden="true">
      {sides.map((side, n) => {
        const high = 15 / sides.length;
        const width = (100 * (one.p[side] ?? 0)) / limit;
        return <rect key={side} class={`bar ${side}`} x={0} y={0.5 + n * high} width={width} height={high - 1} />;
      })}
    </svg>
  );
}
