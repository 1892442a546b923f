// npm `@modelcontextprotocol/inspector`, the official tool for looking at a server, by its CLI.
//
//   TURNPIKE_URL=… TURNPIKE_TOKEN=… node tests/clients/inspector.mjs [TOOL] [ARGUMENTS_JSON]
//
// It needs Node 22, which npm installs into node_modules/.bin; its home is a folder that is removed
// again, and `--stored-auth-only` keeps it from starting a login.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

import { runClient } from './call.mjs';

const MODULES = fileURLToPath(new URL('../../node_modules/', import.meta.url));
const NODE_22 = join(MODULES, '.bin/node');
const INSPECTOR = join(MODULES, '@modelcontextprotocol/inspector/clients/launcher/build/index.js');
const TIMEOUT_MS = 40_000;

await runClient('inspector', async (call) => {
  const home = await mkdtemp(join(tmpdir(), 'turnpike-inspector-'));
  try {
    const { tools } = await inspect(call, home, ['--method', 'tools/list']);
    const args = ['--method', 'tools/call', '--tool-name', call.tool, '--tool-args-json', JSON.stringify(call.args)];
    return { tools, result: await inspect(call, home, args) };
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});

async function inspect({ url, token }, home, args) {
  const header = token === undefined ? [] : ['--header', `Authorization: Bearer ${token}`];
  const fixed = ['--cli', url, '--transport', 'http', '--format', 'json', '--stored-auth-only'];
  const child = spawn(NODE_22, [INSPECTOR, ...fixed, ...args, ...header], {
    env: { PATH: process.env.PATH, HOME: home, MCP_INSPECTOR_SECRET_STORE: 'memory' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  const ended = new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`cannot start \`${NODE_22}\`: run npm ci`, { cause: error })));
    child.once('close', (status, signal) => resolve(status ?? signal));
  });
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (status !== 0) throw new Error(`${args[1]} ended with ${status}: ${stdout}${stderr}`.trim());
  return JSON.parse(stdout).result;
}
