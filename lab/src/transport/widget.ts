import type { Asked, Message } from "../protocol";
import type { Transport } from "./transport";

/** What anywidget gives to a view. */
export interface Model {
  send(message: unknown): void;
  on(event: string, heard: (message: Message) => void): void;
  off(event: string, heard: (message: Message) => void): void;
}

/** The messages of a notebook's widget. */
export class Widget implements Transport {
  onmessage: Transport["onmessage"] = () => {};
  onstate: Transport["onstate"] = () => {};
  private readonly heard = (message: Message) => this.onmessage(message);

  constructor(private readonly model: Model) {}

  open(): void {
    this.model.on("msg:custom", this.heard);
    this.onstate(true);
  }

  send(message: Asked): void {
    this.model.send(message);
  }

  close(): void {
    this.model.off("msg:custom", this.heard);
  }
}
