/**
 * The coordinator's rim: who breaks the protocol is cut off, named in the log, and kept off for a while
 * (offences.ts). What an agent of ours sends stays far below every bound here.
 *
 * - a message that does not parse, is too long or out of turn; an advert that is damaged or another's:
 *   cut off;
 * - heartbeats, adverts, frames of gossip or connections again and again, many streams: cut off (FLOODED);
 * - very many other messages: read more slowly. Results are never dropped, and the stream's window
 *   slows the sender down.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '../daemon/log.ts'
import type { Advert } from '../protocol/advert.ts'
import { HyperError, toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { MemberChannel } from '../protocol/mesh/agent-channel.ts'
import type { CoordinatorNode } from '../protocol/mesh/node.ts'
import { watchMembers } from '../protocol/mesh/watch.ts'
import type { AgentMessage } from '../protocol/messages.ts'
import { createRate, createRates } from '../protocol/rate.ts'
import { dismiss } from './hello.ts'
import { createOffences } from './offences.ts'

type Take = (channel: MemberChannel) => void

export interface Guard {
  /** Takes only channels of those that are not kept off, and reads them at a bounded rate. */
  channels(take: Take): Take
  /** Hears only adverts of those, at a bounded rate. */
  adverts(
    heard: (agentId: string, advert: Advert) => void,
  ): (agentId: string, advert: Advert) => void
  /** It is cut off and kept off for a while. */
  offended(peerId: string, offence: HyperError): void
}

const words = {
  perSecond: limits.memberWordsPerSecondMax,
  burst: limits.memberWordsBurstMax,
}

/** An agent says these by the clock; all others answer to something. */
const isByClock = ({ type }: AgentMessage): boolean =>
  type === 'hello' || type === 'heartbeat' || type === 'draining' || type === 'leave'

export const guardMesh = (node: CoordinatorNode, log: Log, now: () => number): Guard => {
  const offences = createOffences(now)
  const advertRates = createRates({ ...words, namesMax: limits.membersMax }, now)

  const offended = (peerId: string, offence: HyperError): void => {
    const sentence = offences.strike(peerId)
    if (sentence !== null) {
      const reason = offence.message
      log.warn({ peer: peerId, code: offence.code, reason, ...sentence }, 'member cut off')
    }
    node.disconnect(peerId, offence)
  }

  /** The messages of a channel, no faster than they may come. */
  const paced = (channel: MemberChannel): MemberChannel['messages'] => {
    const byClock = createRate(words)
    const all = createRate({
      perSecond: limits.memberMessagesPerSecondMax,
      burst: limits.memberMessagesBurstMax,
    })
    let isSlowed = false
    const slowDown = async (): Promise<void> => {
      if (!isSlowed) {
        log.warn({ peer: channel.remotePeer, code: 'FLOODED' }, 'member is read more slowly')
      }
      isSlowed = true
      await pause(limits.memberPauseMs)
    }
    return {
      async next() {
        const item = await channel.messages.next()
        if (item.done === true) return item
        while (!all.take(now())) await slowDown()
        if (!isByClock(item.value) || byClock.take(now())) return item
        offended(channel.remotePeer, new HyperError('FLOODED', `too many: ${item.value.type}`))
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  const keepOff = (channel: MemberChannel, leftMs: number): Promise<void> => {
    const seconds = Math.ceil(leftMs / 1000)
    const reason = `it broke the protocol and is kept off ${seconds} s`
    return dismiss(channel, new HyperError('KEPT_OFF', reason))
  }

  const watch = watchMembers(node, { onOffence: offended, now })
  return {
    offended,
    channels: (take) => (channel) => {
      const leftMs = offences.leftMs(channel.remotePeer)
      if (leftMs > 0) {
        keepOff(channel, leftMs).catch((error: unknown) => channel.abort(toHyperError(error)))
        return
      }
      channel.closed
        .then((reason) => {
          const isOffence = reason instanceof HyperError && reason.code === 'BAD_PARAMETER'
          if (isOffence) offended(channel.remotePeer, reason)
        })
        .catch((error: unknown) => log.error({ err: error }, 'an offence was not noted'))
      take({ ...channel, messages: paced(channel) })
    },
    adverts: (heard) => (agentId, advert) => {
      if (offences.leftMs(agentId) > 0) return
      if (!advertRates.take(agentId)) {
        offended(agentId, new HyperError('FLOODED', 'too many adverts'))
        return
      }
      watch.heard(agentId)
      heard(agentId, advert)
    },
  }
}
