// npm `@modelcontextprotocol/sdk` 1.32 as an agent that stays: one session, in which it does what it is told, line by line.
//
//   TURNPIKE_URL=… TURNPIKE_TOKEN=… node tests/clients/agent.mjs
//
// Each line of standard input is `{"list":true}` or `{"call":TOOL,"arguments":{…}}`. Each is answered by one line:
// `{"tools":[…]}`, `{"text":…,"length":…}`, or `{"error":{"code":…,"message":…}}` as the SDK shows it to its user; beside it
// `status` and `retry_after` of the HTTP answer, which the SDK keeps to itself, and how many `requests` it has sent by now, its own
// among them. The first line tells how connecting went. The end of standard input ends the session.

import { createInterface } from 'node:readline';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { authorization } from './matrix.mjs';

const SHOWN_CHARACTERS = 200;
const http = { requests: 0 };

const client = new Client({ name: 'turnpike-agent', version: '1.0.0' });
const transport = new StreamableHTTPClientTransport(new URL(process.env.TURNPIKE_URL), {
  requestInit: { headers: authorization({ token: process.env.TURNPIKE_TOKEN }) },
  fetch: listeningFetch,
});

const connected = await tell(async () => {
  await client.connect(transport);
  return { connected: true };
});
if (!connected) process.exit(1);
for await (const line of createInterface({ input: process.stdin })) await tell(() => act(JSON.parse(line)));
await transport.terminateSession().catch(() => {});
await client.close();

async function act(order) {
  if (order.list) return { tools: (await client.listTools()).tools.map(({ name }) => name) };
  const result = await client.callTool({ name: order.call, arguments: order.arguments });
  const text = result.content.map((part) => part.text ?? '').join('\n');
  if (result.isError) throw new Error(`the tool failed: ${text}`);
  return { text: text.slice(0, SHOWN_CHARACTERS), length: text.length };
}

async function tell(work) {
  try {
    console.log(JSON.stringify({ ...(await work()), ...http }));
    return true;
  } catch (error) {
    console.log(JSON.stringify({ error: { code: error.code ?? null, message: error.message }, ...http }));
    return false;
  }
}

/** The GET stream answers in its own time; only what was asked for counts. */
async function listeningFetch(url, init) {
  const response = await fetch(url, init);
  if (init?.method === 'POST') {
    const { id, method } = JSON.parse(init.body);
    if (id !== undefined && method !== undefined) http.requests += 1;
    http.status = response.status;
    const wait = response.headers.get('retry-after');
    http.retry_after = wait === null ? null : Number(wait);
  }
  return response;
}
