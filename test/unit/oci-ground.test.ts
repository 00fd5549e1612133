/** Which runtimes are started without the engine, and by what program. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findNamedRuntime } from '../../agent/runner/oci/ground.ts'
import { messageOf } from '../../protocol/errors.ts'

const factsOf = (words: readonly [string, ...string[]]) => ({ runtimeWords: { mine: words } })

test('a runtime that we know is started by its path, with what its operator always tells it', async () => {
  const words = ['/opt/bin/runsc', '--network=none', '--platform=kvm'] as const
  assert.deepEqual(await findNamedRuntime(factsOf(words), 'mine'), words)
})

test('one that is named by its program alone is looked for where the system has programs', async () => {
  const found = await findNamedRuntime(factsOf(['runc', '--debug']), 'mine').catch(messageOf)
  assert.match(String(found), /^\/[a-z/]*bin\/runc,--debug$|^runc is not on this host$/)
})

test('others are the engine’s: those that we do not know, plug-ins, and names that it does not have', async () => {
  await assert.rejects(findNamedRuntime(factsOf(['/usr/bin/kata-runtime']), 'mine'), /engine alone/)
  await assert.rejects(findNamedRuntime({ runtimeWords: {} }, 'mine'), /engine alone/)
  await assert.rejects(findNamedRuntime(null, 'mine'), /engine alone/)
  await assert.rejects(findNamedRuntime(factsOf(['/usr/bin/runsc', '--']), 'mine'), /a word --/)
})
