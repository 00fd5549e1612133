/**
 * How much is heard of one agent before what it said is written: its results wait in memory for the
 * commit, and an agent with a long outbox tells them as fast as its line takes. It waits for our disk
 * in the end, as its channel is not read meanwhile.
 */

import { limits } from '../protocol/limits.ts'
import type { AgentMessage } from '../protocol/messages.ts'

/** Of one channel: resolves when the next message can be heard. */
export const createPace = (settled: () => Promise<void>) => {
  let unsettledBytes = 0
  return async (message: AgentMessage): Promise<void> => {
    if (message.type !== 'result') return
    unsettledBytes += message.result.stdout.byteLength + message.result.stderr.byteLength
    if (unsettledBytes < limits.unsettledBytesMax) return
    await settled()
    unsettledBytes = 0
  }
}
