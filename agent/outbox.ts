/**
 * What the agent must not forget (LevelDB in its home):
 *
 *   note    attempt → its container, written before the frame is sent. No note of an attempt is
 *           proof, to the coordinator that knows our store's id, that it never started.
 *   result  attempt → its result, synced, until the coordinator acknowledged a synced commit
 *   meta    schema version, the store's id, the highest epoch obeyed, how often it was opened
 *
 * Values carry a checksum. A damaged note or result is named and counts as a lost attempt; damaged
 * meta refuses the start. One process owns a home.
 */

import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import Type, { type Static } from 'typebox'
import { type Database, openLevel } from '../daemon/level.ts'
import { sealRow, unsealRow } from '../daemon/sealed-row.ts'
import {
  type AttemptKey,
  AttemptKeySchema,
  type AttemptResult,
  AttemptResultSchema,
  attemptName,
} from '../protocol/call.ts'
import { createParser } from '../protocol/schema.ts'

const SCHEMA_VERSION = 1

const NoteSchema = Type.Object({
  key: AttemptKeySchema,
  container: Type.String(),
  memoryBytes: Type.Integer({ minimum: 0 }),
  timeoutMs: Type.Integer({ minimum: 0 }),
  /** What the account of its end needs to say. */
  command: Type.String(),
  imagePlatform: Type.String(),
})
export type Note = Static<typeof NoteSchema>

const ResultRow = Type.Object({ key: AttemptKeySchema, result: AttemptResultSchema })
const MetaRow = Type.Object({
  version: Type.Integer(),
  storeId: Type.String(),
  epoch: Type.Integer({ minimum: 0 }),
  /** How often it was opened; absent in one that was never opened since it is counted. */
  starts: Type.Optional(Type.Integer({ minimum: 0 })),
})
type Meta = Static<typeof MetaRow>

const parseNote = createParser(NoteSchema, 'STATE_DAMAGED', 'note of an attempt')
const parseResult = createParser(ResultRow, 'STATE_DAMAGED', 'result of an attempt')
const parseMeta = createParser(MetaRow, 'STATE_DAMAGED', 'description of the agent’s store')

export interface Kept {
  /** Attempts without a result. A damaged row is one whose container is not known (''). */
  readonly notes: readonly Note[]
  readonly results: readonly AttemptKey[]
  /** Names of rows that could not be read. */
  readonly damaged: readonly string[]
}

export interface Outbox {
  readonly storeId: string
  /** How often it was opened, this time included: higher than at any other. */
  readonly start: number
  readonly epoch: () => number
  /** All that an earlier process left. */
  readKept(): Promise<Kept>
  putNote(note: Note, isSynced: boolean): Promise<void>
  putResult(key: AttemptKey, result: AttemptResult): Promise<void>
  /** Null where there is none. Throws STATE_DAMAGED; anything else may pass. */
  getResult(key: AttemptKey): Promise<AttemptResult | null>
  delete(key: AttemptKey): Promise<void>
  raiseEpoch(epoch: number): Promise<void>
  close(): Promise<void>
}

/** Rows are in key order: `meta`, `note/NAME`, `result/NAME`. */
const META = 'meta'
const noteRow = (key: AttemptKey): string => `note/${attemptName(key)}`
const resultRow = (key: AttemptKey): string => `result/${attemptName(key)}`

const readMeta = async (rows: Database): Promise<Meta | null> => {
  const sealed = await rows.get(META)
  return sealed === undefined ? null : parseMeta(unsealRow(sealed, META))
}

/** What can be told of an attempt from the name of its row alone. */
const blankNote = (name: string): Note | null => {
  const [call, attempt, epoch] = name.slice(name.indexOf('/') + 1).split('.')
  const key = { call, attempt: Number(attempt), epoch: Number(epoch) }
  const blank = { key, container: '', memoryBytes: 0, timeoutMs: 0, command: '', imagePlatform: '' }
  try {
    return parseNote(blank)
  } catch {
    return null
  }
}

const readKept = async (rows: Database): Promise<Kept> => {
  const notes = new Map<string, Note>()
  const results: AttemptKey[] = []
  const damaged: string[] = []
  for await (const [name, sealed] of rows.iterator({ gt: META })) {
    try {
      const value = unsealRow(sealed, name)
      if (name.startsWith('note/')) {
        const note = parseNote(value)
        notes.set(attemptName(note.key), note)
      } else {
        const { key } = parseResult(value)
        results.push(key)
        notes.delete(attemptName(key))
      }
    } catch {
      damaged.push(name)
      const note = blankNote(name)
      if (note !== null && !notes.has(attemptName(note.key))) notes.set(attemptName(note.key), note)
    }
  }
  return { notes: [...notes.values()], results, damaged }
}

/** Opens, or makes, the store in `home`. Throws as `openLevel` does. */
export const openOutbox = async (home: string): Promise<Outbox> => {
  let meta: Meta = { version: SCHEMA_VERSION, storeId: randomUUID(), epoch: 0 }
  const { database: rows, close } = await openLevel({
    folder: home,
    name: 'outbox',
    schemaVersion: SCHEMA_VERSION,
    async readVersion(opened) {
      const stored = await readMeta(opened)
      meta = stored ?? meta
      return stored?.version
    },
    writeFirst: (opened) => opened.put(META, sealRow(meta), { sync: true }),
  })
  const start = (meta.starts ?? 0) + 1
  meta = { ...meta, starts: start }
  try {
    await rows.put(META, sealRow(meta), { sync: true })
  } catch (error) {
    await close()
    throw error
  }
  let reopening: Promise<void> | null = null
  let isClosed = false
  const reopen = async (): Promise<void> => {
    await rows.close()
    await rows.open()
  }
  /** A write error is sticky in LevelDB: only reopening ends it, once for all who met it. */
  const write = async (act: () => Promise<void>): Promise<void> => {
    await reopening
    try {
      await act()
    } catch (error) {
      if (isClosed) throw error
      reopening ??= reopen().finally(() => {
        reopening = null
      })
      await reopening
      throw error
    }
  }
  return {
    storeId: meta.storeId,
    start,
    epoch: () => meta.epoch,
    readKept: () => readKept(rows),
    putNote: (note, isSynced) =>
      write(() => rows.put(noteRow(note.key), sealRow(note), { sync: isSynced })),
    async putResult(key, result) {
      // Its report, begun in this turn, goes out first: to encode it takes as long as to send it.
      await nextTurn()
      await write(() => rows.put(resultRow(key), sealRow({ key, result }), { sync: true }))
    },
    async getResult(key) {
      await reopening
      const sealed = await rows.get(resultRow(key))
      return sealed === undefined ? null : parseResult(unsealRow(sealed, resultRow(key))).result
    },
    delete: (key) =>
      write(() =>
        rows.batch([
          { type: 'del', key: noteRow(key) },
          { type: 'del', key: resultRow(key) },
        ]),
      ),
    async raiseEpoch(epoch) {
      const raised = { ...meta, epoch }
      await write(() => rows.put(META, sealRow(raised), { sync: true }))
      meta = raised
    },
    async close() {
      isClosed = true
      await reopening?.catch(() => undefined)
      await close()
    },
  }
}
