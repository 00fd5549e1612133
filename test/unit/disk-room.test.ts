import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { pino } from 'pino'
import { withAdmission } from '../../coordinator/admission.ts'
import { type FreeSpace, openDiskRoom, shortOfRoom } from '../../coordinator/disk-room.ts'
import { limits } from '../../protocol/limits.ts'
import { createFakePorts } from '../support/fake-ports.ts'
import { BEARER, CALL_PATH, startTestGateway } from '../support/gateway.ts'

const MiB = 1024 * 1024
const GiB = 1024 * MiB

const spaceOf = (freeBytes: number, allBytes: number): FreeSpace => ({
  bsize: 4096,
  bavail: Math.floor(freeBytes / 4096),
  blocks: allBytes / 4096,
})

const room = async (t: { after: (act: () => void) => void }) => {
  const logged: string[] = []
  const disk = { free: 10 * GiB, isWritable: true, isBroken: false }
  const opened = await openDiskRoom({
    statfs: async () => {
      if (disk.isBroken) throw new Error('no such folder')
      return spaceOf(disk.free, 100 * GiB)
    },
    isWritable: () => disk.isWritable,
    log: pino({}, { write: (line: string) => void logged.push(JSON.parse(line).msg) }),
  })
  t.after(opened.close)
  return { ...opened, disk, logged }
}

describe('the floor', () => {
  test('is 256 MB, and a tenth of a disk that is small', () => {
    const table = [
      [256 * MiB, 100 * GiB, false],
      [256 * MiB - 4096, 100 * GiB, true],
      [100 * MiB, GiB, true],
      [103 * MiB, GiB, false],
      [6 * MiB, 64 * MiB, true],
      [7 * MiB, 64 * MiB, false],
      [0, 0, false],
    ] as const
    for (const [free, all, isShort] of table) {
      assert.equal(shortOfRoom(spaceOf(free, all)) !== null, isShort, `${free} of ${all}`)
    }
  })

  test('refuses while the disk is below it, and says so once', async (t) => {
    const { check, trouble, look, disk, logged } = await room(t)
    check()
    disk.free = 100 * MiB
    await look()
    await look()
    assert.throws(check, { code: 'DISK_FULL' })
    assert.match(trouble()?.line ?? '', /100 MB free, under the floor of 256 MB\. Free space/)
    disk.isBroken = true
    await look()
    assert.throws(check, { code: 'DISK_FULL' }, 'what cannot be told changes nothing')
    disk.isBroken = false
    disk.free = GiB
    await look()
    check()
    assert.deepEqual(logged, [
      'disk full',
      'the free space cannot be told',
      'the disk has room again',
    ])
  })

  test('is no matter while the store cannot write at all', async (t) => {
    const { check, disk } = await room(t)
    disk.isWritable = false
    assert.throws(check, { code: 'DISK_FAILING' })
    disk.isWritable = true
    check()
  })
})

test('without room calls, pulls and creations get 503 and when to come again; the rest goes on', async (t) => {
  const fake = createFakePorts()
  const { check, look, disk } = await room(t)
  disk.free = 0
  await look()
  const ports = withAdmission(fake.ports, check)
  const { url } = await startTestGateway(t, { ...fake, ports })
  const ask = (method: string, path: string, body?: object) =>
    fetch(`${url}${path}`, {
      method,
      headers: BEARER,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  const func = { Name: 'g', Config: { Image: 'busybox' } }
  const refused = [
    await ask('POST', CALL_PATH),
    await ask('POST', `${CALL_PATH}/sync`),
    await ask('POST', '/images/create?fromImage=busybox'),
    await ask('POST', '/funcs/create', func),
    await ask('PUT', '/funcs/f', { Timeout: 9 }),
    await ask('POST', '/accounts', { name: 'bob' }),
    await ask('POST', '/invites'),
  ]
  for (const answer of refused) {
    assert.equal(answer.status, 503, answer.url)
    assert.equal(answer.headers.get('x-hyper-error'), 'DISK_FULL')
    assert.equal(answer.headers.get('retry-after'), String(limits.retryAfterSeconds))
  }
  assert.equal(fake.calls.requests.length, 0)
  const callId = fake.calls.add('running')
  const allowed = [
    await ask('GET', '/funcs'),
    await ask('DELETE', '/funcs/f'),
    await ask('DELETE', `${CALL_PATH.replace('call', 'output')}/${callId}`),
    await ask('PUT', '/accounts/alice', { quota: 0 }),
  ]
  for (const answer of allowed) assert.ok(answer.ok, `${answer.url} ${answer.status}`)
  disk.free = GiB
  await look()
  assert.equal((await ask('POST', CALL_PATH)).status, 200)
})
