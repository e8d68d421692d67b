// A page that is opened from disk may not start a worker; search then runs in a frame of the page instead.
if (location.protocol === "file:") {
  const load = (...urls) =>
    urls.reduce(
      (before, url) =>
        before.then(
          () =>
            new Promise((done) => {
              const script = document.createElement("script");
              script.src = url;
              script.onload = done;
              document.body.appendChild(script);
            }),
        ),
      Promise.resolve(),
    );
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      const inside = frame.contentWindow;
      window.addEventListener("message", (event) => {
        if (event.source !== inside) return;
        const told = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(told);
        this.onmessage?.(told);
      });
      this.ready = new Promise((done) => (frame.onload = done));
      this.inside = inside;
      this.frame = frame;
      inside.document.open();
      inside.document.write(
        `<body><script>postMessage = parent.postMessage.bind(parent); importScripts = ${load}</` +
          `script><script src="${url}"></` +
          "script></body>",
      );
      inside.document.close();
    }
    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data: structuredClone(data) })));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
