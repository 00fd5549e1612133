/** A function that is removed with many calls and full caches: in parts, through crashes, whole. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { createCore } from '../../coordinator/core.ts'
import { type FuncBook, loadFuncs } from '../../coordinator/funcs.ts'
import { addAccount } from '../../coordinator/ledger/step.ts'
import type { Account, StoredFunc } from '../../coordinator/ports.ts'
import { BODIES, type Store, SUBLEVELS } from '../../coordinator/store/store.ts'
import { parseFuncCreate } from '../../protocol/func-request.ts'
import { limits } from '../../protocol/limits.ts'
import { eventually } from '../support/eventually.ts'
import { IMAGE } from '../support/fake-ports.ts'
import { createDisk, type Disk } from '../support/ledger-disk.ts'

const account: Account = {
  ...{ id: 'a1', name: 'one', quota: 0, operator: false, accessKey: '', created: '' },
}
const CALLS = 2 * limits.removedPerStepMax + 50

/** A coordinator's core and functions, loaded from the disk; `commitsLeft` runs out in a crash. */
const start = async (
  disk: Disk,
  commitsLeft = Number.POSITIVE_INFINITY,
  onCommit: () => void = () => undefined,
) => {
  let left = commitsLeft
  let commits = 0
  const commit: Store['commit'] = async (operations) => {
    if (left === 0) await new Promise(() => undefined)
    left -= 1
    commits += 1
    // Others have their turn, as with a disk.
    await new Promise((resolve) => setImmediate(resolve))
    disk.commitNow(operations)
    onCommit()
  }
  const core = createCore({
    ...{ store: { ...disk, commit }, epoch: 1, nowMs: () => 0, newCallId: randomUUID },
    wall: () => '2017-03-16T07:05:24.473Z',
    funcs: () => funcs,
    agents: () => ({ assign: () => undefined, send: () => undefined, welcome: () => undefined }),
    ...{ onLogged: () => undefined, onEnded: () => undefined, isStopping: () => false },
    onFault(error) {
      throw error
    },
  })
  const { ledger, caches, transactions } = core
  addAccount(ledger, account.id, account.quota)
  const funcs: FuncBook = await loadFuncs({
    ...{ store: disk, write: transactions.write },
    // In the order in which they are made.
    newId: () => `f${disk.keys('func').length + 1}`,
    pinImage: async () => IMAGE,
    hasAccount: () => true,
    liveCalls: (funcId) => ledger.counts.get(funcId)?.pending ?? 0,
    cancelCalls: (funcId) => transactions.apply({ type: 'remove-func', funcId }),
    removeCaches: caches.removeFunc,
    onSaved: () => undefined,
  })
  await core.load([])
  const accept = (stored: StoredFunc): Promise<string> =>
    core.calls.accept({ stored, payload: new Uint8Array(1), environment: [], note: '' })
  return { core, funcs, accept, commits: () => commits }
}

const create = ({ funcs }: Awaited<ReturnType<typeof start>>, name: string) =>
  funcs.create(account, parseFuncCreate({ Name: name, Config: { Image: 'ubuntu' } }))

/** All that the disk still has of a function, but for the numbers. */
const rowsOf = (disk: Disk): string[] =>
  [...SUBLEVELS, ...BODIES].flatMap((table) =>
    table === 'meta' ? [] : disk.keys(table).map((key) => `${table}/${key}`),
  )

const isMarked = (disk: Disk, key: string): boolean => {
  const row = disk.value('func', key)
  return typeof row === 'object' && row !== null && 'isLeaving' in row
}

const fill = async (of: Awaited<ReturnType<typeof start>>): Promise<StoredFunc> => {
  const stored = await create(of, 'f')
  await Promise.all(Array.from({ length: CALLS }, () => of.accept(stored)))
  return stored
}

describe('a function that is removed with many calls', () => {
  test('lets other commits pass, and takes no call any more', async () => {
    const disk = createDisk()
    const running = await start(disk)
    const stored = await fill(running)
    const other = await create(running, 'g')
    let isRemoved = false
    const removal = running.funcs.remove(account, 'f', true).then(() => {
      isRemoved = true
    })
    assert.equal(running.funcs.byUrl('f', stored.func.UUID), null)
    await assert.rejects(running.accept(stored))
    const callId = await running.accept(other)
    assert.equal(isRemoved, false, 'the call of another function came in between')
    await removal
    assert.equal(running.core.ledger.calls.size, 1)
    await running.funcs.remove(account, 'g', true)
    assert.equal(running.core.ledger.calls.get(callId), undefined)
    assert.deepEqual(rowsOf(disk), [])
  })

  test('is removed once, also while the removals of before a crash are ended', async () => {
    const disk = createDisk()
    const filled = await start(disk)
    await fill(filled)
    const other = await create(filled, 'g')
    await Promise.all(Array.from({ length: 3 * CALLS }, () => filled.accept(other)))
    const broken = await start(disk, 1)
    broken.funcs.remove(account, 'f', true).catch(() => undefined)
    await eventually(() => disk.keys('func').some((key) => isMarked(disk, key)))
    const again = await start(disk, Number.POSITIVE_INFINITY, () => {
      if (disk.keys('func').some((key) => key.includes(other.id))) return
      const left = rowsOf(disk).filter((row) => row.includes(other.id))
      assert.deepEqual(left, [], 'the row of a function goes last')
    })
    await Promise.all([again.funcs.finishRemovals(), again.funcs.remove(account, 'g', true)])
    assert.deepEqual(rowsOf(disk), [])
  })

  test('is gone whole after a crash at any commit and a start', async () => {
    const whole = createDisk()
    const filled = await start(whole)
    await fill(filled)
    const before = filled.commits()
    await filled.funcs.remove(account, 'f', true)
    const needed = filled.commits() - before
    assert.ok(needed > CALLS / limits.removedPerStepMax, 'a removal takes several commits')
    for (let crashed = 1; crashed <= needed; crashed += 1) {
      const disk = createDisk()
      await fill(await start(disk))
      const broken = await start(disk, crashed)
      broken.funcs.remove(account, 'f', true).catch(() => undefined)
      await eventually(() => broken.commits() === crashed)
      // The last commit lands a turn after it was begun.
      await new Promise((resolve) => setImmediate(resolve))
      const again = await start(disk)
      assert.deepEqual(again.funcs.list(account), [], `found after ${crashed} commits`)
      await again.funcs.finishRemovals()
      assert.deepEqual(rowsOf(disk), [], `after ${crashed} commits`)
    }
  })
})
