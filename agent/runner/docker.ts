/**
 * The runner that goes through the Docker engine. One container: create, attach, start, in this
 * order, because an attach after the end would hang for ever. A start that fails removes what it
 * made; what the engine makes after it was no longer waited for goes with the next sweep. Removal is
 * forced and takes the anonymous volumes along; a container that is gone already, or on its way out,
 * counts as removed.
 */

import { randomBytes } from 'node:crypto'
import { limits } from '../../protocol/limits.ts'
import type { Engine } from '../engine.ts'
import {
  parseContainerInspect,
  parseContainerList,
  parseContainerSize,
  startError,
  statusOfRefusal,
} from '../engine-answers.ts'
import { hostConfigOf, newInitPlace, type RunnerHost } from '../host-config.ts'
import { attach, createAttached } from './attach.ts'
import { readEngineLog } from './engine-log.ts'
import { type ContainerSpec, cancelled, type Runner, type RunningContainer } from './runner.ts'

const NOT_FOUND = 404
/** Removal of it is in progress. */
const CONFLICT = 409
/** hyper-init passes the stop on and waits; only then does the engine kill it. */
const STOP_TIMEOUT_SECONDS = limits.timeoutMarginMs / 1000

export interface RunnerIdentity {
  readonly agentId: string
  readonly storeId: string
}

const createBody = (
  spec: ContainerSpec,
  initPlace: string,
  identity: RunnerIdentity,
  host: RunnerHost,
) => ({
  Image: spec.image,
  Entrypoint: [`${initPlace}/hyper-init`],
  Cmd: [],
  User: spec.user,
  WorkingDir: spec.workingDir,
  Tty: false,
  ...{ OpenStdin: true, StdinOnce: true },
  ...{ AttachStdin: true, AttachStdout: true, AttachStderr: true },
  StopSignal: 'SIGTERM',
  StopTimeout: STOP_TIMEOUT_SECONDS,
  // An image's health check would run its code before the call.
  Healthcheck: { Test: ['NONE'] },
  Labels: {
    ...spec.labels,
    hyper: 'call',
    'hyper.agent': identity.agentId,
    'hyper.store': identity.storeId,
  },
  HostConfig: hostConfigOf(spec.fence, { network: spec.network, initPlace }, host),
})

const within = (signal: AbortSignal, timeoutMs: number): AbortSignal =>
  AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])

/** What must not be cut when `signal` is aborted, but then has only so long as an answer takes. */
const outlasting = async <T>(
  signal: AbortSignal,
  act: (late: AbortSignal) => Promise<T>,
): Promise<T> => {
  const late = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const onAbort = (): void => {
    timer = setTimeout(() => late.abort(), limits.engineAnswerMs)
  }
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await act(late.signal)
  } finally {
    signal.removeEventListener('abort', onAbort)
    clearTimeout(timer)
  }
}

export const createDockerRunner = (
  engine: Engine,
  identity: RunnerIdentity,
  host: RunnerHost,
): Runner => {
  const { docker } = engine
  const filters = JSON.stringify({ label: [`hyper.agent=${identity.agentId}`] })

  /** Throws what the engine said, but for "there is none", which is null. */
  const orNull = async <T>(asked: Promise<T>): Promise<T | null> => {
    try {
      return await asked
    } catch (error) {
      if (statusOfRefusal(error) === NOT_FOUND) return null
      if (statusOfRefusal(error) === null) engine.suspect()
      throw error
    }
  }

  const remove: Runner['remove'] = async (id, signal) => {
    const abortSignal = within(signal, limits.startMsMax)
    try {
      await orNull(docker.getContainer(id).remove({ force: true, v: true, abortSignal }))
    } catch (error) {
      if (statusOfRefusal(error) !== CONFLICT) throw error
    }
  }

  const newName = (): string =>
    `hyper-${identity.agentId.slice(-8)}-${randomBytes(8).toString('hex')}`

  const create = async (
    name: string,
    spec: ContainerSpec,
    abortSignal: AbortSignal,
  ): Promise<string> => {
    const body = createBody(spec, newInitPlace(), identity, host)
    // dockerode repeats the whole body in the query unless the two are told apart.
    const options = { _query: { name }, _body: body, abortSignal }
    const container = await docker.createContainer(options)
    return container.id
  }

  const startCreated = async (id: string, signal: AbortSignal): Promise<RunningContainer> => {
    const socket = await attach(engine.address, engine.pathPrefix(), id, signal)
    const container = createAttached(id, socket)
    try {
      await docker.getContainer(id).start({ abortSignal: signal })
      return container
    } catch (error) {
      container.detach()
      throw error
    }
  }

  return {
    async start(spec, signal) {
      const bounded = within(signal, limits.startMsMax)
      const name = newName()
      let id: string | null = null
      try {
        // Not cut by the caller: the engine would make it all the same, after we removed it.
        id = await outlasting(bounded, (late) => create(name, spec, late))
        bounded.throwIfAborted()
        return await startCreated(id, bounded)
      } catch (error) {
        const isRefused = statusOfRefusal(error) !== null
        if (!isRefused) engine.suspect()
        // What an engine without an answer leaves, or makes yet, is for the sweep.
        const forMs = signal.aborted ? limits.engineAnswerMs : limits.startMsMax
        if (id !== null || !isRefused)
          await remove(id ?? name, AbortSignal.timeout(forMs)).catch(() => undefined)
        if (signal.aborted) throw cancelled()
        throw startError(error)
      }
    },
    async state(id, signal) {
      const abortSignal = within(signal, limits.engineAnswerMs)
      const answer = await orNull(docker.getContainer(id).inspect({ abortSignal }))
      if (answer === null) return null
      const { State } = parseContainerInspect(answer)
      return { isRunning: State.Running, exitCode: State.ExitCode, oomKilled: State.OOMKilled }
    },
    async writtenBytes(id, signal) {
      const abortSignal = within(signal, limits.engineAnswerMs)
      const asked = docker.getContainer(id).inspect({ abortSignal, size: true })
      const answer = await orNull(asked)
      return answer === null ? 0 : (parseContainerSize(answer).SizeRw ?? 0)
    },
    async waitForEnd(id, signal) {
      await orNull(docker.getContainer(id).wait({ abortSignal: signal }))
    },
    async readLog(id, sinks, signal) {
      const options = { follow: false, stdout: true, stderr: true, timestamps: true } as const
      const abortSignal = within(signal, limits.startMsMax)
      const log = await orNull(docker.getContainer(id).logs({ ...options, abortSignal }))
      if (log === null || log.length === 0) return
      try {
        readEngineLog(log, sinks)
      } catch {
        // What a damaged log still gives lacks its trailers: nobody takes it for whole.
      }
    },
    remove,
    async list(signal) {
      const abortSignal = within(signal, limits.engineAnswerMs)
      const rows = parseContainerList(
        await docker.listContainers({ all: true, filters, abortSignal }),
      )
      return rows.map((row) => ({
        id: row.Id,
        isRunning: row.State === 'running',
        labels: row.Labels ?? {},
      }))
    },
  }
}
