/**
 * The pulls that one session's coordinator ordered: progress goes back line by line, the end with
 * the image's record or the reason why not. A pull ends early when nobody waits for it any more
 * (`cancel`), and with its session. So many are taken; more are answered at once with a failure.
 *
 * Credentials pass through; nothing keeps or logs them. Lines that the way back is too slow for are
 * left out, but not the end.
 */

import type { Log } from '../daemon/log.ts'
import { HyperError, messageOf, toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { AgentMessage, PullOrder } from '../protocol/messages.ts'
import type { Images } from './images.ts'

type PullEnd = Extract<AgentMessage, { type: 'pull-end' }>

export interface PullOrders {
  start(order: PullOrder): void
  cancel(pull: number): void
  /** Ends them all. */
  close(): Promise<void>
}

interface Deps {
  readonly images: Pick<Images, 'pull'>
  readonly send: (message: AgentMessage) => Promise<void>
  /** An image may have come. */
  readonly onEnd: () => void
  readonly log: Log
}

const failed = (error: unknown): Pick<PullEnd, 'record' | 'code' | 'message'> => {
  const { code, message: whole } = toHyperError(error)
  const message = whole.slice(0, limits.lineCharsMax)
  return { record: null, code: code === 'INTERNAL' ? 'PULL_FAILED' : code, message }
}

/** Sends what there is to see of one pull. */
const createProgress = ({ send }: Deps, { session, pull }: PullOrder): ((line: string) => void) => {
  let lines = 0
  return (line) => {
    if (lines >= limits.pullLinesMax) return
    lines += 1
    send({ type: 'pull-progress', session, pull, line }).then(
      () => {
        lines -= 1
      },
      () => undefined,
    )
  }
}

const perform = async (deps: Deps, order: PullOrder, signal: AbortSignal): Promise<void> => {
  const { session, pull, reference, auth } = order
  let end: Pick<PullEnd, 'record' | 'code' | 'message'>
  try {
    const record = await deps.images.pull(reference, auth, createProgress(deps, order), signal)
    end = { record, code: 'FINISHED', message: '' }
  } catch (error) {
    end = failed(signal.aborted ? signal.reason : error)
  }
  deps.log.info({ reference, reason: end.code, message: end.message }, 'pull ended')
  deps.onEnd()
  await deps.send({ type: 'pull-end', session, pull, ...end }).catch((error: unknown) => {
    deps.log.debug({ reference, reason: messageOf(error) }, 'nobody waits for the pull any more')
  })
}

const refuse = async ({ send }: Deps, { session, pull }: PullOrder): Promise<void> => {
  const end = failed(new HyperError('PULL_FAILED', 'too many pulls wait on this agent'))
  await send({ type: 'pull-end', session, pull, ...end }).catch(() => undefined)
}

export const createPullOrders = (deps: Deps): PullOrders => {
  const running = new Map<number, AbortController>()
  const ends = new Set<Promise<void>>()

  const watch = (act: Promise<void>): void => {
    const end = act.finally(() => ends.delete(end))
    ends.add(end)
  }

  return {
    start(order) {
      if (running.size >= limits.pullOrdersMax) {
        watch(refuse(deps, order))
        return
      }
      const stop = new AbortController()
      running.set(order.pull, stop)
      watch(perform(deps, order, stop.signal).finally(() => running.delete(order.pull)))
    },
    cancel(pull) {
      running.get(pull)?.abort(new HyperError('PULL_FAILED', 'the pull was given up'))
    },
    async close() {
      const over = new HyperError('PULL_FAILED', 'the coordinator went away')
      for (const stop of running.values()) stop.abort(over)
      await Promise.all(ends)
    },
  }
}
