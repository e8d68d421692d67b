import { Anatomy } from "../anatomy";
import type {
  Asked, Changes, Controls, DrawnAnswer, Effect, Message, Readout, Recorded, Scene, Side, Situation, View,
} from "../protocol";
import { valueOf } from "./scripts";
import type { Transport } from "./transport";

const CHUNK = 64;

interface Packed {
  scale: number;
  numbers: number[];
  logprobs?: (number | null)[];
  drawn?: DrawnAnswer[][];
}

interface Found {
  readouts: Packed;
  changes: Omit<Changes, "type" | "read">;
  effects: Effect[];
  thin: number | null;
  controls: Controls | null;
}

/** The files of a bundle: what a record holds, and nothing else. */
export class Static implements Transport {
  onmessage: Transport["onmessage"] = () => {};
  onstate: Transport["onstate"] = () => {};
  private scene: Scene | null = null;
  private known = new Map<string, Recorded>();
  private newest = 0;

  open(): void {
    this.onstate(true);
  }

  send(message: Asked): void {
    const id = message.id ?? 0;
    if (message.type !== "type") this.newest = id;
    this.answer(message, id).catch((error: Error) => this.tell({ type: "refused", message: error.message, id }));
  }

  private tell(message: Message): void {
    if (message.id == null || message.id === this.newest || message.type === "refused") this.onmessage(message);
  }

  private async answer(message: Asked, id: number): Promise<void> {
    if (message.type === "hello") {
      const { view } = await valueOf<{ views: View[]; view: string }>("views");
      return this.show(view, id);
    }
    if (message.type === "open") return this.show(String(message.view), id);
    if (message.type === "select") return this.select(message, id);
    if (message.type === "stop") return;
    throw new Error("this is a record, which reads nothing new; takeback lab RUN --live does");
  }

  private async show(view: string, id: number): Promise<void> {
    const scene = await valueOf<Scene>(`${view}/scene`);
    if (this.newest !== id) return;
    const anatomy = new Anatomy(scene);
    this.scene = scene;
    this.known = new Map();
    for (const one of scene.recorded ?? []) {
      this.known.set(keyOf(anatomy.parse(one.set), one.direction, one.source), one);
    }
    this.tell({ type: "scene", scene, id });
  }

  private async select(message: Asked, id: number): Promise<void> {
    const scene = this.scene;
    if (!scene) return;
    const place = message.situation == null ? null : Number(message.situation);
    const strength = Number(message.strength ?? 1);
    const source = strength === 1 ? String(message.source) : `strength:${+strength.toFixed(2)}`;
    const members = new Anatomy(scene).parse(String(message.set));
    const one = this.known.get(keyOf(members, String(message.direction), source));
    if (!one || (place !== null && place >= one.read)) {
      throw new Error(`${describe(message, source)} is not in this record`);
    }
    const view = scene.view;
    const [found, base, tuned] = await Promise.all([
      valueOf<Found>(`${view}/${one.file}`),
      valueOf<{ readouts: Packed }>(`${view}/base`),
      valueOf<{ readouts: Packed }>(`${view}/tuned`),
    ]);
    if (place !== null) {
      const situations = await this.first(view, place + 1);
      const of = (packed: Packed, added?: Packed) => unpacked(packed, situations, place, scene.kinds.length, added);
      const sides: Record<Side, Readout> = {
        base: of(base.readouts), tuned: of(tuned.readouts), hybrid: of(found.readouts, tuned.readouts),
      };
      this.tell({ type: "answer", id, set: one.set, situation: situations[place], sides });
    }
    this.tell({ type: "changes", id, read: one.read, ...found.changes });
    const of = scene.situations.text.length;
    this.tell({ type: "effects", id, read: one.read, of, effects: found.effects, thin: found.thin });
    if (found.controls) this.tell({ ...found.controls, type: "controls", id });
    this.tell({ type: "done", id, stopped: false });
  }

  /** Return so many situations from the first: where a readout begins depends on all before it. */
  private async first(view: string, number: number): Promise<Situation[]> {
    const keys = Array.from({ length: Math.ceil(number / CHUNK) }, (_, n) => `${view}/situations-${n}`);
    return (await Promise.all(keys.map((key) => valueOf<Situation[]>(key)))).flat();
  }
}

function keyOf(members: ReadonlySet<number>, direction: string, source: string): string {
  return `${[...members].sort((a, b) => a - b).join(",")}|${direction}|${source}`;
}

function describe(message: Asked, source: string): string {
  const set = String(message.set) || "nothing";
  return `to ${message.direction} ${set.length > 80 ? "this set" : set} from ${source}`;
}

/** Return what a policy does at a place, of which all situations up to it are given. */
function unpacked(packed: Packed, situations: Situation[], place: number, kinds: number, added?: Packed): Readout {
  let start = 0;
  let answers = 0;
  for (const one of situations.slice(0, place)) {
    start += one.actions.length + kinds + 2;
    answers += one.actions.length;
  }
  const actions = situations[place].actions.length;
  const whole = Array.from({ length: actions + kinds + 2 }, (_, n) =>
    packed.numbers[start + n] + (added ? added.numbers[start + n] : 0));
  const shares = whole.slice(0, -1).map((one) => one / packed.scale);
  return {
    p: shares.slice(0, actions),
    masses: shares.slice(actions, actions + kinds),
    undecided: shares[actions + kinds],
    greedy: whole[whole.length - 1] - 1,
    logprobs: packed.logprobs?.slice(answers, answers + actions),
    drawn: packed.drawn?.[place],
    tokens: null,
  };
}
