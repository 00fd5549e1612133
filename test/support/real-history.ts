/**
 * The history of a run of real processes, for the checker of the simulation: what its clients saw,
 * and what its coordinator's disk took (disk-witness.ts). Agents and containers are no witnesses
 * here, so of the invariants those are checked that need none.
 */

import { readFile } from 'node:fs/promises'
import Type from 'typebox'
import { decodeRow } from '../../coordinator/store/row-form.ts'
import { ROWS } from '../../coordinator/store/tables.ts'
import { createParser } from '../../protocol/schema.ts'
import { gather, type Seen } from '../simulation/evidence.ts'
import type { Observation, WrittenRow } from '../simulation/history.ts'
import { CLIENT_INVARIANTS } from '../simulation/invariants-client.ts'
import { LEDGER_INVARIANTS } from '../simulation/invariants-ledger.ts'
import type { WitnessedBatch } from './disk-witness.ts'

export const COORDINATOR = 'the coordinator'

const CHECKED = {
  ...LEDGER_INVARIANTS,
  'invariant 8 (status)': CLIENT_INVARIANTS['invariant 8 (status)'],
  'invariant 8 (found)': CLIENT_INVARIANTS['invariant 8 (found)'],
} as const

/** What only an agent could have seen. */
const NEED_AGENTS: readonly string[] = [
  'invariant 6 (granted)',
  'lease (holds)',
  'invariant 2 (set aside)',
]

const parseMember = createParser(
  Type.Object({
    peerId: Type.String(),
    facts: Type.Union([
      Type.Null(),
      Type.Object({ slots: Type.Number(), memoryBytes: Type.Number() }),
    ]),
  }),
  'INTERNAL',
  'row of a member',
)

const isRowTable = (table: string): boolean => ROWS.some((name) => name === table)

/** Bodies and the store's own sums are left out. */
const rowsOf = ({ rows }: WitnessedBatch): WrittenRow[] =>
  rows.flatMap(({ type, key: full, value }): WrittenRow[] => {
    const [, table = '', key = ''] = /^!(\w+)!(.*)$/s.exec(full) ?? []
    if (!isRowTable(table)) return []
    if (type === 'del') return [{ type, table, key }]
    return [{ type, table, key, value: decodeRow(Buffer.from(value ?? '', 'base64'), full) }]
  })

/** A member's row tells of its host what its last hello did. */
const greetingsOf = ({ rows, atMs }: Seen<'committed'>): Observation[] =>
  rows.flatMap(({ type, table, value }) => {
    if (type !== 'put' || table !== 'member') return []
    const { peerId: agentId, facts } = parseMember(value)
    if (facts === null) return []
    const { slots, memoryBytes } = facts
    return [{ type: 'greets', agentId, slots, memoryBytes, atMs }]
  })

/** All batches that the file tells of. Nothing in one was decided before the one before it began. */
export const readWitness = async (path: string): Promise<readonly Observation[]> => {
  const lines = (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '')
  const batches = lines.map((line) => JSON.parse(line) as WitnessedBatch)
  return batches.flatMap((batch, at) => {
    const { atMs } = batch
    const sinceMs = batches[at - 2]?.atMs ?? 0
    const rows = rowsOf(batch)
    const committed = { type: 'committed', coordinator: COORDINATOR, sinceMs, rows, atMs } as const
    return [...greetingsOf(committed), committed]
  })
}

/** Throws the first invariant that is broken. */
export const checkRealHistory = (observations: readonly Observation[]): void => {
  const inOrder = observations.toSorted((one, other) => one.atMs - other.atMs)
  const evidence = gather(inOrder, true)
  for (const [name, check] of Object.entries(CHECKED)) {
    if (NEED_AGENTS.includes(name)) continue
    try {
      check(evidence)
    } catch (cause) {
      throw new Error(`${name} is broken: ${String(cause)}`, { cause })
    }
  }
}
