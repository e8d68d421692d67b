import type { Colouring, Scene } from "./protocol";

/** The CSS variable of a value on a scale, without its dashes; see takeback.draw.colour. */
export function stepOf(value: number, limit: number, scale: string, steps = 12): string {
  const share = limit > 0 ? Math.max(-1, Math.min(1, value / limit)) : 0;
  const step = Math.round(steps * share);
  return `${scale[0]}${step < 0 && scale === "diverging" ? "m" : ""}${Math.abs(step)}`;
}

/** Whether a component's value is what chance gives. */
export function isNull(colouring: Colouring, one: number): boolean {
  const value = colouring.values[one];
  const nothing = colouring.null?.[one];
  const low = colouring.low?.[one];
  const high = colouring.high?.[one];
  if (value === null) return false;
  if (nothing != null && Math.abs(value) <= Math.abs(nothing)) return true;
  return low != null && high != null && low <= 0 && high >= 0;
}

/** Give an element the colours of all figures, and again when the screen turns dark or light. */
export function wear(element: HTMLElement, draw: Scene["draw"]): () => void {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const put = () => {
    for (const one of (dark.matches ? draw.dark : draw.light).split(";")) {
      const [name, value] = one.split(":");
      if (name.startsWith("--")) element.style.setProperty(name, value);
    }
  };
  put();
  dark.addEventListener("change", put);
  return () => dark.removeEventListener("change", put);
}
