/** Reading a function's log: what is stored, the tail of it, and what comes. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createCaches } from '../../coordinator/caches.ts'
import { createLogs } from '../../coordinator/logs.ts'
import type { LogQuery } from '../../coordinator/ports.ts'
import { rowKey } from '../../coordinator/rows.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { LogLine } from '../../protocol/log-line.ts'
import { lineOf, wall } from '../support/cache-rows.ts'
import { createDisk } from '../support/ledger-disk.ts'

const ALL: LogQuery = { callId: null, since: 0, tail: null }
const MANY = 1234
/** So many lines with all STDERR that there can be fill a log. */
const FULL = limits.cacheBytesMax / limits.stderrBytesMax
const STDERR = new Uint8Array(limits.stderrBytesMax)

/** A log whose rows are on a disk that counts what is read of it. */
const createBook = () => {
  const disk = createDisk()
  const caches = createCaches()
  const ranges: { readonly gt: string; readonly lt: string; rows: number }[] = []
  let onPage = (): void => undefined
  const logs = createLogs({
    span: caches.logSpan,
    store: {
      async *range(sublevel, range = {}) {
        onPage()
        const counted = { gt: range.gt ?? '', lt: range.lt ?? '', rows: 0 }
        ranges.push(counted)
        for await (const row of disk.range(sublevel, range)) {
          counted.rows += 1
          yield row
        }
      },
    },
  })
  const append = (CallId: string, bytes = 0, isWritten = true): LogLine => {
    const entry = { ...lineOf('x'.repeat(bytes)), CallId }
    const { line, operations } = caches.appendLog('f1', wall, entry)
    if (isWritten) disk.commitNow(operations)
    return line
  }
  /** They take the room of their STDERR, which is beside them: what is read of them is short. */
  const appendEnds = (count: number): void => {
    for (let n = 0; n < count; n += 1) {
      const end = { seq: caches.logSpan('f1').last + 1, stderr: STDERR }
      disk.commitNow(caches.appendLog('f1', wall, lineOf(''), end).operations)
    }
  }
  const seqs = async (query: Partial<LogQuery> = {}): Promise<number[]> => {
    const found: number[] = []
    for await (const { Seq } of logs.read('f1', { ...ALL, ...query })) found.push(Seq)
    return found
  }
  return {
    ...{ logs, caches, ranges, append, appendEnds, seqs },
    /** Once, before a page is read. */
    beforePage(act: () => void): void {
      onPage = () => {
        onPage = () => undefined
        act()
      }
    },
  }
}

const upTo = (last: number, first = 1): number[] =>
  Array.from({ length: last - first + 1 }, (_, at) => first + at)

describe('a log that is read', () => {
  test('comes whole and in order, however many pages it has', async () => {
    const { append, seqs } = createBook()
    assert.deepEqual(await seqs(), [])
    for (let n = 0; n < MANY; n += 1) append('c')
    assert.deepEqual(await seqs(), upTo(MANY))
    assert.deepEqual(await seqs({ since: 1000 }), upTo(MANY, 1001))
    assert.deepEqual(await seqs({ since: MANY }), [])
  })

  test('ends with its last lines where a tail is asked for, of one call as well', async () => {
    const { append, seqs, ranges } = createBook()
    for (let n = 1; n <= MANY; n += 1) append(n % 400 === 0 ? 'rare' : 'c')
    ranges.splice(0)
    assert.deepEqual(await seqs({ tail: 3 }), upTo(MANY, MANY - 2))
    assert.equal(ranges[0]?.rows, 3, 'nothing else is read for it')
    assert.deepEqual(await seqs({ tail: 0 }), [])
    assert.deepEqual(await seqs({ tail: MANY + 10 }), upTo(MANY))
    assert.deepEqual(await seqs({ tail: 2, callId: 'rare' }), [800, 1200])
    assert.deepEqual(await seqs({ tail: 9, callId: 'rare' }), [400, 800, 1200])
    assert.deepEqual(await seqs({ tail: 9, callId: 'rare', since: 400 }), [800, 1200])
    assert.deepEqual(await seqs({ tail: 9, callId: 'none' }), [])
    for (const { rows } of ranges) assert.ok(rows <= 500, 'a page is short')
  })

  test('never reads among rows that rotated out, nor past its own', async () => {
    const { appendEnds, seqs, ranges, caches } = createBook()
    appendEnds(FULL + 60)
    const { first, last } = caches.logSpan('f1')
    assert.ok(first > 50)
    for (const query of [{}, { tail: 5 }, { tail: 5, callId: 'none' }, { since: 3 }]) {
      await seqs(query)
    }
    for (const { gt, lt, rows } of ranges) {
      assert.ok(gt >= rowKey('f1', first - 1) && lt <= rowKey('f1', last + 1), `${gt} ${lt}`)
      const numberOf = (key: string): number => Number(key.split('/')[1])
      assert.equal(rows, numberOf(lt) - numberOf(gt) - 1, 'every row is a line')
    }
  })

  test('goes on where lines rotate out under it', async () => {
    const { appendEnds, beforePage, seqs, caches } = createBook()
    appendEnds(10)
    beforePage(() => appendEnds(FULL + 50))
    const { first, last } = { first: 1, last: FULL + 60 }
    const found = await seqs()
    const living = caches.logSpan('f1')
    assert.ok(living.first > 10 && living.last === last)
    assert.deepEqual(found.slice(-(last - living.first + 1)), upTo(last, living.first))
    assert.ok(found.length <= last - first + 1)
  })

  test('ends at what is on the disk while the books are ahead of it', async () => {
    const { append, seqs } = createBook()
    append('c')
    append('c', 0, false)
    assert.deepEqual(await seqs(), [1])
    assert.deepEqual(await seqs({ tail: 1 }), [])
  })
})

describe('a log that is followed', () => {
  test('has what is there and what comes, without a gap', async () => {
    const { append, logs } = createBook()
    append('c')
    const late = append('c', 0, false)
    const ending = new AbortController()
    const found: number[] = []
    for await (const { Seq } of logs.follow('f1', ALL, ending.signal)) {
      found.push(Seq)
      if (Seq === 1) logs.logged('f1', late)
      if (Seq === 2) logs.logged('f1', append('c'))
      if (Seq === 3) ending.abort()
    }
    assert.deepEqual(found, [1, 2, 3])
  })

  test('is one of a bounded number, and makes room when it ends', async () => {
    const { append, logs } = createBook()
    append('c')
    const ending = new AbortController()
    const followers = Array.from({ length: limits.logFollowersMax }, () =>
      logs.follow('f1', ALL, ending.signal)[Symbol.asyncIterator](),
    )
    await Promise.all(followers.map((lines) => lines.next()))
    assert.throws(
      () => logs.follow('f1', ALL, ending.signal),
      (error) => error instanceof HyperError && error.code === 'OVERLOADED',
    )
    await followers[0]?.return?.()
    logs.follow('f1', ALL, ending.signal)
    ending.abort()
    for (const lines of followers) assert.equal((await lines.next()).done, true)
  })

  test('that falls too far behind is ended with where to go on', async () => {
    const { append, logs } = createBook()
    append('c')
    const lines = logs.follow('f1', ALL, new AbortController().signal)[Symbol.asyncIterator]()
    await lines.next()
    for (let n = 0; n < 3; n += 1) {
      logs.logged('f1', append('c', limits.logFollowBytesMax / 2, false))
    }
    await assert.rejects(async () => {
      for (;;) await lines.next()
    }, /since=1/)
  })
})
