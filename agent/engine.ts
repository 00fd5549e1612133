/**
 * The Docker Engine of this host, through dockerode: where it is, whether it answers, what it is.
 *
 *   down ─► up    a ping and two questions were answered
 *   up ─► down    a ping failed; asked again with growing pauses until it answers
 *
 * While it is up it is pinged at the longer pause, and at once when somebody met an error
 * (`suspect`). The API version is the lower of ours and the engine's. An engine on another host is
 * refused: it could not mount our hyper-init.
 */

import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { parseInfo, parseVersion } from './engine-answers.ts'
import { createEngineClient, type EngineAddress, type EngineClient } from './engine-client.ts'

/** The newest API we know; every request that we make is the same from 1.41 on. */
const API_VERSION = '1.51'

interface EngineFacts {
  readonly version: string
  readonly apiVersion: string
  readonly memoryBytes: number
  readonly cpus: number
  /** `linux/amd64`. */
  readonly platform: string
  readonly runtimes: readonly string[]
  /** Where it keeps its files. */
  readonly rootDir: string
}

export interface Engine {
  readonly docker: EngineClient
  readonly address: EngineAddress
  /** `/v1.41`: what paths of our own requests begin with. */
  pathPrefix(): string
  isUp(): boolean
  /** What it last said of itself; null before its first answer. */
  facts(): EngineFacts | null
  /** Asks now. */
  check(): Promise<boolean>
  /** Somebody met an error that may be the engine's absence: it is asked soon. */
  suspect(): void
  /** Called at every change between up and down. Returns how to stop that. */
  onChange(listener: (isUp: boolean) => void): () => void
  close(): void
}

/** Reads DOCKER_HOST. Throws ENGINE_UNSUITABLE. Pure. */
export const parseDockerHost = (dockerHost: string): EngineAddress => {
  const unsuitable = (why: string): HyperError =>
    new HyperError('ENGINE_UNSUITABLE', `DOCKER_HOST ${JSON.stringify(dockerHost)} ${why}`)
  if (dockerHost.startsWith('unix://')) {
    const socketPath = dockerHost.slice('unix://'.length)
    if (!socketPath.startsWith('/')) throw unsuitable('does not name a socket by its full path')
    return { socketPath }
  }
  if (!dockerHost.startsWith('tcp://') || !URL.canParse(dockerHost)) {
    throw unsuitable('is neither unix:// nor tcp://')
  }
  const { hostname, port } = new URL(dockerHost)
  if (!/^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)) {
    throw unsuitable('is on another host: run the agent there, beside its engine')
  }
  return { host: hostname.replace(/[[\]]/g, ''), port: port === '' ? 2375 : Number(port) }
}

const versionParts = (version: string): readonly number[] => version.split('.').map(Number)

/** The lower of two API versions. Pure. */
export const lowerVersion = (a: string, b: string): string => {
  const [majorA = 0, minorA = 0] = versionParts(a)
  const [majorB = 0, minorB = 0] = versionParts(b)
  return majorA !== majorB ? (majorA < majorB ? a : b) : minorA <= minorB ? a : b
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' }

/** Asks an engine who it is. The first question goes without a version, so that any can answer. */
const ask = async (docker: EngineClient): Promise<EngineFacts> => {
  const abortSignal = (): { abortSignal: AbortSignal } => ({
    abortSignal: AbortSignal.timeout(limits.engineAnswerMs),
  })
  const { Version, ApiVersion } = parseVersion(await docker.version(abortSignal()))
  const info = parseInfo(await docker.info(abortSignal()))
  return {
    version: Version,
    apiVersion: lowerVersion(API_VERSION, ApiVersion),
    memoryBytes: info.MemTotal,
    cpus: info.NCPU,
    platform: `${info.OSType}/${ARCHITECTURES[info.Architecture] ?? info.Architecture}`,
    runtimes: Object.keys(info.Runtimes ?? {}),
    rootDir: info.DockerRootDir,
  }
}

export const createEngine = (dockerHost: string): Engine => {
  const address = parseDockerHost(dockerHost)
  const agent = new Agent({ keepAlive: true })
  const docker = createEngineClient(address, agent)
  const listeners = new Set<(isUp: boolean) => void>()
  const closing = new AbortController()
  let facts: EngineFacts | null = null
  let isUp = false
  let checking: Promise<boolean> | null = null
  let waking = new AbortController()

  const turn = (to: boolean): boolean => {
    if (isUp !== to && !closing.signal.aborted) {
      isUp = to
      for (const listener of listeners) listener(to)
    }
    return to
  }

  const look = async (): Promise<boolean> => {
    try {
      if (isUp) {
        await docker.ping({ abortSignal: AbortSignal.timeout(limits.engineAnswerMs) })
      } else {
        docker.modem.version = undefined
        facts = await ask(docker)
        docker.modem.version = `v${facts.apiVersion}`
      }
      return turn(true)
    } catch {
      return turn(false)
    }
  }

  const check = (): Promise<boolean> => {
    checking ??= look().finally(() => {
      checking = null
    })
    return checking
  }

  const watch = async (): Promise<void> => {
    let absentMs: number = limits.enginePauseMsMin
    while (!closing.signal.aborted) {
      const answered = await check()
      const pauseMs = answered ? limits.enginePauseMsMax : absentMs
      absentMs = answered
        ? limits.enginePauseMsMin
        : Math.min(absentMs * 2, limits.enginePauseMsMax)
      waking = new AbortController()
      const signal = AbortSignal.any([closing.signal, waking.signal])
      await pause(pauseMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
  watch().catch(() => undefined)

  return {
    docker,
    address,
    pathPrefix: () => (facts === null ? '' : `/v${facts.apiVersion}`),
    isUp: () => isUp,
    facts: () => facts,
    check,
    suspect: () => waking.abort(),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      closing.abort()
      agent.destroy()
    },
  }
}
