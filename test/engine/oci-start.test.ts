/** Starts of the oci runner that go wrong, or are on unusual ground. */

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { setTimeout as pause, setImmediate } from 'node:timers/promises'
import type { ImageRoots } from '../../agent/runner/oci/image-root.ts'
import { eventually } from '../support/eventually.ts'
import {
  keeperOf,
  leftoversOf,
  OCI_SKIP,
  type OciBench,
  openOciBench,
} from '../support/oci-bench.ts'
import { outputOf, sh, soon, specOf } from '../support/runner-call.ts'

/** Within this a runtime that slept would have made all of its container. */
const SLEEP_S = 1
const LATER_MS = 2000
/** Of a start, which takes some 100 ms. */
const STEP_MS = 15
const STEPS = 6
/** As many as an image may have, and the length of the engine's names of them. */
const LAYERS = 120
const NAME_CHARS = 28

describe('a start of the oci runner', { skip: OCI_SKIP }, () => {
  let bench: OciBench
  let folder = ''

  before(async () => {
    bench = await openOciBench()
    folder = await mkdtemp(join(tmpdir(), 'start-'))
  })
  afterEach(() => eventually(async () => (await bench.leftovers()).length === 0))
  after(async () => {
    await bench.close()
    await rm(folder, { recursive: true })
  })

  /** A runtime of this shell script. */
  const runtimeThat = async (name: string, script: string): Promise<string> => {
    const path = join(folder, name)
    await writeFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    return path
  }

  test('whose keeper is killed ends the runtime that has not begun', async () => {
    const path = await runtimeThat(
      'sleepy',
      `touch ${folder}/began; sleep ${SLEEP_S}; touch ${folder}/ran; exec ${bench.runtime} "$@"`,
    )
    const runner = bench.own.openOn({ runtime: () => path })
    const starting = runner.start(specOf(bench.images.ubuntu), soon())
    const refused = assert.rejects(starting, { code: 'START_FAILED' })
    await eventually(async () => (await readdir(folder)).includes('began'))
    const [id = ''] = await readdir(bench.own.home)
    process.kill(await keeperOf(bench, id), 'SIGKILL')
    await refused
    await pause(LATER_MS)
    assert.ok(!(await readdir(folder)).includes('ran'))
    assert.deepEqual(await leftoversOf(bench.own), [])
  })

  test('whose keeper is killed at any moment of it leaves nothing', async () => {
    for (let step = 0; step < STEPS; step += 1) {
      const starting = bench.runner.start(specOf(bench.images.ubuntu), soon())
      const settled = starting.catch(() => null)
      const kill = async (): Promise<boolean> => {
        const [id = 'none yet'] = await readdir(bench.own.home)
        const pid = await keeperOf(bench, id).catch(() => null)
        if (pid === null) return false
        await pause(step * STEP_MS)
        return process.kill(pid, 'SIGKILL')
      }
      while (!(await kill())) await setImmediate()
      const container = await settled
      container?.detach()
      if (container !== null) await bench.runner.remove(container.id, soon())
      await eventually(async () => (await leftoversOf(bench.own)).length === 0)
    }
  })

  const refusedBy = (path: string, message: RegExp): Promise<void> =>
    assert.rejects(
      bench.own.openOn({ runtime: () => path }).start(specOf(bench.images.ubuntu), soon()),
      { code: 'START_FAILED', message },
    )

  test('tells what the runtime wrote beside its log', async () => {
    const log = `echo '{"level":"warning","msg":"a hint"}' > runtime.log`
    const path = await runtimeThat('panics', `${log}; echo 'panic: no luck' >&2; exit 1`)
    await refusedBy(path, /could not be started: panic: no luck$/)
  })

  test('tells the error at the end of a long log', async () => {
    const noise = `seq -f '{"level":"info","msg":"step %g"}' 1000`
    const error = `echo '{"level":"error","msg":"out of luck"}'`
    const path = await runtimeThat('chatty', `(${noise}; ${error}) > runtime.log; exit 1`)
    await refusedBy(path, /could not be started: out of luck$/)
  })

  test('tells that the runtime is no program', async () => {
    const path = join(folder, 'text')
    await writeFile(path, 'text', { mode: 0o755 })
    await refusedBy(path, /text is no program of this machine$/)
    await refusedBy(join(folder, 'nowhere'), /nowhere: No such file or directory$/)
  })

  for (const [what, name] of [
    ['a comma and a colon', 'a,upperdir=b:c'],
    ['a long path', `${'long'.repeat(50)}/`.repeat(11)],
  ] as const) {
    test(`can be in a home with ${what}, on many layers`, async () => {
      const [home, layers] = [join(folder, name), join(folder, 'layers')]
      const names = Array.from({ length: LAYERS }, (_none, at) => `${at}`.padStart(NAME_CHARS, '0'))
      for (const layer of names) await mkdir(join(layers, layer), { recursive: true })
      await mkdir(home, { recursive: true })
      const roots: Pick<ImageRoots, 'use'> = {
        use: (image, act) =>
          bench.roots.use(image, (root) => {
            const own = root.lower.split(':').map((layer) => join(root.layers, layer))
            return act({ ...root, layers, lower: [...names, ...own].join(':') })
          }),
      }
      const script = sh('echo x > /root/file && cat /root/file')
      const call = { ...script, user: '0' }
      assert.equal(
        await outputOf(bench.own.openOn({ home, roots }), bench.images.ubuntu, call),
        'x\n',
      )
      assert.deepEqual(await readdir(home), [])
    })
  }
})
