/**
 * From the rows of an earlier version to those of this one. A step works through rows in batches and
 * can be cut off and begun again anywhere: a row that was changed is told from one that was not, and
 * the version is written last, in one batch with the sums of what is there then where they change.
 *
 * 1 → 3   `payload/SEQ` becomes the body `input/SEQ`. `output/FUNC/SEQ`, which was the body, becomes
 *         a row with its size and place and the body `stdout/FUNC/SEQ`. Rows, which were CBOR, become
 *         JSON. `call/SEQ`, which was an object, becomes a tuple (call-row.ts), and a
 *         log line's key tells more (log-key.ts). Version 1 had no sums.
 * 2 → 3   The checksum before a row's JSON becomes text. It is the same number, so the sums stand, and
 *         the start that follows proves what came of it. A row that is damaged stays as it is, for
 *         that start to name. A call that came from version 1 is still an object and becomes a tuple,
 *         and the keys of log lines change as above; the sums follow in the same batches.
 */

import Type from 'typebox'
import { openSeal, seal, unsealRow } from '../../daemon/sealed-row.ts'
import { LogLineSchema } from '../../protocol/log-line.ts'
import { createParser } from '../../protocol/schema.ts'
import { type CallRow, encodeCallRow } from '../call-row.ts'
import { logKey } from '../log-key.ts'
import { encodeInput, type OutputRow } from '../rows.ts'
import type { Drive, RawOperation, RawRow } from './drive.ts'
import { readPages } from './pages.ts'
import { recount } from './recount.ts'
import { decodeRow, encodeRow, rowChecksum, rowText } from './row-form.ts'
import { createRowIndex } from './row-index.ts'
import { readSums } from './stored-sums.ts'
import { addSum, isByValue, putSums, type Sum, subtractSum } from './sums.ts'
import { ROWS, SCHEMA_ROW, SUBLEVELS, type Sublevel, type Table } from './tables.ts'

interface Step {
  readonly from: number
  readonly to: number
  readonly migrate: (drive: Drive) => Promise<void>
}

/** Rewrites a table page by page, so that a batch never holds more than a page. */
const rewrite = async (
  drive: Drive,
  table: Table,
  change: (row: RawRow) => readonly RawOperation[],
): Promise<void> => {
  for await (const rows of readPages(drive.page, table)) {
    const operations = rows.flatMap(change)
    if (operations.length > 0) await drive.batch(operations)
  }
}

const PayloadSchema = Type.Object({
  payload: Type.Unsafe<Uint8Array>({}),
  environment: Type.Array(Type.String()),
})
const parsePayload = createParser(PayloadSchema, 'STATE_DAMAGED', 'stored payload')

const inputOf = ([key, sealed]: RawRow): readonly RawOperation[] => {
  const input = encodeInput(parsePayload(unsealRow(sealed, `payload/${key}`)))
  return [
    { type: 'put', table: 'input', key, value: seal(input) },
    { type: 'del', table: 'payload', key },
  ]
}

/** Whether the row has been written in this version's form. */
const isDone = (stored: Uint8Array, where: string): boolean => {
  try {
    decodeRow(stored, where)
    return true
  } catch {
    return false
  }
}

const outputOf = ([key, sealed]: RawRow): readonly RawOperation[] => {
  const where = `output/${key}`
  if (isDone(sealed, where)) return []
  const body = unsealRow(sealed, where)
  if (!(body instanceof Uint8Array)) return []
  // The order in which bodies came was not kept: that of their calls is near to it.
  const order = Number(key.split('/')[1])
  const row: OutputRow = { bytes: body.byteLength, order }
  return [
    { type: 'put', table: 'stdout', key, value: seal(body) },
    { type: 'put', table: 'output', key, value: encodeRow(row) },
  ]
}

const Count = Type.Integer({ minimum: 0 })
const CallSchema = Type.Object({
  id: Type.String(),
  funcId: Type.String(),
  revision: Count,
  accepted: Type.String(),
  payloadBytes: Count,
  granted: Type.Array(
    Type.Object({ attempt: Count, epoch: Count, agentId: Type.String(), isLost: Type.Boolean() }),
  ),
  lastAttempt: Count,
  attemptsLost: Count,
  exitRetries: Count,
})
const parseCall = createParser(CallSchema, 'STATE_DAMAGED', 'stored call')

/** What version 1 did not count has been nothing so far. */
const callRowOf = (value: unknown): CallRow => {
  const { id, funcId, revision, accepted, payloadBytes, ...trials } = parseCall(value)
  const uncounted = { failedForMs: 0, pauseMs: 0, waitedMs: 0 }
  return {
    ...{ id, funcId, revision, acceptedMs: Date.parse(accepted), payloadBytes },
    trials: trials.lastAttempt === 0 ? null : { ...trials, ...uncounted },
  }
}

const callOf = ([key, sealed]: RawRow): readonly RawOperation[] => {
  const where = `call/${key}`
  if (isDone(sealed, where)) return []
  const row = encodeCallRow(callRowOf(unsealRow(sealed, where)))
  return [{ type: 'put', table: 'call', key, value: encodeRow(row) }]
}

const lineOf = ([key, sealed]: RawRow): readonly RawOperation[] => {
  const where = `log/${key}`
  if (isDone(sealed, where)) return []
  const line = logOf(key, unsealRow(sealed, where))
  if (line === null) return []
  return [
    { type: 'del', table: 'log', key },
    { type: 'put', table: 'log', key: line.key, value: encodeRow(line.value) },
  ]
}

const rowOf =
  (table: Sublevel) =>
  ([key, sealed]: RawRow): readonly RawOperation[] => {
    const where = `${table}/${key}`
    const isSchema = table === SCHEMA_ROW.table && key === SCHEMA_ROW.key
    if (isSchema || isDone(sealed, where)) return []
    return [{ type: 'put', table, key, value: encodeRow(unsealRow(sealed, where)) }]
  }

const LineSchema = Type.Object({
  ...LogLineSchema.properties,
  end: Type.Optional(Type.Object({ seq: Count, stderrBytes: Count })),
})
const parseLine = createParser(LineSchema, 'STATE_DAMAGED', 'stored log line')

/** The value of a row as version 2 stored it. Throws for any other. */
export const unsealJson = (sealed: Uint8Array, where: string): unknown =>
  JSON.parse(Buffer.from(openSeal(sealed, where)).toString())

const textOf =
  (table: Table) =>
  ([key, sealed]: RawRow): readonly RawOperation[] => {
    if (table === SCHEMA_ROW.table && key === SCHEMA_ROW.key) return []
    try {
      const value = encodeRow(unsealJson(sealed, `${table}/${key}`))
      return [{ type: 'put', table, key, value }]
    } catch {
      return []
    }
  }

interface Row {
  readonly key: string
  readonly value: Uint8Array
}

/** What these rows add to the sum of their table. */
const shareOf = (rows: readonly Row[], isCountedByValue: boolean): Sum => {
  const index = createRowIndex(isCountedByValue)
  for (const { key, value } of rows) index.put(key, rowChecksum(rowText(value)))
  return index.sum()
}

/** Rows of a table that become others, with its sum. */
const replace = async (
  drive: Drive,
  table: 'call' | 'log',
  changeOf: (
    key: string,
    value: unknown,
  ) => { readonly key: string; readonly value: unknown } | null,
): Promise<void> => {
  for await (const rows of readPages(drive.page, table)) {
    const former: Row[] = []
    const written: Row[] = []
    for (const [key, value] of rows) {
      const change = isDone(value, key) ? changeOf(key, decodeRow(value, key)) : null
      if (change === null) continue
      former.push({ key, value })
      written.push({ key: change.key, value: encodeRow(change.value) })
    }
    const sums = await readSums(drive)
    if (former.length === 0 || sums === undefined) continue
    const without = subtractSum(sums.tables[table], shareOf(former, true))
    const sum = addSum(without, shareOf(written, isByValue(table)))
    await drive.batch([
      ...former.map(({ key }) => ({ type: 'del' as const, table, key })),
      ...written.map((row) => ({ type: 'put' as const, table, ...row })),
      putSums({ ...sums, tables: { ...sums.tables, [table]: sum } }),
    ])
  }
}

const callOfVersion2 = (key: string, value: unknown) =>
  Array.isArray(value) ? null : { key, value: encodeCallRow(callRowOf(value)) }

const isLogKey = (key: string): boolean => key.split('/').length > 2

const logOf = (key: string, value: unknown) => {
  if (isLogKey(key)) return null
  const { end = null, ...line } = parseLine(value)
  const [funcId = ''] = key.split('/')
  const bytes = Buffer.byteLength(JSON.stringify(line))
  return { key: logKey(funcId, { seq: line.Seq, bytes, end }), value: line }
}

export const MIGRATIONS: readonly Step[] = [
  {
    from: 1,
    to: 3,
    async migrate(drive) {
      await rewrite(drive, 'payload', inputOf)
      await rewrite(drive, 'output', outputOf)
      await rewrite(drive, 'call', callOf)
      await rewrite(drive, 'log', lineOf)
      for (const table of SUBLEVELS) await rewrite(drive, table, rowOf(table))
      await recount(drive, 0, [{ type: 'put', ...SCHEMA_ROW, value: encodeRow(3) }])
    },
  },
  {
    from: 2,
    to: 3,
    async migrate(drive) {
      for (const table of ROWS) await rewrite(drive, table, textOf(table))
      await replace(drive, 'call', callOfVersion2)
      await replace(drive, 'log', logOf)
      await drive.batch([{ type: 'put', ...SCHEMA_ROW, value: encodeRow(3) }])
    },
  },
]
