/** What eviction.ts asks of the Docker engine. */

import { limits } from '../protocol/limits.ts'
import type { Engine } from './engine.ts'
import { parseContainerList, parseImageInspect, statusOfRefusal } from './engine-answers.ts'
import type { ImageRemoval } from './eviction.ts'

const NOT_FOUND = 404
/** A container, an image made of it, or a second repository uses it. */
const CONFLICT = 409

const within = (signal: AbortSignal, timeoutMs: number): { abortSignal: AbortSignal } => ({
  abortSignal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
})

/** `unpin` lets go of an image, where no container of ours needs it. */
export const createImageRemoval = (
  { docker }: Pick<Engine, 'docker'>,
  unpin: (id: string) => Promise<void>,
): ImageRemoval => ({
  async tags(id, signal) {
    try {
      const answer = await docker.getImage(id).inspect(within(signal, limits.engineAnswerMs))
      return parseImageInspect(answer).RepoTags ?? []
    } catch (error) {
      if (statusOfRefusal(error) === NOT_FOUND) return null
      throw error
    }
  },
  async remove(id, signal) {
    try {
      await unpin(id)
      const how = { force: false, noprune: true } as const
      await docker.getImage(id).remove({ ...how, ...within(signal, limits.startMsMax) })
      return true
    } catch (error) {
      if (statusOfRefusal(error) === CONFLICT) return false
      if (statusOfRefusal(error) === NOT_FOUND) return true
      throw error
    }
  },
  async isUsedByCalls(id, signal) {
    const filters = JSON.stringify({ label: ['hyper'], ancestor: [id] })
    const options = { all: true, filters, ...within(signal, limits.engineAnswerMs) } as const
    return parseContainerList(await docker.listContainers(options)).length > 0
  },
})
