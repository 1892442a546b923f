// How does a client of the npm SDK 1.32 do what matrix.mjs asks, over any of its transports?

import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';

import { CAPABILITIES, ROOTS, SAMPLED, answerTo } from './matrix.mjs';

export async function sdkSession(Client, transport, name, end) {
  const client = new Client({ name, version: '1.0.0' }, { capabilities: CAPABILITIES });
  client.setRequestHandler(CreateMessageRequestSchema, async () => SAMPLED);
  client.setRequestHandler(ElicitRequestSchema, async ({ params }) => answerTo(params));
  client.setRequestHandler(ListRootsRequestSchema, async () => ROOTS);
  await client.connect(transport);
  return {
    list: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (tool, args, options) => client.callTool({ name: tool, arguments: args }, undefined, options),
    read: (uri) => client.readResource({ uri }),
    prompt: (prompt, args) => client.getPrompt({ name: prompt, arguments: args }),
    close: async () => {
      await end?.();
      await client.close();
    },
  };
}
