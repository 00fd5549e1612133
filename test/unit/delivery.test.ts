/** Deliveries through a real gateway and a real core: whole, or 410, or as if they had not been. */

import assert from 'node:assert/strict'
import { request } from 'node:http'
import { describe, type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { limits } from '../../protocol/limits.ts'
import { type CoreGateway, startCoreGateway } from '../support/core-gateway.ts'
import { storedFunc } from '../support/fake-ports.ts'
import { until } from '../support/gateway.ts'
import { createDisk } from '../support/ledger-disk.ts'

const KiB = 1024
const MiB = 1024 * KiB

/** A body that tells which it is, wherever it is cut. */
const bodyOf = (number: number, bytes: number): Buffer => {
  const mark = Buffer.from(`<${number}>`)
  return Buffer.alloc(bytes, mark)
}

const isCached = ({ disk }: CoreGateway): boolean => disk.keys('stdout').length > 0

/** Reads so many bytes of a body, then resets the connection. */
const readAndReset = (url: string, offset: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const asked = request(url, { agent: false }, (answer) => {
      let bytes = 0
      const reset = (): void => {
        answer.socket.resetAndDestroy()
        resolve()
      }
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.byteLength
        if (bytes >= offset) reset()
      })
      answer.on('error', () => undefined)
      if (offset === 0) reset()
    })
    asked.on('error', reject)
    asked.end()
  })

describe('a delivery', () => {
  test('that the client resets anywhere in the body leaves the output to be fetched', async (t) => {
    // More than the kernel's buffers take: its last byte cannot have been handed over before.
    const body = bodyOf(1, 32 * MiB)
    const way = await startCoreGateway(t, { run: () => ({ stdout: body }) })
    const callId = await way.call(Buffer.from('x'))
    for (const offset of [0, 1, 64 * KiB, 1 * MiB, 9 * MiB, 24 * MiB]) {
      await readAndReset(`${way.url}${way.pathOf(callId)}`, offset)
      await way.settled()
      assert.deepEqual(way.disk.keys('fetched'), [], `reset after ${offset} bytes`)
    }
    way.pass(limits.historyMs)
    const answer = await fetch(`${way.url}${way.pathOf(callId)}`)
    assert.ok(body.equals(Buffer.from(await answer.arrayBuffer())))
    await until(() => way.disk.keys('fetched').length === 1, 'the mark of the delivery')
    way.pass(limits.deliveredGraceMs)
    assert.equal((await fetch(`${way.url}${way.pathOf(callId)}`)).status, 410)
  })

  test('of a synchronous call that breaks off leaves the output in the cache', async (t) => {
    for (const offset of [0, 64 * KiB, 9 * MiB]) {
      const body = bodyOf(1, 32 * MiB)
      const way = await startCoreGateway(t, { run: () => ({ stdout: body }) })
      await readAndReset(`${way.url}${way.callPath}/sync`, offset)
      await until(() => isCached(way), 'the body in the cache')
      assert.equal(way.acknowledged.length, 1, 'only now the agent lets go of it')
      const [key = ''] = way.disk.keys('callid')
      const answer = await fetch(`${way.url}${way.pathOf(key)}`)
      assert.ok(body.equals(Buffer.from(await answer.arrayBuffer())))
    }
  })

  test('is none for HEAD, nor for asking about a call', async (t) => {
    const way = await startCoreGateway(t)
    const callId = await way.call(Buffer.from('x'))
    for (const path of [way.pathOf(callId), `${way.pathOf(callId)}/wait`]) {
      const head = await fetch(`${way.url}${path}`, { method: 'HEAD' })
      assert.equal(head.status, 405)
    }
    assert.equal((await fetch(`${way.url}/status/f/${way.callPath.split('/').at(-1)}`)).status, 200)
    await way.settled()
    way.pass(limits.historyMs)
    assert.equal(isCached(way), true)
  })

  test('one of several pipelined counts for itself alone', async (t) => {
    const way = await startCoreGateway(t, {
      run: ({ payload }) => ({ stdout: bodyOf(payload[0] ?? 0, payload[0] === 1 ? 10 : 24 * MiB) }),
    })
    const ids = [await way.call(Uint8Array.of(1)), await way.call(Uint8Array.of(2))]
    const third = await way.call(Uint8Array.of(3))
    const { socket, send, heard } = await way.open()
    socket.once('data', () => socket.once('data', () => socket.pause()))
    for (const id of [...ids, third]) send(`GET ${way.pathOf(id)} HTTP/1.1`, 'Host: h', '', '')
    await until(() => heard().includes('<2>'), 'the second body')
    socket.resetAndDestroy()
    await until(() => way.disk.keys('fetched').length > 0, 'the mark of the first delivery')
    await way.settled()
    assert.deepEqual(way.disk.keys('fetched').length, 1)
    way.pass(limits.deliveredGraceMs)
    await way.settled()
    assert.equal(way.disk.keys('stdout').length, 2)
  })

  test('a connection with more unanswered requests than any client has is cut', async (t) => {
    const way = await startCoreGateway(t)
    way.hold(true)
    const callId = await way.core.calls.accept({
      ...{ payload: new Uint8Array(), environment: [], note: '' },
      stored: storedFunc(),
    })
    const { send, waitForEnd } = await way.open()
    const one = [`GET ${way.pathOf(callId)}/wait HTTP/1.1`, 'Host: h', '', '']
    for (let n = 0; n < limits.pipelinedRequestsMax; n += 1) send(...one)
    await turn()
    assert.equal((await fetch(`${way.url}/healthz`)).status, 200)
    send(...one)
    await waitForEnd()
  })
})

/** What many readers get of outputs that rotate, or whose function goes, under their hands. */
const readWhile = async (
  way: CoreGateway,
  ids: readonly string[],
  bodies: readonly Buffer[],
  act: () => Promise<void>,
): Promise<{ whole: number; gone: number }> => {
  const found = { whole: 0, gone: 0 }
  let isOver = false
  const read = async (reader: number): Promise<void> => {
    for (let n = reader; !isOver || n < ids.length; n += 7) {
      const index = n % ids.length
      const answer = await fetch(`${way.url}${way.pathOf(ids[index] ?? '')}`)
      const body = Buffer.from(await answer.arrayBuffer())
      if (answer.status === 200) {
        found.whole += 1
        assert.ok(bodies[index]?.equals(body), `the body of call ${index}`)
      } else {
        found.gone += 1
        assert.ok(answer.status === 410 || answer.status === 404, `status ${answer.status}`)
      }
    }
  }
  const reading = Promise.all([0, 1, 2, 3, 4, 5, 6].map(read))
  await act()
  isOver = true
  await reading
  return found
}

const fill = async (way: CoreGateway, from: number, count: number): Promise<string[]> => {
  const ids: string[] = []
  for (let n = from; n < from + count; n += 1) ids.push(await way.call(bodyOf(n, MiB)))
  return ids
}

describe('readers beside', () => {
  const bodies = Array.from({ length: 40 }, (_, number) => bodyOf(number, MiB))
  const start = async (t: TestContext) => {
    const way = await startCoreGateway(t)
    return { way, ids: await fill(way, 0, 40) }
  }

  test('a rotation get each body whole or 410', async (t) => {
    const { way, ids } = await start(t)
    const found = await readWhile(way, ids, bodies, async () => {
      await fill(way, 100, 40)
    })
    assert.ok(found.whole > 0 && found.gone > 0, JSON.stringify(found))
    assert.ok(way.core.caches.bytes('f1').outputs <= limits.cacheBytesMax)
  })

  test('the removal of the function get each body whole, or none', async (t) => {
    const { way, ids } = await start(t)
    const found = await readWhile(way, ids, bodies, async () => {
      await until(() => way.disk.keys('fetched').length > 3, 'some deliveries')
      await way.remove()
    })
    assert.ok(found.whole > 0 && found.gone > 0, JSON.stringify(found))
    for (const table of ['history', 'callid', 'output', 'stdout', 'log', 'fetched'] as const) {
      assert.deepEqual(way.disk.keys(table), [], table)
    }
  })

  test('an output that goes between the look and the read get 410', async (t) => {
    const disk = createDisk()
    let beforeBody = async (): Promise<void> => undefined
    const body: typeof disk.body = async (kind, key) => {
      await beforeBody()
      return disk.body(kind, key)
    }
    const way = await startCoreGateway(t, { disk: { ...disk, body } })
    const callId = await way.call(Buffer.from('x'))
    beforeBody = way.remove
    const answer = await fetch(`${way.url}${way.pathOf(callId)}`)
    assert.deepEqual([answer.status, answer.headers.get('x-hyper-error')], [410, 'OUTPUT_GONE'])
  })

  test('a forced restart get each body that was not fetched, whole', async (t) => {
    const { way, ids } = await start(t)
    await readWhile(way, ids.slice(0, 10), bodies, async () => undefined)
    await until(() => way.disk.keys('fetched').length === 10, 'ten marks')
    const again = await startCoreGateway(t, { disk: way.disk, epoch: 2 })
    const found = await readWhile(again, ids, bodies, async () => {
      again.pass(limits.deliveredGraceMs)
      await again.settled()
    })
    assert.ok(found.whole >= 30 && found.gone > 0, JSON.stringify(found))
  })
})
