// How often does the gateway ask storage, and does anything of that come before a call goes upstream?
//
// The Worker as it is deployed, with its storage and `fetch` counted: `DELETE /counts` begins anew, `GET /counts` tells.
// A call is known at the upstream by its trace, which the caller has to name and the gateway continues.

import entry from "./entry.mjs";

export { Breaker, Chain, Conversation, Ledger, Release, Session, Usage } from "./entry.mjs";

let counts = none();
// What each call asked so far, by its trace, until it is sent on.
const calls = new Map();

export default {
  fetch(request, env, context) {
    if (new URL(request.url).pathname === "/counts") return told(request.method);
    const asked = { begun: [], answered: [] };
    const trace = traceOf(request.headers);
    if (trace) calls.set(trace, asked);
    return entry.fetch(request, counted(env, asked), context);
  },
};

const send = globalThis.fetch;
globalThis.fetch = (resource, init) => {
  const trace = init?.headers && traceOf(init.headers);
  const asked = calls.get(trace);
  if (asked) {
    calls.delete(trace);
    counts.calls += 1;
    // What was begun may run beside the call; only what was answered can have been waited for.
    asked.begun.forEach((binding) => add(counts.begun_before, binding));
    asked.answered.forEach((binding) => add(counts.answered_before, binding));
  }
  return send(resource, init);
};

function told(method) {
  const response = Response.json(counts);
  if (method === "DELETE") {
    counts = none();
    calls.clear();
  }
  return response;
}

/** The bindings, as one request sees them: what it asks is noted in `asked`. */
function counted(env, asked) {
  const ask = async (binding, tally, answer) => {
    asked.begun.push(binding);
    add(tally, binding);
    try {
      return await answer;
    } finally {
      asked.answered.push(binding);
    }
  };
  return Object.fromEntries(Object.entries(env).map(([name, binding]) => [name, wrapped(name, binding, ask)]));
}

function wrapped(name, binding, ask) {
  if (typeof binding.idFromName === "function") {
    const get = (id) => {
      const stub = binding.get(id);
      return { fetch: (...request) => ask(name, counts.objects, stub.fetch(...request)) };
    };
    return { idFromName: (object) => binding.idFromName(object), get };
  }
  if (typeof binding.getWithMetadata === "function") {
    const read = (...key) => ask(name, counts.documents, binding.get(...key));
    return { get: read, put: (...pair) => binding.put(...pair), list: (options) => binding.list(options) };
  }
  return binding;
}

function traceOf(headers) {
  return headers.get("traceparent")?.slice(3, 35);
}

function add(tally, binding) {
  tally[binding] = (tally[binding] ?? 0) + 1;
}

function none() {
  return { calls: 0, begun_before: {}, answered_before: {}, objects: {}, documents: {} };
}
