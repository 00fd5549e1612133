import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadOrCreateIdentity } from '../../protocol/mesh/identity.ts'

const folder = async (t: TestContext): Promise<string> => {
  const made = await mkdtemp(join(tmpdir(), 'hyper-identity-'))
  t.after(() => rm(made, { recursive: true }))
  return made
}

test('an identity is made once and kept, for its owner alone', async (t) => {
  const home = join(await folder(t), 'state')
  const path = join(home, 'identity')
  const first = await loadOrCreateIdentity(path)
  const second = await loadOrCreateIdentity(path)
  assert.equal(first.type, 'Ed25519')
  assert.ok(first.equals(second))
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.equal((await stat(home)).mode & 0o777, 0o700)
  assert.deepEqual(await readdir(home), ['identity'])
})

test('a damaged identity is reported and left alone', async (t) => {
  const path = join(await folder(t), 'identity')
  await loadOrCreateIdentity(path)
  const whole = await readFile(path, 'utf8')
  for (const damaged of ['', whole.slice(0, 50), `zz${whole.slice(2)}`, 'not a key\n']) {
    await writeFile(path, damaged)
    await assert.rejects(loadOrCreateIdentity(path), { code: 'STATE_DAMAGED' })
    assert.equal(await readFile(path, 'utf8'), damaged)
  }
})

test('an identity that cannot be read is not replaced', async (t) => {
  const home = await folder(t)
  await chmod(home, 0o700)
  await assert.rejects(loadOrCreateIdentity(home), { code: 'STATE_DAMAGED' })
})
