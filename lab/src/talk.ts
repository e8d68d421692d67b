import { readAddress, writeAddress, type Told } from "./address";
import { Anatomy } from "./anatomy";
import type { Asking, Message } from "./protocol";
import { FIRST, NOTHING, isSituation, order, type Choice, type Listing, type State } from "./state";
import type { Transport } from "./transport/transport";

/** Milliseconds that a slider waits for an answer before it asks again. */
const PATIENCE = 700;

/** Talks with what answers, and holds what the page shows; the newest selection wins. */
export class Talk {
  state: State = FIRST;
  private readonly heard = new Set<() => void>();
  private last = 0;
  /** Ids of the newest of each. */
  private newest = { select: 0, running: 0, typing: 0, view: 0 };
  private asked = "";
  private finished = true;
  private since = 0;
  private timer = 0;
  private told: Told;

  constructor(private readonly transport: Transport, private readonly addressed: boolean) {
    this.told = addressed ? readAddress(location.hash) : {};
    transport.onmessage = (message) => this.hear(message);
    transport.onstate = (open) => this.change(open);
    if (addressed) window.addEventListener("hashchange", () => this.readdress());
    transport.open();
  }

  /** Call a function whenever something changed; returns what ends that. */
  listen(heard: () => void): () => void {
    this.heard.add(heard);
    return () => this.heard.delete(heard);
  }

  /** Change what is shown. */
  put(patch: Partial<State>): void {
    this.state = { ...this.state, ...patch };
    for (const heard of this.heard) heard();
  }

  list(patch: Partial<Listing>): void {
    this.put({ listing: { ...this.state.listing, ...patch } });
  }

  again(): void {
    this.transport.open();
  }

  /** Select components. */
  take(members: ReadonlySet<number>, name = ""): void {
    const { anatomy } = this.state;
    if (anatomy) this.choose({ members, set: anatomy.text(members), name });
  }

  /** Select what a text says; refuse what is no component. */
  takeText(set: string, name = ""): void {
    const { anatomy } = this.state;
    if (!anatomy) return;
    try {
      const members = anatomy.parse(set);
      this.choose({ members, set: set.trim().replace(/\s+/g, " "), name });
    } catch (error) {
      this.put({ refused: (error as Error).message });
    }
  }

  /** Change the selection and ask what it does; while a slider moves, one question at a time. */
  choose(patch: Partial<Choice>, smooth = false): void {
    const choice = { ...this.state.choice, ...patch };
    if (patch.direction === "graft") Object.assign(choice, { source: "base", strength: 1 });
    if (choice.source !== "base") choice.strength = 1;
    this.put({ choice, refused: "" });
    window.clearTimeout(this.timer);
    const left = this.since + PATIENCE - performance.now();
    if (smooth && this.state.old.answer && left > 0) this.timer = window.setTimeout(() => this.select(), left);
    else this.select();
  }

  /** Name the selection. */
  name(name: string): void {
    this.put({ choice: { ...this.state.choice, name } });
    this.readdressed();
  }

  /** Colour the map by something else; nothing is asked. */
  paint(colour: string): void {
    this.put({ choice: { ...this.state.choice, colour } });
    this.readdressed();
  }

  /** Look at another view. */
  open(view: string): void {
    if (!this.state.scene || view === (this.state.opening ?? this.state.scene.view)) return;
    window.clearTimeout(this.timer);
    this.put({ opening: view, busy: true, refused: "", progress: { doing: "opening it", done: 0, of: 0 } });
    this.newest.view = this.newest.running = ++this.last;
    this.transport.send({ type: "open", id: this.last, view });
  }

  type(text: string): void {
    this.newest.typing = ++this.last;
    this.put({ busy: true, refused: "" });
    const listed = this.state.scene?.situations.text.length ?? 0;
    const { place } = this.state.choice;
    this.transport.send({ type: "type", id: this.last, text, situation: place !== null && place < listed ? place : null });
  }

  draw(n: number): void {
    this.run("draw", { ...this.asking(), n });
    this.put({ drawn: {}, drawing: true });
  }

  sweep(): void {
    this.run("sweep", {});
  }

  stop(): void {
    this.transport.send({ type: "stop", id: ++this.last });
    this.newest.running = this.last;
    this.finished = true;
    this.put({ busy: false, progress: null, drawing: false, opening: null });
  }

  /** Show the next situation of the list, or one before. */
  step(by: number): void {
    const listed = order(this.state);
    if (!listed.length) return;
    const at = listed.indexOf(this.state.choice.place ?? -1);
    const next = at < 0 ? 0 : Math.max(0, Math.min(listed.length - 1, at + by));
    this.choose({ place: listed[next] });
  }

  private run(type: string, more: Record<string, unknown>): void {
    this.newest.running = ++this.last;
    this.put({ busy: true, refused: "", progress: null });
    this.transport.send({ type, id: this.last, ...more });
  }

  private asking(): Asking {
    const { set, direction, source, strength, place } = this.state.choice;
    return { set, direction, source, strength, situation: place };
  }

  private select(): void {
    const { scene, opening } = this.state;
    this.readdressed();
    if (!scene || opening) return;
    const { situation: _, ...hybrid } = this.asking();
    const asked = JSON.stringify(hybrid);
    const same = asked === this.asked;
    const old = same ? { ...this.state.old, answer: true } : { answer: true, effects: true, changes: true };
    const drawn = this.state.drawing || Object.keys(this.state.drawn).length ? {} : this.state.drawn;
    this.asked = asked;
    this.newest.select = this.newest.running = ++this.last;
    this.since = performance.now();
    this.finished = false;
    this.put({ old, drawn, drawing: false, busy: true, progress: null, ...(same ? {} : { estimated: null }) });
    this.transport.send({ type: "select", id: this.last, ...this.asking() });
  }

  private change(open: boolean): void {
    this.put({ open, ...(open ? {} : { busy: false, progress: null, drawing: false }) });
    if (!open) return;
    this.asked = "";
    this.put({ typed: [] });
    this.newest.view = ++this.last;
    this.transport.send({ type: "hello", id: this.last });
  }

  private hear(message: Message): void {
    const { newest, state } = this;
    const id = message.id ?? null;
    if (id !== null && !Object.values(newest).includes(id)) return;
    switch (message.type) {
      case "scene":
        if (id === null || id === newest.view) this.shown(message.scene);
        break;
      case "answer":
        if (id === newest.select) this.answered(message);
        break;
      case "estimated":
        this.put({ estimated: message.effects });
        break;
      case "changes":
        this.put({ changes: message, old: { ...state.old, changes: false } });
        break;
      case "effects":
        this.put({ effects: message, old: { ...state.old, effects: false }, ...this.onlyNew(state) });
        break;
      case "controls":
        this.put({ controls: message });
        break;
      case "situation":
        this.put({ typed: [...state.typed, message.situation] });
        this.choose({ place: message.situation.place });
        break;
      case "drawn":
        this.put({ drawn: { ...state.drawn, [message.side]: message.answers } });
        break;
      case "colouring":
        this.coloured(message.colouring);
        break;
      case "progress":
        this.put({ progress: message, busy: true });
        break;
      case "done":
        if (id === newest.running) this.done(id);
        break;
      case "refused":
        this.put({ refused: message.message, busy: false, progress: null, drawing: false, opening: null });
        if (id === newest.select) this.finished = true;
        break;
    }
  }

  private onlyNew(state: State): Partial<State> {
    return state.old.effects ? { controls: null } : {};
  }

  private answered(message: Extract<Message, { type: "answer" }>): void {
    const { choice, old } = this.state;
    this.put({ answer: message, old: { ...old, answer: false }, choice: { ...choice, set: message.set } });
    this.readdressed();
  }

  private done(id: number): void {
    const paused = id !== this.newest.select && !this.finished;
    if (id === this.newest.select) this.finished = true;
    this.put({ busy: false, progress: null, drawing: false });
    if (paused) this.select();
  }

  private coloured(colouring: Extract<Message, { type: "colouring" }>["colouring"]): void {
    const { scene } = this.state;
    if (!scene) return;
    const others = scene.colourings.filter((one) => one.key !== colouring.key);
    this.put({ scene: { ...scene, colourings: [...others, colouring] } });
  }

  private shown(scene: NonNullable<State["scene"]>): void {
    const told = this.told;
    this.told = {};
    if (told.view && told.view !== scene.view && scene.views.some((one) => one.key === told.view)) {
      this.told = { ...told, view: undefined };
      this.put({ scene, anatomy: new Anatomy(scene) });
      return this.open(told.view);
    }
    const anatomy = new Anatomy(scene);
    const typed = this.state.scene?.view === scene.view ? this.state.typed : [];
    this.put({
      scene, anatomy, typed, opening: null, progress: null, busy: false,
      answer: null, effects: null, controls: null, estimated: null, changes: null,
    });
    const choice = { ...this.state.choice, ...defined(told) };
    let members: ReadonlySet<number> = NOTHING;
    let refused = "";
    try {
      members = anatomy.parse(choice.set);
    } catch (error) {
      choice.set = "";
      refused = (error as Error).message;
    }
    if (!isSituation(this.state, choice.place)) choice.place = order(this.state)[0] ?? null;
    this.asked = "";
    this.choose({ ...choice, members });
    if (refused) this.put({ refused });
  }

  private readdress(): void {
    const told = readAddress(location.hash);
    const { scene, choice } = this.state;
    if (!scene || location.hash.replace(/^#/, "") === this.written) return;
    if (told.view && told.view !== scene.view) {
      this.told = told;
      return this.open(told.view);
    }
    const base = { ...choice, set: "", name: "", direction: "take back" as const, source: "base", strength: 1 };
    const next = { ...base, ...defined(told) };
    if (!isSituation(this.state, next.place)) next.place = choice.place;
    try {
      this.choose({ ...next, members: this.state.anatomy?.parse(next.set) ?? NOTHING });
    } catch (error) {
      this.put({ refused: (error as Error).message });
    }
  }

  private written = "";

  private readdressed(): void {
    const { scene, choice } = this.state;
    if (!this.addressed || !scene) return;
    this.written = writeAddress(choice, scene.view, scene.views.length > 1, scene.situations.text.length);
    try {
      history.replaceState(null, "", this.written ? `#${this.written}` : location.pathname + location.search);
    } catch {
      // an address that can't be written is no loss to what is shown
    }
  }
}

function defined<T extends object>(told: T): Partial<T> {
  return Object.fromEntries(Object.entries(told).filter(([name, one]) => one !== undefined && name !== "view")) as Partial<T>;
}
