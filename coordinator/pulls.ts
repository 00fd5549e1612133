/**
 * The image pulls that one session of an agent was asked for: their progress and their ends. One of
 * which nothing is heard for longer than any pull takes is given up, as one that nobody waits for.
 */

import { HyperError } from '../protocol/errors.ts'
import type { ImageRecord } from '../protocol/image.ts'
import { limits } from '../protocol/limits.ts'
import type { AgentMessage } from '../protocol/messages.ts'

interface Pull {
  readonly onProgress: (line: string) => void
  /** Its silence is counted anew. */
  readonly heard: () => void
  readonly resolve: (record: ImageRecord) => void
  readonly reject: (error: Error) => void
}

export interface Pulls {
  /** A new pull's number; it ends with the agent's word, the signal, or `fail`. */
  begin(
    onProgress: (line: string) => void,
    signal: AbortSignal,
  ): { readonly pull: number; readonly ended: Promise<ImageRecord> }
  progress(pull: number, line: string): void
  end(message: Extract<AgentMessage, { type: 'pull-end' }>): void
  /** The session is over. */
  fail(error: Error): void
}

/** `giveUp` tells the agent that nobody waits for a pull any more. */
export const createPulls = (giveUp: (pull: number) => void): Pulls => {
  const pulls = new Map<number, Pull>()
  let last = 0

  const take = (pull: number): Pull | undefined => {
    const found = pulls.get(pull)
    pulls.delete(pull)
    return found
  }

  return {
    begin(onProgress, signal) {
      last += 1
      const pull = last
      const ended = new Promise<ImageRecord>((resolve, reject) => {
        const end = (reason: string): void => {
          take(pull)?.reject(new HyperError('PULL_FAILED', reason))
          giveUp(pull)
        }
        const onAbort = (): void => end('the pull was given up')
        let silence: NodeJS.Timeout | undefined
        const heard = (): void => {
          clearTimeout(silence)
          silence = setTimeout(end, limits.pullSilenceMs, 'the agent fell silent on the pull')
        }
        const settle =
          <T>(then: (value: T) => void) =>
          (value: T): void => {
            clearTimeout(silence)
            signal.removeEventListener('abort', onAbort)
            then(value)
          }
        heard()
        pulls.set(pull, { onProgress, heard, resolve: settle(resolve), reject: settle(reject) })
        signal.addEventListener('abort', onAbort, { once: true })
      })
      return { pull, ended }
    },
    progress(pull, line) {
      const found = pulls.get(pull)
      found?.heard()
      found?.onProgress(line)
    },
    end({ pull, record, code, message }) {
      const found = take(pull)
      if (record !== null) found?.resolve(record)
      else found?.reject(new HyperError(code, message))
    },
    fail(error) {
      for (const pull of [...pulls.keys()]) take(pull)?.reject(error)
    },
  }
}
