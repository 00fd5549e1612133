/**
 * A `hyper` daemon on a host of its own (hosts.ts): the command that a user starts, and the process
 * that it starts, which is the one that faults are about.
 */

import { readFile } from 'node:fs/promises'
import { ended, startHyper } from './deployment.ts'
import { eventually } from './eventually.ts'
import type { Host } from './hosts.ts'

const START_MS = 60_000
/** More than `--drain-timeout` and all that the daemon and its command grant each other after it. */
const STOP_MS = 90_000

export interface HostDaemon {
  readonly host: Host
  /** What the command printed so far, both streams. */
  output(): string
  /** The first group of what it printed, once it has. */
  said(pattern: RegExp): Promise<string>
  /** Sends to the daemon's own process. */
  signal(signal: NodeJS.Signals): void
  /** Ctrl-C at the command, once. */
  interrupt(): void
  /** SIGKILL of that process; resolves when its command has ended as well. */
  kill(): Promise<void>
  /** As Ctrl-C does; resolves with the command's exit code. Can be called when it has ended. */
  stop(): Promise<number>
  readonly ended: Promise<number>
}

const childOf = async (pid: number): Promise<number | undefined> => {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  const [first] = children.split(' ').filter((word) => word !== '')
  return first === undefined ? undefined : Number(first)
}

/** Runs `hyper ARGS` on the host; resolves when its daemon is a process, which is not yet ready. */
export const startOn = async (
  host: Host,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<HostDaemon> => {
  const { child, output } = startHyper(args, host.home, env, host.inside)
  const end = ended(child)
  const failure = (what: string): string => `hyper ${args[0]} on ${host.name} ${what}:\n${output()}`
  const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null
  const said: HostDaemon['said'] = (pattern) =>
    eventually(
      () => {
        const found = pattern.exec(output())?.[1]
        if (found === undefined && isOver()) throw new Error(failure('ended'))
        return found
      },
      START_MS,
      () => failure(`did not say ${pattern}`),
    )
  const pid = await eventually(
    async () => {
      if (isOver()) throw new Error(failure('ended'))
      return childOf(child.pid ?? 0)
    },
    START_MS,
    () => failure('started no daemon'),
  )
  const signal = (name: NodeJS.Signals): void => {
    if (isOver()) return
    try {
      process.kill(pid, name)
    } catch {
      // It has ended, and its command has yet to say so.
    }
  }
  return {
    ...{ host, output, said, signal, ended: end },
    interrupt: () => void child.kill('SIGINT'),
    async kill() {
      signal('SIGKILL')
      await end
    },
    async stop() {
      if (isOver()) return end
      signal('SIGCONT')
      child.kill('SIGINT')
      const timer = setTimeout(() => signal('SIGKILL'), STOP_MS)
      const code = await end
      clearTimeout(timer)
      return code
    },
  }
}
