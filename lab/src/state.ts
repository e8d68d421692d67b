import { Anatomy } from "./anatomy";
import type {
  Answer, Changes, Colouring, Controls, DrawnAnswer, Effect, Effects, OfferedSet, Scene, Side, Situation,
} from "./protocol";

export type Direction = "take back" | "graft";

/** What a page selects, and how it looks at it; this is in its address. */
export interface Choice {
  set: string;
  members: ReadonlySet<number>;
  /** What it is called, where it has a name of its own. */
  name: string;
  direction: Direction;
  source: string;
  strength: number;
  place: number | null;
  colour: string;
}

/** How situations are listed. */
export interface Listing {
  sort: "change" | "training" | "place";
  outcome: string;
  feature: string;
  flip: boolean;
  text: string;
}

export interface Progress {
  doing: string;
  done: number;
  of: number;
}

export interface State {
  /** Whether what answers can be reached; null before it is known. */
  open: boolean | null;
  scene: Scene | null;
  anatomy: Anatomy | null;
  /** The view that was asked for and is not there yet. */
  opening: string | null;
  choice: Choice;
  answer: Answer | null;
  estimated: Effect[] | null;
  effects: Effects | null;
  controls: Controls | null;
  changes: Changes | null;
  /** What of the above is of an older selection. */
  old: { answer: boolean; effects: boolean; changes: boolean };
  drawn: Partial<Record<Side, DrawnAnswer[]>>;
  drawing: boolean;
  typed: Situation[];
  listing: Listing;
  grey: boolean;
  kept: OfferedSet[];
  progress: Progress | null;
  busy: boolean;
  refused: string;
}

export const NOTHING: ReadonlySet<number> = new Set();

export const FIRST: State = {
  open: null,
  scene: null,
  anatomy: null,
  opening: null,
  choice: {
    set: "", members: NOTHING, name: "", direction: "take back", source: "base", strength: 1, place: null, colour: "",
  },
  answer: null,
  estimated: null,
  effects: null,
  controls: null,
  changes: null,
  old: { answer: false, effects: false, changes: false },
  drawn: {},
  drawing: false,
  typed: [],
  listing: { sort: "change", outcome: "", feature: "", flip: false, text: "" },
  grey: true,
  kept: [],
  progress: null,
  busy: false,
  refused: "",
};

/** The measure that people ask about first. */
export function mainMeasure(scene: Scene): string {
  const found = scene.measures.find((one) => one.role === "utility" && !one.if_legal) ?? scene.measures[0];
  return found?.name ?? "";
}

/** The colouring that is shown unless another was chosen: effects, else estimates, else weights. */
export function colouringOf(state: State): Colouring | null {
  const { scene, choice } = state;
  if (!scene) return null;
  const by = (key: string) => scene.colourings.find((one) => one.key === key);
  const main = mainMeasure(scene);
  return by(choice.colour) ?? by(`effects ${main}`) ?? by(`attribution ${main}`) ?? scene.colourings[0] ?? null;
}

/** All sets that have a name: findings, families, random ones, and those that were kept here. */
export function namedSets(state: State): OfferedSet[] {
  const random = (state.controls?.sets ?? []).map((one) => ({ ...one, title: one.name, note: "" }));
  const known = new Set(state.scene?.sets.map((one) => one.set));
  return [...(state.scene?.sets ?? []), ...random.filter((one) => !known.has(one.set)), ...state.kept];
}

/** What the selection is called. */
export function nameOf(state: State): string {
  const { choice, anatomy } = state;
  if (!anatomy) return "";
  if (choice.name) return choice.name;
  if (!choice.members.size) return "nothing";
  if (choice.members.size === anatomy.count) return "everything";
  const found = namedSets(state).find((one) => one.set === choice.set);
  if (found) return found.title;
  return choice.members.size === 1 ? choice.set : `${choice.members.size} components`;
}

/** Whether there is a situation of this place, listed or typed. */
export function isSituation(state: State, place: number | null): place is number {
  if (place === null) return false;
  return place < (state.scene?.situations.text.length ?? 0) || state.typed.some((one) => one.place === place);
}

let remembered: { key: unknown[]; order: number[] } = { key: [], order: [] };

/** The places of situations in the order in which they are listed. */
export function order(state: State): number[] {
  const { scene, changes, listing, typed } = state;
  if (!scene) return [];
  const key = [scene, changes, listing, typed];
  if (key.every((one, n) => one === remembered.key[n])) return remembered.order;
  const { text, distance, features } = scene.situations;
  const has = listing.feature ? features[listing.feature] : null;
  const needle = listing.text.toLowerCase();
  const told = changes?.distance.some((one) => one) ? changes : scene.situations;
  const places = text.map((_, place) => place).filter((place) =>
    (!needle || text[place].toLowerCase().includes(needle))
    && (!has || has[place] === 1)
    && (!listing.flip || told.flip[place] === 1)
    && (!listing.outcome || changes?.outcome[place] === listing.outcome));
  const by = listing.sort === "change" ? told.distance : distance;
  const worth = (place: number) => by[place] ?? -1;
  if (listing.sort !== "place") places.sort((a, b) => worth(b) - worth(a) || a - b);
  const mine = typed.map((one) => one.place).reverse();
  remembered = { key, order: [...mine, ...places] };
  return remembered.order;
}
