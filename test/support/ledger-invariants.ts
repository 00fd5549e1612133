/** The ledger's books against a recount of them: what must hold after every transition. */

import assert from 'node:assert/strict'
import { parseCallRow } from '../../coordinator/call-row.ts'
import { heardOf } from '../../coordinator/ledger/delay.ts'
import { isOpenAt } from '../../coordinator/ledger/room.ts'
import type { Call, FuncCounts, Ledger } from '../../coordinator/ledger/state.ts'
import { attemptName } from '../../protocol/call.ts'
import type { Disk } from './ledger-disk.ts'

type Count = Omit<FuncCounts, 'calls'> & { readonly calls: Call[] }

const newCount = (): Count => ({ pending: 0, running: 0, revisions: new Map(), calls: [] })

const isWaiting = (call: Call): boolean => call.state === 'queued' || call.state === 'aside'

const checkAccounts = (ledger: Ledger, calls: readonly Call[]): void => {
  const leases = [...ledger.leases.values()]
  for (const account of ledger.accounts.values()) {
    const own = calls.filter((call) => call.terms.accountId === account.id)
    const waiting = own.filter(isWaiting)
    const bytes = own.reduce((sum, call) => sum + call.payloadBytes, 0)
    const held = leases.filter((lease) => lease.terms.accountId === account.id).length
    assert.equal(account.leases, held, 'leases of an account')
    assert.equal(account.waiting, waiting.length, 'waiting calls of an account')
    assert.equal(account.live, own.length, 'live calls of an account')
    assert.equal(account.payloadBytes, bytes, 'payload bytes of an account')
    const queued = own.filter((call) => call.state === 'queued').map((call) => call.seq)
    const head = queued.length === 0 ? undefined : Math.min(...queued)
    assert.equal(account.queue.head()?.seq, head, 'the head of the queue is its oldest call')
  }
}

const checkAgents = (ledger: Ledger): void => {
  for (const agent of ledger.agents.values()) {
    const own = [...ledger.leases.values()].filter((lease) => lease.agentId === agent.id)
    assert.deepEqual(new Set(own), agent.leases, 'leases of an agent')
    const bytes = [...agent.leases].reduce((sum, lease) => sum + lease.terms.memoryBytes, 0)
    assert.equal(agent.slotsUsed, agent.leases.size, 'slots of an agent')
    assert.equal(agent.memoryUsedBytes, bytes, 'memory of an agent')
    assert.equal(agent.isOpen, isOpenAt(agent, ledger.lastTickMs), 'what opens an agent is seen')
    assert.equal(agent.slotsFree, agent.hello.slots - own.length - agent.heard.size)
    assert.equal(
      ledger.roomy.includes(agent),
      agent.isOpen && agent.slotsFree > 0 && agent.memoryFreeBytes > 0,
      'who has room is known',
    )
    if (agent.session === 0) assert.equal(agent.heard.size, 0, 'who is away is not heard')
    for (const [name, call] of agent.heard) {
      assert.equal(ledger.calls.get(call.id), call, 'a call that is heard of lives')
      assert.ok(heardOf(call).some(({ key }) => attemptName(key) === name))
    }
  }
}

const checkCalls = (ledger: Ledger, calls: readonly Call[]): void => {
  const counts = new Map<string, Count>()
  for (const call of calls) {
    const { funcId, revision } = call.terms
    const count = counts.get(funcId) ?? newCount()
    count[call.state === 'running' ? 'running' : 'pending'] += 1
    count.revisions.set(revision, (count.revisions.get(revision) ?? 0) + 1)
    count.calls.push(call)
    counts.set(funcId, count)
    const held = [...ledger.leases.values()].filter((lease) => lease.key.call === call.id)
    assert.equal(held.length, isWaiting(call) ? 0 : 1, `leases of a call that is ${call.state}`)
    assert.ok(held.every((lease) => !lease.isOver))
    assert.ok(heardOf(call).length === 0 || call.state === 'queued', 'what is heard of waits')
    const lost = call.granted.filter((grant) => grant.isLost).length
    assert.ok(lost <= call.attemptsLost, 'lost attempts are counted')
    assert.ok(call.attemptsLost < call.terms.maxAttempts, 'a call with no attempt left has ended')
  }
  const holding = [...ledger.agents.values()].filter((agent) => agent.reservedFor !== null)
  const held = [...ledger.reservations.values()].filter(({ agent, call }) => {
    assert.equal(agent.reservedFor, call, 'both sides of a reservation agree')
    return ledger.agents.get(agent.id) === agent
  })
  assert.equal(holding.length, held.length, 'room is held for a reservation only')
  const kept = [...ledger.counts].map(
    ([funcId, { calls: list, ...rest }]) => [funcId, { ...rest, calls: [...list] }] as const,
  )
  assert.deepEqual(new Map(kept), counts, 'counts and lists of functions')
}

/** After a step nobody is left to be looked at; who is blocked has a head and quota for it. */
const checkLine = (ledger: Ledger): void => {
  const blocked = new Set(ledger.line.blocked.items())
  const ready = new Set(ledger.line.ready.items())
  for (const account of ledger.accounts.values()) {
    const head = account.leases < account.quota ? account.queue.head() : undefined
    const isInLine = blocked.has(account) || ready.has(account)
    assert.equal(isInLine, head !== undefined, 'an account with a head and quota is in line')
    if (head !== undefined) assert.equal(account.turn.headSeq, head.seq, 'and stands for its head')
  }
  const hopeless = [...ledger.hopeless.values()].flatMap((calls) => [...calls])
  const marked = [...ledger.calls.values()].filter((call) => call.delay?.isHopeless)
  assert.deepEqual(new Set(hopeless), new Set(marked), 'hopeless calls are kept apart')
}

export const checkBooks = (ledger: Ledger): void => {
  const calls = [...ledger.calls.values()].sort((a, b) => a.seq - b.seq)
  checkAccounts(ledger, calls)
  checkAgents(ledger)
  checkCalls(ledger, calls)
  checkLine(ledger)
  for (const lease of ledger.leases.values()) {
    assert.equal(lease.isOver, !ledger.calls.has(lease.key.call), 'a lease is over with its call')
  }
}

const noTrials = { granted: [], lastAttempt: 0, attemptsLost: 0, exitRetries: 0 }

/** With nothing under way to the disk: it has what memory has. */
export const checkDisk = (ledger: Ledger, disk: Pick<Disk, 'keys' | 'value'>): void => {
  const stored = disk.keys('call').map((key) => {
    const { trials, ...row } = parseCallRow(disk.value('call', key))
    return { ...row, ...(trials ?? noTrials), seq: Number(key) }
  })
  const live = [...ledger.calls.values()].sort((a, b) => a.seq - b.seq)
  assert.partialDeepStrictEqual(
    stored,
    live.map(({ id, seq, granted, lastAttempt, attemptsLost, exitRetries }) => ({
      ...{ id, seq, granted, lastAttempt, attemptsLost, exitRetries },
    })),
  )
  assert.equal(stored.length, live.length)
  assert.deepEqual(disk.keys('input'), disk.keys('call'))
  assert.deepEqual(disk.keys('lease'), [...ledger.leases.keys()].sort())
  assert.deepEqual(disk.keys('owed'), [...ledger.owed.keys()].sort())
}
