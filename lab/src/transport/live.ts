import type { Asked } from "../protocol";
import type { Transport } from "./transport";

const AGAIN = 2000;

/** A WebSocket beside the page; what is lost is sought again every two seconds. */
export class Live implements Transport {
  onmessage: Transport["onmessage"] = () => {};
  onstate: Transport["onstate"] = () => {};
  private socket: WebSocket | null = null;
  private timer = 0;

  open(): void {
    window.clearTimeout(this.timer);
    this.socket?.close();
    const address = new URL("ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    const token = new URLSearchParams(location.search).get("token");
    address.search = token ? `?token=${encodeURIComponent(token)}` : "";
    const socket = new WebSocket(address);
    this.socket = socket;
    socket.onopen = () => this.onstate(true);
    socket.onmessage = (event) => this.onmessage(JSON.parse(String(event.data)));
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.onstate(false);
      this.timer = window.setTimeout(() => this.open(), AGAIN);
    };
  }

  send(message: Asked): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}
