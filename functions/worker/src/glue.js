// What crosses between WebAssembly and JavaScript, each step in one call: a head goes over as one text, a line for each
// header, `name: value`.

const LATE = "the deadline passed";
const SMALL_BYTES = 65536;

/** A request's method, URL, and the headers the gateway looks at. */
export function head({ method, url, headers }) {
  let text = `${method}\n${url}`;
  const read = (name) => {
    const value = headers.get(name);
    if (value !== null) text += `\n${name}: ${value}`;
    return value;
  };
  for (const name of ["host", "origin", "accept", "authorization", "mcp-protocol-version", "mcp-session-id"]) read(name);
  for (const name of method === "POST" ? ["content-type", "content-length"] : ["last-event-id"]) read(name);
  if (read("traceparent") !== null) read("tracestate");
  return text;
}

/** The answer to a caller. */
export function respond(status, headers, body) {
  return new Response(body, { status, headers: fields(headers) });
}

/**
 * Sends a request: `METHOD\nURL\nname: value…`. Gives the head of the answer, and its body: all of it where it says that it is
 * small, else the stream, which `controller` cuts off. Fails with `is_late` when that takes too long; what is still under
 * way then ends with the request it was made for.
 */
export async function send(request, body, deadline_ms) {
  const [method, url] = request.split("\n", 2);
  const headers = fields(request.slice(method.length + url.length + 2));
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(LATE), deadline_ms)));
  try {
    const response = await Promise.race([fetch(url, { method, headers, body, redirect: "manual" }), late]);
    // The runtime unpacks what is packed; the length that was said is then not the body's.
    const length = response.headers.has("content-encoding") ? null : response.headers.get("content-length");
    const head = answered(response, length, headers);
    if (length !== null && Number(length) <= SMALL_BYTES) {
      return { head, arrived: new Uint8Array(await Promise.race([response.arrayBuffer(), late])) };
    }
    const controller = new AbortController();
    const { signal } = controller;
    // Where the length is known, a caller sees that an answer broke off; workerd ends any other as if it were whole.
    const pipe = length === null ? new IdentityTransformStream() : new FixedLengthStream(Number(length));
    return { head, controller, stream: response.body?.pipeThrough(pipe, { signal }) };
  } finally {
    clearTimeout(timer);
  }
}

/** Whether `send` failed because of its deadline. */
export function is_late(error) {
  return error === LATE;
}

/** All bytes of a request or a stream, which the caller knows to be few. */
export async function whole(source) {
  return new Uint8Array(await (source instanceof Request ? source : new Response(source)).arrayBuffer());
}

function answered({ status, headers }, length, sent) {
  const names = ["content-type"];
  if (!("mcp-session-id" in sent)) names.push("mcp-session-id");
  if (status !== 200) names.push("allow", "retry-after");
  let text = `${status}`;
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) text += `\n${name}: ${value}`;
  }
  return length === null ? text : `${text}\ncontent-length: ${length}`;
}

function fields(text) {
  const headers = {};
  if (text === "") return headers;
  for (const line of text.split("\n")) {
    const colon = line.indexOf(": ");
    headers[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return headers;
}
