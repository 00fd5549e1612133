import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { encodeFrame, type InitFrame } from '../../agent/init/frame.ts'
import { builtInit, builtProgram } from '../support/init-builds.ts'
import { AS_FIRST_PROCESS, exited, initFrame, runInit } from '../support/init-process.ts'

/** As the agent's fence has it: root at the most, but without any capability. */
const FENCED = [...AS_FIRST_PROCESS, 'setpriv', '--bounding-set=-all', '--inh-caps=-all']

/** STDOUT is a real pipe, whose reader comes late: a process can open its other end, too. */
const LATE = ['sh', '-c', '"$0" "$@" | { sleep 0.5; cat; }']

const has = (bytes: Buffer, nonce: Uint8Array): boolean => bytes.indexOf(nonce) >= 0

const isRoot = process.getuid?.() === 0

let folder = ''
let initPath = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hyper-init-secrets-'))
  initPath = await builtInit()
})
after(() => rm(folder, { recursive: true, force: true }))

const run = (frame: InitFrame, within: readonly string[]) =>
  runInit(initPath, { frame, input: encodeFrame(frame), within })

describe('the nonces of hyper-init', { skip: isRoot ? false : 'needs root' }, () => {
  const steal = async (within: readonly string[], lootPath: string) => {
    const argv = [await builtProgram('nonce-thief', ['-static']), lootPath]
    const frame = initFrame({ argv, environment: ['A=1'], payload: Buffer.from('payload') })
    const { text, stdout } = await run(frame, within)
    assert.deepEqual(stdout.trailer, exited(0))
    const loot = await readFile(lootPath)
    assert.ok(loot.includes('payload') && loot.includes('A=1'), 'it reads what is its own')
    return {
      doors: text.split('\n').filter((line) => line.startsWith('open ')),
      shut: text.split('\n').filter((line) => line.startsWith('shut ')),
      header: has(loot, frame.headerNonce),
      trailer: has(loot, frame.trailerNonce),
    }
  }

  test('are behind no door that a function can open', async () => {
    const { doors, shut, header, trailer } = await steal(FENCED, join(folder, 'loot'))
    assert.deepEqual(doors, [])
    assert.ok(shut.length >= 18, `${shut.length} doors`)
    assert.deepEqual({ header, trailer }, { header: false, trailer: false })
  })

  test('would be found by the same thief, were it allowed to trace others', async () => {
    const { doors, header, trailer } = await steal(AS_FIRST_PROCESS, join(folder, 'more-loot'))
    assert.ok(doors.includes('open /proc/1/mem') && doors.includes('open process_vm_readv'))
    assert.deepEqual({ header, trailer }, { header: true, trailer: true })
  })

  test('the header read back from its own pipe tells nothing of the trailer', async () => {
    const script = 'exec 3</proc/self/fd/1; dd bs=45 count=1 status=none <&3 >&2'
    const frame = initFrame({ argv: ['sh', '-c', script] })
    const { stdout, stderr } = await run(frame, [...LATE, ...FENCED])
    const taken = Buffer.from(stderr.body())
    assert.equal(taken.length, 45)
    assert.ok(has(taken, frame.headerNonce), 'it has the nonce of the header')
    assert.ok(!has(taken, frame.trailerNonce))
    // It robbed itself: without its header the stream is no result, whatever its trailer says.
    assert.deepEqual([stdout.headerMissing, stdout.trailer], [true, exited(0)])
    assert.ok(stderr.headerSeen)
  })

  test('nobody is left to read the trailer back', async () => {
    const lootPath = join(folder, 'kept')
    // It holds the pipe and reads on, in a session of its own, deaf to every signal that can be.
    const reader = `trap "" TERM HUP INT; exec cat </proc/self/fd/1 >${lootPath}`
    const script = `setsid sh -c '${reader}' & until [ -s ${lootPath} ]; do sleep 0.01; done`
    const frame = initFrame({ argv: ['sh', '-c', script] })
    const { stdout, stderr } = await run(frame, [...LATE, ...FENCED])
    const loot = await readFile(lootPath)
    assert.ok(has(loot, frame.headerNonce) && !has(loot, frame.trailerNonce))
    assert.deepEqual([stdout.trailer, stderr.trailer], [exited(0), exited(0)])
  })
})
