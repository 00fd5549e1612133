/** What `up`, `coordinator`, `agent` and `join` make of their flags, the environment and defaults. */

import { availableParallelism, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import type { AgentConfig, CoordinatorConfig, ExaminationConfig } from '../protocol/daemon.ts'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { contextsPath } from './context.ts'
import type { Environment } from './environment.ts'
import type { Flags } from './input.ts'
import { builtInitDir } from './program.ts'
import { parseBytes, parseCount, parseDurationMs, parsePairs } from './quantity.ts'

const DEFAULT_LISTEN = '127.0.0.1:7480'
const DEFAULT_MESH = '/ip4/0.0.0.0/tcp/7481'
const DEFAULT_DOCKER = 'unix:///var/run/docker.sock'
const PORT_MAX = 65_535

/** `127.0.0.1:7480`, `[::1]:0` */
export const parseListen = (text: string): { readonly host: string; readonly port: number } => {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:\s]+)):(\d+)$/i.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port > PORT_MAX) {
    throw new HyperError(
      'BAD_PARAMETER',
      `--listen: ${JSON.stringify(text)} is not HOST:PORT (such as ${DEFAULT_LISTEN})`,
    )
  }
  return { host, port }
}

/** `https://hyper.example.com`; a path in it stays. */
const parsePublicUrl = (text: string | undefined): string | null => {
  if (text === undefined) return null
  const url = URL.parse(text)
  if (url !== null && ['http:', 'https:'].includes(url.protocol)) return text
  throw new HyperError(
    'BAD_PARAMETER',
    `--public-url: ${JSON.stringify(text)} is no http or https URL (such as https://hyper.example.com)`,
  )
}

export const logFormat = (): 'json' | 'pretty' => (process.stderr.isTTY ? 'pretty' : 'json')

const drainMsOf = (flags: Flags): number => {
  const text = flags.text('drainTimeout')
  return text === undefined ? limits.drainMs : parseDurationMs(text, '--drain-timeout')
}

const tlsOf = (flags: Flags): CoordinatorConfig['tls'] => {
  const certPath = flags.text('tlsCert')
  const keyPath = flags.text('tlsKey')
  if (certPath === undefined && keyPath === undefined) return null
  if (certPath === undefined || keyPath === undefined) {
    throw new HyperError('BAD_PARAMETER', '--tls-cert and --tls-key go together')
  }
  return { certPath: resolve(certPath), keyPath: resolve(keyPath) }
}

export const coordinatorConfigOf = (flags: Flags, environment: Environment): CoordinatorConfig => {
  const { host, port } = parseListen(flags.text('listen') ?? environment.listen ?? DEFAULT_LISTEN)
  const quota = flags.text('quota')
  const meshes = flags.texts('mesh')
  return {
    home: join(environment.home, 'coordinator'),
    clientConfigPath: contextsPath(environment.home),
    listenHost: host,
    listenPort: port,
    insecure: flags.has('insecure'),
    tls: tlsOf(flags),
    publicUrl: parsePublicUrl(flags.text('publicUrl') ?? environment.publicUrl),
    mesh: meshes.length > 0 ? [...meshes] : [environment.mesh ?? DEFAULT_MESH],
    announce: [...flags.texts('announce')],
    quota: quota === undefined ? null : parseCount(quota, '--quota', { max: limits.quotaMax }),
    raiseEpoch: flags.has('raiseEpoch'),
    acceptDataLoss: flags.has('acceptDataLoss'),
    drainMs: drainMsOf(flags),
    logFormat: logFormat(),
  }
}

/** Several agents on one machine share what one would take, where nothing else is said. */
const slotsOf = (flags: Flags, agents: number): number | null => {
  const text = flags.text('slots')
  if (text !== undefined) return parseCount(text, '--slots', { min: 1, max: limits.slotsMax })
  if (agents <= 1) return null
  return Math.max(1, Math.floor((availableParallelism() * limits.slotsPerCore) / agents))
}

const readyOf = (flags: Flags): number | null => {
  const text = flags.text('ready')
  return text === undefined ? null : parseCount(text, '--ready', { min: 0, max: limits.readyMax })
}

const RUNNERS = ['auto', 'docker', 'oci'] as const

const runnerOf = (flags: Flags): AgentConfig['runner'] => {
  const text = flags.text('runner') ?? 'auto'
  const known = RUNNERS.find((name) => name === text)
  if (known !== undefined) return known
  throw new HyperError(
    'BAD_PARAMETER',
    `--runner: ${JSON.stringify(text)} is none of ${RUNNERS.join(', ')}`,
  )
}

const memoryOf = (flags: Flags, agents: number): number | null => {
  const text = flags.text('memory')
  if (text !== undefined) return parseBytes(text, '--memory')
  return agents <= 1 ? null : Math.floor((totalmem() * limits.memoryShareDefault) / agents)
}

export const examinationConfigOf = (
  environment: Environment,
  mesh: ExaminationConfig['mesh'],
): ExaminationConfig => ({
  home: environment.home,
  initDir: environment.initDir ?? builtInitDir,
  dockerHost: environment.dockerHost ?? DEFAULT_DOCKER,
  mesh,
  logFormat: logFormat(),
})

export const agentConfigOf = (
  flags: Flags,
  environment: Environment,
  agent: {
    readonly number: number
    /** How many of them this machine has. */
    readonly agents: number
    readonly ticket: string | null
    readonly adHoc: boolean
  },
): AgentConfig => ({
  home: join(environment.home, `agent-${agent.number}`),
  initDir: environment.initDir ?? builtInitDir,
  ticket: agent.ticket,
  adHoc: agent.adHoc,
  slots: slotsOf(flags, agent.agents),
  memoryBytes: memoryOf(flags, agent.agents),
  ready: readyOf(flags),
  labels: parsePairs(flags.texts('label'), '--label'),
  runner: runnerOf(flags),
  dockerHost: environment.dockerHost ?? DEFAULT_DOCKER,
  drainMs: drainMsOf(flags),
  logFormat: logFormat(),
})
