/**
 * Whether this engine can run our containers at all, tried once with the `hello` image: a mount
 * that it cannot see (it is on another machine), one that it may not execute (noexec, SELinux), a
 * runtime that fails, or behind which a file that changes is not seen to. What is wrong is said by
 * name at the agent's start, not at somebody's call.
 */

import { randomUUID } from 'node:crypto'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { SIZES } from '../protocol/func.ts'
import { HELLO_IMAGE } from '../protocol/image.ts'
import { limits } from '../protocol/limits.ts'
import type { Assignment } from '../protocol/messages.ts'
import { runCall } from './container.ts'
import type { DeriveNonces } from './nonces.ts'
import type { Runner } from './runner/runner.ts'
import type { Supply } from './supply.ts'

/** How often the switch is turned meanwhile: its regular turns are seconds apart. */
const TURN_MS = 100

interface ProbeDeps {
  readonly runner: Runner
  readonly supply: Supply
  readonly nonces: DeriveNonces
  readonly signal: AbortSignal
  readonly turnSwitch: () => Promise<void>
  /** Called with its id while the container waits for its call. */
  readonly onContainer?: (id: string) => Promise<void>
}

const probeCall = (runtime: string): Assignment => ({
  key: { call: randomUUID(), attempt: 1, epoch: 0 },
  func: { id: 'probe', name: 'probe', revision: 1 },
  image: { reference: `${HELLO_IMAGE}:latest`, digest: null, id: '' },
  ...{
    entrypoint: null,
    cmd: ['/hello', '--watch-switch'],
    environment: [],
    workingDir: '',
    user: '',
  },
  ...{ stopSignal: 'SIGTERM', network: 'none', runtime, profile: 'default' },
  memoryBytes: SIZES.s1.memoryBytes,
  cpus: SIZES.s1.cpus,
  timeoutMs: limits.engineAnswerMs,
  atMostOnce: false,
  payload: new Uint8Array(0),
})

/**
 * Runs one container of this runner. Throws what is wrong. The runner is one of its own, so that no
 * sweep takes the container. `runtime` is '' for the engine's default one.
 */
export const probeRunner = async (deps: ProbeDeps, runtime = ''): Promise<void> => {
  const { runner, supply, nonces } = deps
  const signal = AbortSignal.any([deps.signal, AbortSignal.timeout(limits.startMsMax)])
  const assignment = probeCall(runtime)
  const turning = setInterval(() => {
    deps.turnSwitch().catch(() => undefined)
  }, TURN_MS)
  try {
    for (const left of await runner.list(signal)) await runner.remove(left.id, signal)
    const { container, command, image } = await supply.take(
      assignment,
      signal,
      () => undefined,
      async () => '',
    )
    await deps.onContainer?.(container.id)
    const result = await runCall({
      ...{ runner, container, assignment, command, startMs: 0, stop: signal },
      nonces: nonces(container.id),
      imagePlatform: image.platform,
      enginePlatform: image.platform,
      onRunning: () => undefined,
    }).finally(() => runner.remove(container.id, AbortSignal.timeout(limits.startMsMax)))
    if (result === null) throw new Error('a first one took too long')
    if ('ending' in result) throw new Error('a first one ended before it had begun')
    if (result.code === 'CALL_EXITED') {
      throw new Error('in a first one the dead man’s switch was not seen to move')
    }
    if (result.code !== 'FINISHED') throw new Error(result.message)
  } finally {
    clearInterval(turning)
  }
}

/** Throws ENGINE_UNSUITABLE. */
export const probeEngine = async (deps: ProbeDeps): Promise<void> => {
  try {
    await probeRunner(deps)
  } catch (cause) {
    throw new HyperError(
      'ENGINE_UNSUITABLE',
      `the Docker engine cannot run function containers: ${messageOf(cause)}. It must be on this host, and the agent’s home on a file system that allows execution; where the agent is in a container, its HYPER_HOME is a folder of the host, mounted at the same path`,
      { cause },
    )
  }
}
