import type { Anatomy, Spot } from "./anatomy";

const LEFT = 34;
const TOP = 18;
const GAP = 5;
const OUTSIDE = 66;
/** The least and the largest side of a square before zooming, and the least of one that has a layer to itself. */
const LEAST = 5;
const LARGEST = 54;
const ALONE = 13;

/** A line of the map: components before or after the layers, or a layer's. */
export interface Line {
  title: string;
  cells: ArrayLike<number>;
  y: number;
  height: number;
  /** Whether it has the columns of layers. */
  layer: boolean;
}

/** Where everything of the map is drawn, for a width and a zoom. */
export class Grid {
  readonly lines: Line[] = [];
  readonly left: number[] = [];
  readonly widths: number[] = [];
  readonly width: number;
  readonly height: number;
  readonly cell: number;
  readonly top = TOP;
  readonly start = LEFT;

  constructor(readonly anatomy: Anatomy, room: number, zoom: number) {
    const { columns, rows } = anatomy.scene;
    const indexed = columns.map((one) => one.index !== null);
    const many = indexed.filter(Boolean).length;
    const alone = columns.length - many;
    const groups = columns.filter((one, n) => n > 0 && breaks(columns[n - 1], one)).length;
    const free = room - LEFT - 4 - groups * GAP;
    let cell = free / Math.max(1, columns.length);
    if (cell < ALONE + 8) cell = (free - alone * ALONE) / Math.max(1, many);
    this.cell = Math.max(LEAST, Math.min(LARGEST, cell)) * zoom;
    let x = LEFT;
    columns.forEach((one, n) => {
      if (n > 0 && breaks(columns[n - 1], one)) x += GAP;
      this.left.push(x);
      this.widths.push(one.index === null ? Math.max(ALONE, this.cell) : this.cell);
      x += this.widths[n];
    });
    const high = Math.max(LEAST * zoom, Math.min(this.cell, 26 * zoom, rows.length > 40 ? 9 * zoom : 99));
    let y = TOP;
    const put = (title: string, cells: ArrayLike<number>, height: number, layer: boolean) => {
      this.lines.push({ title, cells, y, height, layer });
      y += height;
    };
    if (anatomy.before.length) put("", anatomy.before, 22, false), (y += GAP);
    rows.forEach((one, n) => put(one.title, anatomy.cells[n], high, true));
    if (anatomy.after.length) (y += GAP), put("", anatomy.after, 22, false);
    const outside = Math.max(anatomy.before.length, anatomy.after.length);
    this.width = Math.max(x, LEFT + outside * OUTSIDE) + 3;
    this.height = y + 3;
  }

  box(spot: Spot): [x: number, y: number, width: number, height: number] {
    const line = this.lines[spot.row];
    const x = line.layer ? this.left[spot.column] : LEFT + spot.column * OUTSIDE;
    const width = line.layer ? this.widths[spot.column] : OUTSIDE - 6;
    const room = this.cell > 12 ? 1.5 : this.cell > 7 ? 1 : 0.5;
    return [x, line.y, width - room, line.height - room];
  }

  at(spot: Spot): number {
    return this.lines[spot.row]?.cells[spot.column] ?? -1;
  }

  /** The spot under a point; its row or column is −1 on the names of columns or rows. */
  under(x: number, y: number): Spot {
    const row = y < TOP ? -1 : last(this.lines, (one) => one.y <= y);
    const line = this.lines[row];
    if (x < LEFT) return { row, column: -1 };
    if (line && !line.layer) return { row, column: Math.min(line.cells.length - 1, Math.floor((x - LEFT) / OUTSIDE)) };
    return { row, column: last(this.left, (one) => one <= x) };
  }

  /** The components between two spots. */
  between(a: Spot, b: Spot): number[] {
    const [rows, columns] = [[a.row, b.row], [a.column, b.column]].map((pair) => [Math.min(...pair), Math.max(...pair)]);
    const found: number[] = [];
    for (let row = Math.max(0, rows[0]); row <= rows[1]; row++) {
      for (let column = Math.max(0, columns[0]); column <= columns[1]; column++) {
        const one = this.at({ row, column });
        if (one >= 0) found.push(one);
      }
    }
    return found;
  }

  /** What a spot stands for: a component; or a row, a column or everything, on their names. */
  meant(spot: Spot): number[] {
    const line = this.lines[spot.row];
    if (spot.row < 0) {
      return spot.column < 0 ? this.anatomy.names.map((_, one) => one) : this.anatomy.column(spot.column);
    }
    if (!line) return [];
    if (spot.column < 0) return Array.from(line.cells).filter((one) => one >= 0);
    return this.at(spot) >= 0 ? [this.at(spot)] : [];
  }

  /** What a spot is called. */
  title(spot: Spot): string {
    const line = this.lines[spot.row];
    if (spot.row < 0) return spot.column < 0 ? "everything" : `${this.anatomy.scene.columns[spot.column].title} of all layers`;
    if (spot.column < 0) return line.layer ? `all of ${line.title}` : this.meant(spot).map((one) => this.anatomy.names[one]).join(" ");
    const one = this.at(spot);
    return one < 0 ? "no component" : this.anatomy.names[one];
  }

  spotOf(component: number): Spot | null {
    for (let row = 0; row < this.lines.length; row++) {
      const column = Array.prototype.indexOf.call(this.lines[row].cells, component);
      if (column >= 0) return { row, column };
    }
    return null;
  }

  /** Return a spot moved by rows and columns, kept on the map. */
  moved(spot: Spot, rows: number, columns: number): Spot {
    const row = Math.max(-1, Math.min(this.lines.length - 1, spot.row + rows));
    const most = row < 0 || this.lines[row].layer ? this.left.length : this.lines[row].cells.length;
    return { row, column: Math.max(-1, Math.min(most - 1, spot.column + columns)) };
  }
}

function breaks(a: { kind: string; index: number | null }, b: { kind: string; index: number | null }): boolean {
  return a.kind !== b.kind && (a.index !== null || b.index !== null);
}

function last<T>(these: readonly T[], holds: (one: T) => boolean): number {
  for (let n = these.length - 1; n >= 0; n--) if (holds(these[n])) return n;
  return -1;
}
