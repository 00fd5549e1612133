/** The first words of an agent on a new channel: read, and whether they are accepted. */

import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { MemberChannel } from '../protocol/mesh/agent-channel.ts'
import type { Hello } from '../protocol/messages.ts'
import { checkVersion } from '../protocol/versions.ts'

/** The first message of a channel. Throws where it is no hello, or none comes in time. */
export const readHello = async (channel: MemberChannel): Promise<Hello> => {
  const timer = setTimeout(
    () => channel.abort(new HyperError('UNREACHABLE', 'no hello came')),
    limits.helloMs,
  )
  try {
    const first = await channel.messages.next()
    if (first.done === true || first.value.type !== 'hello') {
      throw new HyperError('BAD_PARAMETER', 'the first message was no hello')
    }
    return first.value
  } finally {
    clearTimeout(timer)
  }
}

export type Greeting = Pick<Hello, 'storeId' | 'start' | 'greeting'>

/**
 * Whether the agent said it before one that is known. An agent whose disk was set back says so as
 * well, and what its store does not know proves as little.
 */
export const isStale = (hello: Greeting, known: Greeting | undefined): boolean =>
  known?.storeId === hello.storeId &&
  (hello.start < known.start || (hello.start === known.start && hello.greeting < known.greeting))

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
