import { show } from "./app";
import { Widget, type Model } from "./transport/widget";

/** What anywidget calls for each view; it returns what takes the view away. */
function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const root = document.createElement("div");
  el.append(root);
  const transport = new Widget(model);
  const away = show(root, transport, false);
  return () => {
    transport.close();
    away();
  };
}

export default { render };
