// What is a client script told to do, and how does it say what came of it?
// Every script here takes the endpoint from `TURNPIKE_URL`, a bearer token from `TURNPIKE_TOKEN` (none:
// no header), and `[TOOL] [ARGUMENTS_JSON]` from its arguments. It prints one line of JSON
// `{client, tools, result_text}` and exits 0, or says on stderr what happened and exits 1.

import { parseArgs } from 'node:util';

/** Runs `client` once; `act` gets the call and returns `{ tools, result, ... }`. */
export async function runClient(client, act, flags = {}) {
  const deadline = setTimeout(() => fail(client, new Error(`no end after ${DEADLINE_MS / 1000} s`)), DEADLINE_MS);
  try {
    const { tools, result, ...more } = await act(readCall(flags));
    console.log(JSON.stringify({ client, tools: namesOf(tools), result_text: textOf(result), ...more }));
  } catch (error) {
    fail(client, error);
  }
  clearTimeout(deadline);
}

/** The request headers a client has to add; none without a token. */
export function authorization({ token }) {
  return token === undefined ? {} : { Authorization: `Bearer ${token}` };
}

function readCall(flags) {
  const { values, positionals } = parseArgs({ options: flags, allowPositionals: true });
  const [tool = 'echo', json = '{"text":"hello"}', ...rest] = positionals;
  if (rest.length > 0) throw new Error(`\`${rest[0]}\` is one argument too many: give a tool and its arguments as JSON`);
  const url = process.env.TURNPIKE_URL;
  if (!url) throw new Error('TURNPIKE_URL is not set: give the endpoint, for example http://127.0.0.1:8787/mcp/fixture');
  return { ...values, url, token: process.env.TURNPIKE_TOKEN || undefined, tool, args: JSON.parse(json) };
}

function namesOf(tools) {
  if (tools.length === 0) throw new Error('tools/list is empty');
  return tools.map(({ name }) => name);
}

function textOf(result) {
  const text = result.content.filter(({ type }) => type === 'text').map((part) => part.text).join('\n');
  if (result.isError) throw new Error(`the tool failed: ${text}`);
  return text;
}

function fail(client, error) {
  const causes = [];
  for (let each = error; each; each = each.cause) causes.push(each.message || each.code || String(each));
  console.error(`${client}: ${causes.join(': ')}`);
  process.exit(1);
}

const DEADLINE_MS = 90_000;
