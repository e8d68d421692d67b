import { percent } from "../numbers";
import { SIDES, type Scene, type Side } from "../protocol";
import { dashOf, likeliest, type Outcome } from "./outcomes";

const SQUARE = 30;
const EDGE = 14;
const FILES = "abcdefgh";
const MOVE = /^([a-h][1-8])([a-h][1-8])[a-z]?$/;
const SHIFT: Record<Side, number> = { base: -1, tuned: 0, hybrid: 1 };

interface Props {
  pieces: Record<string, string>;
  outcomes: Outcome[];
  shown: ReadonlySet<Side>;
  scene: Scene;
  lit: string;
  title: string;
}

/** A position with arrows of each side, whose width is a probability; as takeback.draw.board draws it. */
export function Board({ pieces, outcomes, shown, scene, lit, title }: Props) {
  const style = scene.draw.board;
  const dark: string[] = [];
  for (let rank = 0; rank < 8; rank++) {
    for (let file = rank % 2; file < 8; file += 2) {
      const [x, y] = corner(`${FILES[file]}${rank + 1}`);
      dark.push(`M${x} ${y}h${SQUARE}v${SQUARE}h-${SQUARE}z`);
    }
  }
  const moves = outcomes.filter((one) => MOVE.test(one.name));
  const words = SIDES.filter((side) => shown.has(side)).map((side) => {
    const best = likeliest(outcomes, side);
    return best ? `${side}: ${best.name} ${percent(best.p[side])}` : side;
  });
  return (
    <svg class="board" viewBox={`0 0 ${8 * SQUARE + EDGE + 1} ${8 * SQUARE + 15}`} role="img" aria-label={`${title}; ${words.join(", ")}`}>
      <rect x={EDGE} y={0} width={8 * SQUARE} height={8 * SQUARE} fill={style.squares[0]} />
      <path d={dark.join("")} fill={style.squares[1]} />
      {[...FILES].map((file, n) => (
        <g key={file} class="names">
          <text x={EDGE + (n + 0.5) * SQUARE} y={8 * SQUARE + 11} text-anchor="middle">{file}</text>
          <text x={7} y={(n + 0.5) * SQUARE + 3} text-anchor="middle">{8 - n}</text>
        </g>
      ))}
      {Object.entries(pieces).map(([square, letter]) => {
        const [x, y] = corner(square);
        const [fill, stroke] = letter === letter.toUpperCase() ? style.white : style.black;
        return (
          <path
            key={square} d={style.shapes[letter.toLowerCase()]} fill={fill} stroke={stroke} stroke-width={4} stroke-linejoin="round"
            transform={`translate(${x - 0.1 * SQUARE} ${y - 0.1 * SQUARE}) scale(${0.012 * SQUARE})`}
          />
        );
      })}
      {SIDES.filter((side) => shown.has(side)).map((side) => (
        <g key={side} class={`arrows ${side}`}>
          {[...moves].sort((a, b) => (b.p[side] ?? 0) - (a.p[side] ?? 0)).map((one) => {
            const p = one.p[side] ?? 0;
            const move = MOVE.exec(one.name);
            if (!move || p < style.least || move[1] === move[2]) return null;
            const dim = lit && lit !== one.name ? 0.12 : undefined;
            return (
              <polygon key={one.name} class={one.kind ? "illegal" : undefined} points={arrow(move[1], move[2], p, SHIFT[side])} opacity={dim} stroke-dasharray={one.kind ? dashOf(scene, one.kind) : undefined}>
                <title>{`${side}: ${one.name} ${percent(p)}${one.kind ? `, illegal: ${one.kind}` : ""}`}</title>
              </polygon>
            );
          })}
        </g>
      ))}
    </svg>
  );
}

/** The illegal answers among the arrows: which dash is which kind, and how likely each side is to say it. */
export function Illegal({ outcomes, shown, scene, light }: Pick<Props, "outcomes" | "shown" | "scene"> & { light: (name: string) => void }) {
  const drawn = (one: Outcome, side: Side) => shown.has(side) && (one.p[side] ?? 0) >= scene.draw.board.least;
  const listed = outcomes.filter((one) => SIDES.some((side) => drawn(one, side)));
  if (!listed.length) return null;
  return (
    <ul class="dashed" aria-label="illegal answers on the board" onPointerLeave={() => light("")}>
      {listed.map((one) => (
        <li key={one.name} onPointerEnter={() => light(one.name)}>
          <svg width={26} height={8} aria-hidden="true"><line x1={0} x2={26} y1={4} y2={4} stroke-dasharray={dashOf(scene, one.kind)} /></svg>
          <span><code>{one.name}</code> is illegal, {one.kind}: {SIDES.filter((side) => drawn(one, side)).map((side) => `${side} ${percent(one.p[side])}`).join(", ")}</span>
        </li>
      ))}
    </ul>
  );
}

function corner(square: string): [number, number] {
  return [EDGE + FILES.indexOf(square[0]) * SQUARE, (8 - Number(square[1])) * SQUARE];
}

/** The corners of an arrow from the edge of one square's middle to the middle of another. */
function arrow(from: string, to: string, probability: number, side: number): string {
  const [x0, y0] = corner(from).map((one) => one + SQUARE / 2);
  const [x1, y1] = corner(to).map((one) => one + SQUARE / 2);
  const length = Math.hypot(x1 - x0, y1 - y0);
  const [ax, ay] = [(x1 - x0) / length, (y1 - y0) / length];
  const width = 1 + 7 * probability;
  const head = 5 + 0.8 * width;
  const barb = width / 2 + 2.6;
  const shift = side * (width / 2 + 2.2);
  const point = (forward: number, sideways: number) => {
    const across = sideways + shift;
    return `${(x0 + forward * ax - across * ay).toFixed(1)},${(y0 + forward * ay + across * ax).toFixed(1)}`;
  };
  const [start, neck, tip] = [0.3 * SQUARE, length - head, length + 1];
  return [
    point(start, -width / 2), point(neck, -width / 2), point(neck, -barb), point(tip, 0),
    point(neck, barb), point(neck, width / 2), point(start, width / 2),
  ].join(" ");
}
