import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { pumpLines } from '../../coordinator/gateway/log-stream.ts'
import { limits } from '../../protocol/limits.ts'
import { logLine } from '../support/fake-calls.ts'
import { UUID } from '../support/fake-ports.ts'
import { startTestGateway, until } from '../support/gateway.ts'

const PATH = `/logs/f/${UUID}`
const UPGRADE = ['Host: h', 'Connection: Upgrade', 'Upgrade: tcp', '', '']

const seqsOf = (text: string): unknown[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line).Seq)

test('a log is one JSON object a line', async (t) => {
  const { url, logs } = await startTestGateway(t)
  for (const seq of [1, 2, 3]) logs.add(logLine(seq))
  const get = async (query: string) => seqsOf(await (await fetch(`${url}${PATH}${query}`)).text())
  assert.deepEqual(await get(''), [1, 2, 3])
  assert.deepEqual(await get('?tail=all'), [1, 2, 3])
  assert.deepEqual(await get('?tail=1'), [3])
  assert.deepEqual(await get(`?since=1&callid=${UUID}&follow=`), [2, 3])
  assert.deepEqual(logs.queries, [
    { callId: null, since: 0, tail: null },
    { callId: null, since: 0, tail: null },
    { callId: null, since: 0, tail: 1 },
    { callId: UUID, since: 1, tail: null },
  ])
  for (const query of ['?tail=-1', '?since=x', '?callid=x', '?follow=maybe']) {
    assert.equal((await fetch(`${url}${PATH}${query}`)).status, 400, query)
  }
})

test('a failing log has a status of its own', async (t) => {
  const { url, logs } = await startTestGateway(t)
  logs.port.read = () => {
    throw new Error('disk')
  }
  assert.equal((await fetch(`${url}${PATH}`)).status, 500)
})

test('a follower gets what is there, then what comes', async (t) => {
  const { open, logs } = await startTestGateway(t)
  logs.add(logLine(1))
  const { send, heard, waitFor, socket } = await open()
  send(`GET ${PATH}?follow=True HTTP/1.1`, 'Host: h', '', '')
  await waitFor('"Seq":1')
  assert.match(heard(), /^HTTP\/1.1 200 OK[\s\S]*Transfer-Encoding: chunked/i)
  logs.add(logLine(2))
  await waitFor('"Seq":2')
  socket.destroy()
  await until(() => logs.followers() === 0, 'the end of the follower')
})

test('a follower sees the head at once and a whole end when the gateway closes', async (t) => {
  const { open, gateway, logs } = await startTestGateway(t)
  const { send, waitFor, waitForEnd } = await open()
  send(`GET ${PATH}?follow=1 HTTP/1.1`, 'Host: h', '', '')
  await waitFor('\r\n\r\n')
  await gateway.close()
  await waitFor('0\r\n\r\n')
  await waitForEnd()
  await until(() => logs.followers() === 0, 'the end of the follower')
})

test('an upgraded follower gets the head in a write of its own, then raw lines', async (t) => {
  const { open, logs } = await startTestGateway(t)
  logs.add(logLine(1))
  const { send, chunks, heard, waitFor, waitForEnd, socket } = await open()
  send(`GET /v1.23${PATH}?follow=true HTTP/1.1`, ...UPGRADE)
  await waitFor('"Seq":1')
  const head = chunks[0]?.toString() ?? ''
  assert.match(head, /^HTTP\/1.1 101 [\s\S]*Upgrade: tcp\r\n\r\n$/)
  assert.deepEqual(seqsOf(heard().slice(head.length)), [1])
  logs.add(logLine(2))
  await waitFor('"Seq":2')
  socket.end()
  await waitForEnd()
  await until(() => logs.followers() === 0, 'the end of the follower')
})

test('an upgraded follower ends with the gateway', async (t) => {
  const { open, gateway } = await startTestGateway(t)
  const { send, waitFor, waitForEnd } = await open()
  send(`GET ${PATH}?follow=1 HTTP/1.1`, ...UPGRADE)
  await waitFor('101')
  await gateway.close()
  await waitForEnd()
})

test('an upgrade to a log that is not there, or not followed, is plain HTTP', async (t) => {
  const { open, url } = await startTestGateway(t)
  const wrong = await open()
  wrong.send(`GET /logs/g/${UUID}?follow=1 HTTP/1.1`, ...UPGRADE)
  await wrong.waitForEnd()
  const plain = await fetch(`${url}/logs/g/${UUID}`)
  assert.match(wrong.heard(), /^HTTP\/1.1 404 /)
  assert.ok(wrong.heard().endsWith(`\r\n\r\n${await plain.text()}`))
  const bad = await open()
  bad.send(`GET ${PATH}?follow=1&since=x HTTP/1.1`, ...UPGRADE)
  await bad.waitFor('HTTP/1.1 400')
  const unfollowed = await open()
  unfollowed.send(`GET ${PATH} HTTP/1.1`, ...UPGRADE)
  await unfollowed.waitFor('HTTP/1.1 200')
  const other = await open()
  other.send(
    'GET /healthz HTTP/1.1',
    'Host: localhost',
    'Connection: Upgrade',
    'Upgrade: h2c',
    '',
    '',
  )
  await other.waitFor('HTTP/1.1 200')
})

test('a reader that is too slow is bounded, and given up', async () => {
  let pulled = 0
  const endless = async function* () {
    for (;;) {
      pulled += 1
      yield logLine(pulled, 'x'.repeat(255))
    }
  }
  const stuck = new Writable({ write: () => undefined })
  assert.equal(await pumpLines(endless(), stuck, 20), false)
  const lineBytes = JSON.stringify(logLine(1, 'x'.repeat(255))).length + 1
  assert.ok(pulled * lineBytes < limits.logFollowBytesMax * 1.1)
  assert.ok(pulled * lineBytes > limits.logFollowBytesMax * 0.9)
})

test('a reader that catches up gets every line', async () => {
  let bytes = 0
  const slow = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      bytes += chunk.length
      setImmediate(done)
    },
  })
  const lines = async function* () {
    for (let seq = 1; seq <= 6000; seq += 1) yield logLine(seq, 'x'.repeat(255))
  }
  assert.equal(await pumpLines(lines(), slow, 2000), true)
  await until(() => slow.writableLength === 0, 'the last line')
  assert.ok(bytes > limits.logFollowBytesMax)
})
