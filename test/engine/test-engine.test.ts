/** The test engine itself, and its images: what every other test on an engine takes for granted. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { connectDocker, pullImage, runContainer } from '../support/docker.ts'
import { startTestEngine } from '../support/engine.ts'
import { findConvert } from '../support/images.ts'

const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')

after(close)

test('pulls ubuntu by its name through the mirror', async () => {
  await pullImage(docker, 'ubuntu:latest')
  const { RepoDigests: digests } = await docker.getImage('ubuntu:latest').inspect()
  assert.match(digests[0] ?? '', /^ubuntu@sha256:/)
})

test('runs echo in a container of the test engine', async () => {
  await pullImage(docker, 'ubuntu:latest')
  const { status, stdout } = await runContainer(docker, 'ubuntu', ['echo', 'HelloWorld'])
  assert.equal(stdout.toString(), 'HelloWorld\n')
  assert.equal(status, 0)
})

test('runs the one static program of an image that has nothing else', async () => {
  await pullImage(docker, 'hyper-test/static:latest')
  const { status, stdout } = await runContainer(docker, 'hyper-test/static', [])
  assert.match(stdout.toString(), /hello/i)
  assert.equal(status, 0)
})

test('pulls an image of another platform, and cannot run it', async () => {
  await pullImage(docker, 'hyper-test/other-platform:latest')
  const { status, stderr } = await runContainer(docker, 'hyper-test/other-platform', [])
  assert.match(stderr.toString(), /exec format error/)
  assert.notEqual(status, 0)
})

test('converts JPEG, PNG and GIF to fd:1 as the ImageMagick of this machine does', async () => {
  const program = await findConvert()
  assert.ok(program !== undefined)
  await pullImage(docker, 'v4tech/imagemagick:latest')
  for (const format of ['jpeg', 'png', 'gif']) {
    const input: Buffer = spawnSync(program, [
      '-size',
      '64x48',
      'gradient:red-blue',
      `${format}:-`,
    ]).stdout
    const resize = ['-', '-resize', '50%', '-strip', '-define', 'png:exclude-chunks=date,time']
    const expected: Buffer = spawnSync(program, [...resize, '-'], { input }).stdout
    const command = ['convert', ...resize, 'fd:1']
    const { status, stdout, stderr } = await runContainer(
      docker,
      'v4tech/imagemagick',
      command,
      input,
    )
    assert.equal(status, 0, stderr.toString())
    assert.ok(expected.length > 0)
    assert.deepEqual(stdout, expected, format)
  }
})

test('starts a second engine that sees nothing of the first, and is gone when stopped', async () => {
  await pullImage(docker, 'ubuntu:latest')
  const dir = join(process.env.HYPER_TEST_DIR ?? '', 'second')
  const second = await startTestEngine({ dir })
  const client = connectDocker(second.socketPath)
  try {
    assert.deepEqual(await client.docker.listImages(), [])
  } finally {
    client.close()
    await second.stop()
  }
  await second.stop()
  await assert.rejects(access(dir), { code: 'ENOENT' })
  assert.notEqual((await docker.listImages()).length, 0)
})
