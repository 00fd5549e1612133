/**
 * Dispatch looks only where something has changed. Here every step of random histories is compared
 * with the plain rule, which looks everywhere: the same calls, in the same order, on the same agents.
 */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { dispatch } from '../../coordinator/ledger/dispatch.ts'
import type { Agent, Effect, Ledger, LedgerEvent, Terms } from '../../coordinator/ledger/state.ts'
import { addAccount, createLedger, handle } from '../../coordinator/ledger/step.ts'
import type { AttemptKey } from '../../protocol/call.ts'
import { checkBooks } from '../support/ledger-invariants.ts'
import { type Decision, plainDecisions } from '../support/ledger-plain-rule.ts'
import {
  createRandom,
  MiB,
  makeHello,
  makeResult,
  makeTerms,
  type Random,
} from '../support/ledger-words.ts'

const SEEDS = Number(process.env.SEEDS ?? 40)
const STEPS = 250
const accountIds = ['a1', 'a2', 'a3', 'a4']
const agentIds = ['one', 'two', 'three', 'four']
const kinds: readonly Partial<Terms>[] = [
  { memoryBytes: 64 * MiB },
  { memoryBytes: 64 * MiB, atMostOnce: true },
  { memoryBytes: 256 * MiB },
  { memoryBytes: 512 * MiB, timeoutMs: 0 },
  { memoryBytes: 1024 * MiB },
  { constraints: { disk: 'fast' } },
  { isAnywhere: false, image: { reference: 'mine:1', digest: null, id: 'mine' } },
  { platforms: ['linux/arm64'], queueTimeoutMs: 300_000 },
]
const functions = accountIds.flatMap((accountId) =>
  kinds.map((kind, at) => makeTerms({ ...kind, accountId, funcId: `${accountId}-f${at}` })),
)

/** What was placed, by the effects of a dispatch and the calls that it set aside. */
const decisionsIn = (
  ledger: Ledger,
  effects: readonly Effect[],
  hopelessBefore: ReadonlySet<string>,
): Decision[] => {
  const assigned = new Set(
    effects.flatMap((effect) => (effect.type === 'assign' ? [effect.key.call] : [])),
  )
  const leased = effects.flatMap((effect): Decision[] => {
    if (effect.type !== 'write' || effect.operation.type !== 'put') return []
    const { sublevel, key } = effect.operation
    const lease = sublevel === 'lease' ? ledger.leases.get(key) : undefined
    if (lease === undefined) return []
    const callId = lease.key.call
    const kind = assigned.has(callId) ? 'lease' : 'take back'
    return [{ kind, callId, agentId: lease.agentId }]
  })
  const aside = [...hopelessOf(ledger)].filter((id) => !hopelessBefore.has(id))
  return [
    ...leased,
    ...aside.map((callId) => ({ kind: 'set aside', callId, agentId: '' }) as const),
  ]
}

const hopelessOf = (ledger: Ledger): Set<string> =>
  new Set([...ledger.hopeless.values()].flatMap((calls) => [...calls].map(({ id }) => id)))

const isPlaced = ({ kind }: Decision): boolean => kind !== 'set aside'
const idsAside = (decisions: readonly Decision[]): string[] =>
  decisions.flatMap((one) => (isPlaced(one) ? [] : [one.callId])).sort()

const createWorld = (random: Random) => {
  const ledger = createLedger(1, 0)
  for (const id of accountIds) addAccount(ledger, id, 1 + random.below(5))
  let nowMs = 0
  let calls = 0
  let sessions = 0
  let adverts = 0

  const someAgent = (): string => random.pick(agentIds) ?? ''
  const someLease = () => random.pick([...ledger.leases.values()])
  const isHere = (agent: Agent | undefined): boolean => (agent?.session ?? 0) !== 0
  /** Attempts that an agent could name: with a lease, and some that were lost. */
  const keysOf = (agentId: string): AttemptKey[] =>
    [...ledger.calls.values()].flatMap(({ id: call, granted }) =>
      granted.flatMap(({ attempt, epoch, agentId: of }) =>
        of === agentId && !random.once(5) ? [{ call, attempt, epoch }] : [],
      ),
    )

  const accept = (): LedgerEvent => {
    calls += 1
    const id = `00000000-0000-4000-8000-${calls.toString().padStart(12, '0')}`
    const terms = random.pick(functions) ?? makeTerms()
    const rest = { payload: new Uint8Array(1), environment: [], note: '' }
    return { type: 'accept', id, terms, sync: random.once(3), ...rest }
  }
  const connect = (): LedgerEvent => {
    sessions += 1
    const agentId = someAgent()
    const hello = makeHello({
      slots: random.below(5),
      memoryBytes: (random.pick([64, 300, 600, 1100, 2048]) ?? 0) * MiB,
      labels: random.once(2) ? { disk: 'fast' } : {},
      platform: random.once(6) ? 'linux/arm64' : 'linux/amd64',
      draining: random.once(8),
      storeId: random.once(6) ? `s${sessions}` : 's1',
      attempts: keysOf(agentId).map((key) => ({ key, running: random.once(2) })),
    })
    return { type: 'connect', agentId, name: agentId, session: sessions, hello }
  }
  const advertise = (): LedgerEvent => {
    adverts += 1
    const free = { slotsFree: 1, memoryFreeBytes: MiB, diskFreeBytes: MiB, ready: [] }
    const images = random.once(2) ? ['mine'] : [`sha256:${'a'.repeat(64)}`]
    const rest = {
      ...{ sequence: adverts, draining: false, images },
      ...{ engineUp: !random.once(4), diskFull: random.once(4) },
    }
    return { type: 'advert', agentId: someAgent(), advert: { ...free, ...rest } }
  }
  const ofLease = (): LedgerEvent => {
    const lease = someLease()
    if (lease === undefined) return accept()
    const { key, agentId } = lease
    const dice = random.below(10)
    if (dice === 0) return { type: 'gone', agentId, key }
    if (dice === 1) return { type: 'refused', agentId, key, message: 'no room' }
    if (dice === 2) return { type: 'started', agentId, key }
    const code = random.pick(['FINISHED', 'FINISHED', 'AGENT_LOST', 'START_FAILED'] as const)
    const started = code !== 'START_FAILED'
    return { type: 'result', agentId, key, result: makeResult(key, code, { started }) }
  }
  const ofAgent = (): LedgerEvent => {
    const agentId = someAgent()
    const dice = random.below(16)
    if (dice < 5) return connect()
    if (dice < 7) {
      return { type: 'disconnect', agentId, session: ledger.agents.get(agentId)?.session ?? 0 }
    }
    if (dice < 8) return { type: 'forget', agentId, reason: 'removed' }
    if (dice < 11) return advertise()
    const draining = random.once(3)
    if (dice < 13) return { type: 'draining', agentId, draining }
    if (dice < 14) return { type: 'drain', agentId, draining }
    return isHere(ledger.agents.get(agentId))
      ? { type: 'heartbeat', agentId, keys: keysOf(agentId) }
      : connect()
  }
  const ofOwner = (): LedgerEvent => {
    const dice = random.below(10)
    const call = random.pick([...ledger.calls.values()])
    if (dice < 5 && call !== undefined) return { type: 'cancel', callId: call.id }
    if (dice === 5) return { type: 'remove-func', funcId: random.pick(functions)?.funcId ?? '' }
    return { type: 'quota', accountId: random.pick(accountIds) ?? '', quota: random.below(6) }
  }
  const tick = (): LedgerEvent => {
    nowMs += random.once(12) ? random.below(60_000) : random.below(4_000)
    return { type: 'tick' }
  }
  const pickEvent = (): LedgerEvent => {
    const dice = random.below(100)
    if (dice < 24) return accept()
    if (dice < 50) return ofLease()
    if (dice < 66) return ofAgent()
    if (dice < 74) return ofOwner()
    return tick()
  }

  return {
    ledger,
    /** One event; what was placed after it, and what the plain rule would have placed. */
    step() {
      const event = pickEvent()
      const now = { ms: nowMs, wall: '2017-03-16T07:05:24.473Z' }
      handle(ledger, event, now, [])
      const expected = plainDecisions(ledger)
      const hopelessBefore = hopelessOf(ledger)
      const effects: Effect[] = []
      dispatch(ledger, now, effects)
      return { event, expected, actual: decisionsIn(ledger, effects, hopelessBefore) }
    },
  }
}

describe('dispatch', () => {
  test(`decides what a look at everything decides, through ${SEEDS} random histories`, () => {
    const seen = { placed: 0, takenBack: 0, aside: 0, reserved: 0, blocked: 0 }
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const world = createWorld(createRandom(seed))
      const { ledger } = world
      for (let at = 0; at < STEPS; at += 1) {
        const { event, expected, actual } = world.step()
        const where = `seed ${seed}, step ${at}: ${event.type}`
        assert.deepEqual(actual.filter(isPlaced), expected.filter(isPlaced), where)
        assert.deepEqual(idsAside(actual), idsAside(expected), where)
        assert.deepEqual(plainDecisions(ledger), [], `${where}: nothing is left to be placed`)
        checkBooks(ledger)
        seen.placed += actual.filter(({ kind }) => kind === 'lease').length
        seen.takenBack += actual.filter(({ kind }) => kind === 'take back').length
        seen.aside += idsAside(actual).length
        seen.reserved += ledger.reservations.size
        seen.blocked += ledger.line.blocked.size
      }
    }
    // A history in which nothing of a kind happens proves nothing of it.
    for (const [kind, times] of Object.entries(seen))
      assert.ok(times > SEEDS / 4, `${kind}: ${times}`)
  })
})
