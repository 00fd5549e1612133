/**
 * Writes log lines, one JSON object a line, to a client that may read slowly. At most
 * logFollowBytesMax wait for it; when that many do and it does not catch up within logStallMs, the
 * stream is closed, and `since` resumes it.
 */

import type { Writable } from 'node:stream'
import { limits } from '../../protocol/limits.ts'
import type { LogLine } from '../../protocol/log-line.ts'

/** Resolves with whether the buffer ran empty in time. */
const waitForDrain = (output: Writable, timeoutMs: number): Promise<boolean> =>
  new Promise((resolve) => {
    const settle = (isDrained: boolean): void => {
      clearTimeout(timer)
      output.off('drain', onDrain).off('close', onClose)
      resolve(isDrained)
    }
    const onDrain = (): void => settle(true)
    const onClose = (): void => settle(false)
    const timer = setTimeout(onClose, timeoutMs)
    output.on('drain', onDrain).on('close', onClose)
  })

/** Resolves with false when the client was too slow or went away: the caller then destroys it. */
export const pumpLines = async (
  lines: AsyncIterable<LogLine>,
  output: Writable,
  stallMs: number = limits.logStallMs,
): Promise<boolean> => {
  for await (const line of lines) {
    if (output.destroyed) return false
    output.write(`${JSON.stringify(line)}\n`)
    if (output.writableLength < limits.logFollowBytesMax) continue
    if (!(await waitForDrain(output, stallMs))) return false
  }
  return !output.destroyed
}

/** The lines with the first one already asked for, so that an early failure can be answered. */
export const startLines = async (
  lines: AsyncIterable<LogLine>,
): Promise<AsyncIterable<LogLine>> => {
  const iterator = lines[Symbol.asyncIterator]()
  let next: Promise<IteratorResult<LogLine>> | null = Promise.resolve(await iterator.next())
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        const result = next ?? iterator.next()
        next = null
        return result
      },
      return: async () => (await iterator.return?.()) ?? { done: true, value: undefined },
    }),
  }
}
