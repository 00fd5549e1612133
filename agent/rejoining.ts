/**
 * The way in for an agent that has joined before and is started with a ticket: as a member it needs
 * none, and the ticket stays good for another host.
 *
 *   member ─► welcomed      the ticket is let go: who is removed later is not to come back by itself
 *   member ─► NOT_A_MEMBER  it enrols with the ticket, once, and goes in as a member
 */

import { HyperError } from '../protocol/errors.ts'

interface WaysIn<Channel, Ticket> {
  readonly open: (signal: AbortSignal) => Promise<Channel>
  /** Spends the ticket. */
  readonly enrol: (ticket: Ticket, signal: AbortSignal) => Promise<void>
  readonly spare: Ticket | null
}

interface Entrance<Channel> {
  /** Rejects as `open` does, and as `enrol`. */
  readonly open: (signal: AbortSignal) => Promise<Channel>
  readonly welcomed: () => void
}

const isNoMember = (error: unknown): boolean =>
  error instanceof HyperError && error.code === 'NOT_A_MEMBER'

export const createEntrance = <Channel, Ticket>(
  ways: WaysIn<Channel, Ticket>,
): Entrance<Channel> => {
  let { spare } = ways
  return {
    async open(signal) {
      try {
        return await ways.open(signal)
      } catch (error) {
        if (spare === null || !isNoMember(error)) throw error
        await ways.enrol(spare, signal)
        spare = null
        return await ways.open(signal)
      }
    },
    welcomed() {
      spare = null
    },
  }
}
