/** From the engine's words about an image to ours: its record, and why a pull failed. Pure. */

import { type ErrorCode, HyperError } from '../protocol/errors.ts'
import { type ImageRecord, parseReference, type Reference } from '../protocol/image.ts'
import { limits } from '../protocol/limits.ts'
import { type Distribution, type ImageInspect, wordsOfRefusal } from './engine-answers.ts'

/** Docker Hub's names are kept short: `docker.io/library/ubuntu` is `ubuntu`. */
const familiar = (repository: string): string =>
  repository.replace(/^(index\.)?docker\.io\//, '').replace(/^library\//, '')

/** A tag as the engine lists it; null for a digest, which is none. */
export const engineTagOf = ({ repository, tag }: Reference): string | null =>
  tag.startsWith('sha256:') ? null : `${familiar(repository)}:${tag}`

/** The digest under which the reference's own registry knows the image, else any, else none. */
const digestOf = (repoDigests: readonly string[], reference: string): string | null => {
  const { repository } = parseReference(reference)
  const pairs = repoDigests.map((name) => {
    const at = name.indexOf('@')
    return { repository: name.slice(0, at), digest: name.slice(at + 1) }
  })
  const own = pairs.find((pair) => familiar(pair.repository) === familiar(repository))
  return own?.digest ?? null
}

export const imageRecordOf = (image: ImageInspect, reference: string): ImageRecord => ({
  reference,
  digest: digestOf(image.RepoDigests ?? [], reference),
  id: image.Id,
  platform: `${image.Os}/${image.Architecture}`,
  sizeBytes: image.Size,
  created: image.Created ?? '',
  config: {
    Entrypoint: image.Config?.Entrypoint ?? null,
    Cmd: image.Config?.Cmd ?? null,
    Env: image.Config?.Env ?? null,
    User: image.Config?.User ?? '',
    WorkingDir: image.Config?.WorkingDir ?? '',
    Labels: image.Config?.Labels ?? {},
    StopSignal: image.Config?.StopSignal ?? '',
  },
})

/** As agents name theirs. What is no image of Linux (attestations are `unknown`) runs nowhere. */
export const platformsIn = ({ Platforms }: Distribution): string[] => {
  const named = (Platforms ?? []).flatMap(({ os, architecture }) =>
    os === 'linux' && architecture ? [`linux/${architecture}`] : [],
  )
  return [...new Set(named)].slice(0, limits.imagePlatformsMax - 1)
}

/** In this order: a registry that hides what it has says "denied" of what is not there. */
const REFUSALS: readonly (readonly [RegExp, ErrorCode])[] = [
  [/pull access denied|repository does not exist/i, 'IMAGE_NOT_FOUND'],
  [/no matching manifest for/i, 'PLATFORM_MISMATCH'],
  [/manifest unknown|manifest .*not found|name unknown|not found: /i, 'IMAGE_NOT_FOUND'],
  [
    /no basic auth credentials|unauthorized|authentication required|incorrect username or password|denied/i,
    'REGISTRY_UNAUTHORIZED',
  ],
]

/** `isThere`: it was pulled before, so that who is not let in is not told that there is no such image. */
export const refusalOfPull = (error: unknown, reference: string, isThere = false): HyperError => {
  if (error instanceof HyperError) return error
  const words = wordsOfRefusal(error)
  if (isThere && /pull access denied/i.test(words)) {
    return new HyperError('REGISTRY_UNAUTHORIZED', `pull of ${reference} was denied`)
  }
  const known = REFUSALS.find(([pattern]) => pattern.test(words))
  const code = known?.[1] ?? 'PULL_FAILED'
  const message =
    code === 'IMAGE_NOT_FOUND'
      ? `no such image: ${reference}`
      : `pull of ${reference}: ${words.slice(0, limits.engineQuoteCharsMax)}`
  return new HyperError(code, message, { cause: error })
}
