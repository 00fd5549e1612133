/**
 * Members that broke the protocol: each offence keeps one off, twice as long as the one before.
 *
 *   (unknown) ─ strike ─► kept off ─ its time is over ─► let in, and remembered ─┬─ strike ─► kept off
 *                                                                                └─ long ago ─► (unknown)
 *
 * An agent of ours commits none, but one of another version may, or one on a broken host: so it is told
 * (`goodbye` with KEPT_OFF) and comes back by itself, and is not taken off the list of members. Pure.
 */

import { limits } from '../protocol/limits.ts'

interface Record {
  readonly strikes: number
  readonly untilMs: number
}

export interface Offences {
  /** How long it is kept off, and for the how many-th time. One that is kept off already gains nothing. */
  strike(peerId: string): { readonly keptOffMs: number; readonly strikes: number } | null
  /** For how long it is still kept off; 0: it is not. */
  leftMs(peerId: string): number
}

export const createOffences = (now: () => number): Offences => {
  const records = new Map<string, Record>()

  const recall = (peerId: string): Record | undefined => {
    const record = records.get(peerId)
    if (record === undefined || now() - record.untilMs < limits.offenceMs) return record
    records.delete(peerId)
    return undefined
  }

  const leftMs = (peerId: string): number => Math.max(0, (recall(peerId)?.untilMs ?? 0) - now())

  return {
    leftMs,
    strike(peerId) {
      if (leftMs(peerId) > 0) return null
      const strikes = (recall(peerId)?.strikes ?? 0) + 1
      const keptOffMs = Math.min(limits.keptOffMsMax, limits.keptOffMsMin * 2 ** (strikes - 1))
      records.delete(peerId)
      records.set(peerId, { strikes, untilMs: now() + keptOffMs })
      const [oldest] = records.keys()
      if (records.size > limits.membersMax && oldest !== undefined) records.delete(oldest)
      return { strikes, keptOffMs }
    },
  }
}
