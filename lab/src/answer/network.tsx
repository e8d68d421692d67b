import { number } from "../numbers";
import type { Situation } from "../protocol";

/** What a network sees: a bar for each number, to the largest. */
export function Observation({ situation }: { situation: Situation }) {
  const seen = situation.observation ?? [];
  const limit = Math.max(1e-9, ...seen.map((one) => Math.abs(one ?? 0)));
  const few = seen.length <= 16;
  if (!few) return <Cells seen={seen} limit={limit} />;
  return (
    <table class="observation">
      <caption class="note">observation</caption>
      <tbody>
        {seen.map((one, n) => (
          <tr key={n}>
            <th scope="row">{situation.names?.[n] ?? n}</th>
            <td class="bars">
              <svg viewBox="-50 0 100 8" preserveAspectRatio="none" aria-hidden="true">
                <line x1={0} x2={0} y1={0} y2={8} stroke="var(--control)" vector-effect="non-scaling-stroke" />
                <rect x={Math.min(0, (50 * (one ?? 0)) / limit)} y={1} width={(50 * Math.abs(one ?? 0)) / limit} height={6} fill="var(--s8)" />
              </svg>
            </td>
            <td>{number(one)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Cells({ seen, limit }: { seen: (number | null)[]; limit: number }) {
  const across = Math.min(32, Math.ceil(Math.sqrt(seen.length)));
  return (
    <figure class="observation">
      <figcaption class="note">observation, {seen.length} numbers to ±{number(limit, 2)}</figcaption>
      <svg viewBox={`0 0 ${across * 10} ${Math.ceil(seen.length / across) * 10}`} role="img" aria-label={`observation of ${seen.length} numbers`}>
        {seen.map((one, n) => {
          const step = Math.round((12 * (one ?? 0)) / limit);
          return (
            <rect key={n} x={(n % across) * 10} y={Math.floor(n / across) * 10} width={9} height={9} fill={`var(--d${step < 0 ? "m" : ""}${Math.abs(step)})`}>
              <title>{`${n}: ${number(one)}`}</title>
            </rect>
          );
        })}
      </svg>
    </figure>
  );
}
