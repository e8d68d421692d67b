import { useMemo, useState } from "preact/hooks";
import { percent } from "../numbers";
import { SIDES, type Side } from "../protocol";
import { nameOf, order, type State } from "../state";
import type { Talk } from "../talk";
import { Actions } from "./actions";
import { Board, Illegal } from "./board";
import { Observation } from "./network";
import { comparedOf, illegalOf, likeliest, outcomesOf } from "./outcomes";
import { Answers, Drawn, Prompt } from "./rows";

const MEANS: Record<Side, string> = { base: "before training", tuned: "after training", hybrid: "with the selection" };

/** What base, tuned and the hybrid do in one situation. */
export function AnswerPanel({ talk, state }: { talk: Talk; state: State }) {
  const { answer, scene, choice } = state;
  const [hidden, setHidden] = useState<ReadonlySet<Side>>(new Set());
  const [lit, setLit] = useState("");
  const nothing = !choice.members.size;
  const compared = comparedOf(choice.direction, nothing);
  const outcomes = useMemo(
    () => (answer && scene ? outcomesOf(answer, scene, compared) : []),
    [answer, scene, compared.from, compared.to],
  );
  if (!scene) return null;
  const noun = scene.words.situation ?? "situation";
  const listed = order(state);
  const at = listed.indexOf(choice.place ?? -1);
  const shown = new Set(SIDES.filter((side) => !hidden.has(side)));
  const toggle = (side: Side) => {
    const next = new Set(hidden);
    if (!next.delete(side)) next.add(side);
    setHidden(next);
  };
  const kind = answer?.situation.kind;
  const illegal = answer ? illegalOf(answer) : [];
  return (
    <section class="panel answer" aria-labelledby="lab-answer">
      <div class="line">
        <h2 id="lab-answer">Answer</h2>
        <span class="grow" />
        <span class="note">{at >= 0 ? `${noun} ${at + 1} of ${listed.length}` : ""}</span>
        <span class="buttons">
          <button type="button" aria-label={`previous ${noun}`} disabled={at <= 0} onClick={() => talk.step(-1)}>←</button>
          <button type="button" aria-label={`next ${noun}`} disabled={at >= listed.length - 1} onClick={() => talk.step(1)}>→</button>
        </span>
      </div>
      <ul class="sides" aria-label="sides">
        {SIDES.map((side) => (
          <li key={side}>
            <label title={MEANS[side]}>
              <input type="checkbox" class={side} checked={shown.has(side)} onChange={() => toggle(side)} />
              <b>{side}</b>{" "}
              {answer && kind !== "answers" && <span>{words(likeliest(outcomes, side), side)}</span>}
            </label>
          </li>
        ))}
      </ul>
      {answer && (
        <div class={state.old.answer ? "old" : ""} aria-busy={state.old.answer}>
          {kind === "answers" ? (
            <>
              <Prompt answer={answer} />
              <Answers answer={answer} compared={compared} />
              <Drawn talk={talk} state={state} answer={answer} />
            </>
          ) : (
            <>
              <p class="title"><code>{answer.situation.title}</code></p>
              <div class="seen">
                {kind === "board" && (
                  <div>
                    <Board
                      pieces={answer.situation.board ?? {}} outcomes={[...outcomes, ...illegal]} shown={shown} scene={scene} lit={lit}
                      title={answer.situation.title}
                    />
                    <Illegal outcomes={illegal} shown={shown} scene={scene} light={setLit} />
                  </div>
                )}
                {kind === "network" && <Observation situation={answer.situation} />}
                {kind === "text" && answer.situation.text !== answer.situation.title && <Prompt answer={answer} />}
                <Actions outcomes={outcomes} compared={compared} shown={shown} noun={scene.words.action ?? "action"} light={setLit} />
              </div>
              <p class="note">
                {nothing ? "sorted by what training changed; select components to take them back"
                  : `sorted by the change from ${compared.from} to the hybrid (${choice.direction} ${nameOf(state)})`}
              </p>
            </>
          )}
        </div>
      )}
    </section>
  );
}

function words(best: ReturnType<typeof likeliest>, side: Side): string {
  return best ? `${best.kind ? "illegal, " : ""}${best.name} ${percent(best.p[side])}` : "";
}
