/** Bytes of a function on stdout as they come, and what is said where there are none yet. */

import type { IncomingMessage } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { EXIT, HyperError } from '../protocol/errors.ts'
import type { Output } from './output.ts'

export const printBytes = async (body: IncomingMessage): Promise<void> => {
  await pipeline(body, process.stdout, { end: false }).catch((error: unknown) => {
    throw new HyperError('UNREACHABLE', 'the output broke off before its end', { cause: error })
  })
}

/** The call has not ended. */
export const reportUnfinished = (
  { state, message }: { readonly state: 'running' | 'waiting'; readonly message: string },
  output: Output,
): number => {
  const isRunning = state === 'running'
  const told = message === '' ? (isRunning ? 'still running' : 'waiting') : message
  const code = isRunning ? 'CALL_RUNNING' : 'CALL_WAITING'
  output.note(output.isJson ? JSON.stringify({ message: told, code }) : told)
  return EXIT.notFinished
}
