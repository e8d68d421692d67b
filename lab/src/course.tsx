import { useState } from "preact/hooks";
import { number } from "./numbers";
import type { Curve, View } from "./protocol";
import { mainMeasure, type State } from "./state";
import type { Talk } from "./talk";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [640, 120, 44, 18];

interface Props {
  talk: Talk;
  state: State;
}

/** Which arm and seed is shown. */
export function Arms({ talk, state }: Props) {
  const { scene, opening } = state;
  if (!scene || scene.views.length < 2) return null;
  const shown = scene.views.find((one) => one.key === (opening ?? scene.view));
  const firsts = scene.views.filter((one) => one.step === null);
  const mine = firsts.find((one) => shown && sameRun(one, shown)) ?? shown;
  if (firsts.length < 2) return null;
  return (
    <select aria-label="arm and seed" value={mine?.key} onChange={(event) => talk.open(event.currentTarget.value)}>
      {firsts.map((one) => <option key={one.key} value={one.key}>{one.title}</option>)}
    </select>
  );
}

/** Training as a slider over snapshots, below how a measure went. */
export function Course({ talk, state }: Props) {
  const { scene, opening } = state;
  const [measure, setMeasure] = useState("");
  if (!scene) return null;
  const shown = scene.views.find((one) => one.key === (opening ?? scene.view));
  if (!shown) return null;
  const curves = scene.course.find((one) => one.arm === shown.arm && one.seed === shown.seed)?.measures ?? {};
  const names = Object.keys(curves);
  const name = curves[measure] ? measure : curves[mainMeasure(scene)] ? mainMeasure(scene) : names[0];
  const views = scene.views.filter((one) => sameRun(one, shown))
    .sort((a, b) => (a.step ?? Infinity) - (b.step ?? Infinity));
  if (views.length < 2 && !name) return null;
  const at = views.indexOf(shown);
  const curve = curves[name];
  const step = shown.step ?? curve?.step[curve.step.length - 1] ?? null;
  return (
    <section class="panel course" aria-labelledby="lab-course">
      <div class="line">
        <h2 id="lab-course">Course</h2>
        <span class="note">{shown.step === null ? "the measured model" : `step ${number(shown.step, 0)}`}</span>
        <span class="grow" />
        {names.length > 0 && (
          <select aria-label="measure over training" value={name} onChange={(event) => setMeasure(event.currentTarget.value)}>
            {names.map((one) => <option key={one} value={one}>{one}</option>)}
          </select>
        )}
      </div>
      {curve && <Plot curve={curve} step={step} name={name} />}
      {views.length > 1 && (
        <label class="line">
          <span class="note">start</span>
          <input
            class="grow" type="range" min={0} max={views.length - 1} step={1} value={at} aria-label="snapshot of training"
            aria-valuetext={shown.title} onInput={(event) => talk.open(views[Number(event.currentTarget.value)].key)}
          />
          <span class="note">end</span>
        </label>
      )}
    </section>
  );
}

function sameRun(a: View, b: View): boolean {
  return a.arm === b.arm && a.seed === b.seed;
}

function Plot({ curve, step, name }: { curve: Curve; step: number | null; name: string }) {
  const known = [...curve.value, ...curve.low, ...curve.high].filter((one): one is number => one !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const [first, end] = [curve.step[0], curve.step[curve.step.length - 1]];
  const x = (value: number) => LEFT + ((WIDTH - LEFT - 8) * (value - first)) / Math.max(1, end - first);
  const y = (value: number) => 6 + ((HEIGHT - BOTTOM - 6) * (high - value)) / Math.max(1e-9, high - low);
  const line = (values: (number | null)[]) =>
    values.flatMap((one, n) => (one === null ? [] : [`${x(curve.step[n]).toFixed(1)},${y(one).toFixed(1)}`]));
  const band = [...line(curve.high), ...line(curve.low).reverse()].join(" ");
  const now = step === null ? -1 : curve.step.findIndex((one) => one >= step);
  const value = now >= 0 ? curve.value[now] : null;
  return (
    <svg class="plot" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${name} over training, from ${number(curve.value[0])} to ${number(curve.value[curve.value.length - 1])}`}>
      <line x1={LEFT} x2={WIDTH - 8} y1={HEIGHT - BOTTOM} y2={HEIGHT - BOTTOM} stroke="var(--rule)" />
      <text x={LEFT - 5} y={12} text-anchor="end">{number(high, 2)}</text>
      <text x={LEFT - 5} y={HEIGHT - BOTTOM} text-anchor="end">{number(low, 2)}</text>
      <text x={LEFT} y={HEIGHT - 4}>step {number(first, 0)}</text>
      <text x={WIDTH - 8} y={HEIGHT - 4} text-anchor="end">{number(end, 0)}</text>
      <polygon points={band} fill="var(--tuned)" opacity={0.14} />
      <polyline points={line(curve.value).join(" ")} fill="none" stroke="var(--tuned)" stroke-width={1.8} />
      {step !== null && <line x1={x(step)} x2={x(step)} y1={4} y2={HEIGHT - BOTTOM} stroke="var(--control)" stroke-dasharray="3 2" />}
      {value !== null && <circle cx={x(curve.step[now])} cy={y(value)} r={4} fill="var(--tuned)" />}
    </svg>
  );
}
