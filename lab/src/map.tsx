import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { isNull, stepOf } from "./colour";
import { Grid, type Line } from "./grid";
import type { Spot } from "./anatomy";
import { ColourPicker, Largest, Legend } from "./legend";
import { memo } from "./memo";
import { count, interval, number } from "./numbers";
import type { Colouring } from "./protocol";
import { colouringOf, type State } from "./state";
import type { Talk } from "./talk";

const ZOOMS = [1, 1.5, 2, 3, 4.5];

interface Props {
  talk: Talk;
  state: State;
}

/** Layers × heads, MLPs, norms and embeddings: coloured, and selected by pointer or keyboard. */
export function Map({ talk, state }: Props) {
  const { anatomy, choice } = state;
  const [room, setRoom] = useState(440);
  const [zoom, setZoom] = useState(0);
  const [values, setValues] = useState(true);
  const [cursor, setCursor] = useState<Spot>({ row: 0, column: 0 });
  const [over, setOver] = useState<Spot | null>(null);
  const [focus, setFocus] = useState(false);
  const [drag, setDrag] = useState<{ from: Spot; to: Spot } | null>(null);
  const anchor = useRef<Spot>({ row: 0, column: 0 });
  const frame = useRef<HTMLDivElement>(null);
  const svg = useRef<SVGSVGElement>(null);

  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setRoom(Math.round(entry.contentRect.width)));
    if (frame.current) watch.observe(frame.current);
    return () => watch.disconnect();
  }, []);
  const grid = useMemo(() => anatomy && new Grid(anatomy, room, ZOOMS[zoom]), [anatomy, room, zoom]);
  useEffect(() => {
    if (focus) document.getElementById(idOf(cursor))?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [cursor, focus, zoom]);
  const colouring = colouringOf(state);
  if (!grid || !anatomy || !colouring) return null;

  const pick = (meant: number[], add: boolean, name = "") => {
    const all = meant.every((one) => choice.members.has(one));
    if (!add) return talk.take(all && choice.members.size === meant.length ? new Set() : new Set(meant), name);
    const next = new Set(choice.members);
    for (const one of meant) if (all) next.delete(one); else next.add(one);
    talk.take(next);
  };
  const spotAt = (event: PointerEvent) => {
    const box = svg.current!.getBoundingClientRect();
    return grid.under(event.clientX - box.left, event.clientY - box.top);
  };
  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    const spot = spotAt(event);
    setCursor(spot);
    anchor.current = spot;
    svg.current!.focus({ preventScroll: true });
    if (event.pointerType === "touch") return;
    event.preventDefault();
    svg.current!.setPointerCapture(event.pointerId);
    setDrag({ from: spot, to: spot });
  };
  const move = (event: PointerEvent) => {
    const spot = spotAt(event);
    if (!over || over.row !== spot.row || over.column !== spot.column) setOver(spot);
    if (drag && (drag.to.row !== spot.row || drag.to.column !== spot.column)) setDrag({ ...drag, to: spot });
  };
  const up = (event: PointerEvent) => {
    const add = event.shiftKey || event.ctrlKey || event.metaKey;
    if (!drag) {
      if (event.pointerType === "touch") pick(grid.meant(spotAt(event)), add || choice.members.size > 0);
      return;
    }
    setDrag(null);
    const same = drag.from.row === drag.to.row && drag.from.column === drag.to.column;
    const onName = drag.from.row < 0 || drag.from.column < 0;
    if (same || onName) return pick(grid.meant(drag.from), add);
    talk.take(new Set([...(add ? choice.members : []), ...grid.between(drag.from, drag.to)]));
  };
  const go = (event: KeyboardEvent, rows: number, columns: number) => {
    const next = grid.moved(cursor, rows, columns);
    setCursor(next);
    if (event.shiftKey) talk.take(new Set(grid.between(anchor.current, next)));
    else anchor.current = next;
  };
  const keys: Record<string, (event: KeyboardEvent) => void> = {
    ArrowUp: (event) => go(event, -1, 0),
    ArrowDown: (event) => go(event, 1, 0),
    ArrowLeft: (event) => go(event, 0, -1),
    ArrowRight: (event) => go(event, 0, 1),
    Home: (event) => go(event, 0, -1e6),
    End: (event) => go(event, 0, 1e6),
    PageUp: (event) => go(event, -8, 0),
    PageDown: (event) => go(event, 8, 0),
    Enter: () => pick(grid.meant(cursor), false),
    " ": () => pick(grid.meant(cursor), true),
    "+": () => setZoom(Math.min(ZOOMS.length - 1, zoom + 1)),
    "-": () => setZoom(Math.max(0, zoom - 1)),
    a: () => talk.take(new Set(anatomy.names.keys())),
    Escape: () => talk.take(new Set()),
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key](event);
  };
  const shown = over ?? cursor;
  const dragged = drag ? new Set(grid.between(drag.from, drag.to)) : null;
  return (
    <section class="panel map" aria-labelledby="lab-map">
      <h2 id="lab-map">Map</h2>
      <ColourPicker talk={talk} state={state} colouring={colouring} />
      <Largest talk={talk} state={state} colouring={colouring} />
      <div class="frame" ref={frame}>
        <svg
          ref={svg} width={grid.width} height={grid.height} tabIndex={0} role="grid" aria-multiselectable="true"
          aria-label={`layers and their components, coloured by ${colouring.title}`}
          aria-activedescendant={idOf(cursor)} onPointerDown={down} onPointerMove={move} onPointerUp={up}
          onPointerLeave={() => setOver(null)} onKeyDown={onKey}
          onFocus={() => setFocus(true)} onBlur={() => setFocus(false)}
        >
          <defs>
            <pattern id="lab-null" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
              <rect width="5" height="5" fill="var(--shade)" />
              <rect width="1.2" height="5" fill="var(--rule)" />
            </pattern>
          </defs>
          <Names grid={grid} />
          {grid.lines.map((line, row) => (
            <Row
              key={row} grid={grid} line={line} row={row} colouring={colouring} grey={state.grey} values={values}
              selected={maskOf(line, choice.members)}
            />
          ))}
          <path class="chosen under" d={outline(grid, choice.members)} />
          <path class="chosen" d={outline(grid, choice.members)} />
          {dragged && <path class="dragged" d={outline(grid, dragged)} />}
          {focus && <Cursor grid={grid} spot={cursor} />}
        </svg>
      </div>
      <div class="line">
        <Legend colouring={colouring} />
        <span class="grow" />
        <label><input type="checkbox" checked={state.grey} onChange={() => talk.put({ grey: !state.grey })} /> grey what chance gives</label>
        <label><input type="checkbox" checked={values} onChange={() => setValues(!values)} /> values</label>
        <span class="buttons">
          <button type="button" aria-label="smaller" disabled={zoom === 0} onClick={() => setZoom(zoom - 1)}>−</button>
          <button type="button" aria-label="larger" disabled={zoom === ZOOMS.length - 1} onClick={() => setZoom(zoom + 1)}>+</button>
        </span>
      </div>
      <p class="told" aria-live="polite">{told(grid, shown, colouring)}</p>
    </section>
  );
}

const Names = memo(({ grid }: { grid: Grid }) => {
  const { columns } = grid.anatomy.scene;
  const every = (size: number, room: number) => Math.max(1, Math.ceil(room / size));
  const across = every(grid.cell, 8 + 7 * Math.max(...columns.map((one) => (one.index === null ? 0 : one.title.length))));
  const rowed = grid.lines.filter((line) => line.layer);
  const downward = every(rowed[0]?.height ?? 20, 11);
  const wide = (n: number) => (columns[n].index === null ? grid.widths[n] >= 20 : (columns[n].index ?? 0) % across === 0);
  return (
    <g role="row" class="names">
      <text id={idOf({ row: -1, column: -1 })} role="columnheader" aria-label="everything" x={grid.start - 6} y={12} text-anchor="end">all</text>
      {columns.map((one, n) => (
        <text
          key={one.title} id={idOf({ row: -1, column: n })} role="columnheader" aria-label={`${one.title} of all layers`}
          x={grid.left[n] + grid.widths[n] / 2} y={12} text-anchor="middle"
        >{wide(n) ? one.title : ""}</text>
      ))}
      {grid.lines.map((line, row) => (
        <text
          key={row} id={idOf({ row, column: -1 })} role="rowheader" aria-label={grid.title({ row, column: -1 })}
          x={grid.start - 6} y={line.y + line.height / 2 + 4} text-anchor="end"
        >{line.layer && rowed.indexOf(line) % downward === 0 ? line.title : ""}</text>
      ))}
    </g>
  );
});

interface RowProps {
  grid: Grid;
  line: Line;
  row: number;
  colouring: Colouring;
  grey: boolean;
  values: boolean;
  selected: string;
}

const Row = memo(({ grid, line, row, colouring, grey, values, selected }: RowProps) => (
  <g role="row" aria-label={line.title}>
    {Array.from(line.cells, (one, column) => {
      if (one < 0) return null;
      const [x, y, width, height] = grid.box({ row, column });
      const value = colouring.values[one];
      const nothing = grey && isNull(colouring, one);
      const step = value === null ? "" : stepOf(value, colouring.limit, colouring.scale);
      const fill = value === null ? "none" : nothing ? "url(#lab-null)" : `var(--${step})`;
      const name = grid.anatomy.names[one];
      const ink = value === null || nothing ? "var(--soft)" : `var(--${step}i)`;
      const roomy = width > 33 && height > 14;
      const label = line.layer ? (values && value !== null && roomy ? short(value) : "") : name;
      return (
        <g
          key={column} id={idOf({ row, column })} role="gridcell" aria-selected={selected[column] === "1"}
          aria-label={`${name} ${value === null ? "not known" : number(value)}${nothing ? ", no more than chance" : ""}`}
          data-name={name}
        >
          <rect class={value === null ? "missing" : undefined} x={x} y={y} width={width} height={height} rx={height > 12 ? 2 : 0} fill={fill} />
          {label && <text x={x + width / 2} y={y + height / 2 + 3.5} text-anchor="middle" style={{ fill: ink }}>{label}</text>}
        </g>
      );
    })}
  </g>
));

function Cursor({ grid, spot }: { grid: Grid; spot: Spot }) {
  let [x, y, width, height] = [2, 1, grid.start - 5, grid.top - 2];
  if (spot.row >= 0) [, y, , height] = grid.box({ row: spot.row, column: 0 });
  if (spot.column >= 0) [x, , width] = grid.box({ row: spot.row < 0 ? grid.lines.findIndex((one) => one.layer) : spot.row, column: spot.column });
  if (spot.row < 0) [y, height] = [1, grid.top - 2];
  return <rect class="cursor" x={x - 1.5} y={y - 1.5} width={width + 3} height={height + 3} rx={3} />;
}

function idOf(spot: Spot): string {
  return `lab-cell-${spot.row}-${spot.column}`;
}

function maskOf(line: Line, members: ReadonlySet<number>): string {
  return Array.from(line.cells, (one) => (members.has(one) ? "1" : "0")).join("");
}

function outline(grid: Grid, members: ReadonlySet<number>): string {
  if (!members.size) return "";
  const parts: string[] = [];
  grid.lines.forEach((line, row) => {
    for (let column = 0; column < line.cells.length; column++) {
      if (!members.has(line.cells[column])) continue;
      const [x, y, width, height] = grid.box({ row, column });
      parts.push(`M${x} ${y}h${width}v${height}h${-width}z`);
    }
  });
  return parts.join("");
}

function short(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 10 ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : size >= 0.1 ? value.toFixed(2) : size >= 0.0005 ? value.toFixed(3) : "≈0";
  return text.replace("-", "−").replace(/^(−?)0\./, "$1.");
}

function told(grid: Grid, spot: Spot, colouring: Colouring): string {
  const one = spot.row >= 0 && spot.column >= 0 ? grid.at(spot) : -1;
  if (one < 0) {
    const meant = grid.meant(spot);
    return meant.length ? `${grid.title(spot)}: ${count(meant.length, "component")}` : "";
  }
  const value = colouring.values[one];
  const parts = [`${colouring.title} ${number(value)}`];
  if (colouring.low?.[one] != null) parts[0] += ` ${interval(colouring.low[one], colouring.high?.[one] ?? null)}`;
  if (colouring.null?.[one] != null) parts.push(`by chance ${number(colouring.null[one])}`);
  if (isNull(colouring, one)) parts.push("no more than chance");
  parts.push(count(grid.anatomy.scene.components.parameters[one], "parameter"));
  return `${grid.anatomy.names[one]}: ${parts.join(", ")}`;
}
