/**
 * One session of an agent: the channel of one connection, and what is said on it in the agent's version
 * of the protocol. A channel that takes no message is broken; the session ends with it (roster.ts).
 */

import { HyperError, toHyperError } from '../protocol/errors.ts'
import type { ImageRecord } from '../protocol/image.ts'
import { limits } from '../protocol/limits.ts'
import type { MemberChannel } from '../protocol/mesh/agent-channel.ts'
import type { Assignment, CoordinatorMessage, Hello } from '../protocol/messages.ts'
import { inVersion } from '../protocol/versions.ts'
import { createPulls, type Pulls } from './pulls.ts'

export interface Session {
  readonly number: number
  readonly agentId: string
  /** The version that its agent speaks. */
  readonly protocol: number
  readonly channel: MemberChannel
  readonly pulls: Pulls
  /** By the agent's own word: it is stopping. */
  isDraining: boolean
  send(message: CoordinatorMessage): void
  /** False where the line is full of assignments that the channel has not taken yet. */
  assign(assignment: Assignment): boolean
  pull(
    reference: string,
    auth: string,
    onProgress: (line: string) => void,
    signal: AbortSignal,
  ): Promise<ImageRecord>
}

/** What of an assignment can be large. */
const bytesOf = ({ payload, environment }: Assignment): number =>
  environment.reduce((bytes, word) => bytes + word.length, payload.byteLength)

export const createSession = (of: {
  readonly number: number
  readonly epoch: number
  readonly channel: MemberChannel
  readonly hello: Pick<Hello, 'protocol' | 'draining'>
}): Session => {
  const { number, epoch, channel } = of
  let unsentBytes = 0

  const sent = (message: CoordinatorMessage): Promise<void> =>
    channel
      .send(inVersion(message, of.hello.protocol))
      .catch((error: unknown) => channel.abort(toHyperError(error)))
  const send = (message: CoordinatorMessage): void => void sent(message)
  const pulls = createPulls((pull) => {
    send({ type: 'cancel-pull', session: number, epoch, pull })
  })

  return {
    ...{ number, agentId: channel.remotePeer, channel, pulls, send },
    protocol: of.hello.protocol,
    isDraining: of.hello.draining,
    assign(assignment) {
      if (unsentBytes > limits.channelBytesMax) return false
      const bytes = bytesOf(assignment)
      unsentBytes += bytes
      void sent({ type: 'assign', session: number, epoch, assignment }).then(() => {
        unsentBytes -= bytes
      })
      return true
    },
    pull(reference, auth, onProgress, signal) {
      if (signal.aborted) {
        return Promise.reject(new HyperError('PULL_FAILED', 'the pull was given up'))
      }
      const { pull, ended } = pulls.begin(onProgress, signal)
      send({ type: 'pull', session: number, epoch, pull, reference, auth })
      return ended
    },
  }
}

/**
 * Looks every second at what comes of an agent. One of whom nothing came for long is given up. `onBulk` tells that
 * results are on their way: many bytes come, or some and no whole message of them.
 */
export const watchSilence = (channel: MemberChannel, onBulk: () => void) => {
  let received = channel.bytesReceived()
  // Looks and not time: what came while this process was away is still to be read.
  let silentLooks = 0
  let hasHeard = false
  const look = (): void => {
    const bytes = channel.bytesReceived() - received
    received += bytes
    silentLooks = bytes === 0 ? silentLooks + 1 : 0
    if (bytes >= limits.bulkBytesMin || (bytes > 0 && !hasHeard)) onBulk()
    hasHeard = false
    if (silentLooks * limits.heartbeatBusyMs < limits.heartbeatSilenceMs) return
    channel.abort(new HyperError('UNREACHABLE', 'the agent fell silent'))
  }
  const timer = setInterval(look, limits.heartbeatBusyMs)
  return {
    /** A whole message came. */
    heard(): void {
      hasHeard = true
    },
    stop: (): void => clearInterval(timer),
  }
}
export type WatchSilence = typeof watchSilence
