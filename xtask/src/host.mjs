// How do Workers run on this machine? In workerd, started by miniflare from a description.
//
// node host.mjs DESCRIPTION.json, which is
//   { "persist": folder or null,
//     "workers": [{ "name", "port", "modules": folder, "main": "index.js",
//                   "compatibility_flags": [], "bindings": { NAME: text },
//                   "kv": { BINDING: { key: text } }, "durable_objects": { BINDING: class } }] }
//
// Each Worker has a port of its own on 127.0.0.1, straight into workerd. `kv` names the namespaces
// and what is put into them before the first request. Says `host ready {"urls":{name:url},"workerd_pid":n}` and stays
// until SIGTERM, SIGINT or the end of its standard input, which is how it learns that its parent is gone.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Log, LogLevel, Miniflare, supportedCompatibilityDate } from "miniflare";

const description = JSON.parse(readFileSync(process.argv[2], "utf8"));
let ending = false;

function modules({ modules: folder, main }) {
  const names = readdirSync(folder).filter((name) => name !== main && /\.(m?js|wasm)$/.test(name));
  return [main, ...names].map((name) => ({
    type: name.endsWith(".wasm") ? "CompiledWasm" : "ESModule",
    path: join(folder, name),
  }));
}

function worker(described) {
  const objects = Object.entries(described.durable_objects ?? {});
  const namespaces = Object.keys(described.kv ?? {});
  return {
    name: described.name,
    modulesRoot: described.modules,
    modules: modules(described),
    compatibilityDate: supportedCompatibilityDate,
    compatibilityFlags: described.compatibility_flags ?? [],
    bindings: described.bindings ?? {},
    // A name alone would be one namespace for all Workers.
    kvNamespaces: Object.fromEntries(namespaces.map((binding) => [binding, `${described.name}-${binding}`])),
    durableObjects: Object.fromEntries(
      objects.map(([binding, className]) => [binding, { className, useSQLite: true }]),
    ),
    unsafeDirectSockets: [{ host: "127.0.0.1", port: described.port }],
  };
}

// Miniflare neither tells nor restarts when workerd ends; the end of its output does tell.
function watch(stdout, stderr) {
  stdout.pipe(process.stderr);
  stderr.pipe(process.stderr);
  stderr.once("end", () => ending || end("workerd ended unexpectedly"));
}

async function seed(miniflare) {
  for (const { name, kv } of description.workers) {
    for (const [binding, entries] of Object.entries(kv ?? {})) {
      const namespace = await miniflare.getKVNamespace(binding, name);
      for (const [key, text] of Object.entries(entries)) await namespace.put(key, text);
    }
  }
}

async function end(failure) {
  if (ending) return;
  ending = true;
  if (failure) console.error(`host failed: ${failure}`);
  await miniflare?.dispose().catch(() => {});
  process.exit(failure ? 1 : 0);
}

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => end());
process.stdin.on("end", () => end()).on("error", () => end()).resume();

let miniflare;
try {
  miniflare = new Miniflare({
    host: "127.0.0.1",
    port: 0,
    cf: false, // or it would ask the network where this machine is
    log: new Log(LogLevel.WARN),
    logRequests: false,
    handleRuntimeStdio: watch,
    ...(description.persist ? { defaultPersistRoot: description.persist } : {}),
    workers: description.workers.map(worker),
  });
  await miniflare.ready;
  await seed(miniflare);
  const urls = await Promise.all(
    description.workers.map(async ({ name }) => [name, (await miniflare.unsafeGetDirectURL(name)).origin]),
  );
  console.log(`host ready ${JSON.stringify({ urls: Object.fromEntries(urls) })}`);
} catch (error) {
  await end(error.message);
}
