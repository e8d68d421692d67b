// Builds the page: lab.js for browsers, widget.js for notebooks, one style; each says of which sources it is.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "src", "takeback", "lab", "page");
const sources = ["build.mjs", "index.html", "package-lock.json", "package.json", "src", "tsconfig.json"];

function* filesOf(path) {
  if (statSync(path).isDirectory()) for (const name of readdirSync(path).sort()) yield* filesOf(join(path, name));
  else yield path;
}

function hashOfSources() {
  const hash = createHash("sha256");
  const paths = sources.flatMap((name) => [...filesOf(join(here, name))]);
  const named = paths.map((path) => [relative(here, path).split(sep).join("/"), path]);
  for (const [name, path] of named.sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`${name}\0`).update(readFileSync(path)).update("\0");
  }
  return hash.digest("hex");
}

async function bundle(entry, file, format) {
  const [result] = [await build({
    root: here,
    configFile: false,
    logLevel: "warn",
    oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
    build: {
      write: false,
      target: "es2022",
      minify: true,
      cssCodeSplit: false,
      rolldownOptions: { output: { minify: true } },
      lib: { entry: join(here, "src", entry), formats: [format], name: "takebackLab", fileName: () => file },
    },
  })].flat();
  const files = Object.fromEntries(result.output.map((one) => [one.fileName, one.code ?? one.source]));
  const style = Object.keys(files).find((name) => name.endsWith(".css"));
  return { code: files[file], style: style ? String(files[style]) : "" };
}

const hash = hashOfSources();
const page = await bundle("page.tsx", "lab.js", "iife");
const widget = await bundle("widget.tsx", "widget.js", "es");
const files = {
  "index.html": readFileSync(join(here, "index.html"), "utf8"),
  "lab.css": page.style,
  "lab.js": page.code,
  "widget.js": widget.code,
};
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const [name, text] of Object.entries(files)) {
  writeFileSync(join(out, name), text);
  console.log(`${name.padEnd(12)} ${(Buffer.byteLength(text) / 1024).toFixed(1)} kB`);
}
const bytes = (name) => createHash("sha256").update(readFileSync(join(out, name))).digest("hex");
const built = Object.fromEntries(Object.keys(files).sort().map((name) => [name, bytes(name)]));
writeFileSync(join(out, "built.json"), `${JSON.stringify({ sources: hash, files: built }, null, 2)}\n`);
