/**
 * Heartbeats of one session: every second while attempts are held, else every five. They renew the
 * leases of what they name. Each is answered; a coordinator that is silent for too long is given
 * up, by ending the channel.
 */

import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { AgentChannel } from '../protocol/mesh/agent-channel.ts'
import type { Attempts } from './attempts.ts'

export interface Heartbeat {
  /** A message came. */
  heard(): void
  stop(): void
}

export const startHeartbeat = (deps: {
  readonly channel: Pick<AgentChannel, 'send' | 'abort' | 'bytesReceived'>
  readonly session: number
  readonly attempts: Pick<Attempts, 'renewable'>
}): Heartbeat => {
  const { channel, session, attempts } = deps
  let heardAt = performance.now()
  let bytesSeen = channel.bytesReceived()
  let sentAt = Number.NEGATIVE_INFINITY
  let isSending = false

  const isSilent = (nowMs: number): boolean => {
    // Part of a long message is a sign of life as well.
    const bytes = channel.bytesReceived()
    if (bytes !== bytesSeen) heardAt = nowMs
    bytesSeen = bytes
    return nowMs - heardAt > limits.heartbeatSilenceMs
  }

  const beat = (): void => {
    const nowMs = performance.now()
    if (isSilent(nowMs)) {
      channel.abort(new HyperError('UNREACHABLE', 'the coordinator fell silent'))
      return
    }
    const held = attempts.renewable()
    const everyMs = held.length > 0 ? limits.heartbeatBusyMs : limits.heartbeatIdleMs
    // Timers fire a little early or late: half a beat decides.
    if (isSending || nowMs - sentAt < everyMs - limits.heartbeatBusyMs / 2) return
    sentAt = nowMs
    isSending = true
    const done = (): void => {
      isSending = false
    }
    channel.send({ type: 'heartbeat', session, attempts: [...held] }).then(done, done)
  }

  beat()
  const timer = setInterval(beat, limits.heartbeatBusyMs)
  return {
    heard: () => {
      heardAt = performance.now()
    },
    stop: () => clearInterval(timer),
  }
}
