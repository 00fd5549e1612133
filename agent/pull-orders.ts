/**
 * Pulls that the coordinator orders: progress goes back line by line, the end with the image's
 * record or the reason why not. Credentials pass through; nothing keeps or logs them. Lines that
 * the way back is too slow for are left out, but not the end.
 */

import type { Log } from '../daemon/log.ts'
import { messageOf, toHyperError } from '../protocol/errors.ts'
import type { ImageRecord } from '../protocol/image.ts'
import type { AgentMessage, CoordinatorOrder } from '../protocol/messages.ts'
import type { Images } from './images.ts'

type PullOrder = Extract<CoordinatorOrder, { type: 'pull' }>
type PullEnd = Extract<AgentMessage, { type: 'pull-end' }>
type Send = (message: AgentMessage) => Promise<void>

/** Lines on their way at once, above which further ones are left out. */
const LINES_MAX = 64

const endOf = (error: unknown): Pick<PullEnd, 'record' | 'code' | 'message'> => {
  const { code, message } = toHyperError(error)
  return { record: null, code: code === 'INTERNAL' ? 'PULL_FAILED' : code, message }
}

/** Performs one order. Never rejects. `signal` ends it with its session. */
export const performPull = async (
  deps: { readonly images: Images; readonly log: Log },
  order: PullOrder,
  send: Send,
  signal: AbortSignal,
): Promise<void> => {
  const { session, pull, reference, auth } = order
  let lines = 0
  const onProgress = (line: string): void => {
    if (lines >= LINES_MAX) return
    lines += 1
    send({ type: 'pull-progress', session, pull, line }).then(
      () => {
        lines -= 1
      },
      () => undefined,
    )
  }
  let end: Pick<PullEnd, 'record' | 'code' | 'message'>
  try {
    const record: ImageRecord = await deps.images.pull(reference, auth, onProgress, signal)
    end = { record, code: 'FINISHED', message: '' }
  } catch (error) {
    end = endOf(error)
  }
  deps.log.info({ reference, code: end.code, reason: end.message }, 'pull ended')
  try {
    await send({ type: 'pull-end', session, pull, ...end })
  } catch (error) {
    deps.log.debug({ reference, reason: messageOf(error) }, 'nobody waits for the pull any more')
  }
}
