/**
 * Reads the engine's progress of a pull: one JSON object a line, where an error can come as a line
 * of an answer that had begun with 200.
 */

import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { parseProgress } from './engine-answers.ts'

const isObject = (line: string): boolean => line.startsWith('{')

/** Resolves with the error that the engine told, or null. */
export const readProgress = async (
  stream: NodeJS.ReadableStream,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<string | null> => {
  let rest = ''
  let failure: string | null = null
  const take = (line: string): void => {
    if (!isObject(line)) return
    const { error } = parseProgress(JSON.parse(line))
    if (error) failure = error
    else if (line.length <= limits.pullLineCharsMax) onLine(line)
  }
  stream.setEncoding('utf8')
  for await (const chunk of stream) {
    signal.throwIfAborted()
    const lines = `${rest}${String(chunk)}`.split(/\r?\n/)
    rest = lines.pop() ?? ''
    if (rest.length > limits.pullUnendedCharsMax) {
      throw new HyperError('PULL_FAILED', 'the engine sent a line of progress without an end')
    }
    for (const line of lines) take(line)
  }
  take(rest)
  return failure
}
