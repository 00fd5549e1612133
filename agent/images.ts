/**
 * The images of this host's engine: finds what a call is pinned to, pulls it by its digest where
 * it is missing (once at a time for each), pulls by name when asked to, and imports `hello`.
 * Credentials go through one pull and are never kept; a call's pull asks for them first. What came by a pull of ours is noted
 * (pulled-images.ts), so that it can be removed again; nothing else ever is.
 */

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { raceAbort } from '../protocol/abort.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'
import {
  HELLO_IMAGE,
  type ImagePin,
  type ImageRecord,
  imageKey,
  parseReference,
  registryOf,
} from '../protocol/image.ts'
import { limits } from '../protocol/limits.ts'
import type { AskAuth } from './auth-requests.ts'
import type { Engine } from './engine.ts'
import {
  parseDistribution,
  parseImageInspect,
  parseImageList,
  statusOfRefusal,
} from './engine-answers.ts'
import { createFlights } from './flights.ts'
import { HELLO_LABEL, HELLO_TAG, makeHelloImage } from './hello-image.ts'
import { engineTagOf, imageRecordOf, platformsIn, refusalOfPull } from './image-record.ts'
import { readProgress } from './pull-progress.ts'
import type { PulledImages } from './pulled-images.ts'
import { createTurns } from './turns.ts'

export interface Images {
  /**
   * The record of what a call is pinned to, pulled if need be. `askAuth`: where credentials for that
   * come from; null: there are none. IMAGE_NOT_FOUND, REGISTRY_UNAUTHORIZED, PULL_FAILED …
   */
  ensure(pin: ImagePin, signal: AbortSignal, askAuth: AskAuth | null): Promise<ImageRecord>
  /** What was found is forgotten: the engine says that it has no such image. */
  forget(pin: ImagePin): void
  /** An explicit pull; `onProgress` gets the engine's lines. */
  pull(
    reference: string,
    auth: string,
    onProgress: (line: string) => void,
    signal: AbortSignal,
  ): Promise<ImageRecord>
  /** It was removed from the engine. */
  evicted(id: string): void
  /** Grows with every image that came to the engine, or went, through us. */
  changes(): number
  /** Keys of what the engine holds, newest first, for adverts. */
  keys(signal: AbortSignal): Promise<readonly string[]>
  importHello(signal: AbortSignal): Promise<ImageRecord>
}

/** Images whose records are kept in memory. */
const KNOWN_MAX = limits.advertImagesMax
const NOT_FOUND = 404

export const createImages = (deps: {
  readonly engine: Engine
  readonly initDir: string
  readonly pulled: Pick<PulledImages, 'list' | 'has' | 'add' | 'drop' | 'used'>
  /** Why nothing new can be kept; '' where it can. */
  readonly trouble: () => string
}): Images => {
  const { engine, initDir, pulled } = deps
  const { docker } = engine
  const turns = createTurns(limits.pullsMax)
  const known = new Map<string, ImageRecord>()
  const flights = createFlights<ImageRecord>()
  let changes = 0

  const inspect = async (name: string, reference: string): Promise<ImageRecord | null> => {
    try {
      const answer = await docker
        .getImage(name)
        .inspect({ abortSignal: AbortSignal.timeout(limits.engineAnswerMs) })
      return imageRecordOf(parseImageInspect(answer), reference)
    } catch (error) {
      if (statusOfRefusal(error) === NOT_FOUND) return null
      if (statusOfRefusal(error) === null) engine.suspect()
      throw error
    }
  }

  const fetch = async (
    repository: string,
    tag: string,
    auth: string,
    onProgress: (line: string) => void,
    signal: AbortSignal,
    isThere = false,
  ): Promise<void> => {
    if (deps.trouble() !== '') throw new HyperError('PULL_FAILED', deps.trouble())
    const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(limits.pullMsMax)])
    const authconfig = auth === '' ? {} : { authconfig: { base64: auth } }
    const options = { fromImage: repository, tag, abortSignal, ...authconfig }
    try {
      const stream = await docker.createImage(options)
      const error = await readProgress(stream, onProgress, abortSignal)
      if (error !== null) throw new Error(error)
      changes += 1
    } catch (error) {
      const name = `${repository}${tag.startsWith('sha256:') ? '@' : ':'}${tag}`
      throw refusalOfPull(error, name, isThere)
    }
  }

  /**
   * With the platforms for which the registry has it. Where that cannot be told the pull is none the
   * worse, and who waits for it is told that the image is taken to be for this one alone.
   */
  const withPlatforms = async (
    record: ImageRecord,
    repository: string,
    auth: string,
    onProgress: (line: string) => void,
    signal: AbortSignal,
  ): Promise<ImageRecord> => {
    if (record.digest === null) return record
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(limits.engineAnswerMs)])
    const options = auth === '' ? {} : { authconfig: { base64: auth } }
    try {
      const image = docker.getImage(`${repository}@${record.digest}`)
      const answer = await raceAbort(image.distribution(options), inTime)
      const platforms = platformsIn(parseDistribution(answer))
      return { ...record, platforms: [...new Set([record.platform, ...platforms])] }
    } catch (error) {
      const status = `Taken to be for ${record.platform} alone: ${messageOf(error)}`
      onProgress(JSON.stringify({ status: status.slice(0, limits.engineQuoteCharsMax) }))
      return record
    }
  }

  /** What is on the engine before a pull; null: it cannot be told, so that nothing counts as ours. */
  const idsBefore = async (): Promise<ReadonlySet<string> | null> => {
    const abortSignal = AbortSignal.timeout(limits.engineAnswerMs)
    try {
      const rows = parseImageList(await docker.listImages({ abortSignal }))
      return new Set(rows.map(({ Id }) => Id))
    } catch {
      return null
    }
  }

  /** One pulled with credentials could not be pulled again: it is no longer ours to remove. */
  const noteOwner = async (
    id: string,
    { before, tag, auth }: { before: ReadonlySet<string> | null; tag: string | null; auth: string },
  ): Promise<void> => {
    if (auth !== '') await pulled.drop(id)
    else if (pulled.has(id) || before?.has(id) === false) pulled.add(id, tag)
  }

  const loadHello = async (signal: AbortSignal): Promise<ImageRecord> => {
    const program = await readFile(join(initDir, 'hello'))
    const { programHash, archive } = makeHelloImage(program, engine.facts()?.platform ?? '')
    const present = await inspect(HELLO_TAG, HELLO_TAG)
    if (present?.config.Labels[HELLO_LABEL] === programHash) return present
    const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(limits.startMsMax)])
    const loading = await docker.loadImage(archive, { abortSignal })
    loading.resume()
    await once(loading, 'end', { signal: abortSignal })
    const loaded = await inspect(HELLO_TAG, HELLO_TAG)
    if (loaded === null) throw new HyperError('START_FAILED', `${HELLO_TAG} could not be loaded`)
    changes += 1
    return loaded
  }

  const importHello: Images['importHello'] = (signal) => flights.join(HELLO_TAG, loadHello, signal)

  const authFor = async (
    pin: ImagePin,
    signal: AbortSignal,
    askAuth: AskAuth | null,
  ): Promise<string> => {
    if (pin.isPrivate !== true) return ''
    const auth = (await askAuth?.(signal)) ?? ''
    if (auth !== '') return auth
    const registry = registryOf(pin.reference)
    throw new HyperError('REGISTRY_UNAUTHORIZED', `no credentials are kept for ${registry}`)
  }

  const obtain = async (
    pin: ImagePin,
    signal: AbortSignal,
    askAuth: AskAuth | null,
  ): Promise<ImageRecord> => {
    const { repository } = parseReference(pin.reference)
    if (repository === HELLO_IMAGE) return importHello(signal)
    const name = pin.digest === null ? pin.id : `${repository}@${pin.digest}`
    const present = await inspect(name, pin.reference)
    if (present !== null) return present
    if (pin.digest === null) {
      throw new HyperError('IMAGE_NOT_FOUND', `no such image on this agent: ${pin.reference}`)
    }
    const { digest } = pin
    const before = await idsBefore()
    let auth = ''
    await turns.run(signal, async () => {
      auth = await authFor(pin, signal, askAuth)
      await fetch(repository, digest, auth, () => undefined, signal, auth !== '')
    })
    const record = await inspect(name, pin.reference)
    if (record === null) throw new HyperError('PULL_FAILED', `${name} is not there after its pull`)
    await noteOwner(record.id, { before, tag: null, auth })
    return record
  }

  return {
    async ensure(pin, signal, askAuth) {
      const key = imageKey(pin)
      const found = known.get(key)
      if (found !== undefined) {
        pulled.used(found.id)
        return found
      }
      // Who can ask for credentials must not join one who cannot.
      const flight = pin.isPrivate === true && askAuth === null ? `${key} without them` : key
      const record = await flights.join(flight, (over) => obtain(pin, over, askAuth), signal)
      const [oldest] = known.keys()
      if (known.size >= KNOWN_MAX && oldest !== undefined) known.delete(oldest)
      known.set(key, record)
      pulled.used(record.id)
      return record
    },
    forget(pin) {
      known.delete(imageKey(pin))
    },
    async pull(reference, auth, onProgress, signal) {
      const parsed = parseReference(reference)
      const { repository, tag, canonical } = parsed
      if (repository === HELLO_IMAGE) return importHello(signal)
      const before = await idsBefore()
      try {
        await turns.run(signal, () => fetch(repository, tag, auth, onProgress, signal))
      } catch (error) {
        // An image that only this engine has is no registry's business.
        const local = await inspect(canonical, canonical).catch(() => null)
        if (local !== null && local.digest === null) return local
        throw error
      }
      const record = await inspect(canonical, canonical)
      if (record === null)
        throw new HyperError('PULL_FAILED', `${reference} is not there after its pull`)
      await noteOwner(record.id, { before, tag: engineTagOf(parsed), auth })
      return withPlatforms(record, repository, auth, onProgress, signal)
    },
    evicted(id) {
      for (const [key, record] of known) if (record.id === id) known.delete(key)
      changes += 1
    },
    changes: () => changes,
    async keys(signal) {
      const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(limits.engineAnswerMs)])
      const ours = pulled.list()
      const rows = parseImageList(await docker.listImages({ abortSignal }))
      // One that its owner removed is his from then on, should he pull it again.
      const ids = new Set(rows.map(({ Id }) => Id))
      for (const { id } of ours) if (!ids.has(id)) await pulled.drop(id)
      const digests = rows
        .toSorted((a, b) => b.Created - a.Created)
        .flatMap((row) => [
          ...(row.RepoDigests ?? []).map((name) => name.slice(name.indexOf('@') + 1)),
          row.Id,
        ])
      return [...new Set(digests)].slice(0, limits.advertImagesMax)
    },
    importHello,
  }
}
