/**
 * How a dialler gets to its coordinator at the first of several addresses that answers. Libp2p tries
 * the addresses of a peer one after the other, and makes one of dials that run at once: each that
 * swallows packets would cost its whole time (measured). Of an address:
 *
 *   known ─► dialled ─► answered   the first one to; all others are given up
 *              │  ▲
 *              ▼  │
 *             failed               dialled again while others have neither answered nor failed
 *
 * - The best address has a head start: a host that can reach its coordinator in several ways costs it
 *   one handshake.
 * - When all have failed there is nothing to wait for: whoever asked decides when to ask again.
 * - Where none of the known ones answers, `find` is asked for more. It ends by itself.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { limits } from '../limits.ts'

interface Ways<T> {
  /** The best first. */
  readonly addresses: readonly string[]
  /** Tells when there is somebody at the address, who has still to prove who it is. */
  readonly dial: (address: string, signal: AbortSignal, onConnected: () => void) => Promise<T>
  /** For what was reached too late. */
  readonly discard: (late: T) => void
  /** Tells more addresses; resolves when it knows no more. Null: there are no more. */
  readonly find: ((tell: (address: string) => void, signal: AbortSignal) => Promise<void>) | null
  readonly signal: AbortSignal
}

/** Rejects with an AggregateError of what each address answered, or with the signal's reason. */
export const reachFirst = async <T>({
  addresses,
  dial,
  discard,
  find,
  signal,
}: Ways<T>): Promise<T> => {
  const over = new AbortController()
  const running = AbortSignal.any([signal, over.signal])
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const dialled = new Set<string>()
  const failures = new Map<string, unknown>()
  const [best, ...others] = addresses
  let search: 'not yet' | 'on' | 'over' = find === null ? 'over' : 'not yet'

  const after = (ms: number, act: () => void): void => {
    pause(ms, undefined, { signal: running }).then(act, () => undefined)
  }

  const dialOnce = async (address: string): Promise<void> => {
    // Of its own, and let go when it has reached: a connection ends with the signal it was dialled with.
    const own = new AbortController()
    const giveUp = (): void => own.abort(new Error('no answer in time'))
    let timer = setTimeout(
      giveUp,
      address.startsWith('/dns') ? limits.connectNameMs : limits.connectMs,
    )
    const onConnected = (): void => {
      clearTimeout(timer)
      timer = setTimeout(giveUp, limits.handshakeMs)
    }
    running.addEventListener('abort', giveUp, { once: true })
    const reached = await dial(address, own.signal, onConnected).finally(() => {
      clearTimeout(timer)
      running.removeEventListener('abort', giveUp)
    })
    if (running.aborted) return discard(reached)
    over.abort()
    resolve(reached)
  }

  const keepDialling = async (address: string): Promise<void> => {
    if (dialled.has(address)) return
    dialled.add(address)
    while (!running.aborted) {
      try {
        return await dialOnce(address)
      } catch (error) {
        failures.set(address, error)
        goOn()
      }
      const jittered = limits.addressRedialMs * (0.5 + Math.random() / 2)
      await pause(jittered, undefined, { signal: running }).catch(() => undefined)
    }
  }

  const begin = (address: string): void => {
    keepDialling(address).catch(reject)
  }

  const searchOn = (): void => {
    if (find === null || search !== 'not yet') return
    search = 'on'
    find(begin, running)
      .catch((error: unknown) => failures.set('', error))
      .finally(() => {
        search = 'over'
        goOn()
      })
      .catch(reject)
  }

  /** The best one has failed or lost its head start, or all have failed. */
  const goOn = (): void => {
    if (running.aborted) return
    for (const address of others) begin(address)
    if ([...dialled].some((address) => !failures.has(address))) return
    if (search === 'not yet') searchOn()
    else if (search === 'over') reject(new AggregateError([...failures.values()]))
  }

  const onAbort = (): void => reject(signal.reason)
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  try {
    if (best !== undefined) begin(best)
    if (best === undefined) goOn()
    after(limits.headStartMs, goOn)
    after(limits.findAfterMs, searchOn)
    return await promise
  } finally {
    signal.removeEventListener('abort', onAbort)
    over.abort()
  }
}
