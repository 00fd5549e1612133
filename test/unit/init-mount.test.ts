import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { prepareInitMount } from '../../agent/init-mount.ts'

test('a package without hyper-init says how to come by it', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'init-mount-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  const path = join(home, 'hyper-init')
  await assert.rejects(prepareInitMount({ home, initDir: home }), {
    code: 'ENGINE_UNSUITABLE',
    message: `${path} is not there: run \`npm run build\` in the checkout, or install a package that \`npm pack\` made of one`,
  })
})
