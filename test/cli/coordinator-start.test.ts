/** What `hyper coordinator` says of its flags, and of the environment. */

import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { coordinatorConfigOf } from '../../cli/daemon-config.ts'
import { readEnvironment } from '../../cli/environment.ts'
import { createFlags } from '../../cli/input.ts'
import { ended, newHome, startHyper } from '../support/deployment.ts'
import { eventually } from '../support/eventually.ts'

const homeFor = async (t: TestContext): Promise<string> => {
  const home = await newHome()
  t.after(() => rm(home, { recursive: true, force: true }))
  return home
}

const PORTS = ['--listen', '127.0.0.1:0', '--mesh', '/ip4/127.0.0.1/tcp/0']

/** All that it wrote, from its start to its end. */
const runOnce = async (home: string, flags: readonly string[]): Promise<string> => {
  const { child, output } = startHyper(['coordinator', ...PORTS, ...flags], home, {
    HYPER_LOG_LEVEL: 'info',
  })
  await eventually(() => output().includes('coordinator ready'), 30_000, output)
  child.kill('SIGTERM')
  await ended(child)
  return output()
}

test('a quota for an account that is there already is told not to be applied, and how it is', async (t) => {
  const home = await homeFor(t)
  assert.doesNotMatch(await runOnce(home, ['--quota', '3']), /--quota/)
  assert.doesNotMatch(await runOnce(home, []), /--quota/)
  const lines = (await runOnce(home, ['--quota', '4'])).split('\n')
  const [told, ...more] = lines.filter((line) => line.includes('--quota is not applied'))
  assert.deepEqual(more, [])
  assert.partialDeepStrictEqual(JSON.parse(told ?? ''), {
    quota: 3,
    change: 'hyper account set default --quota 4',
  })
})

test('a public URL that is none is refused, from the flag and from the environment', () => {
  const publicUrlOf = (flag: string | null, env: NodeJS.ProcessEnv = {}): string | null => {
    const options = new Map(flag === null ? [] : [['publicUrl', [flag]]])
    return coordinatorConfigOf(createFlags(options), readEnvironment(env)).publicUrl
  }
  for (const url of ['hyper.example.com', 'ftp://hyper.example.com', 'http://', 'x y']) {
    const wanted = {
      code: 'BAD_PARAMETER',
      message: `--public-url: ${JSON.stringify(url)} is no http or https URL (such as https://hyper.example.com)`,
    }
    assert.throws(() => publicUrlOf(url), wanted)
    assert.throws(() => publicUrlOf(null, { HYPER_PUBLIC_URL: url }), wanted)
  }
  assert.equal(publicUrlOf('https://hyper.example.com:8443'), 'https://hyper.example.com:8443')
  assert.equal(publicUrlOf(null), null)
})
