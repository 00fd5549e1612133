/**
 * A whole Hyper Func of real processes for a test: `hyper up` in its own HYPER_HOME, on the test
 * engine, at free ports; and the `hyper` command beside it. stop() ends all of it.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectDocker } from './docker.ts'
import { eventually } from './eventually.ts'

const MAIN = new URL('../../cli/main.ts', import.meta.url).pathname

export interface CommandResult {
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: string
}

export interface Context {
  readonly endpoint: string
  readonly token: string
}

export interface Deployment {
  readonly home: string
  readonly up: ChildProcess
  readonly context: Context
  /** What `hyper up` printed so far, both streams. */
  output(): string
  hyper(args: readonly string[], input?: string | Uint8Array): Promise<CommandResult>
  stop(): Promise<void>
}

export const environmentFor = (home: string): NodeJS.ProcessEnv => ({
  ...process.env,
  HYPER_HOME: home,
  HYPER_INIT_DIR: process.env.HYPER_TEST_INIT_DIR,
  NO_COLOR: '1',
})

/** `inside`: words before it, which run it somewhere else (hosts.ts). */
const commandOf = (
  args: readonly string[],
  inside: readonly string[] = [],
): [program: string, words: string[]] => {
  const [program = process.execPath, ...words] = [...inside, process.execPath, MAIN, ...args]
  return [program, words]
}

/** Runs the `hyper` command to its end. Without input its STDIN is empty. */
export const runHyper = (
  args: readonly string[],
  options: {
    home: string
    input?: string | Uint8Array
    env?: NodeJS.ProcessEnv
    cwd?: string
    inside?: readonly string[]
  },
): Promise<CommandResult> =>
  new Promise((resolve, reject) => {
    const [program, words] = commandOf(args, options.inside)
    const child = spawn(program, words, {
      env: { ...environmentFor(options.home), ...options.env },
      cwd: options.cwd,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
    // A command that fails early closes its STDIN; that is its right.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(options.input)
    child.once('error', reject)
    child.once('close', (code) => {
      resolve({
        code: code ?? -1,
        stdout: Buffer.concat(stdout),
        stderr: Buffer.concat(stderr).toString(),
      })
    })
  })

/** Starts a `hyper` daemon command and collects what it prints. */
export const startHyper = (
  args: readonly string[],
  home: string,
  env: NodeJS.ProcessEnv = {},
  inside: readonly string[] = [],
): { child: ChildProcess; output: () => string } => {
  const [program, words] = commandOf(args, inside)
  const child = spawn(program, words, {
    env: { ...environmentFor(home), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const printed: string[] = []
  child.stdout?.on('data', (chunk: Buffer) => printed.push(chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => printed.push(chunk.toString()))
  return { child, output: () => printed.join('') }
}

export const ended = (child: ChildProcess): Promise<number> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve(child.exitCode ?? -1)
      return
    }
    child.once('exit', (code) => resolve(code ?? -1))
  })

export const readContext = async (home: string): Promise<Context> => {
  const file: unknown = JSON.parse(await readFile(join(home, 'client.json'), 'utf8'))
  const { contexts, current } = file as { contexts: Record<string, Context>; current: string }
  const context = contexts[current]
  if (context === undefined) throw new Error('no current context')
  return context
}

export const newHome = (): Promise<string> => mkdtemp(join(tmpdir(), 'home-'))

export const isReady = async (endpoint: string): Promise<boolean> =>
  fetch(`${endpoint}/readyz`).then(
    (response) => response.ok,
    () => false,
  )

const startMs = 60_000

const agentsOf = async ({ endpoint, token }: Context): Promise<readonly string[]> => {
  const headers = { authorization: `Bearer ${token}` }
  const response = await fetch(`${endpoint}/agents`, { headers })
  return ((await response.json()) as { peerId: string }[]).map(({ peerId }) => peerId)
}

/** Of these agents, whatever state they are in: as the engine names them. */
export const containersOf = async (agents: readonly string[]): Promise<readonly string[]> => {
  const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  try {
    const all = await docker.listContainers({ all: true })
    return all
      .filter(({ Labels }) => agents.includes(Labels['hyper.agent'] ?? Labels['hyper.pin'] ?? ''))
      .map(({ Id, State, Labels }) => `${Id.slice(0, 12)} ${State} ${JSON.stringify(Labels)}`)
  } finally {
    close()
  }
}

/** Keepers of this home's containers, and what they are forked of: all of them work in a folder of it. */
export const keepersOf = async (home: string): Promise<readonly string[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const folders = pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => ''))
  return (await Promise.all(folders)).filter((folder) => folder.startsWith(`${home}/`))
}

/** `hyper up` with free ports; resolves when it can serve a call. */
export const startDeployment = async (args: readonly string[] = []): Promise<Deployment> => {
  const home = await newHome()
  const ports = ['--listen', '127.0.0.1:0', '--mesh', '/ip4/127.0.0.1/tcp/0']
  const { child, output } = startHyper(['up', ...ports, ...args], home)
  let context: Context | null = null
  const stop = async (): Promise<void> => {
    let agents: readonly string[] = []
    try {
      if (context !== null) agents = await agentsOf(context)
    } finally {
      child.kill('SIGTERM')
      await ended(child)
      await eventually(
        async () => (await keepersOf(home)).length === 0,
        startMs,
        () => `keepers are left:\n${output()}`,
      )
      await rm(home, { recursive: true, force: true })
    }
    if (agents.length === 0) return
    assert.deepEqual(await containersOf(agents), [], `containers are left:\n${output()}`)
  }
  try {
    context = await eventually(
      async () => {
        if (child.exitCode !== null) throw new Error(`hyper up ended:\n${output()}`)
        const found = await readContext(home).catch(() => null)
        return found !== null && output().includes('Hyper Func is up.') ? found : undefined
      },
      startMs,
      () => `hyper up is not ready:\n${output()}`,
    )
    return {
      home,
      up: child,
      context,
      output,
      hyper: (commandArgs, input) =>
        runHyper(commandArgs, { home, ...(input === undefined ? {} : { input }) }),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}
