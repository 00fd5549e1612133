/**
 * Starts a daemon's main.ts as a process of its own and speaks protocol/daemon.ts with it. The
 * process leads its own group, so that Ctrl-C at the terminal reaches only the one who started it,
 * who decides in which order daemons stop. When that one dies, the closed channel makes the daemon
 * drain. The daemon's STDOUT joins stderr: stdout has results only. The user's token stays here.
 */

import { fork } from 'node:child_process'
import { errorFromLine } from '../client/refusal.ts'
import {
  type AgentConfig,
  type CoordinatorConfig,
  type DaemonReady,
  type ExaminationConfig,
  parseDaemonReport,
  type RestoreConfig,
} from '../protocol/daemon.ts'
import { HyperError } from '../protocol/errors.ts'
import { withoutCredentials } from './environment.ts'

/** How a process ended, and what it said last, where it said why. */
export interface DaemonEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly reason: HyperError | null
}

export interface DaemonProcess {
  /** Rejects with what the daemon said, or with how it ended. */
  readonly ready: Promise<DaemonReady>
  readonly ended: Promise<DaemonEnd>
  readonly signal: (signal: NodeJS.Signals) => void
}

export interface DaemonStart {
  /** Path of its main.ts or main.js. */
  readonly program: string
  readonly config: CoordinatorConfig | AgentConfig | RestoreConfig | ExaminationConfig
  /** `coordinator`, `agent-1` */
  readonly name: string
  /** Flags of Node, and variables, of its process. */
  readonly process?: { readonly execArgv: readonly string[]; readonly env: NodeJS.ProcessEnv }
  readonly onProgress: (message: string) => void
}

export const describeEnd = ({ code, signal }: Omit<DaemonEnd, 'reason'>): string =>
  signal === null ? `exit status ${code}` : signal

export const startDaemon = (start: DaemonStart): DaemonProcess => {
  const { program, config, name, onProgress } = start
  const child = fork(program, [], {
    detached: true,
    execArgv: [...(start.process?.execArgv ?? [])],
    env: { ...start.process?.env, ...withoutCredentials(process.env) },
    stdio: ['ignore', 2, 2, 'ipc'],
  })
  const ready = Promise.withResolvers<DaemonReady>()
  const ended = Promise.withResolvers<DaemonEnd>()
  // Who only waits for the end must not be ended by a refusal that nobody looks at.
  ready.promise.catch(() => undefined)
  /** A daemon that serves can fail as well: when the coordinator sends it away. */
  let reason: HyperError | null = null
  child.on('message', (message) => {
    try {
      const report = parseDaemonReport(message)
      if (report.type === 'progress') onProgress(report.message)
      else if (report.type === 'ready') ready.resolve(report)
      else {
        reason = errorFromLine(report.code, report.message)
        ready.reject(reason)
      }
    } catch (error) {
      ready.reject(error)
    }
  })
  child.on('error', (error) => {
    ready.reject(new HyperError('INTERNAL', `the ${name} cannot be started: ${error.message}`))
    if (child.pid === undefined) ended.resolve({ code: 1, signal: null, reason })
  })
  child.on('exit', (code, signal) => {
    const how = describeEnd({ code, signal })
    ready.reject(new HyperError('INTERNAL', `the ${name} ended while it started (${how})`))
    ended.resolve({ code, signal, reason })
  })
  child.send({ type: 'configure', config }, () => undefined)
  return {
    ready: ready.promise,
    ended: ended.promise,
    signal: (signal) => {
      child.kill(signal)
    },
  }
}
