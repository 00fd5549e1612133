/** The process of fault-writer.ts, from outside. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('fault-writer.ts', import.meta.url))

export type Flaw = 'none' | 'early acknowledgements' | 'unsynced rows' | 'unsynced files'

export interface Writer {
  /** All that it has said, in order; grows. */
  readonly lines: readonly string[]
  /** Ends it by SIGKILL; resolves when all that it said is in `lines`. Throws if it failed before. */
  kill(): Promise<void>
}

export const startWriter = (deps: {
  readonly what: 'store' | 'outbox'
  readonly folder: string
  readonly seed: number
  readonly flaw?: Flaw
}): Writer => {
  const { what, folder, seed, flaw = 'none' } = deps
  const child = spawn(process.execPath, [PROGRAM, what, folder, `${seed}`, flaw], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [lines, errors]: [string[], string[]] = [[], []]
  const said = createInterface(child.stdout).on('line', (line) => lines.push(line))
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()))
  const ended = Promise.all([once(child, 'close'), once(said, 'close')])
  return {
    lines,
    async kill() {
      const isAlive = child.exitCode === null && child.signalCode === null
      child.kill('SIGKILL')
      await ended
      if (!isAlive || errors.length > 0) throw new Error(`the writer failed: ${errors.join('')}`)
    },
  }
}

/** The last step of a store's writer that was acknowledged; 0 before the first. */
export const lastStep = (lines: readonly string[]): number =>
  Number(lines.at(-1)?.split(' ')[1] ?? 0)
