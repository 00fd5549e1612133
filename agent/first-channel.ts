/**
 * The first channel to the coordinator is opened while the host is still tried: the hello can go as
 * soon as there is something to tell.
 *
 *   opening ─► open ─ asked for ─► taken
 *      │         ├─ nobody asked for half the time that the coordinator waits for a hello ─► closed, gone
 *      │         └─ ended meanwhile ─► gone: as if there had been none
 *      └─ failed ─► gone: whoever asks opens one, and is told why not
 */

import { limits } from '../protocol/limits.ts'
import type { AgentChannel } from '../protocol/mesh/agent-channel.ts'

type Open = (signal: AbortSignal) => Promise<AgentChannel>

interface FirstChannel {
  readonly open: Open
  /** Ends one that nobody has taken. */
  readonly close: () => Promise<void>
}

export const openEarly = (open: Open, keepMs = limits.helloMs / 2): FirstChannel => {
  const giving = new AbortController()
  let keeping: NodeJS.Timeout | undefined
  let early: Promise<AgentChannel | null> = open(giving.signal).then(
    (channel) => {
      const forget = (): void => {
        clearTimeout(keeping)
        early = gone
      }
      keeping = setTimeout(() => {
        forget()
        channel.close().catch(() => undefined)
      }, keepMs)
      channel.closed.then(forget).catch(() => undefined)
      return channel
    },
    () => null,
  )
  const take = async (): Promise<AgentChannel | null> => {
    const taken = early
    early = gone
    const channel = await taken
    clearTimeout(keeping)
    return channel
  }
  return {
    async open(signal) {
      const giveUp = (): void => giving.abort(signal.reason)
      if (signal.aborted) giveUp()
      signal.addEventListener('abort', giveUp, { once: true })
      const channel = await take()
      signal.removeEventListener('abort', giveUp)
      return channel ?? (await open(signal))
    },
    async close() {
      giving.abort(new Error('nobody needs it'))
      const channel = await take()
      await channel?.close()
    },
  }
}

const gone = Promise.resolve(null)
