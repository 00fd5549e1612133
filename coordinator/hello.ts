/**
 * The first words of an agent on a new channel: read, and whether they are accepted; and the last ones
 * to it.
 */

import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { MemberChannel } from '../protocol/mesh/agent-channel.ts'
import { type Hello, PROTOCOL_VERSION } from '../protocol/messages.ts'
import { checkVersion, inVersion } from '../protocol/versions.ts'

/**
 * The first message of a channel; null where the agent closed it in order before there was one, as it does
 * when its start is given up or takes long. Throws where it is no hello, or none comes in time.
 */
export const readHello = async (channel: MemberChannel): Promise<Hello | null> => {
  const timer = setTimeout(
    () => channel.abort(new HyperError('UNREACHABLE', 'no hello came')),
    limits.helloMs,
  )
  try {
    const first = await channel.messages.next()
    if (first.done === true) {
      const reason = await channel.closed
      if (reason === null) return null
      throw reason
    }
    if (first.value.type !== 'hello') {
      throw new HyperError('BAD_PARAMETER', 'the first message was no hello')
    }
    return first.value
  } finally {
    clearTimeout(timer)
  }
}

type Greeting = Pick<Hello, 'storeId' | 'start' | 'greeting' | 'instance'>

/**
 * Whether the agent said it before one that is known. An agent whose disk was set back says so as
 * well, and what its store does not know proves as little; as little as that of a copy, which is told
 * by its process.
 */
export const isStale = (hello: Greeting, known: Greeting | undefined): boolean =>
  known?.storeId === hello.storeId &&
  (hello.start < known.start ||
    (hello.start === known.start &&
      (hello.greeting < known.greeting || hello.instance !== known.instance)))

/** Of a stale one: it is not the same process that said it. */
const isCopy = (hello: Greeting, known: Greeting | undefined): boolean =>
  isStale(hello, known) && (hello.start !== known?.start || hello.instance !== known.instance)

/**
 * What a hello means for the session that the same key still has. The later process goes on, so that
 * an agent that was killed, or whose line is half open, is back without a wait; the former is told
 * that it is replaced, and does not come back: else the two would take turns for ever.
 *
 *   over      it is the same process on a new connection: nobody listens on the former one
 *   replaced  it is another process
 *   later     the session is of a later start of the same store: the hello is of one that was
 *             replaced already, or was long on its way
 */
export const judgeSecond = (hello: Greeting, former: Greeting): 'over' | 'replaced' | 'later' => {
  const isSameStore = hello.storeId === former.storeId
  if (isSameStore && hello.start < former.start) return 'later'
  const isSame = isSameStore && hello.start === former.start && hello.instance === former.instance
  return isSame ? 'over' : 'replaced'
}

/** The last hello of each agent. */
export const createGreetings = () => {
  const last = new Map<string, Greeting>()
  return {
    /** Of an agent that has a session. */
    judge(agentId: string, hello: Greeting): ReturnType<typeof judgeSecond> {
      const known = last.get(agentId)
      return known === undefined ? 'over' : judgeSecond(hello, known)
    },
    /** Whether it is stale, and by another process; it counts as the last one from now on. */
    take(agentId: string, { storeId, start, greeting, instance }: Greeting) {
      const hello = {
        ...{ storeId, start, greeting },
        ...(instance === undefined ? {} : { instance }),
      }
      const known = last.get(agentId)
      last.set(agentId, hello)
      return { isStale: isStale(hello, known), isCopy: isCopy(hello, known) }
    },
  }
}

export const keyInUse = (agentId: string): HyperError =>
  new HyperError('KEY_IN_USE', `another agent runs with the key ${agentId}`)

/** Throws VERSION_MISMATCH, or EPOCH_AHEAD for an agent that obeyed a later coordinator. */
export const checkHello = (hello: Hello, version: string, epoch: number): void => {
  checkVersion(hello, version)
  if (hello.epochSeen > epoch) {
    throw new HyperError(
      'EPOCH_AHEAD',
      `the agent has obeyed epoch ${hello.epochSeen}, this is ${epoch}`,
    )
  }
}

/** Tells why, in the agent's version of the protocol where it has told that, and closes. Never rejects. */
export const dismiss = async (
  channel: MemberChannel,
  { code, message }: HyperError,
  protocol = PROTOCOL_VERSION,
): Promise<void> => {
  const goodbye = inVersion({ type: 'goodbye', code, message }, protocol)
  await channel.send(goodbye).catch(() => undefined)
  await channel.close().catch(() => undefined)
}
