/**
 * Which mesh this agent belongs to: one file in its home with the coordinator's peer id, its addresses
 * as the ticket had them, and as the coordinator told them since. What it is a member with is its key:
 * where that is lost, so is the membership.
 */

import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import Type, { type Static } from 'typebox'
import type { Log } from '../daemon/log.ts'
import { HyperError, isMissing } from '../protocol/errors.ts'
import { createIdentity, readIdentity } from '../protocol/mesh/identity.ts'
import { mergeAddresses } from '../protocol/mesh/whereabouts.ts'
import { writePrivateFile } from '../protocol/private-file.ts'
import { createParser } from '../protocol/schema.ts'

const MembershipSchema = Type.Object({
  /** Peer id. */
  coordinator: Type.String(),
  /** Of the last ticket. */
  addresses: Type.Array(Type.String()),
  /** Where it was reached last, then what it told there. Older agents wrote none. */
  learned: Type.Optional(Type.Array(Type.String())),
  /** What the coordinator calls us. */
  name: Type.String(),
})
export type Membership = Static<typeof MembershipSchema>

export type Key = NonNullable<Awaited<ReturnType<typeof readIdentity>>>

const parseMembership = createParser(MembershipSchema, 'STATE_DAMAGED', 'membership of the agent')

const pathIn = (home: string): string => join(home, 'membership.json')

/** Null where it has joined nobody. Throws STATE_DAMAGED. */
export const readMembership = async (home: string): Promise<Membership | null> => {
  let text: string
  try {
    text = await readFile(pathIn(home), 'utf8')
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
  try {
    return parseMembership(JSON.parse(text))
  } catch (cause) {
    throw new HyperError('STATE_DAMAGED', `${pathIn(home)} cannot be read`, { cause })
  }
}

/** Durable when it resolves. */
export const writeMembership = async (
  home: string,
  membership: Membership,
): Promise<Membership> => {
  await writePrivateFile(pathIn(home), `${JSON.stringify(membership)}\n`)
  return membership
}

/**
 * The agent's key, made where there is none and nothing was joined with one; a lost one is replaced
 * only where a ticket lets the new one join. Throws NOT_A_MEMBER, STATE_DAMAGED.
 */
export const settleIdentity = async (deps: {
  readonly home: string
  readonly ticket: string | null
  readonly log: Pick<Log, 'warn'>
}): Promise<Key> => {
  const path = join(deps.home, 'identity')
  const key = await readIdentity(path)
  if (key !== null) return key
  if ((await readMembership(deps.home)) !== null) {
    const loss = `${path} is lost, the key with which this agent was a member`
    if (deps.ticket === null) throw new HyperError('NOT_A_MEMBER', loss)
    deps.log.warn({ loss }, 'the agent joins anew; calls that it ran count as lost')
    await forgetMembership(deps.home)
  }
  return createIdentity(path)
}

/** Where to look for the coordinator, the best first. */
export const addressesOf = ({ learned = [], addresses }: Membership): readonly string[] =>
  mergeAddresses(learned, addresses)

interface AddressBook {
  /** `reached` is where the coordinator just told this. Gives all addresses, the best first. */
  readonly learn: (reached: string | undefined, told: readonly string[]) => readonly string[]
  /** What was learned is on the disk, or the log says why not. */
  readonly close: () => Promise<void>
}

/** Keeps what the coordinator tells of its addresses, so that later starts look there as well. */
export const openAddressBook = (
  home: string,
  membership: Membership,
  log: Pick<Log, 'warn'>,
): AddressBook => {
  let known = membership
  let written = Promise.resolve()
  const keep = async (next: Membership): Promise<void> => {
    try {
      await writeMembership(home, next)
    } catch (error) {
      log.warn({ err: error }, 'the coordinator’s addresses cannot be kept')
    }
  }
  return {
    learn(reached, told) {
      const learned = [...mergeAddresses(reached === undefined ? [] : [reached], told)]
      if (!isDeepStrictEqual(learned, known.learned)) {
        const next = { ...known, learned }
        known = next
        written = written.then(() => keep(next))
      }
      return addressesOf(known)
    },
    close: () => written,
  }
}

/** The agent leaves for good: the next start needs a ticket. */
export const forgetMembership = (home: string): Promise<void> => rm(pathIn(home), { force: true })
