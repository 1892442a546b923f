// Runs an example that announces batches of work (`> SIZE NAME`, then `<`) as WebAssembly, keeps the time, and prints the
// median microseconds of one piece of each:
//
//   cargo build --release -p policy --example decide --target wasm32-wasip1
//   node xtask/src/bench/batches.mjs target/wasm32-wasip1/release/examples/decide.wasm

import { readFile } from 'node:fs/promises';
import { WASI } from 'node:wasi';

const wasi = new WASI({ version: 'preview1', args: ['batches'], env: {} });
const imports = wasi.getImportObject();
let memory, began, current, pending = '';
const batches = new Map();

// What the program writes is read here, at the moment it writes it.
imports.wasi_snapshot_preview1.fd_write = (fd, list, count, written) => {
  const view = new DataView(memory.buffer);
  let bytes = 0;
  for (let i = 0; i < count; i += 1) {
    const [at, length] = [view.getUint32(list + 8 * i, true), view.getUint32(list + 8 * i + 4, true)];
    pending += Buffer.from(memory.buffer, at, length).toString();
    bytes += length;
  }
  view.setUint32(written, bytes, true);
  const lines = pending.split('\n');
  pending = lines.pop();
  lines.forEach(read);
  return 0;
};

function read(line) {
  const [, size, name] = line.match(/^> (\d+) (.*)$/) ?? [];
  if (size) {
    current = { size: Number(size), name };
    began = performance.now();
  } else if (line === '<') {
    const micros = ((performance.now() - began) * 1000) / current.size;
    batches.set(current.name, [...(batches.get(current.name) ?? []), micros]);
  } else {
    report();
    console.log(line);
  }
}

function report() {
  for (const [name, micros] of batches) {
    const median = micros.sort((a, b) => a - b)[micros.length >> 1];
    console.log(`  ${name.padEnd(44)}${median.toFixed(2).padStart(10)} us`);
  }
  batches.clear();
}

const module = await WebAssembly.compile(await readFile(process.argv[2]));
const instance = await WebAssembly.instantiate(module, imports);
memory = instance.exports.memory;
wasi.start(instance);
report();
