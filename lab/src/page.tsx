import { show } from "./app";
import { Live } from "./transport/live";
import { Static } from "./transport/static";

const root = document.createElement("div");
document.body.append(root);
show(root, document.body.dataset.transport === "static" ? new Static() : new Live(), true);
