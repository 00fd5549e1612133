/**
 * What coordinators and agents of different versions of the protocol do together (messages.ts). A
 * coordinator serves agents of its own version and of the one before, each in its version: so the
 * coordinator is upgraded first, then the agents one by one.
 *
 *   3  welcome tells the coordinator's addresses; an agent asks for the credentials of a pull; more codes
 *      of goodbye
 *   2  the oldest that is served
 */

import { type ErrorCode, HyperError } from './errors.ts'
import {
  type CoordinatorMessage,
  type Hello,
  PROTOCOL_VERSION,
  PROTOCOL_VERSION_OLDEST,
} from './messages.ts'

/** Throws VERSION_MISMATCH, with both versions and what to do. */
export const checkVersion = ({ protocol, version }: Hello, own: string): void => {
  const agent = `the agent speaks version ${protocol} of the protocol (hyper ${version})`
  if (protocol > PROTOCOL_VERSION) {
    const us = `this coordinator up to ${PROTOCOL_VERSION} (hyper ${own})`
    throw new HyperError('VERSION_MISMATCH', `${agent}, ${us}: upgrade the coordinator first`)
  }
  if (protocol < PROTOCOL_VERSION_OLDEST) {
    const us = `this coordinator ${PROTOCOL_VERSION_OLDEST} to ${PROTOCOL_VERSION} (hyper ${own})`
    throw new HyperError('VERSION_MISMATCH', `${agent}, ${us}: upgrade the agent`)
  }
}

/** Codes of a goodbye that version 2 does not know, as one by which its agent stays away as well. */
const INSTEAD: Partial<Record<ErrorCode, ErrorCode>> = { KEY_IN_USE: 'NOT_A_MEMBER' }

/** The message as an agent of that version knows it. */
export const inVersion = (message: CoordinatorMessage, protocol: number): CoordinatorMessage => {
  if (protocol >= 3) return message
  if (message.type === 'goodbye') return { ...message, code: INSTEAD[message.code] ?? message.code }
  if (message.type !== 'welcome') return message
  const { addresses: _addresses, ...welcome } = message
  return welcome
}
