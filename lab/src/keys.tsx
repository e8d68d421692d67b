import { useEffect, useRef } from "preact/hooks";
import type { Talk } from "./talk";

/** Keys that work everywhere but in a field. */
const KEYS: [string, string, (talk: Talk, root: HTMLElement) => void][] = [
  ["j", "next situation", (talk) => talk.step(1)],
  ["k", "previous situation", (talk) => talk.step(-1)],
  ["m", "to the map", (_, root) => root.querySelector<SVGElement>(".map svg[role=grid]")?.focus()],
  ["/", "to the set", (_, root) => root.querySelector<HTMLInputElement>("#lab-set")?.focus()],
  ["l", "to the list of situations", (_, root) => root.querySelector<HTMLElement>(".situations .list")?.focus()],
  ["g", "take back or graft", (talk) => talk.choose({ direction: talk.state.choice.direction === "graft" ? "take back" : "graft" })],
  ["[", "less strength", (talk) => stronger(talk, -0.1)],
  ["]", "more strength", (talk) => stronger(talk, 0.1)],
  ["x", "select nothing", (talk) => talk.take(new Set())],
  ["s", "stop", (talk) => talk.stop()],
];

/** Keys of the map, when it has the focus. */
const ON_MAP: [string, string][] = [
  ["arrows, Home, End, Page ↑ ↓", "to another component, or to the name of a row or column"],
  ["Enter", "select it alone; on a name, all of it"],
  ["Space", "add it, or take it out"],
  ["Shift + arrows", "select a rectangle"],
  ["a, Esc", "select everything, nothing"],
  ["+, −", "larger, smaller"],
];

function stronger(talk: Talk, by: number): void {
  const { choice, scene } = talk.state;
  if (!scene?.live || choice.direction === "graft" || choice.source !== "base") return;
  talk.choose({ strength: +Math.max(-1, Math.min(2, choice.strength + by)).toFixed(2) }, true);
}

/** Listen for keys inside an element: the page, or a cell of a notebook. */
export function useKeys(talk: Talk, root: HTMLElement, help: () => void): void {
  useEffect(() => {
    const target = root.dataset.whole ? document : root;
    const heard = (event: Event) => {
      const { key, ctrlKey, metaKey, altKey } = event as KeyboardEvent;
      const field = event.composedPath()[0] as HTMLElement;
      const kind = field instanceof HTMLInputElement ? field.type : "";
      if (ctrlKey || metaKey || altKey) return;
      if (field.matches?.("input, textarea, select") && !["checkbox", "range"].includes(kind)) return;
      const found = KEYS.find(([name]) => name === key);
      if (key === "?") help();
      else if (!found) return;
      else found[2](talk, root);
      event.preventDefault();
    };
    target.addEventListener("keydown", heard);
    return () => target.removeEventListener("keydown", heard);
  }, [talk, root]);
}

/** The table of keys. */
export function Help({ open, close }: { open: boolean; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open && dialog.current?.open) dialog.current.close();
  }, [open]);
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="lab-help">
      <h2 id="lab-help">Keys</h2>
      <table>
        <tbody>
          {KEYS.map(([key, words]) => <tr key={key}><td><kbd>{key}</kbd></td><td class="words">{words}</td></tr>)}
          <tr><td><kbd>?</kbd></td><td class="words">this table</td></tr>
        </tbody>
      </table>
      <h3>On the map</h3>
      <table>
        <tbody>
          {ON_MAP.map(([key, words]) => <tr key={key}><td><kbd>{key}</kbd></td><td class="words">{words}</td></tr>)}
        </tbody>
      </table>
      <form method="dialog"><button type="submit">close</button></form>
    </dialog>
  );
}
