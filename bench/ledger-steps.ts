/**
 * What a decision costs: step() alone, no disk and no engine. Backlogs of 0, 10,000 and a million
 * calls stand side by side, and are measured in turn, batch by batch.
 *
 * accept     a call is accepted behind the backlog of a paused account
 * cycle      a call ends, the next one is leased, another is accepted
 * placement  dispatch() of one call on one of 1,000 agents with room
 * saturated  the same agents without room: a heartbeat, a call that comes; with 1,000 accounts that
 *            wait, a slot that frees
 */

import { dispatch } from '../coordinator/ledger/dispatch.ts'
import type { Effect, Terms } from '../coordinator/ledger/state.ts'
import { handle } from '../coordinator/ledger/step.ts'
import type { AttemptKey } from '../protocol/call.ts'
import {
  acceptEvent,
  assignedIn,
  createLedgerBench,
  type LedgerBench,
  NOW,
} from './ledger-bench.ts'
import { type Figures, figuresOf } from './statistics.ts'

const BACKLOGS = [0, 10_000, 1_000_000]
const ROUNDS = 40
const WARM_UP = 10
const BATCH = 2_000

/** Microseconds of one of so many. */
const timed = (times: number, act: () => void): number => {
  const startMs = performance.now()
  act()
  return ((performance.now() - startMs) * 1_000) / times
}

interface Row {
  readonly bench: LedgerBench
  readonly terms: Terms
  readonly running: AttemptKey[]
}

/** A paused account with the backlog; or one that has so many slots, all in use. */
const createRow = (waiting: number, quota: number): Row => {
  const bench = createLedgerBench()
  const terms = bench.account('a1', quota)
  if (quota > 0) bench.agents(10, quota / 10)
  const running: AttemptKey[] = []
  for (let at = 0; at < quota; at += 1) running.push(...assignedIn(bench.apply(acceptEvent(terms))))
  bench.accept(terms, waiting)
  return { bench, terms, running }
}

const acceptBatch = ({ bench, terms }: Row): number => {
  const events = Array.from({ length: BATCH }, () => acceptEvent(terms))
  const us = timed(BATCH, () => {
    for (const event of events) bench.apply(event)
  })
  for (const { id } of events.reverse()) bench.apply({ type: 'cancel', callId: id })
  return us
}

const cycleBatch = ({ bench, terms, running }: Row): number => {
  const events = Array.from({ length: BATCH }, () => acceptEvent(terms))
  return timed(BATCH, () => {
    for (const event of events) {
      const key = running.shift()
      if (key === undefined) throw new Error('nothing runs')
      running.push(...assignedIn(bench.apply(bench.resultOf(key))))
      running.push(...assignedIn(bench.apply(event)))
    }
  })
}

interface Series {
  readonly waiting: number
  readonly us: Figures
  /** To the series without a backlog, batch by batch: the median of the ratios. */
  readonly ratio: number
}

/** One batch of each backlog in turn, so that a slow minute of the machine hits all of them. */
const compare = (quota: number, batch: (row: Row) => number): Series[] => {
  const rows = BACKLOGS.map((waiting) => ({ waiting, row: createRow(waiting, quota), us: [0] }))
  for (let round = -WARM_UP; round < ROUNDS; round += 1) {
    for (const one of rows) {
      const us = batch(one.row)
      if (round === 0) one.us.length = 0
      if (round >= 0) one.us.push(us)
    }
  }
  const base = rows[0]?.us ?? []
  return rows.map(({ waiting, us }) => ({
    waiting,
    us: figuresOf(us),
    ratio: figuresOf(us.map((value, at) => value / (base[at] ?? Number.NaN))).median,
  }))
}

/** The time of dispatch() alone after each event. */
const dispatchTimes = ({ ledger }: LedgerBench, events: Iterable<() => void>): Figures => {
  const times: number[] = []
  for (const act of events) {
    act()
    const effects: Effect[] = []
    times.push(timed(1, () => dispatch(ledger, NOW, effects)))
  }
  return figuresOf(times)
}

const AGENTS = 1_000
const SLOTS = 8
const PLACEMENTS = 3_000

/** A million calls wait behind their quota; another account's call comes, and all have room. */
const placement = (): Figures => {
  const bench = createLedgerBench()
  const waiting = bench.account('a1', 0)
  const free = bench.account('a2', 1_000_000)
  bench.agents(AGENTS, SLOTS)
  bench.accept(waiting, 1_000_000)
  function* arrivals() {
    for (let at = 0; at < PLACEMENTS; at += 1) {
      yield () => handle(bench.ledger, acceptEvent(free), NOW, [])
    }
  }
  return dispatchTimes(bench, arrivals())
}

const saturated = () => {
  const bench = createLedgerBench()
  const terms = bench.account('a1', 1_000_000)
  bench.agents(AGENTS, SLOTS)
  bench.accept(terms, AGENTS * SLOTS + 1_000_000)
  const { ledger } = bench
  const run = (times: number, event: () => Parameters<typeof handle>[1]): Figures =>
    dispatchTimes(
      bench,
      Array.from({ length: times }, () => () => handle(ledger, event(), NOW, [])),
    )
  const heartbeat = run(PLACEMENTS, () => ({
    ...{ type: 'heartbeat', agentId: '12D3KooWAgent1', keys: [] },
  }))
  const arrival = run(PLACEMENTS, () => acceptEvent(terms))
  for (let at = 0; at < 1_000; at += 1) bench.accept(bench.account(`b${at}`, 10), 3)
  const slotFrees = run(500, () => {
    const [lease] = ledger.leases.values()
    if (lease === undefined) throw new Error('nothing runs')
    return bench.resultOf(lease.key)
  })
  return { heartbeat, arrival, slotFrees }
}

export const measureSteps = () => ({
  accept: compare(0, acceptBatch),
  cycle: compare(200, cycleBatch),
  placement: placement(),
  saturated: saturated(),
})
