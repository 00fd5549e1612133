/**
 * A few at a time. The addresses from which they come are served in turn, so that a crowd at one of
 * them holds up nobody at another; of one address who came last is served first: who came long ago is
 * about to give up, and what is begun for it is wasted. What takes too long goes on without a turn, and
 * the next may begin. When too many wait, the one that waits longest at the most crowded address goes.
 *
 *   begun ─► waiting ─ a place is free, and its address may ─► under way ─ ended, or too long ─► over
 *               └─ ended (it has gone meanwhile), or too many wait ─► over
 */

export interface Turns<T> {
  /** Resolves when its turn comes, or it is over before. Each begins once. */
  begin(one: T, address: string): Promise<void>
  /** Nothing is done where it has ended already. */
  end(one: T): void
}

interface TurnsOptions<T> {
  readonly atOnce: number
  readonly turnMs: number
  /** Of all addresses. */
  readonly waitingMax: number
  /** Asked when a turn is due; true counts as one. */
  readonly mayBegin: (address: string) => boolean
  /** An address that may not is asked again so much later. */
  readonly againMs: number
  /** It is over, without a turn. */
  readonly onCrowdedOut: (one: T, address: string) => void
}

/** Those of one address, with what lets each go on, in the order in which they came. */
const createLine = <T>() => {
  let order: T[] = []
  const present = new Map<T, () => void>()
  const isPresent = (one: T): boolean => present.has(one)
  return {
    size: () => present.size,
    add(one: T, go: () => void): void {
      order.push(one)
      present.set(one, go)
    },
    /** Those that were removed stay in the order until they are most of it. */
    remove(one: T): void {
      present.get(one)?.()
      present.delete(one)
      if (order.length > 2 * present.size) order = order.filter(isPresent)
    },
    oldest: (): T | undefined => order.find(isPresent),
    newest: (): T | undefined => order.findLast(isPresent),
  }
}

type Line<T> = ReturnType<typeof createLine<T>>

export const createTurns = <T>(options: TurnsOptions<T>): Turns<T> => {
  /** The address whose turn is next comes first. */
  const waiting = new Map<string, Line<T>>()
  const addressOf = new Map<T, string>()
  const underWay = new Map<T, NodeJS.Timeout>()
  let again: NodeJS.Timeout | undefined

  const leave = (one: T): void => {
    const address = addressOf.get(one)
    if (address === undefined) return
    addressOf.delete(one)
    const line = waiting.get(address)
    line?.remove(one)
    if (line?.size() === 0) waiting.delete(address)
  }

  /** One of this address, which is the last to have another turn. */
  const serve = (address: string, line: Line<T>): void => {
    const one = line.newest()
    if (one === undefined) return
    underWay.set(one, setTimeout(end, options.turnMs, one).unref())
    leave(one)
    if (waiting.delete(address)) waiting.set(address, line)
  }

  const letIn = (): void => {
    // An address that is served and has more comes once more in this walk.
    for (const [address, line] of waiting) {
      if (underWay.size >= options.atOnce) return
      if (options.mayBegin(address)) serve(address, line)
    }
    if (waiting.size === 0 || again !== undefined) return
    again = setTimeout(() => {
      again = undefined
      letIn()
    }, options.againMs).unref()
  }

  const end = (one: T): void => {
    leave(one)
    clearTimeout(underWay.get(one))
    if (underWay.delete(one)) letIn()
  }

  /** Looks at every address: only where as many wait as may. */
  const makeRoom = (): void => {
    let crowd: readonly [address: string, line: Line<T>] | undefined
    for (const each of waiting) {
      if (crowd === undefined || each[1].size() > crowd[1].size()) crowd = each
    }
    const one = crowd?.[1].oldest()
    if (crowd === undefined || one === undefined) return
    leave(one)
    options.onCrowdedOut(one, crowd[0])
  }

  return {
    async begin(one, address) {
      if (addressOf.size >= options.waitingMax) makeRoom()
      const line = waiting.get(address) ?? createLine<T>()
      const { promise, resolve } = Promise.withResolvers<void>()
      line.add(one, resolve)
      waiting.set(address, line)
      addressOf.set(one, address)
      letIn()
      await promise
    },
    end,
  }
}
