/** What the OCI runner takes of what the engine hands to its runtime, and how long it goes by that. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Template } from '../../agent/runner/oci/template.ts'
import { createTemplates, refuseForeign } from '../../agent/runner/oci/templates.ts'
import type { RunningContainer } from '../../agent/runner/runner.ts'

const templateOf = (kinds: readonly string[], selinuxLabel = ''): Template => ({
  process: {
    args: ['/.hyper-1/hyper-init'],
    env: [],
    cwd: '/',
    user: { uid: 0, gid: 0 },
    selinuxLabel,
  },
  root: { path: 'rootfs' },
  mounts: [{ destination: '/.hyper-1' }],
  linux: { resources: {}, cgroupsPath: '', namespaces: kinds.map((type) => ({ type })) },
})

test('users that the engine maps, labels of SELinux and a host’s network are refused by name', () => {
  refuseForeign(templateOf(['mount', 'network']))
  assert.throws(() => refuseForeign(templateOf(['network', 'user'])), /maps the users/)
  assert.throws(() => refuseForeign(templateOf(['mount'])), /no network of their own/)
  assert.throws(() => refuseForeign(templateOf(['network'], 'system_u:x')), /SELinux/)
  const { process, ...others } = templateOf(['network'])
  const args = ['/sbin/docker-init', '--', ...process.args]
  assert.throws(
    () => refuseForeign({ ...others, process: { ...process, args } }),
    /another program/,
  )
})

/** A container that is no template for ours. */
const FOREIGN = 'foreign'

const createBench = () => {
  const there = new Set(['left'])
  const state = { settings: 'old', started: 0 }
  const templates = createTemplates({
    runner: {
      async start() {
        state.started += 1
        const id = `container ${state.started}`
        there.add(id)
        return { id, detach: () => undefined } as RunningContainer
      },
      async remove(id) {
        there.delete(id)
      },
      list: async () => [...there].map((id) => ({ id, isRunning: false, labels: {} })),
    },
    image: async () => 'hello',
    read: async (id) => ({
      ...templateOf(id === FOREIGN ? ['mount'] : ['network']),
      hostname: state.settings,
    }),
  })
  return { templates, state, there }
}

test('a template is read once, and again from an engine that went away', async () => {
  const { templates, state } = createBench()
  for (let time = 0; time < 2; time += 1) {
    assert.equal((await templates.of('default')).hostname, 'old')
  }
  assert.equal(state.started, 1)
  state.settings = 'new'
  templates.forget()
  assert.equal((await templates.of('default')).hostname, 'new')
  assert.equal(state.started, 2)
})

test('a template that was being read when the engine went away serves nobody after it', async () => {
  const { templates, state } = createBench()
  const reading = templates.of('default')
  templates.forget()
  state.settings = 'new'
  assert.equal((await templates.of('default')).hostname, 'new')
  await reading
  assert.equal((await templates.of('default')).hostname, 'new')
  assert.equal(state.started, 2)
})

test('a template is learnt from a container that runs anyway; one that does not do costs nothing', async () => {
  const { templates, state } = createBench()
  await templates.learn('default', 'running')
  assert.equal((await templates.of('default')).hostname, 'old')
  assert.equal(state.started, 0)
  await templates.learn('strict', FOREIGN)
  assert.equal((await templates.of('strict')).hostname, 'old')
  assert.equal(state.started, 1)
})

test('nothing is left of the reading, also of an earlier process', async () => {
  const { templates, there } = createBench()
  await templates.of('strict')
  assert.deepEqual([...there], ['left'])
  await templates.sweep()
  assert.deepEqual([...there], [])
})
