/**
 * Runs hyper-init as an ordinary process, or as PID 1 of a namespace of its own, and reads both
 * streams with the agent's parser. It owns the process: `ended` resolves when it and both of its
 * streams ended, and a run that does not end in time is killed and rejected.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import {
  createStreamParser,
  encodeFrame,
  type InitFrame,
  type StreamParser,
} from '../../agent/init/frame.ts'

const RUN_MS_MAX = 20_000

export type InitRun = {
  status: number | null
  stdout: StreamParser
  stderr: StreamParser
  /** STDOUT without header and trailer. */
  text: string
}

export type InitRunOptions = {
  input: readonly Uint8Array[]
  frame?: InitFrame
  /** Close STDIN after the input. */
  endInput?: boolean
  /** A command that starts hyper-init in its own way; hyper-init's path comes after it. */
  within?: readonly string[]
  environment?: Readonly<Record<string, string>>
  /** The working directory. */
  cwd?: string
  /** Called once, when the body of STDOUT begins. */
  onOutput?: (process: ChildProcess) => void
  /** Called once, when both trailers came. Without it STDIN is closed then, as the agent does. */
  onTold?: (process: ChildProcess) => void
  /** Called as soon as the process is there. */
  onSpawn?: (process: ChildProcess) => void
}

export const AS_FIRST_PROCESS = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child']

export function initFrame(part: Partial<InitFrame> & { argv: readonly string[] }): InitFrame {
  return {
    headerNonce: randomBytes(16),
    trailerNonce: randomBytes(16),
    callId: randomUUID(),
    attempt: 1,
    timeoutMs: 0,
    stopSignal: 15,
    environment: [],
    payload: new Uint8Array(0),
    ...part,
  }
}

export function runInit(initPath: string, options: InitRunOptions): Promise<InitRun> {
  const { headerNonce, trailerNonce, callId, attempt } = options.frame ?? initFrame({ argv: [''] })
  const identity = { headerNonce, trailerNonce, callId, attempt, bytesMax: 8 << 20 }
  const stdout = createStreamParser(identity)
  const stderr = createStreamParser(identity)
  const command = [...(options.within ?? []), initPath]

  return new Promise((resolve, reject) => {
    // Descriptors 3 and 4 stand for what a careless runtime leaves open.
    const child = spawn(command[0] ?? '', command.slice(1), {
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH ?? '', ...options.environment },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    })
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      // What it started may live on, and hold these.
      for (const stream of child.stdio) stream?.destroy()
      reject(new Error(`${command.join(' ')} did not end in time`))
    }, RUN_MS_MAX)
    const { onTold = () => void child.stdin?.end() } = options
    let hasTold = false
    const look = (): void => {
      if (hasTold || stdout.trailer === null || stderr.trailer === null) return
      hasTold = true
      onTold(child)
    }
    let announced = false
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout.push(chunk)
      look()
      if (announced || stdout.bodyBytes === 0) return
      announced = true
      options.onOutput?.(child)
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr.push(chunk)
      look()
    })
    child.stdin?.on('error', () => undefined) // It may have refused the frame already.
    child.on('error', reject)
    child.on('exit', () => child.stdin?.destroy())
    child.on('close', (status) => {
      clearTimeout(timer)
      resolve({ status, stdout, stderr, text: Buffer.from(stdout.body()).toString() })
    })
    for (const chunk of options.input) child.stdin?.write(chunk)
    if (options.endInput) child.stdin?.end()
    options.onSpawn?.(child)
  })
}

export type FramePart = Partial<InitFrame> & { argv: readonly string[] }

/** Runs hyper-init with one frame; what `part` leaves out is as in `initFrame`. */
export const runFrame = (
  initPath: string,
  part: FramePart,
  options: Partial<InitRunOptions> = {},
): Promise<InitRun> => {
  const frame = initFrame(part)
  return runInit(initPath, { frame, input: encodeFrame(frame), ...options })
}

/** The trailer of a process that ended by itself. */
export const exited = (status: number) => ({ reason: 'exited', bySignal: false, status })
