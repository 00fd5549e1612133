/**
 * A few at a time. The addresses from which they come are served in turn, so that a crowd at one of
 * them holds up nobody at another; of one address who came last is served first: who came long ago is
 * about to give up, and what is begun for it is wasted. What takes too long goes on without a turn, and
 * the next may begin.
 *
 *   begun ─► waiting ─ a place is free, and its address may ─► under way ─ ended, or too long ─► over
 *     │         └─ ended: it has gone meanwhile ─► over
 *     └─ too many of its address wait ─► refused
 */

export interface Turns<T> {
  /** False: refused. Else it resolves when its turn comes, or it is ended before. Each begins once. */
  begin(one: T, address: string): Promise<boolean>
  /** Nothing is done where it has ended already. */
  end(one: T): void
}

interface TurnsOptions {
  readonly atOnce: number
  readonly turnMs: number
  /** Of one address. */
  readonly waitingMax: number
  /** Asked when a turn is due; true counts as one. */
  readonly mayBegin: (address: string) => boolean
  /** An address that may not is asked again so much later. */
  readonly againMs: number
}

/** Those of one address, with what lets each go on; the last one added is the first taken. */
const createStack = <T>() => {
  let order: T[] = []
  const present = new Map<T, () => void>()
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
      if (order.length > 2 * present.size) order = order.filter((other) => present.has(other))
    },
    last: (): T | undefined => order.findLast((one) => present.has(one)),
  }
}

export const createTurns = <T>(options: TurnsOptions): Turns<T> => {
  /** The address whose turn is next comes first. */
  const waiting = new Map<string, ReturnType<typeof createStack<T>>>()
  const addressOf = new Map<T, string>()
  const underWay = new Map<T, NodeJS.Timeout>()
  let again: NodeJS.Timeout | undefined

  const leave = (one: T): void => {
    const address = addressOf.get(one)
    if (address === undefined) return
    addressOf.delete(one)
    const stack = waiting.get(address)
    stack?.remove(one)
    if (stack?.size() === 0) waiting.delete(address)
  }

  /** One of this address, which is the last to have another turn. */
  const serve = (address: string, stack: ReturnType<typeof createStack<T>>): void => {
    const one = stack.last()
    if (one === undefined) return
    underWay.set(one, setTimeout(end, options.turnMs, one).unref())
    leave(one)
    if (waiting.delete(address)) waiting.set(address, stack)
  }

  const letIn = (): void => {
    // An address that is served and has more comes once more in this walk.
    for (const [address, stack] of waiting) {
      if (underWay.size >= options.atOnce) return
      if (options.mayBegin(address)) serve(address, stack)
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

  return {
    async begin(one, address) {
      const stack = waiting.get(address) ?? createStack<T>()
      if (stack.size() >= options.waitingMax) return false
      const { promise, resolve } = Promise.withResolvers<void>()
      stack.add(one, resolve)
      waiting.set(address, stack)
      addressOf.set(one, address)
      letIn()
      await promise
      return true
    },
    end,
  }
}
