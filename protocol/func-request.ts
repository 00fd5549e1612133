/**
 * Reads what a client sent as a function: POST /funcs/create and PUT /funcs/NAME. Defaults are
 * filled in; what the mesh cannot honour is refused by the field's name, never dropped silently.
 * Null, false, 0, "", [] and {} are no demand: the original client sends whole structures.
 */

import Type from 'typebox'
import { HyperError } from './errors.ts'
import {
  type FuncSpec,
  type FuncUpdate,
  hasNetworkUnder,
  isNetworked,
  PROFILES,
  SIZES,
  type SizeName,
} from './func.ts'
import { parseReference } from './image.ts'
import { limits } from './limits.ts'
import { createParser } from './schema.ts'

const Text = Type.String({ maxLength: limits.commandBytesMax })
const Words = Type.Array(Text, { maxItems: 10_000 })
const StringOrWords = Type.Union([Text, Words])
const Labels = Type.Record(Type.String(), Type.String())

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const ENV_NAME = /^[^=\0]+$/
const RUNTIME = /^[a-z0-9._-]{0,64}$/
const STOP_SIGNAL = /^(SIG)?[A-Z0-9+-]{2,12}$|^[1-9][0-9]?$/

const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Optional(Type.Union([schema, Type.Null()]))

const CreateSchema = Type.Object({
  Name: Type.String(),
  ContainerSize: Type.Optional(Type.String()),
  Timeout: nullable(Type.Integer({ minimum: 0, maximum: limits.timeoutSecondsMax })),
  Config: Type.Object({
    Image: Type.String({ minLength: 1 }),
    Cmd: nullable(StringOrWords),
    Entrypoint: nullable(StringOrWords),
    Env: nullable(Words),
    WorkingDir: nullable(Type.String({ maxLength: 4096 })),
    User: nullable(Type.String({ maxLength: 255 })),
    Labels: nullable(Labels),
    ExposedPorts: nullable(Type.Record(Type.String(), Type.Unknown())),
    StopSignal: nullable(Type.String()),
  }),
  HostConfig: nullable(Type.Object({ NetworkMode: nullable(Type.String()) })),
  NetworkingConfig: Type.Optional(Type.Unknown()),
  MaxAttempts: nullable(Type.Integer({ minimum: 1, maximum: limits.maxAttemptsMax })),
  AtMostOnce: nullable(Type.Boolean()),
  RetryOnExit: nullable(Type.Integer({ minimum: 0, maximum: limits.retryOnExitMax })),
  QueueTimeout: nullable(Type.Integer({ minimum: 0, maximum: limits.queueTimeoutSecondsMax })),
  Runtime: nullable(Type.String()),
  Profile: nullable(Type.String()),
  Constraints: nullable(Labels),
})

const UpdateSchema = Type.Object({
  ContainerSize: nullable(Type.String()),
  Timeout: nullable(Type.Integer({ minimum: 0, maximum: limits.timeoutSecondsMax })),
  Refresh: nullable(Type.Boolean()),
  Config: nullable(Type.Object({ Env: nullable(Words) })),
})

const parseCreate = createParser(CreateSchema, 'BAD_PARAMETER', 'function')
const parseUpdate = createParser(UpdateSchema, 'BAD_PARAMETER', 'function')

/** Fields that change nothing for a function: streams are always attached, names are given. */
const HARMLESS = new Set([
  ...['Config.AttachStdin', 'Config.AttachStdout', 'Config.AttachStderr', 'Config.OpenStdin'],
  ...['Config.StdinOnce', 'UUID', 'Created', 'Revision', 'Refresh', 'NetworkingConfig'],
])

/** Structures with fields of their own; in every other object a key is already a demand. */
const STRUCTURES = new Set([
  'HostConfig.LogConfig',
  'HostConfig.RestartPolicy',
  'Config.Healthcheck',
])

const isNoDemand = (value: unknown, path: string): boolean =>
  value === null ||
  value === undefined ||
  value === false ||
  value === 0 ||
  value === -1 ||
  value === '' ||
  (Array.isArray(value) && value.every((item) => isNoDemand(item, path))) ||
  (typeof value === 'object' && Object.keys(value).length === 0) ||
  (typeof value === 'object' &&
    STRUCTURES.has(path) &&
    Object.values(value).every((field) => isNoDemand(field, path)))

/** Throws for the first field with a demand that is not in `known`. */
const refuseUnsupported = (value: object, known: object, prefix: string): void => {
  for (const [field, demand] of Object.entries(value)) {
    const path = `${prefix}${field}`
    if (Object.hasOwn(known, field) || HARMLESS.has(path) || isNoDemand(demand, path)) continue
    if (path === 'HostConfig.RestartPolicy' && JSON.stringify(demand).includes('"no"')) continue
    throw new HyperError('UNSUPPORTED', `${path} is not supported`)
  }
}

const objectAt = (value: unknown, field: string): object => {
  const found = typeof value === 'object' && value !== null ? Reflect.get(value, field) : undefined
  return typeof found === 'object' && found !== null ? found : {}
}

const bad = (message: string): HyperError => new HyperError('BAD_PARAMETER', message)

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80))

const parseSize = (text: string): SizeName => {
  const names = Object.keys(SIZES) as SizeName[]
  const found = names.find((name) => name === text)
  if (found === undefined) throw bad(`no such size: ${text} (choose one of ${names.join(' ')})`)
  return found
}

const parseFuncName = (text: string): string => {
  if (text.length > limits.funcNameCharsMax || !NAME.test(text)) {
    throw bad(`not a name: ${quoted(text)} (1–255 of a–z, 0–9 and -, no - at an end)`)
  }
  return text
}

/** Checks `NAME=value` strings; the last of one name wins, as in a shell. */
const parseEnvironment = (env: readonly string[]): string[] => {
  const byName = new Map<string, string>()
  for (const entry of env) {
    const [name = ''] = entry.split('=', 1)
    if (!entry.includes('=') || !ENV_NAME.test(name) || entry.includes('\0')) {
      throw bad(
        `not an environment entry: ${JSON.stringify(entry.slice(0, 80))} (write NAME=value)`,
      )
    }
    byName.set(name, entry)
  }
  const entries = [...byName.values()]
  const bytes = entries.reduce((sum, entry) => sum + Buffer.byteLength(entry) + 1, 0)
  if (bytes > limits.environmentBytesMax) {
    throw bad(
      `the environment has ${bytes} bytes, at most ${limits.environmentBytesMax} are allowed`,
    )
  }
  return entries
}

const parseWords = (
  value: string | string[] | null | undefined,
  field: string,
): string[] | null => {
  if (value === null || value === undefined || value.length === 0) return null
  // As Docker reads it: a string is one word, not a shell's line.
  const words = typeof value === 'string' ? [value] : value
  if (words.some((word) => word.includes('\0'))) throw bad(`${field} has a NUL byte`)
  const bytes = words.reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0)
  if (bytes > limits.commandBytesMax)
    throw bad(`${field} is longer than ${limits.commandBytesMax} bytes`)
  return words
}

const parseNetwork = (mode: string | null | undefined): 'bridge' | 'none' => {
  if (mode === null || mode === undefined || mode === '' || mode === 'default') return 'bridge'
  if (mode === 'bridge' || mode === 'none') return mode
  throw new HyperError(
    'UNSUPPORTED',
    `HostConfig.NetworkMode ${mode} is not supported (bridge or none)`,
  )
}

const parseProfile = (text: string): FuncSpec['Profile'] => {
  const found = PROFILES.find((name) => name === text)
  if (found === undefined) {
    throw bad(`no such profile: ${quoted(text)} (choose one of ${PROFILES.join(' ')})`)
  }
  return found
}

const parseRuntime = (text: string): string => {
  if (!RUNTIME.test(text)) {
    throw bad(`not a runtime’s name: ${quoted(text)} (at most 64 of a–z, 0–9 and . _ -)`)
  }
  return text
}

/** A network that is asked for, if only by default, is there or is refused: never silently missing. */
const refuseWithoutNetwork = ({
  HostConfig,
  Runtime,
  Profile,
}: Pick<FuncSpec, 'HostConfig' | 'Runtime' | 'Profile'>): void => {
  const isAsked = isNetworked({ network: HostConfig.NetworkMode, profile: Profile })
  if (!isAsked || hasNetworkUnder(Runtime)) return
  throw bad(
    `a function has no network under Runtime ${Runtime}: say HostConfig.NetworkMode none (--network none)`,
  )
}

const parseStopSignal = (text: string | null | undefined): string => {
  if (text === null || text === undefined || text === '') return 'SIGTERM'
  if (!STOP_SIGNAL.test(text)) throw bad(`not a signal: Config.StopSignal ${JSON.stringify(text)}`)
  return text
}

const parseWorkingDir = (text: string | null | undefined): string => {
  if (text === null || text === undefined || text === '') return ''
  if (!text.startsWith('/') || text.includes('\0'))
    throw bad('Config.WorkingDir is not an absolute path')
  return text
}

/** Reads the body of POST /funcs/create. Throws BAD_PARAMETER or UNSUPPORTED. */
export const parseFuncCreate = (body: unknown): FuncSpec => {
  const raw = parseCreate(body)
  refuseUnsupported(raw, CreateSchema.properties, '')
  refuseUnsupported(objectAt(raw, 'Config'), CreateSchema.properties.Config.properties, 'Config.')
  refuseUnsupported(objectAt(raw, 'HostConfig'), { NetworkMode: true }, 'HostConfig.')
  refuseUnsupported(objectAt(raw, 'NetworkingConfig'), {}, 'NetworkingConfig.')
  const config = raw.Config
  const fence = {
    HostConfig: { NetworkMode: parseNetwork(raw.HostConfig?.NetworkMode) },
    Runtime: parseRuntime(raw.Runtime ?? ''),
    Profile: parseProfile(raw.Profile || 'default'),
  }
  refuseWithoutNetwork(fence)
  return {
    Name: parseFuncName(raw.Name),
    ContainerSize: parseSize(raw.ContainerSize || 's4'),
    Timeout: raw.Timeout ?? limits.timeoutSecondsDefault,
    Config: {
      Image: parseReference(config.Image).name,
      Cmd: parseWords(config.Cmd, 'Config.Cmd'),
      Entrypoint: parseWords(config.Entrypoint, 'Config.Entrypoint'),
      Env: parseEnvironment(config.Env ?? []),
      WorkingDir: parseWorkingDir(config.WorkingDir),
      User: config.User ?? '',
      Labels: config.Labels ?? {},
      ExposedPorts: config.ExposedPorts ?? {},
      StopSignal: parseStopSignal(config.StopSignal),
    },
    ...fence,
    NetworkingConfig: { EndpointsConfig: null },
    MaxAttempts: raw.MaxAttempts ?? limits.maxAttemptsDefault,
    AtMostOnce: raw.AtMostOnce ?? false,
    RetryOnExit: raw.RetryOnExit ?? 0,
    QueueTimeout: raw.QueueTimeout || limits.queueTimeoutSecondsDefault,
    Constraints: raw.Constraints ?? {},
  }
}

/** Reads the body of PUT /funcs/NAME. An absent field stays as it was; an empty Env clears it. */
export const parseFuncUpdate = (body: unknown): FuncUpdate => {
  const raw = parseUpdate(body)
  refuseUnsupported(raw, { ...UpdateSchema.properties, Name: true }, '')
  refuseUnsupported(objectAt(raw, 'Config'), { Env: true }, 'Config.')
  return {
    ...(raw.ContainerSize ? { ContainerSize: parseSize(raw.ContainerSize) } : {}),
    ...(typeof raw.Timeout === 'number' ? { Timeout: raw.Timeout } : {}),
    ...(raw.Refresh ? { Refresh: true } : {}),
    ...(raw.Config?.Env ? { Env: parseEnvironment(raw.Config.Env) } : {}),
  }
}
