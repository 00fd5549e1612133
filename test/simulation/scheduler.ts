/**
 * Virtual time. What is planned is done in order of its time, and of its planning where times are
 * equal; after each act all promises that can go on have gone on, before the next act is done. No
 * clock and no timer of the machine decides anything.
 *
 * A *process* is a thing that can stand still or die: what it planned waits, or is never done.
 */

export interface Scheduler {
  nowMs(): number
  after(delayMs: number, act: () => void): void
  pause(delayMs: number): Promise<void>
  /** Goes on until the condition holds, nothing is planned, or the time is over. */
  run(isDone: () => boolean, untilMs: number): Promise<void>
  acts(): number
  /** Called after every act, when all that follows from it at once is done. */
  watch(look: () => void): void
}

export interface Process {
  isAlive(): boolean
  isFrozen(): boolean
  /** Planned in the process's own time; never done once it is dead. */
  after(delayMs: number, act: () => void): void
  pause(delayMs: number): Promise<void>
  /** Done at once, or, while it stands still, in its turn. */
  take(act: () => void): void
  /** Stands still for so long, longer where it stands still already. */
  freeze(forMs: number): void
  kill(): void
  /** Resolves at its death. */
  readonly died: Promise<void>
}

interface Planned {
  readonly atMs: number
  readonly order: number
  readonly act: () => void
}

const isBefore = (a: Planned, b: Planned): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

/** A heap of its own: ties are resolved by the order of planning. */
const createAgenda = () => {
  const items: Planned[] = []
  return {
    size: () => items.length,
    first: () => items[0],
    add(item: Planned): void {
      let at = items.length
      while (at > 0) {
        const up = (at - 1) >> 1
        const parent = items[up]
        if (parent === undefined || !isBefore(item, parent)) break
        items[at] = parent
        at = up
      }
      items[at] = item
    },
    take(): Planned | undefined {
      const first = items[0]
      const last = items.pop()
      if (items.length === 0 || last === undefined) return first
      let at = 0
      for (;;) {
        let down = 2 * at + 1
        let child = items[down]
        if (child === undefined) break
        const right = items[down + 1]
        if (right !== undefined && isBefore(right, child)) {
          child = right
          down += 1
        }
        if (!isBefore(child, last)) break
        items[at] = child
        at = down
      }
      items[at] = last
      return first
    },
  }
}

/** All promises that can go on have gone on when this resolves. */
const drained = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export const createScheduler = (startMs: number): Scheduler => {
  const agenda = createAgenda()
  let nowMs = startMs
  let order = 0
  let acts = 0
  let look = (): void => undefined
  const after = (delayMs: number, act: () => void): void => {
    order += 1
    agenda.add({ atMs: nowMs + Math.max(0, delayMs), order, act })
  }
  return {
    nowMs: () => nowMs,
    acts: () => acts,
    after,
    watch(onAct) {
      look = onAct
    },
    pause: (delayMs) => new Promise((resolve) => after(delayMs, resolve)),
    async run(isDone, untilMs) {
      await drained()
      while (!isDone()) {
        const next = agenda.first()
        if (next === undefined || next.atMs > untilMs) break
        agenda.take()
        nowMs = next.atMs
        acts += 1
        next.act()
        await drained()
        look()
      }
    },
  }
}

/** `drift` is how much longer than ours this process's second is. */
export const createProcess = (scheduler: Scheduler, drift = 1): Process => {
  let isAlive = true
  let frozenUntilMs = 0
  /** Of acts that wait for it to go on. */
  let waiting = 0
  const { promise: died, resolve } = Promise.withResolvers<void>()
  const done = (act: () => void): void => {
    if (!isAlive) return
    const leftMs = frozenUntilMs - scheduler.nowMs()
    if (leftMs <= 0) act()
    else wait(leftMs, act)
  }
  const wait = (forMs: number, act: () => void): void => {
    waiting += 1
    scheduler.after(forMs, () => {
      waiting -= 1
      done(act)
    })
  }
  const after = (delayMs: number, act: () => void): void =>
    scheduler.after(delayMs * drift, () => done(act))
  return {
    isAlive: () => isAlive,
    isFrozen: () => frozenUntilMs > scheduler.nowMs(),
    after,
    pause: (delayMs) => new Promise((go) => after(delayMs, go)),
    take(act) {
      // What came before goes first.
      if (waiting > 0) wait(Math.max(0, frozenUntilMs - scheduler.nowMs()), act)
      else done(act)
    },
    freeze(forMs) {
      frozenUntilMs = Math.max(frozenUntilMs, scheduler.nowMs() + forMs)
    },
    kill() {
      isAlive = false
      resolve()
    },
    died,
  }
}
