/**
 * What `hyper doctor` finds of the mesh, on both sides: on an agent's host, whether its coordinator is
 * reached at each address that it knows and still lets it in; and at each address that a coordinator
 * tells others, whether it is there. It dials as agents do, from a process of its own.
 */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../daemon/log.ts'
import type { ExaminationConfig, Finding } from '../protocol/daemon.ts'
import { isMissing, messageOf } from '../protocol/errors.ts'
import { readIdentity } from '../protocol/mesh/identity.ts'
import { lookAtAddress, type Reach } from '../protocol/mesh/reachability.ts'
import { addressesOf, readMembership } from './membership.ts'

type Looked = Reach & { readonly address: string }

/** What a coordinator or a file says can be no address at all. */
const lookAll = (
  addresses: readonly string[],
  look: Omit<Parameters<typeof lookAtAddress>[0], 'address'>,
): Promise<readonly Looked[]> =>
  Promise.all(
    addresses.map(async (address): Promise<Looked> => {
      try {
        return { ...(await lookAtAddress({ ...look, address })), address }
      } catch (error) {
        return { how: 'silent', reason: messageOf(error), address }
      }
    }),
  )

const CHECK = 'mesh'
const JOIN_AGAIN =
  'Join again: `hyper agent --join TICKET`; `hyper invite` on the coordinator prints a ticket.'

const nothingAt = ({ how, address, reason }: Looked): string =>
  how === 'silent'
    ? `nothing answers at ${address} (${reason})`
    : `what answers at ${address} does not prove the coordinator’s key (${reason})`

/** Where another address does, one that does not work only costs time. */
const failedFinding = (looked: Looked, isOther: boolean, next: string): Finding => ({
  ...{ check: CHECK, state: isOther ? 'warning' : 'bad' },
  ...{ message: nothingAt(looked), next: isOther ? `Another address works. ${next}` : next },
})

/** Of an agent: it must be let in. Pure. */
const agentFindings = (
  { agent, name }: { readonly agent: string; readonly name: string },
  all: readonly Looked[],
): readonly Finding[] => {
  const isLetIn = all.some(({ how }) => how === 'admitted')
  const found = all.map((looked): Finding => {
    const { how, address } = looked
    if (how === 'admitted') {
      const message = `${agent} reaches the coordinator at ${address}, which proves its key and lets it in as ${name}`
      return { check: CHECK, state: 'good', message, next: '' }
    }
    if (how === 'refused') {
      const message = `the coordinator at ${address} proves its key and refuses ${agent}: it is no member, or no more`
      return { check: CHECK, state: 'bad', message, next: JOIN_AGAIN }
    }
    const next =
      how === 'silent'
        ? 'Look there: is the coordinator up (`hyper doctor` on its host), and its port open in the firewalls between?'
        : 'Another coordinator or program has this address: correct --announce there, and join again with a new ticket.'
    const finding = failedFinding(looked, isLetIn, next)
    return { ...finding, message: `${agent}: ${finding.message}` }
  })
  if (all.length > 0) return found
  const message = `${agent} knows no address of its coordinator`
  return [
    { check: CHECK, state: 'warning', message, next: 'On another LAN it needs a new ticket.' },
  ]
}

/** Of the coordinator: whoever asks, it proves its key first. Pure. */
const coordinatorFindings = (all: readonly Looked[]): readonly Finding[] => {
  const isThere = ({ how }: Looked): boolean => how === 'admitted' || how === 'refused'
  const isOne = all.some(isThere)
  return all.map((looked): Finding => {
    const { how, address } = looked
    if (isThere(looked)) {
      const message = `${address} is reached from here, and the coordinator proves its key`
      return { check: CHECK, state: 'good', message, next: '' }
    }
    const next =
      how === 'silent'
        ? 'Open its port in the firewall, or say --announce where it is reached. (Behind a NAT the address of its outside may answer only from there: ask `hyper doctor` on an agent’s host.)'
        : 'Something else has this port: say another with --mesh, or with --announce where it is reached.'
    return failedFinding(looked, isOne, next)
  })
}

const examineAgent = async (home: string, agent: string, log: Log): Promise<readonly Finding[]> => {
  try {
    const membership = await readMembership(join(home, agent))
    if (membership === null) return []
    const key = await readIdentity(join(home, agent, 'identity'))
    if (key === null) {
      const message = `${agent} has lost its key, with which it was a member`
      return [{ check: CHECK, state: 'bad', message, next: JOIN_AGAIN }]
    }
    const { coordinator, name } = membership
    const looked = await lookAll(addressesOf(membership), { coordinator, key, log })
    return agentFindings({ agent, name }, looked)
  } catch (error) {
    const message = `the membership of ${agent} cannot be looked at: ${messageOf(error)}`
    const next = 'Run it as the user that the agent runs as, or move away what is damaged.'
    return [{ check: CHECK, state: 'bad', message, next }]
  }
}

const agentsIn = async (home: string): Promise<readonly string[]> => {
  try {
    return (await readdir(home)).filter((name) => /^agent-\d+$/.test(name)).sort()
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

export const examineMesh = async (
  { home, mesh }: Pick<ExaminationConfig, 'home' | 'mesh'>,
  log: Log,
): Promise<readonly Finding[]> => {
  const found: Finding[] = []
  try {
    for (const agent of await agentsIn(home)) found.push(...(await examineAgent(home, agent, log)))
  } catch (error) {
    const message = `${home} cannot be read: ${messageOf(error)}`
    const next = 'Run it as the user that the daemons run as.'
    found.push({ check: CHECK, state: 'bad', message, next })
  }
  if (mesh === null) return found
  const { peerId: coordinator, addresses } = mesh
  const looked = await lookAll(addresses, { coordinator, key: null, log })
  return [...found, ...coordinatorFindings(looked)]
}
