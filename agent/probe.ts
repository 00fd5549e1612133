/**
 * Whether this engine can run our containers at all, tried once with the `hello` image: a mount
 * that it cannot see (it is on another machine), one that it may not execute (noexec, SELinux), a
 * runtime that fails. What is wrong is said by name at the agent's start, not at somebody's call.
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

const probeCall = (): Assignment => ({
  key: { call: randomUUID(), attempt: 1, epoch: 0 },
  func: { id: 'probe', name: 'probe', revision: 1 },
  image: { reference: `${HELLO_IMAGE}:latest`, digest: null, id: '' },
  ...{ entrypoint: null, cmd: null, environment: [], workingDir: '', user: '' },
  ...{ stopSignal: 'SIGTERM', network: 'none', runtime: '', profile: 'default' },
  memoryBytes: SIZES.s1.memoryBytes,
  cpus: SIZES.s1.cpus,
  timeoutMs: limits.engineAnswerMs,
  atMostOnce: false,
  payload: new Uint8Array(0),
})

/** Throws ENGINE_UNSUITABLE. The runner is one of its own, so that no sweep takes the container. */
export const probeEngine = async (deps: {
  readonly runner: Runner
  readonly supply: Supply
  readonly nonces: DeriveNonces
  readonly signal: AbortSignal
}): Promise<void> => {
  const { runner, supply, nonces } = deps
  const signal = AbortSignal.any([deps.signal, AbortSignal.timeout(limits.startMsMax)])
  const unsuitable = (why: string, cause?: unknown): HyperError =>
    new HyperError(
      'ENGINE_UNSUITABLE',
      `the Docker engine cannot run function containers: ${why}. It must be on this host, and the agent’s home on a file system that allows execution`,
      { cause },
    )
  const assignment = probeCall()
  try {
    for (const left of await runner.list(signal)) await runner.remove(left.id, signal)
    const { container, command, image } = await supply.take(assignment, signal, () => undefined)
    const result = await runCall({
      ...{ runner, container, assignment, command, startMs: 0, stop: signal },
      nonces: nonces(container.id),
      imagePlatform: image.platform,
      enginePlatform: image.platform,
      onRunning: () => undefined,
    }).finally(() => runner.remove(container.id, AbortSignal.timeout(limits.startMsMax)))
    if (result === null) throw unsuitable('a first one took too long')
    if (result === 'cut') throw unsuitable('a first one ended before it had begun')
    if (result.code !== 'FINISHED') throw unsuitable(result.message)
  } catch (error) {
    throw error instanceof HyperError && error.code === 'ENGINE_UNSUITABLE'
      ? error
      : unsuitable(messageOf(error), error)
  }
}
