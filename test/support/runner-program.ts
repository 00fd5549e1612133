/** The part of the runners' suite about what a process finds of its image: user, folder, environment. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CallSpec, outputOf, sh, soon, specOf } from './runner-call.ts'
import type { RunnerBench } from './runner-suite.ts'

/** User, its `id -u; id -g; id -G`. */
const USERS = [
  ['', '0 0 0'],
  ['root', '0 0 0'],
  ['ubuntu', '1000 1000 1000'],
  ['1000', '1000 1000 1000'],
  ['1234', '1234 0 0'],
  ['ubuntu:nogroup', '1000 65534 65534'],
  ['nobody:0', '65534 0 0'],
  ['1234:4321', '1234 4321 4321'],
] as const

export const testProgram = (open: () => Promise<RunnerBench>): void => {
  const ubuntu = async (spec: CallSpec): Promise<string> => {
    const { runner, images } = await open()
    return outputOf(runner, images.ubuntu, spec)
  }
  const refused = async (image: 'ubuntu' | 'static', spec: Partial<CallSpec>, code: string) => {
    const { runner, images } = await open()
    await assert.rejects(runner.start(specOf(images[image], spec), soon()), { code })
    assert.deepEqual(await runner.list(soon()), [])
  }

  for (const [user, ids] of USERS) {
    test(`the user ${JSON.stringify(user)} has the ids and groups that the image gives it`, async () => {
      assert.equal(await ubuntu({ ...sh('echo $(id -u) $(id -g) $(id -G)'), user }), `${ids}\n`)
    })
  }

  test('a user may open the streams by their names', async () => {
    const script = 'echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin'
    const spec = { ...sh(script), user: 'nobody', payload: Buffer.from('in') }
    assert.equal(await ubuntu(spec), 'out\nin')
  })

  test('a user or a group that the image does not have is refused', async () => {
    for (const user of ['nosuch', 'ubuntu:nosuch', 'nosuch:ubuntu', '2147483648', 'root:-1']) {
      await refused('ubuntu', { user }, 'USER_NOT_FOUND')
    }
  })

  test('an image without users has those with numbers', async () => {
    await refused('static', { user: 'ubuntu' }, 'USER_NOT_FOUND')
    const { runner, images } = await open()
    const hello = { argv: ['/hello'], user: '1000:1000' }
    assert.notEqual(await outputOf(runner, images.static, hello), '')
  })

  test('an image that is not there is told', async () => {
    const { runner } = await open()
    const none = `sha256:${'0'.repeat(64)}`
    await assert.rejects(runner.start(specOf(none), soon()), { code: 'IMAGE_NOT_FOUND' })
  })

  test('a working directory that is missing is made, and is the root’s', async () => {
    const script = 'pwd; stat -c "%u %g %a" .'
    for (const profile of ['default', 'strict'] as const) {
      const spec = { ...sh(script), workingDir: '/made/by/us', user: 'ubuntu', fence: { profile } }
      assert.equal(await ubuntu(spec), '/made/by/us\n0 0 755\n', profile)
    }
  })

  test('a working directory that is there is entered', async () => {
    assert.equal(await ubuntu({ ...sh('pwd'), workingDir: '/usr/bin' }), '/usr/bin\n')
    assert.equal(await ubuntu(sh('pwd')), '/\n')
  })

  test('a working directory that is a file is refused', async () => {
    await refused('ubuntu', { workingDir: '/etc/passwd' }, 'WORKING_DIR_INVALID')
    await refused('ubuntu', { workingDir: '/etc/passwd/below' }, 'WORKING_DIR_INVALID')
  })

  test('the environment is the image’s, with the host’s name, the user’s home and the call’s own', async () => {
    const { runner, images } = await open()
    const script = 'env | grep -v "^\\(PWD\\|SHLVL\\|OLDPWD\\)=" | sort; hostname'
    const environment = ['OWN=1', 'GREETING=mine']
    const rows = async (image: string, user: string): Promise<string[]> => {
      const output = await outputOf(runner, image, { ...sh(script), user, environment })
      return output.trimEnd().split('\n')
    }
    for (const [user, home] of [
      ['', '/root'],
      ['ubuntu', '/home'],
      ['1234', '/'],
    ] as const) {
      const found = await rows(images.ubuntu, user)
      const hostname = found.at(-1) ?? ''
      assert.match(hostname, /^[\w-]{12}$/)
      assert.deepEqual(found, [
        'GREETING=mine',
        `HOME=${home}`,
        `HOSTNAME=${hostname}`,
        'OWN=1',
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        hostname,
      ])
    }
    const configured = { ...sh('echo $GREETING'), user: '' }
    assert.equal(await outputOf(runner, images.configured, configured), 'hello\n')
  })

  test('the image’s volumes are folders of the container’s own, also where its root is closed', async () => {
    const { runner, images } = await open()
    const script = 'ls -A /volume; echo x > /volume/x && cat /volume/x'
    for (const profile of ['default', 'strict'] as const) {
      for (let round = 0; round < 2; round += 1) {
        const spec = { ...sh(script), user: '0', fence: { profile } }
        assert.equal(await outputOf(runner, images.configured, spec), 'x\n', profile)
      }
    }
  })

  test('the container knows its own name and localhost', async () => {
    const script =
      'cat /etc/hostname; grep -c "^127.0.0.1[[:space:]]localhost" /etc/hosts; hostname'
    const [name, count, hostname] = (await ubuntu(sh(script))).split('\n')
    assert.equal(name, hostname)
    assert.equal(count, '1')
  })
}
