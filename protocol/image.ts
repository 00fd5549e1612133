/**
 * Names of images and what the mesh knows of one.
 *
 * A reference is `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`, as Docker writes it. `name` keeps the user's
 * words; `repository` and `tag` are what an engine is asked for. An image record is what the first
 * agent that pulled an image reports of it; other agents then pull exactly that digest, so a tag
 * that moves cannot change a function silently, and get what it has for their own platform. An image
 * that no registry knows (no digest) is pinned by its id to the agents that hold it.
 */

import Type, { type Static } from 'typebox'
import { HyperError } from './errors.ts'
import { limits } from './limits.ts'

export interface Reference {
  /** As the user wrote it. */
  readonly name: string
  /** Without tag and digest. */
  readonly repository: string
  /** A tag, or a digest `sha256:…`. */
  readonly tag: string
  /** With the tag spelled out: the key that image records are kept under. */
  readonly canonical: string
}

const HOST = '(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?'
const PART = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*'
const GRAMMAR = new RegExp(
  `^(${HOST}${PART}(?:/${PART})*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$`,
)

/** Throws BAD_PARAMETER for what is not a reference. */
export const parseReference = (name: string): Reference => {
  const match = name.length <= 512 ? GRAMMAR.exec(name) : null
  const [, repository = '', tag, digest] = match ?? []
  if (match === null || repository.length > 255) {
    throw new HyperError('BAD_PARAMETER', `not an image name: ${JSON.stringify(name.slice(0, 80))}`)
  }
  const version = digest ?? tag ?? 'latest'
  const canonical = digest === undefined ? `${repository}:${version}` : `${repository}@${digest}`
  return { name, repository, tag: version, canonical }
}

const Words = Type.Union([Type.Array(Type.String()), Type.Null()])

export const ImageRecordSchema = Type.Object({
  /** Canonical reference (see above). */
  reference: Type.String(),
  /** `sha256:…` of the manifest in its registry; null for an image that only engines have. */
  digest: Type.Union([Type.String(), Type.Null()]),
  /** The engine's id of it; opaque, and comparable only where digest is null. */
  id: Type.String(),
  /** `linux/amd64`: what the pulled image is built for. */
  platform: Type.String(),
  /** All that the registry has under the digest; absent where it was not asked (platformsOf). */
  platforms: Type.Optional(
    Type.Array(Type.String({ maxLength: limits.agentWordCharsMax }), {
      maxItems: limits.imagePlatformsMax,
    }),
  ),
  sizeBytes: Type.Integer({ minimum: 0 }),
  created: Type.String(),
  /** Pulled with credentials: whoever pulls it asks the coordinator for them. */
  isPrivate: Type.Optional(Type.Boolean()),
  config: Type.Object({
    Entrypoint: Words,
    Cmd: Words,
    Env: Words,
    User: Type.String(),
    WorkingDir: Type.String(),
    Labels: Type.Record(Type.String(), Type.String()),
    StopSignal: Type.String(),
  }),
})

export type ImageRecord = Static<typeof ImageRecordSchema>

/** What one agent must have to run a call: enough to find the image, or to pull it. */
export const ImagePinSchema = Type.Pick(ImageRecordSchema, [
  'reference',
  'digest',
  'id',
  'isPrivate',
])
export type ImagePin = Static<typeof ImagePinSchema>

/** How adverts, pins and placement name one image: its digest, or its id where it has none. */
export const imageKey = (pin: ImagePin): string => pin.digest ?? pin.id

/**
 * Whether every agent has the image without a registry. Its id is not compared: hosts compile the
 * program of `hello` themselves.
 */
export const isEverywhere = (pin: ImagePin): boolean => pin.reference === `${HELLO_IMAGE}:latest`

/** Which platforms can have it; null: each makes it for itself. */
export const platformsOf = (record: ImageRecord): readonly string[] | null =>
  isEverywhere(record) ? null : (record.platforms ?? [record.platform])

/** Docker Hub, for names that begin with no host. */
export const HUB = 'docker.io'

/** Whose credentials a pull needs. Docker tells hosts from names by a dot, a port, or `localhost`. */
export const registryOf = (reference: string): string => {
  const [first = '', ...rest] = reference.split('/')
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost')
  return !isHost || first === `index.${HUB}` ? HUB : first
}

/** The image every agent has without a registry: a static program that says hello. */
export const HELLO_IMAGE = 'hyper-func/hello'
