/**
 * The disk of an agent's outbox: what was written without a sync survives a kill of the process, and
 * of a power cut a part of it, the oldest first. A synced write makes all before it durable, and so
 * does an open; the result of a write that was cut off counts as kept once an open has found it.
 */

import type { Note, Outbox } from '../../agent/outbox.ts'
import { type AttemptKey, type AttemptResult, attemptName } from '../../protocol/call.ts'
import type { History } from './history.ts'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './scheduler.ts'

interface Rows {
  readonly notes: Map<string, Note>
  readonly results: Map<string, { readonly key: AttemptKey; readonly result: AttemptResult }>
  epoch: number
}

type Write = (rows: Rows) => void

export interface AgentDisk {
  readonly health: { writeMs: number; isFailing: boolean }
  open(process: Process): Outbox
  loseUnsynced(): void
  /** All of it is lost: a new store takes its place. */
  lose(): void
  noteOf(attempt: string): 'none' | 'volatile' | 'synced'
  notes(): readonly string[]
  results(): readonly string[]
}

const emptyRows = (): Rows => ({ notes: new Map(), results: new Map(), epoch: 0 })

export const createAgentDisk = (deps: {
  readonly agentId: string
  readonly scheduler: Scheduler
  readonly random: Random
  readonly history: History
}): AgentDisk => {
  const { agentId, scheduler, random, history } = deps
  const health = { writeMs: 1, isFailing: false }
  let stores = 1
  let starts = 0
  let durable = emptyRows()
  let rows = emptyRows()
  let unsynced: Write[] = []

  const sync = (): void => {
    for (const one of unsynced) one(durable)
    unsynced = []
  }

  const told = (key: AttemptKey): void =>
    history.record({ type: 'result-kept', agentId, attempt: attemptName(key) })

  const apply = (act: Write, isSynced: boolean): void => {
    act(rows)
    unsynced.push(act)
    if (isSynced) sync()
  }

  const open = (process: Process): Outbox => {
    const storeId = `${agentId}-${stores}`
    // LevelDB writes what it finds in its log anew, and synced, before it is open.
    sync()
    for (const { key } of rows.results.values()) told(key)
    let epoch = rows.epoch
    starts += 1
    const start = starts
    const isCurrent = (): boolean => storeId === `${agentId}-${stores}`
    const attempt = (
      act: Write,
      isSynced: boolean,
      onDone: () => void,
      onFail: () => void,
    ): void => {
      let isOver = false
      process.died.then(() => {
        if (!isOver && isCurrent() && random.chance(0.5)) apply(act, false)
        isOver = true
      }, undefined)
      scheduler.after(random.waitMs(health.writeMs), () => {
        if (isOver) return
        isOver = true
        if (health.isFailing) process.take(onFail)
        else {
          apply(act, isSynced)
          process.take(onDone)
        }
      })
    }
    /** Tried until it is done, as the agent insists on it. */
    const insist = (act: Write, isSynced: boolean): Promise<void> =>
      new Promise((resolve) => {
        const again = (): void => attempt(act, isSynced, resolve, () => process.after(500, again))
        again()
      })
    return {
      storeId,
      start,
      epoch: () => epoch,
      readKept: async () => ({
        notes: [...rows.notes.values()].filter(({ key }) => !rows.results.has(attemptName(key))),
        results: [...rows.results.values()].map(({ key }) => key),
        damaged: [],
      }),
      putNote: (note, isSynced) =>
        new Promise((resolve, reject) => {
          const act: Write = ({ notes }) => void notes.set(attemptName(note.key), note)
          attempt(act, isSynced, resolve, () => reject(new Error('the disk refused a note')))
        }),
      async putResult(key, result) {
        await insist(({ results }) => void results.set(attemptName(key), { key, result }), true)
        told(key)
      },
      getResult: async (key) => rows.results.get(attemptName(key))?.result ?? null,
      delete(key) {
        const name = attemptName(key)
        if (rows.results.has(name)) history.record({ type: 'acknowledged', agentId, attempt: name })
        return insist(({ notes, results }) => {
          notes.delete(name)
          results.delete(name)
        }, false)
      },
      raiseEpoch(to) {
        epoch = to
        return insist((all) => {
          all.epoch = to
        }, true)
      },
      close: async () => undefined,
    }
  }

  return {
    health,
    open,
    loseUnsynced() {
      for (const act of unsynced.slice(0, random.below(unsynced.length + 1))) act(durable)
      unsynced = []
      rows = {
        notes: new Map(durable.notes),
        results: new Map(durable.results),
        epoch: durable.epoch,
      }
    },
    lose() {
      stores += 1
      durable = emptyRows()
      rows = emptyRows()
      unsynced = []
    },
    noteOf(attempt) {
      if (durable.notes.has(attempt)) return 'synced'
      return rows.notes.has(attempt) ? 'volatile' : 'none'
    },
    notes: () => [...rows.notes.keys()],
    results: () => [...rows.results.keys()],
  }
}
