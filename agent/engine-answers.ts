/**
 * What we rely on in the engine's answers, as schemas (they differ between engine versions: an
 * absent field, null and an empty one mean the same), and the engine's refusals told apart.
 */

import Type, { type Static } from 'typebox'
import { type ErrorCode, HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { createParser } from '../protocol/schema.ts'

const maybe = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Optional(Type.Union([schema, Type.Null()]))
const Words = maybe(Type.Array(Type.String()))
const Labels = maybe(Type.Record(Type.String(), Type.String()))

const CODE = 'START_FAILED'

export const parseVersion = createParser(
  Type.Object({
    Version: Type.String(),
    ApiVersion: Type.String(),
    MinAPIVersion: maybe(Type.String()),
    Components: maybe(Type.Array(Type.Object({ Name: Type.String() }))),
  }),
  CODE,
  'version of the engine',
)

export const parseInfo = createParser(
  Type.Object({
    MemTotal: Type.Integer(),
    NCPU: Type.Integer(),
    OSType: Type.String(),
    Architecture: Type.String(),
    DockerRootDir: Type.String(),
    Driver: maybe(Type.String()),
    SecurityOptions: Words,
    DefaultRuntime: maybe(Type.String()),
    MemoryLimit: maybe(Type.Boolean()),
    SwapLimit: maybe(Type.Boolean()),
    PidsLimit: maybe(Type.Boolean()),
    CpuCfsQuota: maybe(Type.Boolean()),
    Runtimes: maybe(
      Type.Record(
        Type.String(),
        maybe(Type.Object({ path: maybe(Type.String()), runtimeArgs: Words })),
      ),
    ),
  }),
  CODE,
  'answer of the engine about itself',
)

const ImageInspect = Type.Object({
  Id: Type.String(),
  RepoTags: Words,
  RepoDigests: Words,
  Created: maybe(Type.String()),
  Size: Type.Integer(),
  Os: Type.String(),
  Architecture: Type.String(),
  Config: maybe(
    Type.Object({
      Entrypoint: Words,
      Cmd: Words,
      Env: Words,
      User: maybe(Type.String()),
      WorkingDir: maybe(Type.String()),
      Labels,
      StopSignal: maybe(Type.String()),
    }),
  ),
})
export type ImageInspect = Static<typeof ImageInspect>
export const parseImageInspect = createParser(
  ImageInspect,
  CODE,
  'answer of the engine about an image',
)

const DistributionSchema = Type.Object({
  Platforms: maybe(
    Type.Array(Type.Object({ os: maybe(Type.String()), architecture: maybe(Type.String()) })),
  ),
})
export type Distribution = Static<typeof DistributionSchema>
export const parseDistribution = createParser(
  DistributionSchema,
  CODE,
  'answer of the engine about an image’s platforms',
)

export const parseImageList = createParser(
  Type.Array(Type.Object({ Id: Type.String(), RepoDigests: Words, Created: Type.Integer() })),
  CODE,
  'list of images of the engine',
)

export const parseContainerInspect = createParser(
  Type.Object({
    State: Type.Object({
      Status: Type.String(),
      Running: Type.Boolean(),
      OOMKilled: Type.Boolean(),
      ExitCode: Type.Integer(),
      Error: maybe(Type.String()),
    }),
  }),
  CODE,
  'answer of the engine about a container',
)

export const parsePinList = createParser(
  Type.Array(Type.Object({ Id: Type.String(), ImageID: Type.String() })),
  CODE,
  'list of containers of the engine that pin images',
)

export const parsePinInspect = createParser(
  Type.Object({
    Config: Type.Object({ Env: Words, Volumes: maybe(Type.Record(Type.String(), Type.Unknown())) }),
    GraphDriver: Type.Object({ Name: Type.String(), Data: Labels }),
  }),
  CODE,
  'answer of the engine about a container that pins an image',
)

export const parsePathStat = createParser(
  Type.Object({ linkTarget: maybe(Type.String()) }),
  CODE,
  'answer of the engine about a file',
)

export const parseContainerSize = createParser(
  Type.Object({ SizeRw: maybe(Type.Integer()) }),
  CODE,
  'size of a container of the engine',
)

export const parseContainerList = createParser(
  Type.Array(Type.Object({ Id: Type.String(), State: Type.String(), Labels })),
  CODE,
  'list of containers of the engine',
)

const NetworkRow = Type.Object({
  Id: Type.String(),
  Name: Type.String(),
  Driver: Type.String(),
  Labels,
  Options: Labels,
  IPAM: maybe(
    Type.Object({
      Config: maybe(
        Type.Array(
          Type.Object({
            Subnet: maybe(Type.String()),
            Gateway: maybe(Type.String()),
            IPRange: maybe(Type.String()),
          }),
        ),
      ),
    }),
  ),
})
export type NetworkRow = Static<typeof NetworkRow>
export const parseNetworkList = createParser(
  Type.Array(NetworkRow),
  CODE,
  'list of networks of the engine',
)

export const parseProgress = createParser(
  Type.Object({ status: maybe(Type.String()), error: maybe(Type.String()) }),
  'PULL_FAILED',
  'progress of the engine',
)

/** The HTTP status of a refusal; null where the engine did not answer at all. */
export const statusOfRefusal = (error: unknown): number | null =>
  error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
    ? error.statusCode
    : null

/** The engine's own words, without the client's frame around them. */
export const wordsOfRefusal = (error: unknown): string => {
  if (error instanceof Error && 'json' in error) {
    const { json } = error
    if (typeof json === 'object' && json !== null && 'message' in json) return String(json.message)
  }
  return messageOf(error)
    .replace(/^\(HTTP code \d+\) [a-z ]+ - /, '')
    .trim()
}

/** What the engine says of a create or start that it refused, and whose fault that is. */
const START_REFUSALS: readonly (readonly [RegExp, ErrorCode])[] = [
  [
    /unable to find (user|group)|no matching entries in (passwd|group) file|[ug]ids must be in range/i,
    'USER_NOT_FOUND',
  ],
  [/no such image/i, 'IMAGE_NOT_FOUND'],
  [/exec format error/i, 'PLATFORM_MISMATCH'],
  [
    /(chdir to cwd|mkdir|lstat|working directory|cwd).*(not a directory|permission denied|is not a|invalid)/is,
    'WORKING_DIR_INVALID',
  ],
]

/** A refused create or start as our error. Engines that did not answer are START_FAILED, too. */
export const startError = (error: unknown): HyperError => {
  if (error instanceof HyperError) return error
  const words = wordsOfRefusal(error)
  const known = START_REFUSALS.find(([pattern]) => pattern.test(words))
  const code = known?.[1] ?? 'START_FAILED'
  const quoted = words.slice(0, limits.engineQuoteCharsMax)
  return new HyperError(code, `the container could not be started: ${quoted}`, { cause: error })
}
