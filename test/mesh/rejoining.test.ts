/** An agent that joined before and is started with a ticket: spent where it is no member any more. */

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { startAgent } from '../../agent/agent.ts'
import type { AgentConfig } from '../../protocol/daemon.ts'
import { enrol } from '../../protocol/mesh/enrolment.ts'
import { createIdentity } from '../../protocol/mesh/identity.ts'
import { decodeTicket } from '../../protocol/mesh/ticket.ts'
import { startTestCoordinator, type TestCoordinator } from '../support/coordinator.ts'
import { idleAgentIn } from '../support/idle-agent.ts'
import { idOf, quiet } from '../support/mesh.ts'

interface Scene {
  readonly config: AgentConfig
  readonly coordinator: TestCoordinator
  readonly ticket: () => Promise<string>
  /** Starts the agent of one home, waits until it is welcomed, and stops it; its peer id. */
  readonly visit: (ticket: string | null) => Promise<string>
}

const prepare = async (t: TestContext): Promise<Scene> => {
  const folder = await mkdtemp(join(tmpdir(), 'rejoining-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const config = await idleAgentIn(folder)
  const coordinator = await startTestCoordinator(t, folder)
  return {
    ...{ coordinator, config },
    ticket: async () => (await coordinator.client.invite({ uses: 1, expiresMs: 60_000 })).ticket,
    async visit(ticket) {
      const agent = await startAgent({ ...config, ticket }, () => undefined)
      await agent.stop()
      return agent.ready.peerId
    },
  }
}

test('an agent that was removed joins again with a new ticket, and with none does not', async (t) => {
  const { coordinator, ticket, visit } = await prepare(t)
  const first = await ticket()
  const peerId = await visit(first)
  await coordinator.client.agents.remove(peerId)
  await assert.rejects(visit(null), { code: 'NOT_A_MEMBER' })
  await assert.rejects(visit(first), { code: 'TICKET_SPENT' })
  assert.equal(await visit(await ticket()), peerId)
  assert.equal(await visit(null), peerId)
})

test('a member that is started with a ticket does not spend it', async (t) => {
  const { coordinator, ticket, visit } = await prepare(t)
  const peerId = await visit(await ticket())
  const spare = await ticket()
  assert.equal(await visit(spare), peerId)
  await coordinator.client.agents.remove(peerId)
  assert.equal(await visit(spare), peerId, 'the ticket was still good')
})

test('an enrolment whose answer was lost counts, though the ticket is spent by it', async (t) => {
  const { coordinator, ticket, visit, config } = await prepare(t)
  const text = await ticket()
  // All that is left of it at the agent's end is the key.
  const key = await createIdentity(join(config.home, 'identity'))
  await enrol({ ticket: decodeTicket(text), key, log: quiet })
  assert.equal(await visit(text), idOf(key))
  assert.equal((await coordinator.client.agents.list()).length, 1)
  assert.equal(await visit(null), idOf(key))
})
