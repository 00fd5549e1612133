import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createIdentity, readIdentity } from '../../protocol/mesh/identity.ts'

const folder = async (t: TestContext): Promise<string> => {
  const made = await mkdtemp(join(tmpdir(), 'hyper-identity-'))
  t.after(() => rm(made, { recursive: true }))
  return made
}

test('an identity that was made is kept, for its owner alone', async (t) => {
  const home = join(await folder(t), 'state')
  const path = join(home, 'identity')
  assert.equal(await readIdentity(path), null)
  const first = await createIdentity(path)
  const second = await readIdentity(path)
  assert.equal(first.type, 'Ed25519')
  assert.ok(second !== null && first.equals(second))
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.equal((await stat(home)).mode & 0o777, 0o700)
  assert.deepEqual(await readdir(home), ['identity'])
})

test('a damaged identity is reported and left alone', async (t) => {
  const path = join(await folder(t), 'identity')
  await createIdentity(path)
  const whole = await readFile(path, 'utf8')
  for (const damaged of ['', whole.slice(0, 50), `zz${whole.slice(2)}`, 'not a key\n']) {
    await writeFile(path, damaged)
    await assert.rejects(readIdentity(path), { code: 'STATE_DAMAGED' })
    assert.equal(await readFile(path, 'utf8'), damaged)
  }
})

test('an identity that cannot be read is no damaged one', async (t) => {
  await assert.rejects(readIdentity(await folder(t)), { code: 'DISK_FAILED' })
})
