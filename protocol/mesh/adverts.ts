/**
 * Adverts over gossip: agents publish, the coordinator hears. Soft state: an advert may be lost,
 * also silently (see Soft state is gossiped, hard state is leased in ARCHITECTURE.md). Only a
 * member's own advert counts, from its own connection: nothing is taken second hand, and nothing is
 * passed on.
 */

import { type Message, TopicValidatorResult } from '@chainsafe/libp2p-gossipsub'
import type { PeerId } from '@libp2p/interface'
import { type Advert, decodeAdvert, encodeAdvert } from '../advert.ts'
import { HyperError, messageOf } from '../errors.ts'
import { limits } from '../limits.ts'
import { ADVERT_TOPIC } from '../messages.ts'
import { createLogLimit } from './log-limit.ts'
import type { AgentNode, CoordinatorNode } from './node.ts'

/** False where the coordinator was not there to hear it: after a connection it takes a moment. */
export const publishAdvert = async (node: AgentNode, advert: Advert): Promise<boolean> => {
  const bytes = encodeAdvert(advert)
  if (bytes.byteLength > limits.advertBytesMax) {
    throw new HyperError('INTERNAL', `an advert of ${bytes.byteLength} bytes is too long`)
  }
  const { recipients } = await node.libp2p.services.gossip.publish(ADVERT_TOPIC, bytes)
  return recipients.length > 0
}

/**
 * Calls `heard` for each advert, not necessarily in the order in which they were published, and
 * `offended` for what no agent of ours publishes.
 */
export const onAdvert = (
  node: CoordinatorNode,
  heard: (peerId: string, advert: Advert) => void,
  offended: (peerId: string, offence: HyperError) => void = () => undefined,
): void => {
  const drops = createLogLimit(limits.dropLogMs, performance.now.bind(performance))
  node.libp2p.services.gossip.topicValidators.set(ADVERT_TOPIC, (source, message) => {
    const peer = source.toString()
    const advert = node.isMember(peer) ? readAdvert(source, message) : null
    if (advert === null || advert instanceof HyperError) {
      const reason = advert?.message ?? 'not a member'
      drops.line((leftOut) => node.log.warn({ peer, reason, leftOut }, 'advert dropped'))
      if (advert !== null) offended(peer, advert)
    } else {
      heard(peer, advert)
    }
    // Heard here and ignored there: so gossipsub never relays it to whoever subscribed.
    return TopicValidatorResult.Ignore
  })
}

/** The advert, or why it is dropped. */
const readAdvert = (source: PeerId, message: Message): Advert | HyperError => {
  if (message.type !== 'signed' || !message.from.equals(source)) {
    return new HyperError('BAD_PARAMETER', 'an advert that is not its own')
  }
  if (message.data.byteLength > limits.advertBytesMax) {
    return new HyperError('BAD_PARAMETER', 'an advert that is too long')
  }
  try {
    return decodeAdvert(message.data)
  } catch (error) {
    const reason = `an advert does not parse: ${messageOf(error)}`
    return new HyperError('BAD_PARAMETER', reason, { cause: error })
  }
}
