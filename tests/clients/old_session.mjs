// npm `@modelcontextprotocol/sdk` 1.32 over HTTP+SSE (MCP 2024-11-05): one whole session, and what was seen in it.
//
//   node tests/clients/old_session.mjs <url of the stream> <token> <steps: a JSON array>
//
// Prints `seen {…}`, a member for each step, once the client has closed its stream.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';

const [url, token, steps] = process.argv.slice(2);
const client = new Client(
  { name: 'turnpike-old', version: '1.0.0' },
  { capabilities: { sampling: {}, elicitation: {}, roots: {} } },
);
client.setRequestHandler(CreateMessageRequestSchema, () => ({
  model: 'none',
  role: 'assistant',
  content: { type: 'text', text: 'sampled' },
}));
client.setRequestHandler(ElicitRequestSchema, () => ({
  action: 'accept',
  content: { name: 'ada', username: 'ada', email: 'ada@example.com', color: 'green' },
}));
client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: 'file:///ours', name: 'ours' }] }));
const updated = new Promise((resolve) => {
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => resolve(params.uri));
});

const does = {
  tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
  call: (tool, args) => client.callTool({ name: tool, arguments: args }),
  progress: async (tool, args) => {
    const seen = [];
    await client.callTool({ name: tool, arguments: args }, undefined, { onprogress: ({ progress }) => seen.push(progress) });
    return seen;
  },
  prompt: (name, args) => client.getPrompt({ name, arguments: args }),
  read: (uri) => client.readResource({ uri }),
  subscribe: (uri) => client.subscribeResource({ uri }),
  updated: () => updated,
  cancel: async (tool, args) => {
    const controller = new AbortController();
    const call = client.callTool({ name: tool, arguments: args }, undefined, { signal: controller.signal });
    setTimeout(() => controller.abort('enough'), 200);
    return call.catch((error) => `cancelled: ${error.message ?? error}`);
  },
};

const transport = new SSEClientTransport(new URL(url), { requestInit: { headers: { authorization: `Bearer ${token}` } } });
const seen = {};
await client.connect(transport);
seen.server = client.getServerVersion().name;
for (const [step, what, ...args] of JSON.parse(steps)) {
  seen[step] = await does[what](...args).catch((error) => `failed: ${error.message}`);
}
await client.close();
console.log(`seen ${JSON.stringify(seen)}`);
