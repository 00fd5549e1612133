/**
 * The Docker Engine of this host, through dockerode: where it is, whether it answers, what it is.
 *
 *   down ─► up    it said who it is
 *   up ─► up      asked again at the longer pause, and at once when somebody met an error
 *                 (`suspect`): it may have been restarted meanwhile, and be another one now
 *   up ─► down    it did not answer; asked again with growing pauses until it does
 *
 * The API version is the lower of ours and the engine's. An engine on another host is refused: it
 * could not mount our hyper-init. What a listener throws is a bug, and is not caught here.
 */

import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { raceAbort } from '../protocol/abort.ts'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { isLoopback } from '../protocol/loopback.ts'
import { parseInfo, parseVersion } from './engine-answers.ts'
import { createEngineClient, type EngineAddress, type EngineClient } from './engine-client.ts'

/** The newest API we know; every request that we make is the same from 1.41 on. */
const API_VERSION = '1.51'
const OLDEST_API = '1.41'

export interface EngineFacts {
  /** `Docker`, or what else answers to its API. */
  readonly product: string
  /** What of a container its kernel does not bound: `swap`. */
  readonly unlimited: readonly string[]
  readonly version: string
  readonly apiVersion: string
  /** Why we cannot speak with it, though it answers; '' where we can. */
  readonly apiTrouble: string
  readonly memoryBytes: number
  readonly cpus: number
  /** `linux/amd64`. */
  readonly platform: string
  readonly runtimes: readonly string[]
  /** By name, of those that are programs and not plug-ins: the program and what it is always told. */
  readonly runtimeWords: Readonly<Record<string, readonly [string, ...string[]]>>
  /** The one of containers that name none. */
  readonly defaultRuntime: string
  /** Where it keeps its files. */
  readonly rootDir: string
  /** How it keeps layers: `overlay2`. */
  readonly storageDriver: string
  /** What containers are fenced in with, as its operator set it: `name=seccomp,profile=default`. */
  readonly securityOptions: readonly string[]
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
  /** Called whenever it comes, goes, or says other facts of itself. Returns how to stop that. */
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
  if (!isLoopback(hostname)) {
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

/** Why an engine of these API versions is not for us; '' where it is. Pure. */
export const apiTroubleOf = (newest: string, oldest: string): string => {
  if (newest !== OLDEST_API && lowerVersion(newest, OLDEST_API) === newest) {
    return `its API ${newest} is older than ${OLDEST_API}, which Docker has since 20.10: upgrade it`
  }
  if (oldest !== '' && lowerVersion(API_VERSION, oldest) !== oldest) {
    return `it speaks no API older than ${oldest}, and this hyper none newer than ${API_VERSION}: upgrade hyper`
  }
  return ''
}

/** Podman answers to Docker’s API; it says who it is in a component of this name. */
const PODMAN = 'Podman Engine'

/** What an engine does not tell is not counted as missing. */
const unlimitedOf = (info: ReturnType<typeof parseInfo>): readonly string[] =>
  [
    info.MemoryLimit === false && 'memory',
    info.SwapLimit === false && 'swap',
    info.PidsLimit === false && 'processes',
    info.CpuCfsQuota === false && 'CPUs',
  ].filter((name) => name !== false)

const runtimeWordsOf = ({
  Runtimes,
}: ReturnType<typeof parseInfo>): EngineFacts['runtimeWords'] => {
  const rows = Object.entries(Runtimes ?? {}).flatMap(([name, runtime]) => {
    const { path, runtimeArgs } = runtime ?? {}
    return path ? [[name, [path, ...(runtimeArgs ?? [])]] as const] : []
  })
  return Object.fromEntries(rows)
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' }

/** Asks an engine who it is. The first question goes without a version, so that any can answer. */
const ask = async (docker: EngineClient): Promise<EngineFacts> => {
  const abortSignal = (): { abortSignal: AbortSignal } => ({
    abortSignal: AbortSignal.timeout(limits.engineAnswerMs),
  })
  const { Version, ApiVersion, MinAPIVersion, Components } = parseVersion(
    await docker.version(abortSignal()),
  )
  const info = parseInfo(await docker.info(abortSignal()))
  return {
    product: (Components ?? []).some(({ Name }) => Name === PODMAN) ? 'Podman' : 'Docker',
    unlimited: unlimitedOf(info),
    version: Version,
    apiVersion: lowerVersion(API_VERSION, ApiVersion),
    apiTrouble: apiTroubleOf(ApiVersion, MinAPIVersion ?? ''),
    memoryBytes: info.MemTotal,
    cpus: info.NCPU,
    platform: `${info.OSType}/${ARCHITECTURES[info.Architecture] ?? info.Architecture}`,
    runtimes: Object.keys(info.Runtimes ?? {}),
    runtimeWords: runtimeWordsOf(info),
    defaultRuntime: info.DefaultRuntime || 'runc',
    rootDir: info.DockerRootDir,
    storageDriver: info.Driver ?? '',
    securityOptions: info.SecurityOptions ?? [],
  }
}

export const startEngine = (dockerHost: string): Engine => {
  const address = parseDockerHost(dockerHost)
  const agent = new Agent({ keepAlive: true })
  const docker = createEngineClient(address, agent)
  const listeners = new Set<(isUp: boolean) => void>()
  const closing = new AbortController()
  let facts: EngineFacts | null = null
  let isUp = false
  let checking: Promise<boolean> | null = null
  let waking = new AbortController()

  /** Null: it did not answer, or not in our words. */
  const answer = async (): Promise<EngineFacts | null> => {
    try {
      if (!isUp) docker.modem.version = undefined
      return await ask(docker)
    } catch {
      return null
    }
  }

  const look = async (): Promise<boolean> => {
    const answered = await answer()
    if (closing.signal.aborted) return false
    const wasUp = isUp
    const hasChanged = answered !== null && !isDeepStrictEqual(answered, facts)
    isUp = answered !== null
    if (answered !== null) {
      facts = answered
      docker.modem.version = `v${answered.apiVersion}`
    }
    if (wasUp !== isUp || hasChanged) for (const listener of listeners) listener(isUp)
    return isUp
  }

  const check = (): Promise<boolean> => {
    checking ??= look().finally(() => {
      checking = null
    })
    return checking
  }

  const watch = async (): Promise<never> => {
    let absentMs: number = limits.enginePauseMsMin
    for (;;) {
      const answered = await check()
      const pauseMs = answered ? limits.enginePauseMsMax : absentMs
      absentMs = answered
        ? limits.enginePauseMsMin
        : Math.min(absentMs * 2, limits.enginePauseMsMax)
      waking = new AbortController()
      const signal = AbortSignal.any([closing.signal, waking.signal])
      await pause(pauseMs, undefined, { signal, ref: false }).catch(() => undefined)
      closing.signal.throwIfAborted()
    }
  }
  watch().catch((error: unknown) => {
    if (!closing.signal.aborted) throw error
  })

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

/** Resolves as soon as the engine answers. Rejects once aborted. */
export const untilUp = async (
  engine: Pick<Engine, 'isUp' | 'onChange'>,
  signal: AbortSignal,
): Promise<void> => {
  signal.throwIfAborted()
  if (engine.isUp()) return
  const { promise: answered, resolve } = Promise.withResolvers<void>()
  const forget = engine.onChange((isUp) => {
    if (isUp) resolve()
  })
  await raceAbort(answered, signal).finally(forget)
}
