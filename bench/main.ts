/**
 * The benches, one after the other, each a process of its own: `npm run bench`, or `npm run bench --
 * NAME…` for some of them. Each prints its figures, keeps them with the machine in
 * bench/results/NAME.json, and exits 1 where a bound is broken; so does this one then.
 */

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const BENCHES = ['store', 'ledger', 'simulation', 'latency', 'lean', 'mesh']

const asked = process.argv.slice(2)
const unknown = asked.find((name) => !BENCHES.includes(name))
if (unknown !== undefined) {
  console.error(`no bench ${unknown}; there are ${BENCHES.join(', ')}`)
  process.exit(2)
}
for (const name of asked.length === 0 ? BENCHES : asked) {
  console.log(`── ${name}`)
  const path = fileURLToPath(new URL(`${name}.ts`, import.meta.url))
  const { status } = spawnSync(process.execPath, [path], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}
