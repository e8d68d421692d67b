import { render } from "preact";
import { useEffect, useReducer, useState } from "preact/hooks";
import { AnswerPanel } from "./answer/answer";
import { wear } from "./colour";
import { Arms, Course } from "./course";
import { Help, useKeys } from "./keys";
import { Map } from "./map";
import { Measures } from "./measures";
import { Selecting } from "./selecting";
import { Situations } from "./situations";
import { Talk } from "./talk";
import type { Transport } from "./transport/transport";
import "./style.css";

/** Show the lab in an element; returns what takes it away. */
export function show(root: HTMLElement, transport: Transport, whole: boolean): () => void {
  root.classList.add("takeback-lab");
  if (whole) root.dataset.whole = "yes";
  const talk = new Talk(transport, whole);
  render(<App talk={talk} root={root} whole={whole} />, root);
  return () => render(null, root);
}

function App({ talk, root, whole }: { talk: Talk; root: HTMLElement; whole: boolean }) {
  const [, again] = useReducer((n: number) => n + 1, 0);
  const [help, setHelp] = useState(false);
  useEffect(() => talk.listen(frames(() => again(0))), [talk]);
  useKeys(talk, root, () => setHelp(true));
  const { state } = talk;
  const draw = state.scene?.draw;
  useEffect(() => (draw ? wear(root, draw) : undefined), [draw?.light]);
  useEffect(() => {
    if (whole && state.scene) document.title = `${state.scene.title} · takeback lab`;
  }, [state.scene?.title]);
  if (!state.scene) return <Waiting talk={talk} />;
  return (
    <>
      <header>
        <div class="line">
          <h1>{state.scene.title}</h1>
          <span class="note">{state.scene.arena}{state.scene.live ? "" : ", a record"}</span>
          <span class="grow" />
          <Arms talk={talk} state={state} />
          <button type="button" class="quiet" onClick={() => setHelp(true)}>keys</button>
        </div>
      </header>
      <Bar talk={talk} />
      <main>
        <div class="column">
          <Selecting talk={talk} state={state} />
          <Map talk={talk} state={state} />
        </div>
        <AnswerPanel talk={talk} state={state} />
        <div class="column">
          <Measures talk={talk} state={state} />
          <Situations talk={talk} state={state} />
        </div>
        <Course talk={talk} state={state} />
      </main>
      <Help open={help} close={() => setHelp(false)} />
    </>
  );
}

/** What runs, what was refused, and whether anything answers. */
function Bar({ talk }: { talk: Talk }) {
  const { progress, busy, refused, open } = talk.state;
  const share = progress && progress.of > 0 ? progress.done / progress.of : null;
  return (
    <div class="bar-line">
      {open === false && (
        <p class="warn" role="alert">
          The lab has ended or can't be reached; what is shown stays. <button type="button" onClick={() => talk.again()}>try again</button>
        </p>
      )}
      {refused && (
        <p class="warn" role="alert">
          {refused} <button type="button" class="quiet" aria-label="dismiss" onClick={() => talk.put({ refused: "" })}>×</button>
        </p>
      )}
      <div class={`progress ${busy ? "busy" : ""}`}>
        {busy && (
          <>
            <progress aria-label="progress" max={1} value={share ?? undefined} />
            <span class="note">{progress ? `${progress.doing}${progress.of ? `, ${progress.done} of ${progress.of}` : ""}` : "reading"}</span>
            <button type="button" class="quiet" onClick={() => talk.stop()}>stop</button>
          </>
        )}
      </div>
    </div>
  );
}

function Waiting({ talk }: { talk: Talk }) {
  const { open, refused } = talk.state;
  return (
    <main class="waiting">
      <p role="status">{refused || (open === false ? "The lab can't be reached; it is tried again." : "Opening the lab …")}</p>
      {open === false && <button type="button" onClick={() => talk.again()}>try again</button>}
    </main>
  );
}

/** Call a function once a frame, however often it is asked; and at once where no frames come. */
function frames(draw: () => void): () => void {
  let waits = false;
  return () => {
    if (waits) return;
    waits = true;
    queueMicrotask(() => {
      waits = false;
      draw();
    });
  };
}
