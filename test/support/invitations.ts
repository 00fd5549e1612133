/** A coordinator's mesh on loopback with its real list of members and invitations, and what it logs. */

import type { TestContext } from 'node:test'
import { pino } from 'pino'
import { admitInto, loadMembership, type Membership } from '../../coordinator/membership.ts'
import { enrol, handleEnrolment } from '../../protocol/mesh/enrolment.ts'
import { createInvitation } from '../../protocol/mesh/identity.ts'
import { type CoordinatorNode, startCoordinatorNode } from '../../protocol/mesh/node.ts'
import type { Ticket } from '../../protocol/mesh/ticket.ts'
import { createDisk } from './ledger-disk.ts'
import { newKey, quiet } from './mesh.ts'

interface LogLine {
  readonly msg: string
  readonly code?: string
  readonly peer?: string
  readonly invitation?: string
  readonly protocol?: string
}

export interface GuardedMesh {
  readonly node: CoordinatorNode
  readonly membership: Membership
  readonly lines: readonly LogLine[]
  /** A ticket, and the peer id of its invitation. */
  readonly invite: (uses?: number) => Promise<{ ticket: Ticket; id: string }>
  /** The coordinator's clock goes on. */
  readonly pass: (ms: number) => void
}

const TICKET_MS = 60_000

export const startGuardedMesh = async (
  t: TestContext,
  { connectionMs }: { readonly connectionMs?: number } = {},
): Promise<GuardedMesh> => {
  const disk = createDisk()
  let passedMs = 0
  const membership = await loadMembership({
    store: disk,
    record: disk.commitNow,
    write: (operations) => disk.commit(operations),
    wallMs: () => Date.now() + passedMs,
  })
  const lines: LogLine[] = []
  const { isMember, isInvitation, refusalOf } = membership
  const node = await startCoordinatorNode({
    ...{ key: await newKey(), listen: ['/ip4/127.0.0.1/tcp/0'], announce: [] },
    ...{ isMember, isInvitation, refusalOf },
    log: pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) }),
  })
  t.after(() => node.stop())
  await handleEnrolment(node, {
    admit: admitInto(membership),
    ...(connectionMs === undefined ? {} : { connectionMs }),
  })
  return {
    ...{ node, membership, lines },
    async invite(uses = 1) {
      const { peerId, key } = await createInvitation()
      const expires = Date.now() + passedMs + TICKET_MS
      await membership.addInvite(peerId, { uses, expiresMs: expires, labels: {} })
      const { addresses, peerId: coordinator } = node
      return {
        ticket: { addresses: addresses(), coordinator, invitation: key, expires },
        id: peerId,
      }
    },
    pass(ms) {
      passedMs += ms
    },
  }
}

/** A new host joins by a ticket. */
export const joinBy = async (ticket: Ticket): Promise<{ name: string }> =>
  enrol({ ticket, key: await newKey(), log: quiet })
