/**
 * A function as clients see it: the original's CamelCase JSON and limits, and ours beside them.
 * What a client may send, and what is made of it, is in func-request.ts.
 */

import Type, { type Static } from 'typebox'
import { limits } from './limits.ts'

const MiB = 1024 * 1024

/** Memory and CPU of the sizes. Memory is a limit without swap beyond it; CPU is a cap. */
export const SIZES = {
  s1: { memoryBytes: 64 * MiB, cpus: 1 },
  s2: { memoryBytes: 128 * MiB, cpus: 1 },
  s3: { memoryBytes: 256 * MiB, cpus: 1 },
  s4: { memoryBytes: 512 * MiB, cpus: 1 },
  m1: { memoryBytes: 1024 * MiB, cpus: 1 },
  m2: { memoryBytes: 2048 * MiB, cpus: 2 },
  m3: { memoryBytes: 4096 * MiB, cpus: 2 },
  l1: { memoryBytes: 4096 * MiB, cpus: 4 },
  l2: { memoryBytes: 8192 * MiB, cpus: 4 },
  l3: { memoryBytes: 16384 * MiB, cpus: 8 },
} as const

export type SizeName = keyof typeof SIZES

const SizeNameSchema = Type.Enum(['s1', 's2', 's3', 's4', 'm1', 'm2', 'm3', 'l1', 'l2', 'l3'])

const Text = Type.String({ maxLength: limits.commandBytesMax })
const Words = Type.Array(Text, { maxItems: 10_000 })
const Labels = Type.Record(Type.String(), Type.String())
export const NetworkSchema = Type.Union([Type.Literal('bridge'), Type.Literal('none')])
export const PROFILES = ['default', 'strict', 'compat'] as const
export const ProfileSchema = Type.Enum([...PROFILES])

/** Whether a function's containers are on a network; `strict` has none, whatever is said. */
export const isNetworked = ({
  network,
  profile,
}: {
  readonly network: Static<typeof NetworkSchema>
  readonly profile: Static<typeof ProfileSchema>
}): boolean => network === 'bridge' && profile !== 'strict'

/** Runtimes that put a container on the engine’s networks; '' is the engine's default one. */
const NETWORKED = ['', 'runc', 'crun']

/**
 * Whether a function has a network under this runtime if it asks for one. Others (gVisor’s runsc,
 * as it works beside Docker) leave it with none, so that asking for both is refused.
 */
export const hasNetworkUnder = (runtime: string): boolean => NETWORKED.includes(runtime)

/** A stored function. Also its row on disk (see coordinator/funcs.ts) and its wire form. */
export const FuncSchema = Type.Object({
  Name: Type.String(),
  ContainerSize: SizeNameSchema,
  Timeout: Type.Integer({ minimum: 0 }),
  UUID: Type.String(),
  Created: Type.String(),
  Config: Type.Object({
    Image: Type.String(),
    Cmd: Type.Union([Words, Type.Null()]),
    Entrypoint: Type.Union([Words, Type.Null()]),
    Env: Words,
    WorkingDir: Type.String(),
    User: Type.String(),
    Labels,
    ExposedPorts: Type.Record(Type.String(), Type.Unknown()),
    StopSignal: Type.String(),
  }),
  HostConfig: Type.Object({ NetworkMode: NetworkSchema }),
  NetworkingConfig: Type.Object({ EndpointsConfig: Type.Null() }),
  MaxAttempts: Type.Integer({ minimum: 1, maximum: limits.maxAttemptsMax }),
  AtMostOnce: Type.Boolean(),
  RetryOnExit: Type.Integer({ minimum: 0, maximum: limits.retryOnExitMax }),
  QueueTimeout: Type.Integer({ minimum: 1, maximum: limits.queueTimeoutSecondsMax }),
  Runtime: Type.String(),
  Profile: ProfileSchema,
  Constraints: Labels,
  Revision: Type.Integer({ minimum: 1 }),
})

export type Func = Static<typeof FuncSchema>
/** What a client decides; the server gives the rest. */
export type FuncSpec = Omit<Func, 'UUID' | 'Created' | 'Revision'>
export interface FuncUpdate {
  readonly ContainerSize?: SizeName
  readonly Timeout?: number
  readonly Refresh?: boolean
  readonly Env?: readonly string[]
}
