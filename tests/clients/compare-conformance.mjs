// Does a conformance run through the gateway pass every check that the direct run passed?
//
//   node tests/clients/compare-conformance.mjs DIRECT_DIR GATEWAY_DIR
//
// Both are output folders of `conformance server -o DIR`. Prints scenario by scenario what each
// passed and failed. Exit status 1 if a check that passed in the first did not pass in the second,
// if the second fails one the first did not, if a scenario is missing, or if there are no checks.

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const SCENARIO_FOLDER = /^(?:server|client)-(.+)-\d{4}-\d{2}-\d{2}T[\d-]+Z$/;

const [directDir, gatewayDir, ...rest] = process.argv.slice(2);
if (gatewayDir === undefined || rest.length > 0) fail('usage: compare-conformance.mjs DIRECT_DIR GATEWAY_DIR');
process.exitCode = compare(readRun(directDir), readRun(gatewayDir));

function compare(direct, gateway) {
  const scenarios = [...new Set([...direct.keys(), ...gateway.keys()])].sort();
  const rows = scenarios.map((name) => row(name, direct.get(name), gateway.get(name)));
  print(rows);
  console.log(`total: direct ${totals(direct)}; gateway ${totals(gateway)}`);

  const lost = rows.flatMap(({ name, differences }) => differences.map((difference) => `${name}: ${difference}`));
  const empty = [direct, gateway].some((run) => total(run, 'SUCCESS') + total(run, 'FAILURE') === 0);
  if (empty) lost.push('a run has no checks at all');
  lost.forEach((line) => console.log(`✗ ${line}`));
  if (lost.length === 0) console.log('every check that passes directly passes through the gateway');
  return lost.length === 0 ? 0 : 1;
}

function row(name, direct, gateway) {
  return { name, cells: [cell(direct), cell(gateway)], differences: differencesOf(direct, gateway) };
}

function differencesOf(direct, gateway) {
  if (gateway === undefined) return ['missing in the run through the gateway'];
  if (direct === undefined) return ['missing in the direct run'];
  const ids = [...new Set([...direct, ...gateway].map((check) => check.id))];
  return ids.flatMap((id) => {
    const lostPasses = count(direct, 'SUCCESS', id) > count(gateway, 'SUCCESS', id);
    const newFailures = count(gateway, 'FAILURE', id) > count(direct, 'FAILURE', id);
    if (!lostPasses && !newFailures) return [];
    const said = gateway.filter((check) => check.id === id && check.status !== 'SUCCESS');
    const reasons = said.map((check) => `${check.status} ${check.errorMessage ?? ''}`.trim());
    return [`\`${id}\` ${reasons.join('; ') || 'was not run through the gateway'}`];
  });
}

/** @returns {Map<string, {id: string, status: string, errorMessage?: string}[]>} checks by scenario */
function readRun(dir) {
  const run = new Map();
  for (const folder of foldersOf(dir)) {
    const name = SCENARIO_FOLDER.exec(folder)?.[1];
    if (name === undefined) continue;
    // Sorted by name is sorted by time: the newest run of a scenario counts.
    run.set(name, readChecks(join(dir, folder, 'checks.json')));
  }
  return run;
}

function foldersOf(dir) {
  try {
    return readdirSync(dir).sort();
  } catch (error) {
    return fail(`cannot read \`${dir}\`: ${error.message}`);
  }
}

function readChecks(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    return fail(`cannot read \`${file}\`: ${error.message}`);
  }
}

function print(rows) {
  const width = Math.max(...rows.map(({ name }) => name.length), 'scenario'.length);
  console.log(`${'scenario'.padEnd(width)}   direct     gateway   (passed/failed)`);
  for (const { name, cells, differences } of rows) {
    const [direct, gateway] = cells.map((text) => text.padStart(6));
    console.log(`${name.padEnd(width)}   ${direct}     ${gateway}   ${differences.length === 0 ? '' : '✗'}`.trimEnd());
  }
}

function cell(checks) {
  return checks === undefined ? '-' : `${count(checks, 'SUCCESS')}/${count(checks, 'FAILURE')}`;
}

function totals(run) {
  return `${total(run, 'SUCCESS')} passed, ${total(run, 'FAILURE')} failed`;
}

function total(run, status) {
  return [...run.values()].reduce((all, checks) => all + count(checks, status), 0);
}

function count(checks, status, id) {
  return checks.filter((check) => check.status === status && (id === undefined || check.id === id)).length;
}

function fail(message) {
  console.error(`compare-conformance: ${message}`);
  process.exit(1);
}
