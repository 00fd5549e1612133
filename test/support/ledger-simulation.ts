/**
 * A coordinator's ledger with model agents, clients and a disk, under one random: what is decided,
 * written and told goes the way it goes in production (transactions.ts), only that the simulation
 * says when a commit resolves, a message arrives, time passes, or a process dies.
 */

import assert from 'node:assert/strict'
import { createCaches } from '../../coordinator/caches.ts'
import type { CommitLoop } from '../../coordinator/commit-loop.ts'
import type { LedgerEvent, Terms } from '../../coordinator/ledger/state.ts'
import { addAccount, createLedger } from '../../coordinator/ledger/step.ts'
import { loadLedger } from '../../coordinator/load.ts'
import type { Operation } from '../../coordinator/store.ts'
import { createTransactions, type Listeners } from '../../coordinator/transactions.ts'
import type { ModelAgent } from './ledger-agent.ts'
import { createModelAgents } from './ledger-agent.ts'
import { createDisk } from './ledger-disk.ts'
import { createHistory } from './ledger-history.ts'
import { checkBooks, checkDisk } from './ledger-invariants.ts'
import { MiB, makeTerms, type Random } from './ledger-words.ts'

const kinds: readonly Partial<Terms>[] = [
  {},
  { retryOnExit: 2 },
  { atMostOnce: true },
  { memoryBytes: 128 * MiB, maxAttempts: 2 },
  { memoryBytes: 512 * MiB },
  { constraints: { name: 'agent-1' } },
  { platform: 'linux/riscv64' },
]
const accountIds = ['a1', 'a2', 'a3']

/** Each account has a function of each kind. */
const functions = accountIds.flatMap((accountId) =>
  kinds.map((kind, index) =>
    makeTerms({ ...kind, accountId, funcId: `${accountId}-f${index}`, queueTimeoutMs: 600_000 }),
  ),
)
const termsOf = (funcId: string): Terms | null =>
  functions.find((terms) => terms.funcId === funcId) ?? null

export const createSimulation = (random: Random) => {
  const disk = createDisk()
  const agents = createModelAgents()
  const history = createHistory()
  const quotas = new Map(accountIds.map((id) => [id, 1 + random.below(4)]))
  let nowMs = 1_000_000
  let epoch = 0
  let lastSession = 0
  let lastCall = 0
  let lastAdvert = 0
  let commits: { readonly operations: readonly Operation[]; readonly afterwards: () => void }[] = []
  /** Bodies on their way to synchronous clients. */
  let deliveries: { readonly callId: string; readonly body: Uint8Array }[] = []

  const loop: CommitLoop = {
    add: (operations, afterwards) => void commits.push({ operations, afterwards }),
    isSettled: () => commits.length === 0,
    settled: async () => undefined,
    close: async () => undefined,
  }
  const agentOf = (id: string): ModelAgent | undefined => agents.find((agent) => agent.id === id)
  const listeners: Listeners = {
    logged: () => undefined,
    final(callId, _attempt, outcome, body) {
      history.answered(callId, outcome)
      if (ledger.owed.has(callId)) deliveries.push({ callId, body })
    },
    assign(agentId, key) {
      if (ledger.leases.get(`${key.call}.${key.attempt}.${key.epoch}`)?.isOver === false) {
        agentOf(agentId)?.hear({ type: 'assign', key })
      } else if (ledger.leases.has(`${key.call}.${key.attempt}.${key.epoch}`)) {
        apply({ type: 'gone', agentId, key })
      }
    },
    send(agentId, order) {
      const isOfSession = ledger.agents.get(agentId)?.session === order.session
      if (isOfSession) agentOf(agentId)?.hear({ type: 'order', order })
    },
    welcome(agentId, session, verdicts) {
      if (ledger.agents.get(agentId)?.session !== session) return
      agentOf(agentId)?.hear({ type: 'welcome', verdicts })
    },
  }

  const start = () => {
    epoch += 1
    const fresh = createLedger(epoch, nowMs)
    const caches = createCaches()
    const onFault = (error: unknown): void => {
      throw error
    }
    const wall = (): string => '2017-03-16T07:05:24.473Z'
    const deps = { ledger: fresh, caches, loop, listeners, onFault, wall, nowMs: () => nowMs }
    return { ledger: fresh, caches, transactions: createTransactions(deps) }
  }
  let { ledger, transactions } = start()
  for (const [id, quota] of quotas) addAccount(ledger, id, quota)

  const apply = (event: LedgerEvent): void => {
    const before = commits.length
    const grantedBefore = new Set(ledger.leases.keys())
    transactions.apply(event)
    const operations = commits.slice(before).flatMap((commit) => commit.operations)
    checkBooks(ledger)
    history.decided(ledger, event, operations, grantedBefore)
  }

  const flush = (): void => {
    while (commits.length > 0) {
      const [commit] = commits.splice(0, 1)
      disk.commitNow(commit?.operations ?? [])
      history.written(commit?.operations ?? [])
      commit?.afterwards()
    }
    checkDisk(ledger, disk)
  }

  const cut = (agent: ModelAgent): void => {
    if (agent.isConnected()) apply(agent.cut())
  }

  return {
    agents,
    history,
    accountIds,
    quotas,
    apply,
    flush,
    cut,
    ledger: () => ledger,
    accept(isSync: boolean): void {
      const terms = random.pick(functions)
      if (terms === undefined) return
      lastCall += 1
      const id = `00000000-0000-4000-8000-${lastCall.toString().padStart(12, '0')}`
      history.sent(id, terms, isSync)
      const payload = new Uint8Array(random.below(100))
      apply({ type: 'accept', id, terms, sync: isSync, payload, environment: [], note: '' })
      // The client is told once it is durable.
      loop.add([], () => history.told(id))
    },
    connect(agent: ModelAgent): void {
      cut(agent)
      lastSession += 1
      apply(agent.connect(lastSession))
    },
    advertise(agent: ModelAgent, engineUp: boolean): void {
      lastAdvert += 1
      const free = { slotsFree: 1, memoryFreeBytes: MiB, diskFreeBytes: MiB, ready: 0 }
      const rest = { sequence: lastAdvert, engineUp, draining: false, images: [] }
      apply({ type: 'advert', agentId: agent.id, advert: { ...free, ...rest } })
    },
    /** A function goes with its calls, or an attempt's payload turns out to be damaged. */
    removeSome(): void {
      const lease = random.pick([...ledger.leases.values()])
      if (lease !== undefined && random.once(2)) {
        apply({ type: 'unassignable', key: lease.key, message: 'damaged' })
      } else {
        apply({ type: 'remove-func', funcId: random.pick(functions)?.funcId ?? '' })
      }
    },
    /** Hands over one word of an agent, and it hears what was told. */
    talk(agent: ModelAgent): void {
      agent.listen()
      const event = agent.speak()
      if (event !== undefined) apply(event)
    },
    pass(ms: number): void {
      nowMs += ms
      apply({ type: 'tick' })
    },
    /** A synchronous client has its body, or has gone away. */
    settleDelivery(isDelivered: boolean): void {
      const next = deliveries.shift()
      if (next === undefined) return
      const { callId, body } = next
      if (isDelivered) history.delivered(callId, body)
      apply(isDelivered ? { type: 'delivered', callId } : { type: 'undelivered', callId, body })
    },
    deliveriesLeft: () => deliveries.length,
    async restart(isKilled: boolean): Promise<void> {
      if (!isKilled) flush()
      for (const agent of agents) if (agent.isConnected()) agent.cut()
      commits = []
      deliveries = []
      const next = start()
      ;({ ledger, transactions } = next)
      const accounts = [...quotas].map(([id, quota]) => ({ id, quota }))
      await loadLedger(disk, ledger, next.caches, accounts, termsOf, nowMs)
      checkBooks(ledger)
      checkDisk(ledger, disk)
    },
    checkEmpty(): void {
      assert.equal(ledger.calls.size, 0, 'every call has ended')
      assert.equal(ledger.leases.size, 0, 'no lease is left')
      assert.equal(ledger.owed.size, 0, 'no body is owed')
      assert.deepEqual(
        agents.map((agent) => [agent.held.size, agent.outbox.size]),
        agents.map(() => [0, 0]),
        'agents hold nothing',
      )
    },
  }
}

export type Simulation = ReturnType<typeof createSimulation>
