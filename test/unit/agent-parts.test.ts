/** The pure parts of the agent: command, host config, slots, archives, names of things. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { commandOf } from '../../agent/command.ts'
import { lowerVersion, parseDockerHost } from '../../agent/engine.ts'
import { startError } from '../../agent/engine-answers.ts'
import { makeHelloImage } from '../../agent/hello-image.ts'
import { hostConfigOf } from '../../agent/host-config.ts'
import { imageRecordOf, refusalOfPull } from '../../agent/image-record.ts'
import { mountOptionsOf } from '../../agent/init-mount.ts'
import { createNonces } from '../../agent/nonces.ts'
import { signalName, signalNumber } from '../../agent/signals.ts'
import { fits, freeOf, reserve, roomOf } from '../../agent/slots.ts'
import { encodeTar } from '../../agent/tar.ts'
import { createTurns } from '../../agent/turns.ts'
import type { ImageRecord } from '../../protocol/image.ts'

const none = { entrypoint: null, cmd: null, workingDir: '', user: '', stopSignal: '' }
const plain = { ...none, profile: 'default' as const }
const image: ImageRecord['config'] = {
  Entrypoint: ['/entry', '-a'],
  Cmd: ['b'],
  ...{ Env: null, User: 'app', WorkingDir: '/srv', Labels: {}, StopSignal: 'SIGINT' },
}
const bare: ImageRecord['config'] = {
  ...image,
  Entrypoint: null,
  Cmd: null,
  User: '',
  WorkingDir: '',
  StopSignal: '',
}

test('a command is merged as Docker does', () => {
  const rows = [
    [{}, image, ['/entry', '-a', 'b']],
    [{ cmd: ['c', 'd'] }, image, ['/entry', '-a', 'c', 'd']],
    [{ entrypoint: ['/other'] }, image, ['/other']],
    [{ entrypoint: ['/other'], cmd: ['c'] }, image, ['/other', 'c']],
    [{ entrypoint: [''], cmd: ['c'] }, image, ['c']],
    [{ cmd: [] }, image, ['/entry', '-a', 'b']],
    [{ cmd: ['c'] }, bare, ['c']],
    [{}, bare, []],
  ] as const
  for (const [func, config, argv] of rows) {
    const merged = commandOf({ ...plain, ...(func as object) }, config)
    assert.deepEqual(merged.argv, argv, JSON.stringify(func))
  }
})

test('user, working directory and stop signal are the function’s, else the image’s', () => {
  const of = (func: object, config = image) => {
    const { user, workingDir, stopSignal } = commandOf({ ...plain, ...func }, config)
    return [user, workingDir, stopSignal]
  }
  assert.deepEqual(of({}), ['app', '/srv', 2])
  assert.deepEqual(of({ user: 'me', workingDir: '/x', stopSignal: 'SIGKILL' }), ['me', '/x', 9])
  assert.deepEqual(of({}, bare), ['', '', 15])
  assert.deepEqual(of({ profile: 'strict' }, bare), ['65534:65534', '', 15])
  assert.deepEqual(of({ profile: 'strict' }), ['app', '/srv', 2])
})

test('signals have numbers and names', () => {
  const rows = [
    ['SIGTERM', 15],
    ['term', 15],
    ['9', 9],
    ['SIGRTMIN+3', 37],
    ['RTMAX-1', 63],
    ['SIGNONE', null],
    ['0', null],
    ['65', null],
  ] as const
  for (const [text, number] of rows) assert.equal(signalNumber(text), number, text)
  assert.equal(signalName(9), 'SIGKILL')
  assert.equal(signalName(40), 'signal 40')
})

test('a host config fences in by profile', () => {
  const fence = { memoryBytes: 64, cpus: 4, network: 'bridge', runtime: '' } as const
  const host = { cpus: () => 2, mountDir: '/init' }
  const of = (profile: 'default' | 'strict' | 'compat') =>
    hostConfigOf({ ...fence, profile }, { network: 'ours', initPlace: '/.hyper-1' }, host)
  for (const profile of ['default', 'strict', 'compat'] as const) {
    const { Memory, MemorySwap, NanoCpus, Mounts, LogConfig, Init } = of(profile)
    assert.equal(Init, false)
    assert.deepEqual([Memory, MemorySwap, NanoCpus], [64, 64, 2e9])
    assert.deepEqual(Mounts, [
      { Type: 'bind', Source: '/init', Target: '/.hyper-1', ReadOnly: true },
    ])
    assert.equal((LogConfig as { Type: string }).Type, 'local')
  }
  assert.deepEqual(of('default').CapDrop, ['ALL'])
  assert.equal(of('default').ReadonlyRootfs, undefined)
  assert.equal(of('default').NetworkMode, 'ours')
  assert.deepEqual([of('strict').NetworkMode, of('strict').ReadonlyRootfs], ['none', true])
  assert.deepEqual([of('compat').CapDrop, of('compat').SecurityOpt], [['NET_RAW'], undefined])
  assert.equal(
    hostConfigOf(
      { ...fence, profile: 'strict', runtime: 'runsc' },
      { network: 'ours', initPlace: '/.hyper-1' },
      host,
    ).Runtime,
    'runsc',
  )
})

test('room is what was told, else four slots a core and three quarters of the memory', () => {
  const host = { cpus: 2, memoryBytes: 1000 }
  assert.deepEqual(roomOf(host, { slots: null, memoryBytes: null }), { slots: 8, memoryBytes: 750 })
  assert.deepEqual(roomOf(host, { slots: 3, memoryBytes: 9 }), { slots: 3, memoryBytes: 9 })
})

test('what is reserved is what is not free, and nothing fits beyond the room', () => {
  const memory = fc.integer({ min: 1, max: 100 })
  fc.assert(
    fc.property(fc.array(memory, { maxLength: 20 }), (calls) => {
      const room = { slots: 5, memoryBytes: 200 }
      let free = room
      const taken: number[] = []
      for (const bytes of calls) {
        if (!fits(free, bytes)) continue
        free = reserve(free, bytes)
        taken.push(bytes)
        assert.ok(free.slots >= 0 && free.memoryBytes >= 0)
      }
      assert.deepEqual(freeOf(room, taken), free)
    }),
  )
})

test('an archive is the same bytes each time, and tar reads it', async () => {
  const entries = [
    { name: 'a', mode: 0o755, content: Buffer.from('first') },
    { name: 'folder/b', mode: 0o644, content: Buffer.alloc(1025, 1) },
  ]
  const archive = encodeTar(entries)
  assert.ok(archive.equals(encodeTar(entries)))
  const dir = await mkdtemp(join(tmpdir(), 'tar-'))
  try {
    await writeFile(join(dir, 'archive.tar'), archive)
    await promisify(execFile)('tar', ['-C', dir, '-xf', join(dir, 'archive.tar')])
    assert.equal(await readFile(join(dir, 'a'), 'utf8'), 'first')
    assert.equal((await readFile(join(dir, 'folder/b'))).length, 1025)
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('the hello image depends on its program and platform alone', () => {
  const program = Buffer.from('program')
  const one = makeHelloImage(program, 'linux/amd64')
  assert.ok(one.archive.equals(makeHelloImage(program, 'linux/amd64').archive))
  assert.ok(!one.archive.equals(makeHelloImage(program, 'linux/arm64').archive))
  assert.notEqual(makeHelloImage(Buffer.from('other'), 'linux/amd64').programHash, one.programHash)
})

test('the nonces of a container are its own, and independent', () => {
  const derive = createNonces(Buffer.alloc(32, 1))
  const { headerNonce, trailerNonce } = derive('a')
  assert.equal(headerNonce.length, 16)
  assert.notDeepEqual(headerNonce, trailerNonce)
  assert.deepEqual(derive('a').trailerNonce, trailerNonce)
  assert.notDeepEqual(derive('b').trailerNonce, trailerNonce)
})

test('an engine is found by DOCKER_HOST, and refused on another host', () => {
  assert.deepEqual(parseDockerHost('unix:///run/docker.sock'), { socketPath: '/run/docker.sock' })
  assert.deepEqual(parseDockerHost('tcp://127.0.0.1:2375'), { host: '127.0.0.1', port: 2375 })
  for (const wrong of ['tcp://10.0.0.1:2375', 'ssh://host', 'unix://relative', '']) {
    assert.throws(() => parseDockerHost(wrong), { code: 'ENGINE_UNSUITABLE' }, wrong)
  }
})

test('API versions compare as numbers', () => {
  assert.equal(lowerVersion('1.51', '1.41'), '1.41')
  assert.equal(lowerVersion('1.51', '1.9'), '1.9')
  assert.equal(lowerVersion('1.51', '2.0'), '1.51')
})

const refusal = (message: string): Error =>
  Object.assign(new Error('(HTTP code 500) server error - …'), {
    statusCode: 500,
    json: { message },
  })

test('refusals of the engine are told apart', () => {
  const starts = [
    ['unable to find user bob: no matching entries in passwd file', 'USER_NOT_FOUND'],
    ['uids and gids must be in range 0-2147483647', 'USER_NOT_FOUND'],
    ['lstat /var/lib/docker/merged/etc/passwd/a: not a directory', 'WORKING_DIR_INVALID'],
    ['No such image: sha256:00', 'IMAGE_NOT_FOUND'],
    ['exec /.hyper-1/hyper-init: exec format error', 'PLATFORM_MISMATCH'],
    ['OCI runtime create failed: something', 'START_FAILED'],
  ] as const
  for (const [words, code] of starts) assert.equal(startError(refusal(words)).code, code, words)
  const pulls = [
    ['pull access denied for a, repository does not exist or may require login', 'IMAGE_NOT_FOUND'],
    ['manifest for a:b not found: manifest unknown', 'IMAGE_NOT_FOUND'],
    ['Get "http://r/v2/": no basic auth credentials', 'REGISTRY_UNAUTHORIZED'],
    ['unauthorized: incorrect username or password', 'REGISTRY_UNAUTHORIZED'],
    ['no matching manifest for linux/arm64 in the manifest list', 'PLATFORM_MISMATCH'],
    ['dial tcp: connection refused', 'PULL_FAILED'],
  ] as const
  for (const [words, code] of pulls) {
    assert.equal(refusalOfPull(refusal(words), 'a:b').code, code, words)
  }
})

test('an image’s digest is that of the repository it was asked for by', () => {
  const answer = {
    ...{ Id: 'sha256:id', Size: 1, Os: 'linux', Architecture: 'amd64' },
    RepoDigests: ['r.example/ubuntu@sha256:other', 'ubuntu@sha256:own'],
  }
  assert.equal(imageRecordOf(answer, 'docker.io/library/ubuntu:22.04').digest, 'sha256:own')
  assert.equal(imageRecordOf(answer, 'mine:latest').digest, null)
})

test('mount options are those of the deepest mount', () => {
  const info = [
    '1 0 8:1 / / rw,relatime - ext4 /dev/a rw',
    '2 1 0:2 / /srv/a\\040b rw,noexec - tmpfs tmpfs rw',
  ].join('\n')
  assert.ok(mountOptionsOf(info, '/srv/a b/x').includes('noexec'))
  assert.ok(!mountOptionsOf(info, '/srv/a').includes('noexec'))
})

test('turns are taken in order, never more than allowed at once', async () => {
  const turns = createTurns(2)
  const { signal } = new AbortController()
  let now = 0
  let most = 0
  const order: number[] = []
  await Promise.all(
    [1, 2, 3, 4, 5].map((number) =>
      turns.run(signal, async () => {
        now += 1
        most = Math.max(most, now)
        order.push(number)
        await pause(1)
        now -= 1
      }),
    ),
  )
  assert.deepEqual([most, order], [2, [1, 2, 3, 4, 5]])
  const aborted = AbortSignal.abort(new Error('gone'))
  await assert.rejects(
    turns.run(aborted, async () => undefined),
    /gone/,
  )
})
