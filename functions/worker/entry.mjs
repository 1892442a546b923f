// What becomes of the others when one request panics? A panic ends the WebAssembly instance, and with it every request
// that waits inside: their promises would never settle. Each request therefore races the end of its instance and is
// answered 500 when that comes first; the next one finds a new instance. Answers already on their way are not touched:
// their bodies never enter WebAssembly.

import gateway from "./index.js";

export { Chain, Ledger, Session } from "./index.js";

// Rust's futures are scheduled by `queueMicrotask`, which workerd implements outside of V8 (measured: 1.4 µs a call, a
// reaction of a settled promise 0.1).
const settled = Promise.resolve();
globalThis.queueMicrotask = (task) => void settled.then(task);

const waiting = new Set();

export default {
  fetch(request, env, context) {
    let end;
    const answered = new Promise((resolve, reject) => {
      // Told from another request, so without a response: that must be made where it is used.
      end = () => resolve(null);
      waiting.add(end);
      enter(request, env, context).then(resolve, reject);
    });
    return answered.then(
      (response) => {
        waiting.delete(end);
        return response ?? failed();
      },
      (error) => {
        waiting.delete(end);
        if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
        if (criticalError) return failed();
        throw error;
      },
    );
  },
};

// What the glue's class does with each request, without making an object and two proxies for it. After a panic the class
// must be made once: that makes the new instance.
function enter(request, env, ctx) {
  return criticalError ? new gateway(ctx, env).fetch(request) : gateway.prototype.fetch.call({ env, ctx }, request);
}

// worker-build's glue notes a panic here and makes a new instance before the next request.
const state = globalThis.__worker_init_state;
let criticalError = false;
Object.defineProperty(state, "criticalError", {
  get: () => criticalError,
  set(value) {
    criticalError = value;
    if (value) for (const end of [...waiting]) end();
  },
});

function failed() {
  const message = "the gateway failed while it worked on this request, which may have been carried out";
  const body = JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32603, message } });
  return new Response(body, { status: 500, headers: { "content-type": "application/json" } });
}
