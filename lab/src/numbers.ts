// Numbers as a reader wants them; the same as in takeback.draw.numbers.

const ABSENT = "–";
const POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

export function number(value: number | null | undefined, digits = 3): string {
  if (value == null || !Number.isFinite(value)) return ABSENT;
  if (value !== 0 && Math.abs(value) < 0.5 * 10 ** -digits) return scientific(value);
  const text = value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return text.replace("-", "−");
}

export function signed(value: number | null | undefined, digits = 3): string {
  const text = number(value, digits);
  return value != null && value > 0 ? `+${text}` : text;
}

export function percent(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return ABSENT;
  const size = Math.abs(value);
  if (size === 0) return "0%";
  if (size < 0.0005) return value > 0 ? "<0.1%" : "≈0%";
  if (value >= 0.9995 && value < 1) return ">99.9%";
  const digits = size < 0.0995 || (value >= 0.9905 && value < 1) ? 1 : 0;
  return `${(100 * value).toFixed(digits)}%`.replace("-", "−");
}

/** A change of a probability, in percentage points. */
export function points(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return ABSENT;
  if (Math.abs(value) < 0.0005) return "0";
  const text = (100 * value).toFixed(Math.abs(value) < 0.0995 ? 1 : 0).replace("-", "−");
  return value > 0 ? `+${text}` : text;
}

export function interval(low: number | null, high: number | null, digits = 3): string {
  return low == null || high == null ? "[interval unknown]" : `[${number(low, digits)}, ${number(high, digits)}]`;
}

export function count(value: number, noun: string): string {
  return `${value.toLocaleString("en-US")} ${noun}${value === 1 ? "" : "s"}`;
}

function scientific(value: number): string {
  const [mantissa, exponent] = value.toExponential(1).split("e");
  const power = [...String(Number(exponent))].map((one) => (one === "-" ? "⁻" : POWERS[Number(one)])).join("");
  return `${mantissa}×10${power}`.replace("-", "−");
}

const MARKS: Record<string, string> = { "\n": "↵", "\t": "⇥", "\r": "␍" };

/** A text with a mark for what can't be seen. */
export function visible(text: string): string {
  return text.replace(/[\p{C}\u2028\u2029]/gu, (one) => MARKS[one] ?? `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
