// npm `mcp-remote --protocol auto`, the bridge that desktop hosts use, as a stdio server under the npm SDK 1.32.
//
// Its state goes to a folder that is removed again. `--device-code` keeps it from opening a browser: where a token is
// refused it fails instead. The header names the variable, so the token is on no command line. What it does: matrix.mjs.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport, getDefaultEnvironment } from '@modelcontextprotocol/sdk/client/stdio.js';

import { runClient } from './matrix.mjs';
import { sdkSession } from './sdk_session.mjs';

const MCP_REMOTE = fileURLToPath(new URL('../../node_modules/mcp-remote/dist/proxy.js', import.meta.url));
const SAID_CHARACTERS = 4000;

await runClient(async (endpoint) => {
  const state = await mkdtemp(join(tmpdir(), 'turnpike-mcp-remote-'));
  const clean = () => rm(state, { recursive: true, force: true });
  const transport = new StdioClientTransport(commandFor(endpoint, state));
  let said = '';
  transport.stderr.on('data', (chunk) => (said = (said + chunk).slice(-SAID_CHARACTERS)));
  try {
    const session = await sdkSession(Client, transport, 'turnpike-mcp-remote');
    return { ...session, close: () => session.close().finally(clean) };
  } catch (error) {
    await clean();
    throw new Error(`${error.message}; mcp-remote said: ${said.trim().replaceAll('\n', ' ')}`);
  }
});

function commandFor({ url, token }, state) {
  const header = token === undefined ? [] : ['--header', 'Authorization: Bearer ${TURNPIKE_TOKEN}'];
  const fixed = ['--allow-http', '--transport', 'http-only', '--protocol', 'auto', '--device-code'];
  return {
    command: process.execPath,
    args: [MCP_REMOTE, url, ...fixed, ...header],
    env: {
      ...getDefaultEnvironment(),
      MCP_REMOTE_CONFIG_DIR: state,
      ...(token !== undefined && { TURNPIKE_TOKEN: token }),
    },
    stderr: 'pipe',
  };
}
