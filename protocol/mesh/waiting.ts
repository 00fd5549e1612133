/**
 * Messages that wait to be sent, in two lanes (../lane.ts): small ones are taken first. A small one
 * that is about what a waiting bulk message is about joins that lane, behind it.
 */

import type { Lane } from '../lane.ts'

export interface Waiting<Out> {
  readonly message: Out
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface WaitingMessages<Out> {
  readonly push: (waiting: Waiting<Out>) => void
  readonly shift: () => Waiting<Out> | undefined
  readonly size: () => number
}

export const createWaiting = <Out>(laneOf: (message: Out) => Lane): WaitingMessages<Out> => {
  const small: Waiting<Out>[] = []
  const bulk: { readonly waiting: Waiting<Out>; readonly about: string | null }[] = []
  /** How many of the bulk lane are about it. */
  const inBulk = new Map<string, number>()

  const shiftBulk = (): Waiting<Out> | undefined => {
    const first = bulk.shift()
    if (first === undefined) return undefined
    const { waiting, about } = first
    if (about !== null) {
      const left = (inBulk.get(about) ?? 1) - 1
      if (left === 0) inBulk.delete(about)
      else inBulk.set(about, left)
    }
    return waiting
  }

  return {
    push(waiting) {
      const { isBulk, about } = laneOf(waiting.message)
      const isBehindBulk = about !== null && inBulk.has(about)
      if (!isBulk && !isBehindBulk) {
        small.push(waiting)
        return
      }
      bulk.push({ waiting, about })
      if (about !== null) inBulk.set(about, (inBulk.get(about) ?? 0) + 1)
    },
    shift: () => small.shift() ?? shiftBulk(),
    size: () => small.length + bulk.length,
  }
}
