// What crosses between WebAssembly and JavaScript, each step in one call: a head goes over as one text, a line for each
// header, `name: value`.

const STREAMING = "streaming ";
const LATE = "the deadline passed";
const SMALL_BYTES = 65536;
// What was spelled before, by the numbers WebAssembly gave: see `numbered.rs`. Making headers costs more than looking them up.
const requests = [];
const answers = [];
const TOLD = ["authorization", "content-length", "last-event-id", "mcp-session-id", "traceparent", "tracestate", "turnpike-terms"];
const types = new Map();
const TYPES_MAX = 16;
const under_way = new Map();
const waiting = (globalThis.turnpike_waiting ??= new Set());

/** A request to a live object: its method, URL, and the headers its conversation looks at. */
export function told({ method, url, headers }) {
  let text = `${method}\n${url}`;
  for (const name of TOLD) {
    const value = headers.get(name);
    if (value !== null) text += `\n${name}: ${value}`;
  }
  return text;
}

/** Tells when whoever made a request went away. */
export function departure({ signal }, id, settle) {
  if (signal.aborted) settle(id, true);
  else signal.addEventListener("abort", () => settle(id, true), { once: true });
}

/** Answers a caller, with the headers of this number; their text comes with it the first time. */
export function respond(gate, status, number, text, body) {
  if (text !== undefined) answers[number] = fields(text);
  if (!gate.was_passed) gate.answer(new Response(body, { status, headers: answers[number] }));
}

/** What may not leave before is let go. */
export function open(gate) {
  gate.is_open = true;
  gate.held?.();
}

/** Nobody is answered here: `entry.mjs` says so. */
export function fail(gate) {
  gate.answer(null);
}

/** Tells, by its number, how what was begun for WebAssembly has ended: `settle(number, succeeded, value or error, text)`. */
function follow(promise, id, settle) {
  promise.then(
    (value) => settle(id, true, value),
    (error) => settle(id, false, error),
  );
}

/**
 * Sends the request of this number; its head comes with it the first time: `METHOD\nURL\nname: value…`. Gives the head of
 * the answer as text, and its body: all of it where it says that it is small, else the stream, which `controller` cuts off.
 * Fails with `is_late` when that takes too long.
 *
 * With a gate, what is small and plain passes on to the caller as it comes, and is brought as well.
 */
export function send(number, text, traceparent, body, deadline_ms, gate, is_open, id, settle) {
  if (text !== undefined) requests[number] = spelled(text);
  const { method, url, headers, is_in_session } = requests[number];
  // `fetch` copies them before the next request comes here.
  if (traceparent !== undefined) headers.set("traceparent", traceparent);
  else headers.delete("traceparent");
  if (is_open && gate !== undefined) gate.is_open = true;

  const controller = new AbortController();
  let is_awaited = true;
  const end = (succeeded, value, text) => {
    if (is_awaited) settle(id, succeeded, value, text);
    is_awaited = false;
  };
  let fail = (error) => end(false, error);
  // It is not cleared, which would cost more: a stream that began in time is none of its business.
  setTimeout(() => {
    if (!is_awaited) return;
    fail(LATE);
    controller.abort();
  }, deadline_ms);

  const look = (response) => {
    // The runtime unpacks what is packed; the length that was said is then not the body's.
    const length = response.headers.has("content-encoding") ? null : response.headers.get("content-length");
    const type = response.headers.get("content-type");
    const head = answered(response, type, length, is_in_session);
    const stream = response.body;
    if (length === null || Number(length) > SMALL_BYTES) {
      end(true, { controller, stream: stream ?? undefined }, STREAMING + head);
      return;
    }
    const bring = (buffer) => end(true, new Uint8Array(buffer), head);
    if (gate === undefined || response.status !== 200 || stream === null || !is_json(type)) {
      response.arrayBuffer().then(bring, (error) => fail(error));
      return;
    }
    // Nothing would be changed of it: it need not wait until it was looked at.
    const [passing, kept] = stream.tee();
    const fail_before = fail;
    fail = (error) => {
      gate.held = undefined;
      if (gate.was_passed) end(true, { controller, stream: broken(error) }, STREAMING + head);
      else fail_before(error);
    };
    gate.held = () => {
      gate.held = undefined;
      gate.was_passed = true;
      gate.answer(new Response(passing, { status: 200, headers: of_type(type) }));
    };
    if (gate.is_open) gate.held();
    gate.context.waitUntil(new Response(kept).arrayBuffer().then(bring, (error) => fail(error)));
  };
  fetch(url, { method, headers, body, redirect: "manual", signal: controller.signal }).then(look, (error) => fail(error));
}

/** A body that breaks off at once. */
function broken(error) {
  return new ReadableStream({ start: (controller) => controller.error(error) });
}

function is_json(type) {
  return type === "application/json" || /^application\/json\s*(;|$)/i.test(type ?? "");
}

/** The headers of an answer that passes on. */
function of_type(type) {
  let headers = types.get(type);
  if (headers === undefined) {
    if (types.size >= TYPES_MAX) types.clear();
    types.set(type, (headers = new Headers([["content-type", type]])));
  }
  return headers;
}

/**
 * Sends a request as `send` does, from a live object: nothing there ends by itself, so it can be cut off with `cancel`
 * before it is answered, and is when it takes too long.
 */
export function begin(request, body, deadline_ms, id, settle) {
  const { method, url, headers, is_in_session } = spelled(request);
  const controller = begun(id);
  const { signal } = controller;
  const fetching = fetch(url, { method, headers, body, signal, redirect: "manual" });
  follow_answer(within(fetching, is_in_session, controller, deadline_ms, id), id, settle);
}

/**
 * Sends a request to the live object `name`. It is told when `origin`, the request on whose behalf that happens, is given
 * up by its caller.
 */
export function converse(env, name, request, body, deadline_ms, origin, id, settle) {
  const { method, url, headers, is_in_session } = spelled(request);
  const controller = begun(id);
  const { signal } = controller;
  if (origin?.signal.aborted) controller.abort();
  origin?.signal.addEventListener("abort", () => controller.abort(), { once: true });
  const stub = env.CONVERSATION.get(env.CONVERSATION.idFromName(name));
  follow_answer(within(stub.fetch(url, { method, headers, body, signal }), is_in_session, controller, deadline_ms, id), id, settle);
}

/** Cuts off what `begin` or `converse` began, if it was not answered yet. */
export function cancel(id) {
  under_way.get(id)?.abort();
  under_way.delete(id);
}

function follow_answer(promise, id, settle) {
  promise.then(
    ([value, text]) => settle(id, true, value, text),
    (error) => settle(id, false, error),
  );
}

function begun(id) {
  const controller = new AbortController();
  under_way.set(id, controller);
  return controller;
}

async function within(fetching, is_in_session, controller, deadline_ms, id) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(LATE), deadline_ms)));
  try {
    const response = await Promise.race([fetching, late]);
    const length = response.headers.has("content-encoding") ? null : response.headers.get("content-length");
    const head = answered(response, response.headers.get("content-type"), length, is_in_session);
    if (length !== null && Number(length) <= SMALL_BYTES) {
      return [new Uint8Array(await Promise.race([response.arrayBuffer(), late])), head];
    }
    return [{ controller, stream: response.body ?? undefined }, STREAMING + head];
  } catch (error) {
    controller.abort();
    throw error;
  } finally {
    clearTimeout(timer);
    // A new instance of WebAssembly counts from the beginning.
    if (under_way.get(id) === controller) under_way.delete(id);
  }
}

function spelled(request) {
  const [method, url] = request.split("\n", 2);
  const headers = fields(request.slice(method.length + url.length + 2));
  return { method, url, headers, is_in_session: headers.has("mcp-session-id") };
}

/** A body that WebAssembly writes: `stream` for who reads it. When the reader of `origin`'s answer leaves, writing fails. */
export function written({ signal }) {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  const end = () => writer.abort("nobody reads or writes it any more").catch(() => {});
  signal.addEventListener("abort", end, { once: true });
  // With the instance of WebAssembly its writers end; see entry.mjs.
  let dies;
  new Promise((resolve) => (dies = resolve)).then(end);
  waiting.add(dies);
  const closed = writer.closed.catch(() => {}).then(() => void waiting.delete(dies));
  return { stream: readable, writer, closed };
}

/** Writes a piece; settled once it was read. */
export function write({ writer }, piece, id, settle) {
  follow(writer.write(piece), id, settle);
}

/** Settled once nobody reads any more. */
export function closed({ closed }, id, settle) {
  follow(closed, id, settle);
}

/** That was all. */
export function close({ writer }) {
  writer.close().catch(() => {});
}

/** Whether `send` failed because of its deadline. */
export function is_late(error) {
  return error === LATE;
}

/** All bytes of a request or a stream, which the caller knows to be few. */
export function whole(source, id, settle) {
  const bytes = (source instanceof Request ? source : new Response(source)).bytes();
  follow(bytes, id, settle);
}

/** What a machine, `BINDING\nname`, answers: to a command, or else to the question that `url` holds. */
export function ask(env, machine, url, command, id, settle) {
  asked(env, machine, url, command).then(
    (text) => settle(id, true, undefined, text),
    (error) => settle(id, false, error),
  );
}

async function asked(env, machine, url, command) {
  const end = machine.indexOf("\n");
  const namespace = env[machine.slice(0, end)];
  const stub = namespace.get(namespace.idFromName(machine.slice(end + 1)));
  const answer = await stub.fetch(url, command && { method: "POST", body: command });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${machine.slice(0, end)} answered ${answer.status}: ${text}`);
  return text;
}

function answered({ status, headers }, type, length, is_in_session) {
  let text = type === null ? `${status}` : `${status}\ncontent-type: ${type}`;
  const read = (name) => {
    const value = headers.get(name);
    if (value !== null) text += `\n${name}: ${value}`;
  };
  if (!is_in_session) read("mcp-session-id");
  if (status !== 200) {
    read("allow");
    read("retry-after");
  }
  return length === null ? text : `${text}\ncontent-length: ${length}`;
}

function fields(text) {
  const headers = new Headers();
  if (text === "") return headers;
  for (const line of text.split("\n")) {
    const colon = line.indexOf(": ");
    headers.append(line.slice(0, colon), line.slice(colon + 2));
  }
  return headers;
}
