/**
 * Images that declare volumes over what a container gets of ours: hyper-init is still its PID 1, the
 * strict profile's /tmp is still there and bounded, names are still resolved by the engine's files.
 */

import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import type { Runner } from '../../agent/runner/runner.ts'
import { raceAbort } from '../../protocol/abort.ts'
import { eventually } from '../support/eventually.ts'
import { OCI_SKIP, type OciBench, openOciBench } from '../support/oci-bench.ts'
import { outputOf, sh, soon } from '../support/runner-call.ts'
import { newIdentity } from '../support/runner-engine.ts'

/** Where its volumes are, the image has files of its own: a hyper-init and a hosts among them. */
const filesAt = (init: string): string => `
mkdir -p ${init} /deep/er
printf '#!/bin/sh\\necho stolen\\nsleep 600\\n' > ${init}/hyper-init
chmod 755 ${init}/hyper-init
echo stolen > /tmp/file
echo stolen > /etc/hosts.own
ln -s ${init} /link
ln -s ${init} /deep/er/link
ln -s / /all
`
const LOOK = `
init=$(tr '\\0' '\\n' < /proc/1/cmdline)
grep -q stolen "$init" || echo "init is ours"
grep -q localhost /etc/hosts && echo "hosts are ours"
awk '$2 == "/tmp" { print "tmp is", $3 }' /proc/mounts | tail -n 1
`
const OURS = 'init is ours\nhosts are ours\ntmp is tmpfs\n'

/** INIT stands for where hyper-init was in a container before: all that an image's maker can know. */
const VOLUMES: readonly (readonly string[])[] = [
  ['INIT'],
  ['INIT/'],
  ['/tmp'],
  ['/etc'],
  ['/tmp/', '/etc', 'INIT', '/etc/deeper'],
  // Links to that place, and what lies in it.
  ['/link'],
  ['/deep/er/link'],
  ['INIT/below'],
]
const PLACE = 'printf %s /.hyper-*'
const INIT = /INIT/g
const RUNNERS = ['docker', 'oci'] as const
type RunnerName = (typeof RUNNERS)[number]
/** A container that is not ours waits for nobody. */
const STOLEN_MS = 20_000

describe('a container of an image with volumes', { skip: OCI_SKIP }, () => {
  let bench: OciBench
  const made: string[] = []

  before(async () => {
    bench = await openOciBench()
  })
  afterEach(() => eventually(async () => (await bench.leftovers()).length === 0))
  after(async () => {
    const { docker } = bench.bench
    await bench.close()
    for (const id of made.reverse())
      await docker.getImage(id).remove({ force: true, noprune: true })
  })

  const runnerOf = (name: RunnerName): Runner =>
    name === 'oci' ? bench.runner : bench.bench.dockerRunner(newIdentity())

  const imageWith = async (
    volumes: readonly string[],
    init: string,
    script = filesAt(init),
  ): Promise<string> => {
    const { docker } = bench.bench
    const container = await docker.createContainer({
      ...{ Image: bench.images.ubuntu, Cmd: ['sh', '-c', script] },
    })
    await container.start()
    assert.equal((await container.wait()).StatusCode, 0)
    const lines = volumes.map((path) => `VOLUME ${path.replace(INIT, init)}`)
    const changes = ['WORKDIR /', ...lines].join('\n')
    const { Id } = await container.commit({ changes })
    await container.remove()
    made.push(Id)
    return Id
  }

  const runIn = async (runner: Runner, image: string, script: string): Promise<string> => {
    try {
      const strict = { ...sh(script), fence: { profile: 'strict' } } as const
      return await raceAbort(outputOf(runner, image, strict), AbortSignal.timeout(STOLEN_MS))
    } finally {
      for (const { id } of await runner.list(soon())) await runner.remove(id, soon())
    }
  }

  for (const volumes of VOLUMES) {
    for (const name of RUNNERS) {
      test(`that are ${volumes.join(', ')} has what is ours by the ${name} runner`, async () => {
        const runner = runnerOf(name)
        const init = await runIn(runner, bench.images.ubuntu, PLACE)
        assert.match(init, /^\/\.hyper-[0-9a-f]{16}$/)
        assert.notEqual(await runIn(runner, bench.images.ubuntu, PLACE), init)
        const image = await imageWith(volumes, init)
        assert.equal(await runIn(runner, image, LOOK), OURS)
      })
    }
  }

  for (const [where, to] of [
    ['its working directory, once it runs', '/proc/self/cwd'],
    ['a folder of its own', '/own'],
  ] as const) {
    for (const name of RUNNERS) {
      test(`or a link at a former place to ${where} has what is ours by the ${name} runner`, async () => {
        const runner = runnerOf(name)
        const init = await runIn(runner, bench.images.ubuntu, PLACE)
        const script = `mkdir /own; echo stolen | tee /hyper-init > /own/hyper-init; ln -s ${to} ${init}`
        const image = await imageWith([], init, script)
        assert.equal(await runIn(runner, image, LOOK), OURS)
      })
    }
  }

  for (const name of RUNNERS) {
    test(`that are a link to all of it is not started by the ${name} runner`, async () => {
      const image = await imageWith(['/all'], '/.hyper')
      await assert.rejects(runIn(runnerOf(name), image, LOOK), { code: 'START_FAILED' })
    })
  }
})
