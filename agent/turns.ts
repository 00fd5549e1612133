/** So many at once, the others in order of their asking. */

export interface Turns {
  /** Waits for a turn, runs, gives the turn on. Rejects if aborted while it waits. */
  run<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T>
}

export const createTurns = (atOnceMax: number): Turns => {
  let taken = 0
  const waiting: (() => void)[] = []

  const take = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      if (taken < atOnceMax) {
        taken += 1
        return resolve()
      }
      const onAbort = (): void => {
        const at = waiting.indexOf(go)
        if (at >= 0) waiting.splice(at, 1)
        reject(signal.reason)
      }
      const go = (): void => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      signal.addEventListener('abort', onAbort, { once: true })
      waiting.push(go)
    })

  /** The turn passes from hand to hand: `taken` sinks only when nobody waits. */
  const give = (): void => {
    const next = waiting.shift()
    if (next === undefined) taken -= 1
    else next()
  }

  return {
    async run(signal, act) {
      await take(signal)
      try {
        return await act()
      } finally {
        give()
      }
    },
  }
}
