/**
 * A state folder with a million queued calls, filled on the real path: transactions, commit loop,
 * store; twenty functions, so that their logs rotate. A fresh process then starts from it.
 */

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createCaches } from '../coordinator/caches.ts'
import { createCommitLoop } from '../coordinator/commit-loop.ts'
import { addAccount, createLedger } from '../coordinator/ledger/step.ts'
import { openStore } from '../coordinator/store/store.ts'
import { createTransactions } from '../coordinator/transactions.ts'
import { acceptEvent, NOW, termsOf } from './ledger-bench.ts'

const CALLS = 1_000_000
const FUNCTIONS = 20
const BATCH = 2_000
const STARTS = 3

const fail = (error: unknown): never => {
  throw error
}

const fill = async (folder: string): Promise<void> => {
  const store = await openStore(folder)
  const ledger = createLedger(1, NOW.ms)
  addAccount(ledger, 'a1', 1)
  const silent = () => undefined
  const loop = createCommitLoop(store, fail)
  const transactions = createTransactions({
    ...{ ledger, caches: createCaches(), loop, onFault: fail },
    nowMs: () => NOW.ms,
    wall: () => NOW.wall,
    listeners: { final: silent, logged: silent, assign: silent, send: silent, welcome: silent },
  })
  const functions = Array.from({ length: FUNCTIONS }, (_, at) => termsOf('a1', `a1-f${at}`))
  for (let done = 0; done < CALLS; done += BATCH) {
    for (let at = 0; at < BATCH; at += 1) {
      const terms = functions[at % FUNCTIONS] ?? fail(new Error('no function'))
      transactions.apply(acceptEvent(terms))
    }
    await transactions.settled()
  }
  await loop.close()
  await store.close()
}

const run = promisify(execFile)

/** What a fresh process tells (ledger-child.ts). */
export const measureAlone = async (...words: string[]): Promise<Record<string, number>> => {
  const child = fileURLToPath(new URL('ledger-child.ts', import.meta.url))
  const { stdout } = await run(process.execPath, ['--expose-gc', child, ...words])
  return JSON.parse(stdout)
}

/** The starts of several processes, one after the other. */
export const measureStarts = async (): Promise<Record<string, number>[]> => {
  const folder = await mkdtemp(join(tmpdir(), 'hyper-bench-ledger-'))
  try {
    await fill(folder)
    const starts: Record<string, number>[] = []
    for (let times = 0; times < STARTS; times += 1) {
      starts.push(await measureAlone('start', folder))
    }
    return starts
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
