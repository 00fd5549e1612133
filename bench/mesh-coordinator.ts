/**
 * The coordinator as a process of its own, and what the kernel says of it. As it is installed: built. A process
 * that runs the sources holds the program that takes their types off as well, 25 MiB.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import {
  COORDINATOR_PROCESS,
  type CoordinatorConfig,
  parseDaemonReport,
} from '../protocol/daemon.ts'

const MAIN = fileURLToPath(new URL('../dist/coordinator/main.js', import.meta.url))
const TICK_MS = 10

export interface Coordinator {
  readonly pid: number
  readonly url: string
  /** Of all its threads, since its start. */
  cpuMs(): Promise<number>
  /** Resident now, and at the most so far. */
  memoryMiB(): Promise<{ readonly now: number; readonly peak: number }>
  kill(): Promise<void>
}

export const startCoordinatorProcess = async (
  config: CoordinatorConfig,
  logPath: string,
): Promise<Coordinator> => {
  const log = openSync(logPath, 'a')
  const child = fork(MAIN, [], {
    execArgv: [...COORDINATOR_PROCESS.execArgv],
    env: { ...process.env, ...COORDINATOR_PROCESS.env },
    stdio: ['ignore', log, log, 'ipc'],
  })
  const gone = once(child, 'exit')
  const { pid } = child
  if (pid === undefined) throw new Error('the coordinator cannot be started')
  const url = await new Promise<string>((resolve, reject) => {
    child.on('message', (message) => {
      const report = parseDaemonReport(message)
      if (report.type === 'ready') resolve(report.url)
      if (report.type === 'failed') reject(new Error(report.message))
    })
    gone.then(() => reject(new Error(`the coordinator ended: see ${logPath}`)), reject)
    child.send({ type: 'configure', config })
  })
  return {
    pid,
    url,
    async cpuMs() {
      const text = await readFile(`/proc/${pid}/stat`, 'utf8')
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
      return (Number(fields[11]) + Number(fields[12])) * TICK_MS
    },
    async memoryMiB() {
      const text = await readFile(`/proc/${pid}/status`, 'utf8')
      const of = (name: string): number =>
        Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) / 1024
      return { now: of('VmRSS'), peak: of('VmHWM') }
    },
    async kill() {
      child.kill('SIGKILL')
      await gone
    },
  }
}
