// npm `@modelcontextprotocol/client` 2.4, which asks the server which era it speaks. What it does: matrix.mjs.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { CAPABILITIES, ROOTS, SAMPLED, answerTo, authorization, runClient } from './matrix.mjs';

await runClient(async (endpoint) => {
  const client = new Client(
    { name: 'turnpike-npm-client', version: '1.0.0' },
    { capabilities: CAPABILITIES, versionNegotiation: { mode: 'auto' } },
  );
  client.setRequestHandler('sampling/createMessage', async () => SAMPLED);
  client.setRequestHandler('elicitation/create', async ({ params }) => answerTo(params));
  client.setRequestHandler('roots/list', async () => ROOTS);
  const transport = new StreamableHTTPClientTransport(new URL(endpoint.url), {
    requestInit: { headers: authorization(endpoint) },
  });
  await client.connect(transport);
  return {
    list: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (tool, args, options) => client.callTool({ name: tool, arguments: args }, options),
    read: (uri) => client.readResource({ uri }),
    prompt: (prompt, args) => client.getPrompt({ name: prompt, arguments: args }),
    close: async () => {
      if (transport.sessionId !== undefined) await transport.terminateSession();
      await client.close();
    },
  };
});
