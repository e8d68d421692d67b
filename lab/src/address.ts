import type { Choice, Direction } from "./state";

/** What an address may say of a selection. */
export interface Told extends Partial<Pick<Choice, "set" | "name" | "direction" | "source" | "strength" | "place" | "colour">> {
  view?: string;
}

/** Read a selection from the part of an address after `#`. */
export function readAddress(hash: string): Told {
  const told = new URLSearchParams(hash.replace(/^#/, ""));
  const text = (name: string) => told.get(name) ?? undefined;
  const number = (name: string) => {
    const value = Number(told.get(name) ?? NaN);
    return Number.isFinite(value) ? value : undefined;
  };
  const at = number("at");
  const direction: Direction | undefined = text("do") === "graft" ? "graft" : undefined;
  return {
    view: text("view"), set: text("set"), name: text("name"), direction, source: text("from"),
    strength: number("strength"), place: at !== undefined && at >= 0 ? Math.floor(at) : undefined, colour: text("colour"),
  };
}

/** Write a selection for an address; what is usual is left out. */
export function writeAddress(choice: Choice, view: string, several: boolean, listed: number): string {
  const told = new URLSearchParams();
  if (several) told.set("view", view);
  if (choice.set) told.set("set", choice.set);
  if (choice.name) told.set("name", choice.name);
  if (choice.direction === "graft") told.set("do", "graft");
  if (choice.source !== "base") told.set("from", choice.source);
  if (choice.strength !== 1) told.set("strength", String(choice.strength));
  if (choice.place !== null && choice.place < listed) told.set("at", String(choice.place));
  if (choice.colour) told.set("colour", choice.colour);
  return told.toString();
}
