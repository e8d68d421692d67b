import type { Asked, Message } from "../protocol";

/** What carries messages between the page and what answers it. */
export interface Transport {
  send(message: Asked): void;
  /** Called with each message. */
  onmessage: (message: Message) => void;
  /** Called when it opens, again when it was lost and found, and when it is lost. */
  onstate: (open: boolean) => void;
  /** Opens it; or tries again, where it was lost. */
  open(): void;
}
