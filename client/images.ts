/** Images over the wire: have one pulled by an agent, list, look at. */

import type { Static } from 'typebox'
import { HyperError } from '../protocol/errors.ts'
import { readJsonLines } from './lines.ts'
import type { Management } from './management.ts'
import { createReader } from './shape.ts'
import type { Transport } from './transport.ts'

const progressShape = {
  type: 'object',
  properties: {
    status: { type: 'string' },
    id: { type: 'string' },
    progressDetail: {
      type: 'object',
      properties: { current: { type: 'number' }, total: { type: 'number' } },
    },
    error: { type: 'string' },
  },
} as const
/** One of Docker's progress objects. */
export type PullProgress = Static<typeof progressShape>

const imageShape = {
  type: 'object',
  required: ['Id'],
  properties: {
    Id: { type: 'string' },
    RepoTags: { anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'null' }] },
    RepoDigests: { anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'null' }] },
    /** Seconds since 1970 in lists, a time in words in inspections: as Docker has it. */
    Created: { type: ['number', 'string'] },
    Size: { type: 'number' },
  },
} as const
export type ListedImage = Static<typeof imageShape>

const readProgress = createReader(progressShape, 'progress of a pull')
const readImages = createReader({ type: 'array', items: imageShape }, 'list of images')

export interface Images {
  /** Yields the progress; throws when the pull fails, also after it began. */
  readonly pull: (
    reference: string,
    options?: { readonly registryAuth?: string },
  ) => AsyncGenerator<PullProgress>
  readonly list: () => Promise<readonly ListedImage[]>
}

export const createImages = (transport: Transport, management: Management): Images => {
  async function* pull(
    text: string,
    options: { readonly registryAuth?: string } = {},
  ): AsyncGenerator<PullProgress> {
    // The grammar of references comes with the type builder, which nothing else here needs.
    const { parseReference } = await import('../protocol/image.ts')
    const { repository, tag } = parseReference(text)
    const query = new URLSearchParams({ fromImage: repository, tag })
    const { registryAuth } = options
    const answer = await management.open({
      method: 'POST',
      path: `/images/create?${query}`,
      headers: registryAuth === undefined ? {} : { 'X-Registry-Auth': registryAuth },
      isLong: true,
    })
    try {
      for await (const line of readJsonLines(answer.body)) {
        const progress = readProgress(line)
        if (progress.error !== undefined) throw new HyperError('PULL_FAILED', progress.error)
        yield progress
      }
    } catch (error) {
      throw transport.brokenBy(error)
    }
  }

  return {
    pull,
    list: async () => readImages(await management.ask({ method: 'GET', path: '/images/json' })),
  }
}
