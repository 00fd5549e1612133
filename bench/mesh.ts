/**
 * A thousand agents of one coordinator: real libp2p nodes in several processes, each with the agent's
 * own connection, heartbeat and adverts (light-agent.ts); the coordinator is its own daemon. They are
 * in two network namespaces, on the wire between which everything is counted (mesh-wire.ts).
 *
 * few      ten agents have joined: how long a call takes
 * join     the others enrol, by one ticket, and are welcomed
 * idle     for a minute: bytes on the wire, CPU of the coordinator, its memory
 * calls    how long a call takes beside them, to that with ten
 * storm    the coordinator is killed and comes back 5 s later: when all are welcomed again
 *
 * `-- mesh` takes about five minutes; BENCH_AGENTS says how many. Needs root. Prints the figures, keeps
 * them in bench/results/mesh.json, exits 1 where a bound is broken.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { COMPILER_NEEDS, commandNeed, ensurePackages } from '../cli/setup/engine-install.ts'

const CHILD = fileURLToPath(new URL('mesh-child.ts', import.meta.url))
const BUILD = fileURLToPath(new URL('../cli/setup/build.ts', import.meta.url))
const NEEDS = [
  ...COMPILER_NEEDS,
  commandNeed('ip', 'iproute2'),
  commandNeed('unshare', 'util-linux'),
]

const run = async (program: string, ...words: string[]): Promise<unknown> => {
  const env = { ...process.env, TMPDIR: dir }
  const [code] = await once(spawn(program, words, { env, stdio: 'inherit' }), 'close')
  return code
}

const dir = await mkdtemp('/tmp/hyper-bench-')
try {
  await ensurePackages(NEEDS, console.log)
  // The coordinator that is measured is the built one.
  if ((await run(process.execPath, BUILD)) !== 0) throw new Error('it could not be built')
  if ((await run('unshare', '--net', process.execPath, CHILD)) !== 0) process.exitCode = 1
} finally {
  await rm(dir, { recursive: true, force: true })
}
