/** A process that writes to a store (store-writer.ts): started, listened to, killed by who started it. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { eventually } from './eventually.ts'

const writer = fileURLToPath(new URL('store-writer.ts', import.meta.url))

export type WriterMode = 'write' | 'early' | 'unsynced'

interface StoreProcess {
  /** Number of the last commit that it acknowledged. */
  acknowledged(): number
  /** Resolves once it acknowledged so many more. */
  goOn(commits: number): Promise<void>
  kill(): Promise<void>
}

export const startStoreProcess = (folder: string, mode: WriterMode = 'write'): StoreProcess => {
  const child = spawn(process.execPath, [writer, folder, mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let acknowledged = 0
  const output = createInterface({ input: child.stdout })
  output.on('line', (line) => {
    acknowledged = Number(line)
  })
  const closed = once(output, 'close')
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await closed
  }
  return {
    acknowledged: () => acknowledged,
    async goOn(commits) {
      const from = acknowledged
      await eventually(() => acknowledged >= from + commits)
    },
    kill,
  }
}
