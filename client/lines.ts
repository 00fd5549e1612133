/** Reads a stream of JSON values, one a line, as they come. A line longer than the bound ends it. */

import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'

const parseLine = (line: string): unknown => {
  try {
    return JSON.parse(line)
  } catch (error) {
    throw new HyperError('VERSION_MISMATCH', 'the coordinator sent a line that is not JSON', {
      cause: error,
    })
  }
}

/** What is left when the stream ends without a line feed counts as a line only if it is JSON. */
export async function* readJsonLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<unknown> {
  const decoder = new TextDecoder('utf-8')
  let rest = ''
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > limits.clientLineBytesMax) {
      throw new HyperError('INTERNAL', 'the coordinator sent a line that is too long')
    }
    for (const line of lines) if (line.trim() !== '') yield parseLine(line)
  }
  if (rest.trim() !== '') yield parseLine(rest)
}
