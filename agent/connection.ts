/**
 * The agent's way to its coordinator, kept up for as long as the agent lives.
 *
 *   dialling ─► greeting   the channel is open, our hello is sent
 *   greeting ─► welcomed   the session begins: orders come, heartbeats go
 *   any ─► pausing         the channel ended, or the coordinator fell silent (redial.ts)
 *   pausing ─► dialling
 *   any ─► ended           told that we are no member, of another version, that another process has
 *                          our key, or that the ticket which was to make us a member is spent; or closed
 *
 * A hello tells of the host; when that changes (`refresh`), the session is ended and the next one
 * begun at once. It decides nothing about attempts: what it hears goes to them.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../daemon/log.ts'
import { type ErrorCode, HyperError, toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { AgentChannel } from '../protocol/mesh/agent-channel.ts'
import type { CoordinatorMessage, Hello, Welcome } from '../protocol/messages.ts'
import type { Attempts } from './attempts.ts'
import { type Heartbeat, startHeartbeat } from './heartbeat.ts'
import type { HostFacts } from './premises.ts'
import type { PullOrders } from './pull-orders.ts'
import { createRedial } from './redial.ts'

export interface ConnectionDeps {
  readonly open: (signal: AbortSignal) => Promise<AgentChannel>
  readonly hello: () => Hello
  /** What the next hello would tell of the host. */
  readonly hostFacts: () => HostFacts
  readonly attempts: Pick<Attempts, 'connected' | 'disconnected' | 'receive' | 'renewable'>
  readonly createPulls: (send: AgentChannel['send']) => PullOrders
  readonly onWelcome: (welcome: Welcome) => void
  readonly log: Log
}

export interface Connection {
  /** Resolves at the first welcome. */
  readonly welcomed: Promise<void>
  /** Rejects with what ends the agent (FINAL). Resolves when closed. */
  readonly ended: Promise<void>
  /** Something may have changed of what the last hello told of the host. */
  refresh(): void
  /** Says that the agent leaves for good; false where nobody is there to hear it. */
  leave(): Promise<boolean>
  close(): Promise<void>
}

/** No later try would be answered differently. */
const FINAL: readonly ErrorCode[] = [
  'NOT_A_MEMBER',
  'TICKET_SPENT',
  'TICKET_EXPIRED',
  'VERSION_MISMATCH',
  'KEY_IN_USE',
]
const isFinal = (error: HyperError): boolean => FINAL.includes(error.code)

const within = <T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> => {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new HyperError('UNREACHABLE', what)), timeoutMs)
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const readWelcome = async (channel: AgentChannel): Promise<Welcome> => {
  const next = channel.messages.next()
  const first = await within(next, limits.helloMs, 'the coordinator did not answer our hello')
  if (first.done) throw new HyperError('UNREACHABLE', 'the coordinator closed the channel')
  const message: CoordinatorMessage = first.value
  if (message.type === 'goodbye') throw new HyperError(message.code, message.message)
  if (message.type !== 'welcome') {
    throw new HyperError('BAD_PARAMETER', `the coordinator answered our hello with ${message.type}`)
  }
  return message
}

interface Current {
  readonly channel: AgentChannel
  readonly session: number
  /** What its hello told. */
  readonly told: HostFacts
}

const hostOf = ({ slots, memoryBytes, platform, runtimes, runner }: Hello): HostFacts => ({
  ...{ slots, memoryBytes, platform, runtimes },
  ...(runner === undefined ? {} : { runner }),
})

export const startConnection = (deps: ConnectionDeps): Connection => {
  const { attempts, log } = deps
  const closing = new AbortController()
  const { promise: welcomed, resolve: onFirstWelcome } = Promise.withResolvers<void>()
  let current: Current | null = null
  let isOutdated = false
  const redial = createRedial(log)

  const refresh = (): void => {
    if (current === null || isOutdated) return
    if (isDeepStrictEqual(current.told, deps.hostFacts())) return
    isOutdated = true
    log.info('the host changed: it is told anew')
    // What the coordinator still says on it is of a session that is over.
    current.channel.close().catch(() => undefined)
  }

  const hear = async (channel: AgentChannel, welcome: Welcome) => {
    const pulls = deps.createPulls(channel.send)
    let heartbeat: Heartbeat | null = null
    try {
      await attempts.connected(welcome, {
        send: channel.send,
        disconnect: () => channel.abort(new HyperError('EPOCH_AHEAD', 'a later epoch was seen')),
        pulls,
      })
      heartbeat = startHeartbeat({ channel, session: welcome.session, attempts })
      for await (const message of channel.messages) {
        heartbeat.heard()
        if (message.type === 'goodbye') throw new HyperError(message.code, message.message)
        if (message.type !== 'welcome') attempts.receive(message)
      }
    } finally {
      heartbeat?.stop()
      attempts.disconnected()
      await pulls.close()
    }
  }

  /** One channel from its opening to its end. */
  const converse = async (): Promise<void> => {
    const channel = await deps.open(closing.signal)
    // It was opened in the very moment: nobody listens to that signal any more.
    if (closing.signal.aborted) return channel.close()
    const onClosing = (): void => {
      channel.close().catch(() => undefined)
    }
    closing.signal.addEventListener('abort', onClosing, { once: true })
    try {
      const hello = deps.hello()
      isOutdated = false
      await within(channel.send(hello), limits.helloMs, 'our hello could not be sent')
      const welcome = await readWelcome(channel)
      redial.welcomed()
      current = { channel, session: welcome.session, told: hostOf(hello) }
      log.info({ coordinator: channel.remotePeer, as: welcome.name }, 'welcomed')
      onFirstWelcome()
      deps.onWelcome(welcome)
      refresh()
      await hear(channel, welcome)
      const reason = await channel.closed
      if (reason !== null) throw reason
    } finally {
      current = null
      closing.signal.removeEventListener('abort', onClosing)
      await channel.close()
    }
  }

  const keep = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      try {
        await converse()
        if (isOutdated) continue
        if (!closing.signal.aborted) log.warn('the coordinator closed the channel')
        redial.ended()
      } catch (thrown) {
        if (closing.signal.aborted) return
        const error = toHyperError(thrown)
        if (isFinal(error)) throw error
        redial.failed(error)
      }
      const pauseMs = redial.pauseMs(Math.random())
      await pause(pauseMs, undefined, { signal: closing.signal }).catch(() => undefined)
    }
  }

  const ended = keep()
  // Whoever waits for it gets the error; here it only must not count as unhandled.
  ended.catch(() => undefined)
  return {
    welcomed,
    ended,
    refresh,
    async leave() {
      const { channel, session } = current ?? {}
      if (channel === undefined || session === undefined) return false
      return channel.send({ type: 'leave', session }).then(
        () => true,
        () => false,
      )
    },
    async close() {
      closing.abort()
      await ended.catch(() => undefined)
    },
  }
}
