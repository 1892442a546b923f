// npm `@modelcontextprotocol/sdk` 1.32, which speaks legacy revisions only. What it does: matrix.mjs.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { authorization, runClient } from './matrix.mjs';
import { sdkSession } from './sdk_session.mjs';

await runClient(async (endpoint) => {
  const transport = new StreamableHTTPClientTransport(new URL(endpoint.url), {
    requestInit: { headers: authorization(endpoint) },
  });
  return sdkSession(Client, transport, 'turnpike-npm-sdk', () => transport.terminateSession());
});
