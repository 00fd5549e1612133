/**
 * The images that came to the engine by our pulls, in a file of the agent's home: only these may be
 * removed when the disk fills. Whatever is in doubt is not on the list, and then stays on the host.
 *
 * Written whenever an image comes or goes, and of its uses now and then. A list that is damaged, or of
 * another engine, is begun anew.
 */

import { readFile } from 'node:fs/promises'
import Type, { type Static } from 'typebox'
import type { Log } from '../daemon/log.ts'
import { messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { writePrivateFile } from '../protocol/private-file.ts'
import { createParser } from '../protocol/schema.ts'

const PulledImageSchema = Type.Object({
  /** The engine's id of it. */
  id: Type.String(),
  /** Tags under which we pulled it, as the engine writes them. None: by its digest. */
  tags: Type.Array(Type.String()),
  /** Wall clock, milliseconds. */
  usedMs: Type.Number(),
})
export type PulledImage = Static<typeof PulledImageSchema>

const parseList = createParser(
  Type.Object({ engine: Type.String(), images: Type.Array(PulledImageSchema) }),
  'STATE_DAMAGED',
  'list of pulled images',
)

export interface PulledImages {
  /** The least recently used first. */
  list(): readonly PulledImage[]
  has(id: string): boolean
  /** It came with our pull, by this tag or (null) by its digest; or was ours and has one more tag. */
  add(id: string, tag: string | null): void
  /** What was taken off the list is on it again. */
  restore(image: PulledImage): void
  /** Resolves once the file says so, or could not be written. */
  drop(id: string): Promise<void>
  used(id: string): void
  /** Waits for what is being written. */
  close(): Promise<void>
}

interface Options {
  readonly path: string
  /** Where the engine is: a list is of one engine. */
  readonly engine: string
  readonly nowMs: () => number
  readonly log: Pick<Log, 'warn'>
}

const read = async ({ path, engine, log }: Options): Promise<readonly PulledImage[]> => {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch {
    return []
  }
  try {
    const stored = parseList(JSON.parse(text))
    return stored.engine === engine ? stored.images : []
  } catch (error) {
    log.warn(
      { reason: messageOf(error) },
      'list of pulled images is damaged: those stay on the host',
    )
    return []
  }
}

const timesOf = (images: readonly PulledImage[]): ReadonlyMap<string, number> =>
  new Map(images.map(({ id, usedMs }) => [id, usedMs]))

export const openPulledImages = async (options: Options): Promise<PulledImages> => {
  const { path, engine, nowMs, log } = options
  const images = new Map((await read(options)).map((image) => [image.id, image]))
  let storedMs = timesOf([...images.values()])
  let writing: Promise<void> = Promise.resolve()

  /** One after the other, each with what is then to be said; one that fails is told, no more. */
  const write = (): Promise<void> => {
    writing = writing.then(async () => {
      const now = [...images.values()]
      try {
        await writePrivateFile(path, JSON.stringify({ engine, images: now }))
        storedMs = timesOf(now)
      } catch (error) {
        log.warn({ reason: messageOf(error) }, 'list of pulled images could not be written')
      }
    })
    return writing
  }

  const save = (): void => {
    write().catch(() => undefined)
  }

  return {
    list: () => [...images.values()].sort((a, b) => a.usedMs - b.usedMs),
    has: (id) => images.has(id),
    add(id, tag) {
      const present = images.get(id)
      if (present === undefined && images.size >= limits.pulledImagesMax) return
      const tags = new Set(present?.tags)
      if (tag !== null) tags.add(tag)
      images.set(id, { id, tags: [...tags], usedMs: nowMs() })
      save()
    },
    restore(image) {
      images.set(image.id, image)
      save()
    },
    async drop(id) {
      if (!images.delete(id)) return
      // A list that cannot be written is no reason to keep a disk full.
      await write()
    },
    used(id) {
      const image = images.get(id)
      if (image === undefined) return
      const usedMs = nowMs()
      images.set(id, { ...image, usedMs })
      const stored = storedMs.get(id) ?? 0
      if (Math.abs(usedMs - stored) >= limits.imagesUsedStepMs) save()
    },
    close: () => writing,
  }
}
