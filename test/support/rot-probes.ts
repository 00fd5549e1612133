/** Probes of a rotten byte, given to processes that LevelDB may end; what became of each. */

import { type ChildProcess, spawn } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Probe, Verdict } from './rot-prober.ts'
import { ledgerOf } from './rot-store.ts'

const VERDICT_MS = 30_000

const MASKS = [1, 128, 255, 16]

/** One for each byte of LevelDB's files. */
export const listProbes = async (folder: string): Promise<Probe[]> => {
  const probes: Probe[] = []
  for (const file of (await readdir(ledgerOf(folder))).sort()) {
    if (!/^(\d+\.(ldb|log)|MANIFEST-\d+|CURRENT)$/.test(file)) continue
    const { size } = await stat(join(ledgerOf(folder), file))
    for (let at = 0; at < size; at += 1) {
      probes.push({ file, at, mask: MASKS[at % MASKS.length] ?? 1 })
    }
  }
  return probes
}

const startProber = (folder: string, scratch: string): ChildProcess =>
  spawn(
    process.execPath,
    [fileURLToPath(new URL('rot-prober.ts', import.meta.url)), folder, scratch],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )

/** The verdicts of one process, up to its end; it is ended if it hangs. */
async function* verdictsOf(
  probes: readonly Probe[],
  folder: string,
  scratch: string,
): AsyncGenerator<Verdict> {
  const child = startProber(folder, scratch)
  const { stdin, stdout } = child
  if (stdin === null || stdout === null) throw new Error('a prober has no pipes')
  // Of a process that ended before it read them all.
  stdin.on('error', () => undefined)
  stdin.end(probes.map((probe) => `${JSON.stringify(probe)}\n`).join(''))
  const hang = setTimeout(() => child.kill('SIGKILL'), VERDICT_MS)
  for await (const line of createInterface({ input: stdout })) {
    hang.refresh()
    yield JSON.parse(line) as Verdict
  }
  clearTimeout(hang)
}

const died = (probe: Probe): Verdict => ({
  ...{ probe, start: 'the process died', said: '', accepted: '', losses: [], rowsLost: 0 },
})

const runOnOne = async (
  probes: readonly Probe[],
  folder: string,
  scratch: string,
): Promise<Verdict[]> => {
  const verdicts: Verdict[] = []
  while (verdicts.length < probes.length) {
    for await (const verdict of verdictsOf(probes.slice(verdicts.length), folder, scratch)) {
      verdicts.push(verdict)
    }
    const culprit = probes[verdicts.length]
    if (culprit !== undefined) verdicts.push(died(culprit))
  }
  return verdicts
}

/** On all processors. */
export const runProbes = async (
  probes: readonly Probe[],
  folder: string,
  scratch: string,
): Promise<Verdict[]> => {
  const lanes = availableParallelism()
  const shares = Array.from({ length: lanes }, (_, lane) =>
    probes.filter((_probe, at) => at % lanes === lane),
  )
  const verdicts = await Promise.all(
    shares.map((share, lane) => runOnOne(share, folder, join(scratch, `${lane}`))),
  )
  return verdicts.flat()
}
