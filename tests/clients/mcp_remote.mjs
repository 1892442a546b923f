// npm `mcp-remote`, the bridge that desktop hosts use, as a stdio server under the npm SDK.
//
//   TURNPIKE_URL=… TURNPIKE_TOKEN=… node tests/clients/mcp_remote.mjs [TOOL] [ARGUMENTS_JSON]
//
// Its state goes to a folder that is removed again. `--device-code` keeps it from opening a browser:
// where a token is refused it fails instead. The header names the variable, so the token is on no
// command line.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport, getDefaultEnvironment } from '@modelcontextprotocol/sdk/client/stdio.js';

import { runClient } from './call.mjs';

const MCP_REMOTE = fileURLToPath(new URL('../../node_modules/mcp-remote/dist/proxy.js', import.meta.url));
const SAID_CHARACTERS = 4000;

await runClient('mcp-remote', async (call) => {
  const state = await mkdtemp(join(tmpdir(), 'turnpike-mcp-remote-'));
  try {
    return await useServer(call, state);
  } finally {
    await rm(state, { recursive: true, force: true });
  }
});

async function useServer(call, state) {
  const client = new Client({ name: 'turnpike-mcp-remote', version: '1.0.0' });
  const transport = new StdioClientTransport(commandFor(call, state));
  let said = '';
  transport.stderr.on('data', (chunk) => (said = (said + chunk).slice(-SAID_CHARACTERS)));
  try {
    await client.connect(transport);
    const { tools } = await client.listTools();
    const result = await client.callTool({ name: call.tool, arguments: call.args });
    return { tools, result };
  } catch (error) {
    throw new Error(`${error.message}; mcp-remote said:\n${said.trim()}`);
  } finally {
    await client.close();
  }
}

function commandFor({ url, token }, state) {
  const header = token === undefined ? [] : ['--header', 'Authorization: Bearer ${TURNPIKE_TOKEN}'];
  return {
    command: process.execPath,
    args: [MCP_REMOTE, url, '--allow-http', '--transport', 'http-only', '--device-code', ...header],
    env: {
      ...getDefaultEnvironment(),
      MCP_REMOTE_CONFIG_DIR: state,
      ...(token !== undefined && { TURNPIKE_TOKEN: token }),
    },
    stderr: 'pipe',
  };
}
