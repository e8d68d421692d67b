// Values from the scripts of a bundle: a page opened from disk may load those and nothing else.

type Given = (key: string, letters: string) => void;

declare global {
  interface Window {
    takebackData?: Given;
  }
}

const asked = new Map<string, Promise<unknown>>();
const waiting = new Map<string, (letters: string) => void>();

/** Return the value of a script in the bundle's data; a script is loaded once. */
export function valueOf<T>(key: string): Promise<T> {
  const found = asked.get(key) ?? load(key);
  asked.set(key, found);
  return found as Promise<T>;
}

function load(key: string): Promise<unknown> {
  window.takebackData ??= (name, letters) => waiting.get(name)?.(letters);
  return new Promise<string>((given, failed) => {
    const script = document.createElement("script");
    waiting.set(key, given);
    script.onerror = () => failed(new Error(`data/${key}.js is missing from this bundle`));
    script.onload = () => script.remove();
    script.src = `data/${key.split("/").map(encodeURIComponent).join("/")}.js`;
    document.head.append(script);
  }).then(inflated);
}

async function inflated(letters: string): Promise<unknown> {
  const bytes = Uint8Array.from(atob(letters), (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text());
}
