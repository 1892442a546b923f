// What does a client do at each server, and how does it say what it saw?
//
//   TURNPIKE_URL=… TURNPIKE_TOKEN=… node tests/clients/CLIENT.mjs TARGETS_JSON
//
// TARGETS_JSON is an array of what `servers.json` beside this file says of each server, with `server` and the prefixes
// its names and URIs have at this endpoint. For each server and aspect one line of JSON is printed: `{ server, aspect, ok }`
// with what was seen, or `failed` with what went wrong, or `none` where the server has nothing of the kind.

import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * @param {(endpoint: { url: string, token?: string }) => Promise<Session>} connect
 * @typedef {{
 *   list(): Promise<string[]>,
 *   call(name: string, args: object, options?: { signal?: AbortSignal, onprogress?: () => void }): Promise<object>,
 *   read(uri: string): Promise<object>,
 *   prompt(name: string, args: object): Promise<object>,
 *   close(): Promise<void>,
 *   cannot?: Record<string, string>,
 * }} Session what a client can do; `cannot` says of an aspect why it can not
 */
export async function runClient(connect) {
  const targets = JSON.parse(process.argv[2]);
  const endpoint = { url: process.env.TURNPIKE_URL, token: process.env.TURNPIKE_TOKEN || undefined };
  let session;
  try {
    session = await within(connect(endpoint), 'connecting');
  } catch (error) {
    const cells = targets.flatMap(({ server }) => Object.keys(ASPECTS).map((aspect) => ({ server, aspect })));
    for (const cell of cells) say({ ...cell, failed: told(error) });
    process.exit(0);
  }
  for (const target of targets) await visit(session, target);
  await within(session.close(), 'closing').catch(() => {});
  process.exit(0);
}

/** What the user answers whenever a server asks for input: as little as its form requires. */
export function answerTo({ requestedSchema }) {
  const required = (requestedSchema.required ?? []).map((name) => [name, requestedSchema.properties[name]]);
  return { action: 'accept', content: Object.fromEntries(required.map(([name, schema]) => [name, valueOf(schema)])) };
}

/** The answer to a sampling. */
export const SAMPLED = { role: 'assistant', model: 'none', content: { type: 'text', text: 'sampled' } };

/** What the client lets servers ask for, and the folder it works in. */
export const CAPABILITIES = { sampling: {}, elicitation: {}, roots: {} };
export const ROOTS = { roots: [{ uri: 'file:///work' }] };

/** The request headers a client has to add; none without a token. */
export function authorization({ token }) {
  return token === undefined ? {} : { Authorization: `Bearer ${token}` };
}

async function visit(session, target) {
  for (const [aspect, look] of Object.entries(ASPECTS)) {
    const { server, [aspect]: wanted } = target;
    if (typeof wanted === 'string') say({ server, aspect, none: wanted });
    else if (session.cannot?.[aspect] !== undefined) say({ server, aspect, failed: session.cannot[aspect] });
    else {
      const seen = within(look(session, target, wanted), aspect);
      say(await seen.then((ok) => ({ server, aspect, ok }), (error) => ({ server, aspect, failed: told(error) })));
    }
  }
}

/** Each gives what was seen, or throws what was missed. */
const ASPECTS = {
  async list(session, { prefix, call }) {
    const tools = await session.list();
    const ours = tools.filter((name) => name.startsWith(prefix));
    const wanted = prefix + call.tool;
    if (!ours.includes(wanted)) throw new Error(`\`${wanted}\` is not in the list: ${tools.join(', ')}`);
    return `${ours.length} tools`;
  },

  async call(session, { prefix }, { tool, arguments: args, expect }) {
    return found(expect, textOf(await session.call(prefix + tool, args)));
  },

  async resource(session, { uri_prefix: prefix }, { uri, expect }) {
    const { contents } = await session.read(prefix + uri);
    return found(expect, contents.map(({ text }) => text).join('\n'));
  },

  async prompt(session, { prefix }, { name, arguments: args, expect }) {
    const { messages } = await session.prompt(prefix + name, args);
    return found(expect, messages.map(({ content }) => content.text).join('\n'));
  },

  async elicitation(session, { prefix }, { tool, arguments: args, expect }) {
    return found(expect, textOf(await session.call(prefix + tool, args)));
  },

  async cancellation(session, { prefix, call }, { tool, arguments: args, witness }) {
    const controller = new AbortController();
    const label = randomUUID();
    let progressed = false;
    const options = { signal: controller.signal, onprogress: () => (progressed = true) };
    const ended = session.call(prefix + tool, witness ? { ...args, label } : args, options).then(
      () => 'finished',
      () => 'rejected',
    );
    const early = ended.then((end) => Promise.reject(new Error(`the call ${end} before it was cancelled`)));
    early.catch(() => {});
    const fate = async () => textOf(await session.call(prefix + witness, { label }));
    await Promise.race([early, until(async () => (witness ? (await fate()) === 'running' : progressed))]);
    controller.abort();
    if ((await ended) !== 'rejected') throw new Error('the call finished although it was cancelled');
    if (witness) {
      await until(async () => (await fate()) === 'cancelled');
      return 'the server saw it';
    }
    found(call.expect, textOf(await session.call(prefix + call.tool, call.arguments)));
    return 'the caller is free';
  },
};

async function until(holds) {
  for (;;) {
    if (await holds()) return;
    await delay(POLL_MS);
  }
}

function found(expected, text) {
  if (!text.includes(expected)) throw new Error(`\`${expected}\` is not in \`${text.slice(0, SHOWN_CHARACTERS)}\``);
  return 'ok';
}

function textOf(result) {
  const text = result.content.map((part) => part.text ?? '').join('\n');
  if (result.isError) throw new Error(`the tool failed: ${text}`);
  return text;
}

function valueOf(schema) {
  if (schema.type === 'string') return schema.enum?.[0] ?? (schema.format === 'email' ? 'ada@example.com' : 'ada');
  return { boolean: true, integer: 1, number: 1 }[schema.type];
}

async function within(work, what) {
  const clock = new AbortController();
  const late = delay(LIMIT_MS, undefined, { signal: clock.signal }).then(() => {
    throw new Error(`${what} did not end within ${LIMIT_MS / 1000} s`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([work, late]);
  } finally {
    clock.abort();
  }
}

function told(error) {
  const causes = [];
  for (let each = error; each; each = each.cause) causes.push(each.message || each.code || String(each));
  return causes.join(': ').slice(0, 500);
}

function say(line) {
  console.log(JSON.stringify(line));
}

const POLL_MS = 100;
const LIMIT_MS = 20_000;
const SHOWN_CHARACTERS = 200;
