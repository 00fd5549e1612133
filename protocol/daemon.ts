/**
 * What a daemon and the process that started it say to each other.
 *
 * A daemon (coordinator/main.ts, agent/main.ts) is always a process of its own, started with an
 * IPC channel: the parent sends one `configure`, the daemon answers `ready` or `failed` (and then
 * exits), and reports `progress` in between. One that serves says `failed` before it ends by itself. A closed channel means that the parent is gone: the
 * daemon drains and stops. Configuration travels here and not in arguments or environment, because
 * a ticket is a secret.
 */

import Type, { type Static } from 'typebox'
import { ErrorCodeSchema } from './call.ts'
import { LabelsSchema } from './labels.ts'
import { limits } from './limits.ts'
import { createParser } from './schema.ts'

const LogFormat = Type.Union([Type.Literal('json'), Type.Literal('pretty')])
const Milliseconds = Type.Integer({ minimum: 0 })

const CoordinatorConfigSchema = Type.Object({
  /** Its state folder, `$HYPER_HOME/coordinator`. Made 0700 where it is missing. */
  home: Type.String(),
  /** Where the default account's endpoint and token are left for the CLI: `client.json`. */
  clientConfigPath: Type.String(),
  listenHost: Type.String(),
  /** 0 takes a free one. */
  listenPort: Type.Integer({ minimum: 0, maximum: 65_535 }),
  /** Allows plain HTTP off loopback. */
  insecure: Type.Boolean(),
  tls: Type.Union([Type.Object({ certPath: Type.String(), keyPath: Type.String() }), Type.Null()]),
  publicUrl: Type.Union([Type.String(), Type.Null()]),
  /** Multiaddrs to listen on, and those to tell others (empty: what it listens on). */
  mesh: Type.Array(Type.String()),
  announce: Type.Array(Type.String()),
  /** Quota of the default account when it is made; null: `quotaDefault`. */
  quota: Type.Union([Type.Integer({ minimum: 0, maximum: limits.quotaMax }), Type.Null()]),
  /** Starts above every epoch that agents have told of. */
  raiseEpoch: Type.Boolean(),
  /** Starts without what is damaged in its state. */
  acceptDataLoss: Type.Boolean(),
  drainMs: Milliseconds,
  logFormat: LogFormat,
})
export type CoordinatorConfig = Static<typeof CoordinatorConfigSchema>

/** How its process is started: what Node is told before it begins, and the C library. */
export const COORDINATOR_PROCESS = {
  execArgv: [`--max-semi-space-size=${limits.coordinatorYoungMiB}`],
  env: { MALLOC_ARENA_MAX: `${limits.coordinatorArenas}` },
} as const

const AgentConfigSchema = Type.Object({
  /** Its state folder, `$HYPER_HOME/agent-N`. */
  home: Type.String(),
  /** Folder with `hyper-init` and `hello`, built. */
  initDir: Type.String(),
  /** Spent only where the agent is not yet a member of the ticket's coordinator. */
  ticket: Type.Union([Type.String(), Type.Null()]),
  /** Leaves the mesh when it stops, and forgets its membership (`hyper join`). */
  adHoc: Type.Boolean(),
  /** Null: the default of protocol/limits.ts for this host. */
  slots: Type.Union([Type.Integer({ minimum: 1, maximum: limits.slotsMax }), Type.Null()]),
  memoryBytes: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()]),
  /** Containers kept ready at the most. Null: as many as 5 % of the memory holds. */
  ready: Type.Union([Type.Integer({ minimum: 0, maximum: limits.readyMax }), Type.Null()]),
  labels: LabelsSchema,
  /** Who starts containers: the engine, or the OCI runtime itself, where it can be. */
  runner: Type.Union([Type.Literal('auto'), Type.Literal('docker'), Type.Literal('oci')]),
  /** As DOCKER_HOST: `unix:///var/run/docker.sock`, `tcp://…`. */
  dockerHost: Type.String(),
  drainMs: Milliseconds,
  logFormat: LogFormat,
})
export type AgentConfig = Static<typeof AgentConfigSchema>

/** A process that makes a coordinator's home of a backup, and ends. */
const RestoreConfigSchema = Type.Object({
  /** The home to be made; it is not there yet, or empty. */
  home: Type.String(),
  backupPath: Type.String(),
  logFormat: LogFormat,
})
export type RestoreConfig = Static<typeof RestoreConfigSchema>

/** A process that looks at a host which runs calls, or is to, and ends. */
const ExaminationConfigSchema = Type.Object({
  /** HYPER_HOME; it need not be there. */
  home: Type.String(),
  initDir: Type.String(),
  dockerHost: Type.String(),
  /** What the coordinator tells others, where one answered: its peer id, multiaddrs without it. */
  mesh: Type.Union([
    Type.Object({ peerId: Type.String(), addresses: Type.Array(Type.String()) }),
    Type.Null(),
  ]),
  logFormat: LogFormat,
})
export type ExaminationConfig = Static<typeof ExaminationConfigSchema>

const FindingSchema = Type.Object({
  /** What was looked at, one word: `engine`, `disk`. */
  check: Type.String(),
  /** A warning limits what works here; with something bad it does not work. */
  state: Type.Union([Type.Literal('good'), Type.Literal('warning'), Type.Literal('bad')]),
  message: Type.String(),
  /** What to do next; '' where nothing is to be done. */
  next: Type.String(),
})
export type Finding = Static<typeof FindingSchema>

const FromDaemon = Type.Union([
  Type.Object({ type: Type.Literal('progress'), message: Type.String() }),
  Type.Object({
    type: Type.Literal('ready'),
    /** coordinator: its gateway's public URL; agent: '' */
    url: Type.String(),
    /** Its own peer id. */
    peerId: Type.String(),
    /** coordinator: what it listens on, ports resolved (`HOST:PORT` and multiaddrs). */
    listen: Type.String(),
    mesh: Type.Array(Type.String()),
    /** A restore: what is in the home that was made. */
    restored: Type.Optional(
      Type.Object({
        made: Type.String(),
        epoch: Type.Integer({ minimum: 0 }),
        rows: Type.Integer({ minimum: 0 }),
        bodies: Type.Integer({ minimum: 0 }),
      }),
    ),
    /** An examination: what it found. */
    findings: Type.Optional(Type.Array(FindingSchema)),
  }),
  Type.Object({ type: Type.Literal('failed'), code: ErrorCodeSchema, message: Type.String() }),
])
export type DaemonReport = Static<typeof FromDaemon>
export type Restored = NonNullable<Extract<DaemonReport, { type: 'ready' }>['restored']>
export type DaemonReady = Extract<DaemonReport, { type: 'ready' }>

export const parseDaemonReport = createParser(FromDaemon, 'INTERNAL', 'report of a daemon')
export const parseConfigure = createParser(
  Type.Object({ type: Type.Literal('configure'), config: Type.Unknown() }),
  'INTERNAL',
  'message to a daemon',
)
export const parseCoordinatorConfig = createParser(
  CoordinatorConfigSchema,
  'BAD_PARAMETER',
  'configuration of the coordinator',
)
export const parseAgentConfig = createParser(
  AgentConfigSchema,
  'BAD_PARAMETER',
  'configuration of the agent',
)
export const parseExaminationConfig = createParser(
  ExaminationConfigSchema,
  'BAD_PARAMETER',
  'configuration of the examination',
)
export const parseRestoreConfig = createParser(
  RestoreConfigSchema,
  'BAD_PARAMETER',
  'configuration of the restore',
)
