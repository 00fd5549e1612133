/** What the engine may hand to its runtime that the OCI runner's containers do not have. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Template } from '../../agent/runner/oci/template.ts'
import { refuseForeign } from '../../agent/runner/oci/templates.ts'

const templateOf = (kinds: readonly string[], selinuxLabel = ''): Template => ({
  process: { args: [], env: [], cwd: '/', user: { uid: 0, gid: 0 }, selinuxLabel },
  root: { path: 'rootfs' },
  mounts: [],
  linux: { resources: {}, cgroupsPath: '', namespaces: kinds.map((type) => ({ type })) },
})

test('users that the engine maps, labels of SELinux and a host’s network are refused by name', () => {
  refuseForeign(templateOf(['mount', 'network']))
  assert.throws(() => refuseForeign(templateOf(['network', 'user'])), /maps the users/)
  assert.throws(() => refuseForeign(templateOf(['mount'])), /no network of their own/)
  assert.throws(() => refuseForeign(templateOf(['network'], 'system_u:x')), /SELinux/)
})
