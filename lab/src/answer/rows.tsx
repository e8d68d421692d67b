import { useState } from "preact/hooks";
import { stepOf } from "../colour";
import { number, percent, points, signed, visible } from "../numbers";
import { SIDES, type Answer, type DrawnAnswer, type Readout, type Side } from "../protocol";
import type { State } from "../state";
import type { Talk } from "../talk";
import type { Compared } from "./outcomes";

const FEW = 8;

/** The prompt, as the policies are asked. */
export function Prompt({ answer }: { answer: Answer }) {
  const { messages, text } = answer.situation;
  const told = messages?.length ? messages : [{ role: "", content: text }];
  return (
    <div class="prompt">
      {told.map((one, n) => (
        <div key={n} class={`message ${one.role === "assistant" ? "reply" : ""}`}>
          {one.role && <span class="note">{one.role}</span>}
          <p>{one.content}</p>
        </div>
      ))}
    </div>
  );
}

/** Listed answers: how likely each side finds them, token by token, what changed most first. */
export function Answers({ answer, compared }: { answer: Answer; compared: Compared }) {
  const [all, setAll] = useState(false);
  const { situation, sides } = answer;
  const { from, to } = compared;
  const listed = situation.answers ?? [];
  const moved = (n: number) => (sides[to].p[n] ?? 0) - (sides[from].p[n] ?? 0);
  const far = (n: number) => (sides[to].logprobs?.[n] ?? 0) - (sides[from].logprobs?.[n] ?? 0);
  const places = listed.map((_, n) => n).sort((a, b) => Math.abs(moved(b)) - Math.abs(moved(a)) || Math.abs(far(b)) - Math.abs(far(a)));
  const shown = all ? places : places.slice(0, FEW);
  const limit = Math.max(0.5, ...shown.flatMap((n) => tokenMoves(sides[from], sides[to], n).map(Math.abs)));
  if (!listed.length) return null;
  return (
    <div class="answers">
      {shown.map((n) => {
        const one = listed[n];
        const worth = Object.entries(one.worth).filter(([, value]) => value !== null);
        return (
          <article key={n} class={one.kind ? "illegal" : undefined}>
            <p class="answer-text">
              <Tokens text={one.text} tokens={situation.tokens?.[n]} from={sides[from].tokens?.[n]} to={sides[to].tokens?.[n]} limit={limit} />
            </p>
            <ul class="facts">
              {SIDES.map((side) => (
                <li key={side} class={side}><i class={`dot ${side}`} />{side} {percent(sides[side].p[n])}</li>
              ))}
              <li>change {points(moved(n))}</li>
              {sides[to].logprobs && <li title={`log-probability, ${to} − ${from}`}>{signed(far(n), 2)} nats</li>}
              {worth.map(([goal, value]) => <li key={goal}>{goal} {number(value, 2)}</li>)}
              {one.kind && <li class="mark">{one.kind}</li>}
              {one.side && <li class="soft">drawn from {one.side}</li>}
            </ul>
          </article>
        );
      })}
      {listed.length > FEW && (
        <button type="button" class="quiet" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? "only the most changed" : `all ${listed.length} answers`}
        </button>
      )}
      {situation.tokens && <p class="note">tokens are tinted by how far their log-probability moves from {from} to {to}, to ±{number(limit, 1)} nats</p>}
    </div>
  );
}

function tokenMoves(from: Readout, to: Readout, n: number): number[] {
  const [before, after] = [from.tokens?.[n], to.tokens?.[n]];
  return before && after ? after.map((one, token) => (one ?? 0) - (before[token] ?? 0)) : [];
}

interface TokensProps {
  text: string;
  tokens?: string[];
  from?: (number | null)[];
  to?: (number | null)[];
  limit: number;
}

function Tokens({ text, tokens, from, to, limit }: TokensProps) {
  if (!tokens || !from || !to) return <>{visible(text)}</>;
  return (
    <>
      {tokens.map((token, n) => {
        const moved = (to[n] ?? 0) - (from[n] ?? 0);
        const step = stepOf(moved, limit, "diverging");
        return (
          <span
            key={n} class="token" style={{ background: `var(--${step})`, color: `var(--${step}i)` }}
            title={`${number(from[n], 2)} → ${number(to[n], 2)} nats (${signed(moved, 2)})`}
          >{visible(token)}</span>
        );
      })}
    </>
  );
}

/** Answers that each side draws, side by side, while they grow. */
export function Drawn({ talk, state, answer }: { talk: Talk; state: State; answer: Answer }) {
  const [n, setN] = useState(2);
  const { drawn, drawing, scene } = state;
  const recorded = SIDES.some((side) => answer.sides[side].drawn);
  const of = (side: Side) => drawn[side] ?? answer.sides[side].drawn;
  const any = SIDES.some((side) => of(side)?.length);
  if (!scene?.draws && !recorded) return null;
  return (
    <section aria-labelledby="lab-drawn">
      <div class="line">
        <h3 id="lab-drawn">Drawn answers</h3>
        <span class="grow" />
        {scene?.draws && (
          <>
            <label>answers <input type="number" min={1} max={64} value={n} onInput={(event) => setN(Math.max(1, Math.min(64, Number(event.currentTarget.value) || 1)))} /></label>
            <button type="button" disabled={drawing} onClick={() => talk.draw(n)}>draw</button>
          </>
        )}
      </div>
      {any && (
        <div class="columns" aria-live="polite" aria-busy={drawing}>
          {SIDES.map((side) => (
            <div key={side}>
              <h4><i class={`dot ${side}`} />{side}</h4>
              {(of(side) ?? []).map((one, place) => <DrawnOne key={place} one={one} growing={drawing} />)}
            </div>
          ))}
        </div>
      )}
    </section>
  );
}

function DrawnOne({ one, growing }: { one: DrawnAnswer; growing: boolean }) {
  const rewards = Object.entries(one.rewards).filter(([, value]) => value !== null);
  return (
    <article class={one.kind ? "illegal" : undefined}>
      <p class="answer-text">{visible(one.text)}{growing && one.ended === false && <span class="caret" aria-hidden="true" />}</p>
      <ul class="facts">
        {rewards.map(([name, value]) => <li key={name}>{name} {number(value, 2)}</li>)}
        {one.kind && <li class="mark">{one.kind}</li>}
      </ul>
    </article>
  );
}
