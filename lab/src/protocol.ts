// The protocol of docs/lab.md, in types.

export interface Components {
  name: string[];
  layer: (number | null)[];
  kind: string[];
  index: (number | null)[];
  parameters: number[];
}

export interface Colouring {
  key: string;
  group: "weights" | "effects" | "attribution";
  title: string;
  words: string;
  scale: "sequential" | "diverging";
  limit: number;
  values: (number | null)[];
  low: (number | null)[] | null;
  high: (number | null)[] | null;
  null: (number | null)[] | null;
}

export interface Measure {
  name: string;
  words: string;
  role: string;
  goal: string | null;
  feature: string | null;
  kind: string | null;
  if_legal: boolean;
}

export interface OfferedSet {
  family: string;
  name: string;
  set: string;
  title: string;
  note: string;
}

export interface View {
  key: string;
  title: string;
  arm: string | null;
  seed: number | null;
  step: number | null;
}

export interface Source {
  name: string;
  words: string;
  numbers: string[];
}

export interface Curve {
  step: number[];
  value: (number | null)[];
  low: (number | null)[];
  high: (number | null)[];
}

export interface BoardStyle {
  squares: [string, string];
  white: [string, string];
  black: [string, string];
  shapes: Record<string, string>;
  least: number;
}

export interface Recorded {
  set: string;
  direction: string;
  source: string;
  read: number;
  file: string;
}

export interface Scene {
  schema: number;
  title: string;
  base: string;
  tuned: string;
  arena: string;
  live: boolean;
  views: View[];
  view: string;
  words: Record<string, string>;
  components: Components;
  rows: { layer: number; title: string }[];
  columns: { title: string; kind: string; index: number | null }[];
  colourings: Colouring[];
  measures: Measure[];
  kinds: string[];
  sources: Source[];
  sets: OfferedSet[];
  situations: {
    text: string[];
    distance: (number | null)[];
    flip: (number | null)[];
    features: Record<string, number[]>;
  };
  features: string[];
  typed: { what: string; example: string } | null;
  draws: boolean;
  course: { arm: string; seed: number; measures: Record<string, Curve> }[];
  recorded?: Recorded[];
  draw: { light: string; dark: string; steps: number; before: string; board: BoardStyle };
}

export interface ListedAnswer {
  text: string;
  side: string;
  worth: Record<string, number | null>;
  kind: string;
}

export interface Situation {
  place: number;
  text: string;
  title: string;
  actions: string[];
  kind: "board" | "network" | "answers" | "text";
  board?: Record<string, string>;
  turn?: string;
  observation?: (number | null)[];
  names?: string[] | null;
  messages?: { role: string; content: string }[];
  answers?: ListedAnswer[];
  tokens?: string[][];
}

export interface DrawnAnswer {
  text: string;
  kind: string;
  rewards: Record<string, number | null>;
  ended?: boolean;
}

export interface Readout {
  p: (number | null)[];
  masses: (number | null)[];
  undecided: number | null;
  greedy: number;
  logprobs?: (number | null)[];
  tokens?: (number | null)[][] | null;
  drawn?: DrawnAnswer[];
  /** The likeliest answers that are not legal, where they are known. */
  illegal?: { text: string; kind: string; p: number }[];
}

export const SIDES = ["base", "tuned", "hybrid"] as const;
export type Side = (typeof SIDES)[number];

export interface Effect {
  measure: string;
  value: number | null;
  effect: number | null;
  low: number | null;
  high: number | null;
  n: number;
  floor?: number;
}

export interface Answer {
  type: "answer";
  situation: Situation;
  sides: Record<Side, Readout>;
  set: string;
}

export interface Changes {
  type: "changes";
  read: number;
  distance: (number | null)[];
  flip: (number | null)[];
  outcome: (string | null)[];
}

export interface Effects {
  type: "effects";
  read: number;
  of: number;
  effects: Effect[];
  thin: number | null;
}

export interface Controls {
  type: "controls";
  done: number;
  of: number;
  sets: { name: string; set: string; family: string }[];
  effects: Record<string, (number | null)[]>;
  beyond: Record<string, number>;
}

type Told =
  | { type: "scene"; scene: Scene }
  | Answer
  | { type: "estimated"; effects: Effect[] }
  | Changes
  | Effects
  | Controls
  | { type: "situation"; situation: Situation }
  | { type: "drawn"; side: Side; situation: number; answers: DrawnAnswer[] }
  | { type: "colouring"; colouring: Colouring }
  | { type: "progress"; doing: string; done: number; of: number }
  | { type: "done"; stopped?: boolean }
  | { type: "refused"; message: string };

/** What a page is told; `id` is that of what it asked. */
export type Message = Told & { id?: number | null };

/** What a page says. */
export type Asked = { type: string; id?: number } & Record<string, unknown>;

export interface Asking {
  set: string;
  direction: string;
  source: string;
  strength: number;
  situation: number | null;
}
