// What becomes of the others when one request panics? A panic ends the WebAssembly instance, and with it every request
// that waits inside: their promises would never settle. Each request therefore races the end of its instance and is
// answered 500 when that comes first; the next one finds a new instance. Answers already on their way are not touched:
// their bodies never enter WebAssembly.

import gateway, { Host } from "./index.js";

export { Breaker, Chain, Ledger, Release, Session, Usage } from "./index.js";

// Rust's futures are scheduled by `queueMicrotask`, which workerd implements outside of V8 (measured: 1.4 µs a call, a
// reaction of a settled promise 0.1).
const settled = Promise.resolve();
globalThis.queueMicrotask = (task) => void settled.then(task);

const { serve } = gateway.prototype;
// What is waited for, by the function that ends it; the glue adds the streams that WebAssembly writes.
const waiting = (globalThis.turnpike_waiting ??= new Set());

export default {
  fetch(request, env, context) {
    const { method, headers } = request;
    const length = headers.get("content-length");
    const head = spelled(method, request.url, headers, length);
    const serve = (body) => raced(context, (gate) => enter(head, body, request, env, context, gate));
    if (method !== "POST" || length === null || !(Number(length) <= SMALL_BYTES)) return serve();
    // What is small is here before WebAssembly is entered: once, and not once more for the body. One that breaks off is
    // asked for again there, and told of.
    return request.bytes().then(serve, () => serve());
  },
};

/**
 * A live object: its conversation is kept in WebAssembly, and forgotten with that. The runtime forgets an object when nothing
 * has happened to it for 70 seconds; while something is parked, an alarm happens to it.
 */
export class Conversation {
  constructor(state, env) {
    this.state = state;
    this.env = env;
    this.host = new Host();
    this.watched = false;
  }

  fetch(request) {
    this.watch();
    return raced(undefined, (gate) => {
      try {
        this.host.serve(request, this.env, gate);
      } catch {
        // Already noted, by the proxy around the host.
        gate.answer(null);
      }
    });
  }

  alarm() {
    this.watch();
  }

  watch() {
    if (this.watched) return;
    this.watched = true;
    setTimeout(() => {
      this.watched = false;
      if (this.host.is_busy()) this.state.storage.setAlarm(Date.now() + ALARM_MS, { allowUnconfirmed: true }).catch(() => {});
    }, ALARM_MS);
  }
}

const ALARM_MS = 20_000;
const SMALL_BYTES = 65536;

/**
 * A request's method, URL, and the headers the gateway looks at, `name: value`, a line for each; after an empty line those
 * that differ from request to request. What stands before it is remembered.
 */
function spelled(method, url, headers, length) {
  let text = `${method}\n${url}`;
  const read = (name) => {
    const value = headers.get(name);
    if (value !== null) text += `\n${name}: ${value}`;
    return value;
  };
  for (const name of ["host", "origin", "accept", "authorization", "mcp-protocol-version", "mcp-session-id"]) read(name);
  const has_body = method === "POST" || method === "PUT";
  read(has_body ? "content-type" : "last-event-id");
  // What a modern request repeats of its body. The names of the others depend on the tool: only then all are looked at.
  if (read("mcp-method") !== null) {
    for (const name of headers.keys()) if (name === "mcp-name" || name.startsWith("mcp-param-")) read(name);
  }
  if (method === "OPTIONS") read("access-control-request-headers");
  text += "\n";
  if (length !== null) text += `\ncontent-length: ${length}`;
  if (read("traceparent") !== null) read("tracestate");
  return text;
}

/**
 * Lets `work` answer through a gate: `answer` takes the response, or `null` where none can be made. The glue may answer with
 * what an upstream said as it comes, once `is_open`; until then it is `held`. `was_passed` says that it has.
 */
function raced(context, work) {
  let answer;
  const answered = new Promise((resolve) => (answer = resolve));
  waiting.add(answer);
  work({ answer, context, is_open: false, held: undefined, was_passed: false });
  return answered.then((response) => {
    waiting.delete(answer);
    // The end of the instance is told from another request, so without a response: that must be made where it is used.
    return response ?? failed();
  });
}

// What the glue's class would do with each request, without making an object and two proxies for it. After a panic the
// class must be made once: that makes the new instance.
function enter(head, body, request, env, ctx, gate) {
  if (criticalError) new gateway(ctx, env);
  try {
    serve(head, body, request, env, ctx, gate);
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
    gate.answer(null);
  }
}

// worker-build's glue notes a panic here and makes a new instance before the next request.
const state = globalThis.__worker_init_state;
let criticalError = false;
Object.defineProperty(state, "criticalError", {
  get: () => criticalError,
  set(value) {
    criticalError = value;
    if (value) for (const answer of [...waiting]) answer(null);
  },
});

function failed() {
  const message = "the gateway failed while it worked on this request, which may have been carried out";
  const body = JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32603, message } });
  return new Response(body, { status: 500, headers: { "content-type": "application/json" } });
}
