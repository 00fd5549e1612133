/** An image's volumes under the oci runner: folders of the container's root, with what the image has there. */

import assert from 'node:assert/strict'
import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import type { Runner } from '../../agent/runner/runner.ts'
import { eventually } from '../support/eventually.ts'
import { OCI_SKIP, type OciBench, openOciBench } from '../support/oci-bench.ts'
import { outputOf, sh, soon, specOf } from '../support/runner-call.ts'

const PROFILES = ['default', 'strict', 'compat'] as const
const UBUNTU = 1000

describe('a volume of an image', { skip: OCI_SKIP }, () => {
  let bench: OciBench
  let layer = ''

  before(async () => {
    bench = await openOciBench()
    layer = await mkdtemp(join(tmpdir(), 'layer-'))
    await chmod(layer, 0o755)
    await mkdir(join(layer, 'data'))
    await writeFile(join(layer, 'data', 'file'), 'of the image')
    await chown(join(layer, 'data'), UBUNTU, UBUNTU)
    await chmod(join(layer, 'data'), 0o750)
    await symlink('/tmp', join(layer, 'absolute'))
    await symlink('../../../../../../../../tmp', join(layer, 'upwards'))
    await symlink('/nowhere/at/all', join(layer, 'dangling'))
  })
  afterEach(() => eventually(async () => (await bench.leftovers()).length === 0))
  after(async () => {
    await bench.close()
    await rm(layer, { recursive: true })
  })

  /** For the test image with a layer of ours over it. */
  const runnerWith = (volumes: readonly string[]): Runner =>
    bench.own.openOn({
      roots: {
        use: (image, act) =>
          bench.roots.use(image, (root) =>
            act({ ...root, volumes, lower: `${layer}:${root.lower}` }),
          ),
      },
    })

  const outputWith = (
    volumes: readonly string[],
    script: string,
    profile: (typeof PROFILES)[number],
  ): Promise<string> => {
    const spec = { ...sh(script), user: 'ubuntu', fence: { profile } }
    return outputOf(runnerWith(volumes), bench.images.ubuntu, spec)
  }

  for (const profile of PROFILES) {
    test(`keeps the image’s files and their owner, and can be written to, in ${profile}`, async () => {
      const script = 'stat -c "%u %g %a" /data; cat /data/file; echo x > /data/own && ls /data'
      const expected = '1000 1000 750\nof the imagefile\nown\n'
      assert.equal(await outputWith(['/data'], script, profile), expected)
      assert.equal(await outputWith(['/data'], script, profile), expected, 'each has its own')
    })
  }

  test('that is missing is made, in others as well', async () => {
    const script = 'stat -c "%u %g %a %n" /data/deep/er /made /made/here'
    const output = await outputWith(['/data/deep/er', '/made', '/made/here'], script, 'strict')
    assert.equal(output, '0 0 755 /data/deep/er\n0 0 755 /made\n0 0 755 /made/here\n')
  })

  for (const link of ['/absolute', '/upwards']) {
    test(`that is the link ${link} stays in the container`, async () => {
      const name = `mark-${process.pid}`
      await writeFile(join('/tmp', name), 'the host’s')
      try {
        const script = `ls /tmp ${link}/; echo mine > ${link}/own; cat /tmp/own`
        const output = await outputWith([link], script, 'default')
        assert.ok(!output.includes(name), output)
        assert.match(output, /mine\n$/)
      } finally {
        await rm(join('/tmp', name))
      }
    })
  }

  for (const path of ['/dangling', '/data/file', '/data/file/below']) {
    test(`that cannot be a folder is refused: ${path}`, async () => {
      const runner = runnerWith([path])
      await assert.rejects(runner.start(specOf(bench.images.ubuntu), soon()), {
        code: 'START_FAILED',
        message: new RegExp(path),
      })
    })
  }
})
