import type { Answer, Scene, Side } from "../protocol";
import { SIDES } from "../protocol";

/** Something a policy may do: an action, or a kind of other answers. */
export interface Outcome {
  name: string;
  /** Place among the actions; −1 of a kind. */
  place: number;
  /** The kind of these answers; empty of an action. */
  kind: string;
  p: Record<Side, number | null>;
}

/** The sides whose difference is shown: what taking back or grafting does; with nothing selected, what training did. */
export interface Compared {
  from: Side;
  to: Side;
}

export function comparedOf(direction: string, nothing: boolean): Compared {
  if (nothing) return { from: "base", to: "tuned" };
  return { from: direction === "graft" ? "base" : "tuned", to: "hybrid" };
}

/** All that may be done, what changed most first. */
export function outcomesOf(answer: Answer, scene: Scene, { from, to }: Compared): Outcome[] {
  const { situation, sides } = answer;
  const of = (read: (side: Side) => number | null | undefined) =>
    Object.fromEntries(SIDES.map((side) => [side, read(side) ?? null])) as Record<Side, number | null>;
  const actions = situation.actions.map((name, place) => (
    { name, place, kind: "", p: of((side) => sides[side].p[place]) }));
  const kinds = scene.kinds.map((kind, n) => (
    { name: kind, place: -1, kind, p: of((side) => sides[side].masses[n]) }));
  const rest = { name: "undecided", place: -1, kind: "undecided", p: of((side) => sides[side].undecided) };
  const seen = [...kinds, rest].filter((one) => SIDES.some((side) => (one.p[side] ?? 0) > 0.0005));
  const most = (one: Outcome) => Math.max(...SIDES.map((side) => one.p[side] ?? 0));
  return [...actions, ...seen].sort((a, b) => size(b, from, to) - size(a, from, to) || most(b) - most(a));
}

/** How arrows of illegal answers are dashed, by the place of their kind. */
const DASHES = ["4 2", "1.2 1.6", "7 2", "5 1.5 1 1.5"];

export function dashOf(scene: Scene, kind: string): string {
  return DASHES[Math.max(0, scene.kinds.indexOf(kind)) % DASHES.length];
}

/** The likeliest answers that are not legal, of those sides that tell them. */
export function illegalOf(answer: Answer): Outcome[] {
  const found = new Map<string, Outcome>();
  for (const side of SIDES) {
    for (const { text, kind, p } of answer.sides[side].illegal ?? []) {
      const one = found.get(text) ?? { name: text, place: -1, kind, p: { base: null, tuned: null, hybrid: null } };
      one.p[side] = p;
      found.set(text, one);
    }
  }
  return [...found.values()];
}

export function change(one: Outcome, from: Side, to: Side): number | null {
  const [before, after] = [one.p[from], one.p[to]];
  return before === null || after === null ? null : after - before;
}

function size(one: Outcome, from: Side, to: Side): number {
  return Math.round(1e4 * Math.abs(change(one, from, to) ?? 0));
}

/** What a side does most. */
export function likeliest(outcomes: Outcome[], side: Side): Outcome | null {
  const known = outcomes.filter((one) => one.p[side] !== null);
  return known.length ? known.reduce((a, b) => ((b.p[side] ?? 0) > (a.p[side] ?? 0) ? b : a)) : null;
}
