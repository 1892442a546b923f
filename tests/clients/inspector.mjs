// npm `@modelcontextprotocol/inspector`, the official tool for looking at a server, by its CLI: a process for each request.
//
// It needs Node 22, which npm installs into node_modules/.bin; its home is a folder that is removed
// again, and `--stored-auth-only` keeps it from starting a login. What it does: matrix.mjs.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

import { runClient } from './matrix.mjs';

const MODULES = fileURLToPath(new URL('../../node_modules/', import.meta.url));
const NODE_22 = join(MODULES, '.bin/node');
const INSPECTOR = join(MODULES, '@modelcontextprotocol/inspector/clients/launcher/build/index.js');
const TIMEOUT_MS = 18_000;

await runClient(async (endpoint) => {
  const home = await mkdtemp(join(tmpdir(), 'turnpike-inspector-'));
  const inspect = (...args) => inspected(endpoint, home, args);
  let tools;
  return {
    cannot: { cancellation: 'the CLI has no way to cancel a call' },
    // The list is the same for every server of one endpoint, and each look at it is a process.
    list: async () => (tools ??= (await inspect('--method', 'tools/list')).tools.map(({ name }) => name)),
    call: (tool, args) => inspect('--method', 'tools/call', '--tool-name', tool, '--tool-args-json', JSON.stringify(args)),
    read: (uri) => inspect('--method', 'resources/read', '--uri', uri),
    prompt: (name, args) => inspect('--method', 'prompts/get', '--prompt-name', name, ...pairs(args)),
    close: () => rm(home, { recursive: true, force: true }),
  };
});

function pairs(args) {
  const given = Object.entries(args).map(([name, value]) => `${name}=${value}`);
  return given.length === 0 ? [] : ['--prompt-args', ...given];
}

async function inspected({ url, token }, home, args) {
  const header = token === undefined ? [] : ['--header', `Authorization: Bearer ${token}`];
  const fixed = ['--cli', url, '--transport', 'http', '--protocol-era', 'auto', '--format', 'json', '--stored-auth-only'];
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
