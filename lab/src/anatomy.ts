import type { Scene } from "./protocol";

type Members = ReadonlySet<number>;

/** Where a component stands on the map: a row and a column; row −1 is before the layers, their number after. */
export interface Spot {
  row: number;
  column: number;
}

/** The components of a scene, their sets, and where they stand. */
export class Anatomy {
  readonly names: string[];
  readonly count: number;
  /** By row and column, the component's number, or −1. */
  readonly cells: Int32Array[];
  readonly before: number[];
  readonly after: number[];
  private readonly numbers: Map<string, number>;

  constructor(readonly scene: Scene) {
    const { name, layer, kind, index } = scene.components;
    this.names = name;
    this.count = name.length;
    this.numbers = new Map(name.map((one, number) => [one, number]));
    const column = new Map(scene.columns.map((one, place) => [`${one.kind} ${one.index}`, place]));
    const row = new Map(scene.rows.map((one, place) => [one.layer, place]));
    this.cells = scene.rows.map(() => new Int32Array(scene.columns.length).fill(-1));
    const outside: number[] = [];
    for (let one = 0; one < this.count; one++) {
      const at = layer[one];
      const place = column.get(`${kind[one]} ${index[one]}`);
      if (at === null || place === undefined) outside.push(one);
      else this.cells[row.get(at) ?? 0][place] = one;
    }
    const inside = layer.findIndex((one) => one !== null);
    this.before = outside.filter((one) => one < inside);
    this.after = outside.filter((one) => one >= inside);
  }

  /** Read a set as the command line does; throws what is no component. */
  parse(text: string): Set<number> {
    const words = text.split(/\s+/).filter(Boolean);
    const found = new Set<number>();
    const plain = words.filter((word) => !word.startsWith("~"));
    if (words.length && !plain.length) plain.push("*");
    for (const word of plain) for (const one of this.matched(word)) found.add(one);
    for (const word of words) if (word.startsWith("~")) for (const one of this.matched(word.slice(1))) found.delete(one);
    return found;
  }

  /** Write a set in short. */
  text(members: Members): string {
    if (members.size === this.count) return this.count ? "*" : "";
    const outside = new Set(this.names.map((_, one) => one).filter((one) => !members.has(one)));
    const direct = this.shortened(members);
    const rest = members.size * 2 > this.count ? this.shortened(outside) : null;
    return (rest && rest.length < direct.length ? rest.map((one) => `~${one}`) : direct).join(" ");
  }

  row(place: number): number[] {
    return [...this.cells[place]].filter((one) => one >= 0);
  }

  column(place: number): number[] {
    return this.cells.map((row) => row[place]).filter((one) => one >= 0);
  }

  private matched(word: string): Iterable<number> {
    const exact = this.numbers.get(word);
    if (exact !== undefined) return [exact];
    if (word === "*") return this.names.keys();
    const pattern = word.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/#/g, "[0-9]+");
    const wildcard = new RegExp(`^${pattern}$`);
    const found = this.names.flatMap((name, one) => (wildcard.test(name) ? [one] : []));
    if (!found.length) throw new Error(`there is no component ${word}`);
    return found;
  }

  /** Name members, with a wildcard wherever a whole layer or kind is among them. */
  private shortened(members: Members): string[] {
    const left = new Set(members);
    const words: string[] = [];
    for (const [pattern, covered] of this.patterns) {
      if (covered.length > 1 && covered.every((one) => left.has(one))) {
        words.push(pattern);
        for (const one of covered) left.delete(one);
      }
    }
    return [...words, ...[...left].sort((a, b) => a - b).map((one) => this.names[one])];
  }

  private found: [string, number[]][] | null = null;

  private get patterns(): [string, number[]][] {
    if (this.found) return this.found;
    const { layer, kind, index } = this.scene.components;
    const groups = new Map<string, number[]>();
    const every = Array.from({ length: this.count }, (_, one) => one).filter((one) => layer[one] !== null);
    const star = (one: number) => (index[one] === null ? kind[one] : `${kind[one]}*`);
    const forms: ((one: number) => string)[] = [
      (one) => `L${layer[one]}.*`,
      (one) => `*.${star(one)}`,
      (one) => `L${layer[one]}.${star(one)}`,
    ];
    for (const form of forms) {
      const by = new Map<string, number[]>();
      for (const one of every) {
        const key = form(one);
        const there = by.get(key);
        if (there) there.push(one);
        else by.set(key, [one]);
      }
      for (const [key, ones] of by) if (!groups.has(key)) groups.set(key, ones);
    }
    this.found = [...groups];
    return this.found;
  }
}
