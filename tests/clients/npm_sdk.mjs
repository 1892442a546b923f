// npm `@modelcontextprotocol/sdk` 1.32 over Streamable HTTP: initialize, tools/list, tools/call.
//
//   TURNPIKE_URL=… TURNPIKE_TOKEN=… node tests/clients/npm_sdk.mjs [--bidi] [TOOL] [ARGUMENTS_JSON]
//
// `--bidi` needs the fixture behind the endpoint. It adds everything where the server speaks first:
// progress, a sampling and an elicitation asked back, a notification on the GET stream; and it checks
// that the session it ends is really gone.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';

import { authorization, runClient } from './call.mjs';

const CAPABILITIES = { sampling: {}, elicitation: {} };
const WATCHED = 'test://watched-resource';

await runClient('npm-sdk', useServer, { bidi: { type: 'boolean', default: false } });

async function useServer(call) {
  const client = new Client({ name: 'turnpike-npm-sdk', version: '1.0.0' }, { capabilities: CAPABILITIES });
  answerTheServer(client);
  const transport = new StreamableHTTPClientTransport(new URL(call.url), {
    requestInit: { headers: authorization(call) },
  });
  await client.connect(transport);
  try {
    const { tools } = await client.listTools();
    const result = await client.callTool({ name: call.tool, arguments: call.args });
    if (!call.bidi) return { tools, result };
    return { tools, result, bidi: { ...(await serverSpeaksFirst(client)), ended: await endSession(call, transport) } };
  } finally {
    if (transport.sessionId !== undefined) await transport.terminateSession();
    await client.close();
  }
}

function answerTheServer(client) {
  client.setRequestHandler(CreateMessageRequestSchema, async () => ({
    role: 'assistant',
    model: 'none',
    content: { type: 'text', text: 'sampled' },
  }));
  client.setRequestHandler(ElicitRequestSchema, async () => ({
    action: 'accept',
    content: { username: 'ada', email: 'ada@example.com' },
  }));
}

async function serverSpeaksFirst(client) {
  const progress = [];
  await client.callTool({ name: 'slow', arguments: { steps: 3, step_ms: 20 } }, undefined, {
    onprogress: (report) => progress.push(`${report.progress}/${report.total}`),
  });
  expect('progress', progress.join(' '), '1/3 2/3 3/3');

  const sampling = textOf(await client.callTool({ name: 'test_sampling', arguments: { prompt: 'say it' } }));
  expect('sampling', sampling, 'LLM response: sampled');

  const elicitation = textOf(await client.callTool({ name: 'test_elicitation', arguments: { message: 'who?' } }));
  expect('elicitation', elicitation, 'User response: action=accept, content={"username":"ada","email":"ada@example.com"}');

  return { progress, sampling, elicitation, resource_updated: await hearOfChange(client) };
}

/** The GET stream opens in its own time, so the resource is changed until the change is heard. */
async function hearOfChange(client) {
  let heard;
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => (heard = params.uri));
  await client.subscribeResource({ uri: WATCHED });
  for (let attempt = 0; heard === undefined && attempt < 100; attempt += 1) {
    await client.callTool({ name: 'touch', arguments: {} });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect('resource update on the GET stream', heard, WATCHED);
  return heard;
}

/** Ends the session, then shows its id once more: the answer must be 404. */
async function endSession(call, transport) {
  const headers = {
    ...authorization(call),
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
    'Mcp-Session-Id': transport.sessionId,
    'MCP-Protocol-Version': transport.protocolVersion,
  };
  await transport.terminateSession();
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  const response = await fetch(call.url, { method: 'POST', headers, body });
  await response.body?.cancel();
  expect('status for an ended session', response.status, 404);
  return response.status;
}

function textOf({ content }) {
  return content.map((part) => part.text).join('\n');
}

function expect(what, got, wanted) {
  if (got !== wanted) throw new Error(`${what} is \`${got}\`, not \`${wanted}\``);
}
