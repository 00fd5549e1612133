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
const FILES = `
mkdir -p /.hyper /deep/er
printf '#!/bin/sh\\necho stolen\\nsleep 600\\n' > /.hyper/hyper-init
chmod 755 /.hyper/hyper-init
echo stolen > /tmp/file
echo stolen > /etc/hosts.own
ln -s /.hyper /link
ln -s /.hyper /deep/er/link
`
const LOOK = `
grep -q stolen /.hyper/hyper-init || echo "init is ours"
grep -q localhost /etc/hosts && echo "hosts are ours"
awk '$2 == "/tmp" { print "tmp is", $3 }' /proc/mounts | tail -n 1
`
const OURS = 'init is ours\nhosts are ours\ntmp is tmpfs\n'

const VOLUMES: readonly (readonly string[])[] = [
  ['/.hyper'],
  ['/.hyper/'],
  ['/tmp'],
  ['/etc'],
  ['/tmp/', '/etc', '/.hyper', '/etc/deeper'],
]
/** Links to hyper-init's place, and what lies in it. */
const ONLY_OCI = [['/link'], ['/deep/er/link'], ['/.hyper/below']] as const
/** A container that is not ours waits for nobody. */
const STOLEN_MS = 20_000

describe('a container of an image with volumes', { skip: OCI_SKIP }, () => {
  let bench: OciBench
  let base = ''
  const made: string[] = []

  before(async () => {
    bench = await openOciBench()
    const { docker } = bench.bench
    const container = await docker.createContainer({
      ...{ Image: bench.images.ubuntu, Cmd: ['sh', '-c', FILES] },
    })
    await container.start()
    await container.wait()
    const { Id } = await container.commit()
    base = Id
    made.push(base)
    await container.remove()
  })
  afterEach(() => eventually(async () => (await bench.leftovers()).length === 0))
  after(async () => {
    const { docker } = bench.bench
    await bench.close()
    for (const id of made.reverse())
      await docker.getImage(id).remove({ force: true, noprune: true })
  })

  const imageWith = async (volumes: readonly string[]): Promise<string> => {
    const { docker } = bench.bench
    const container = await docker.createContainer({ Image: base })
    const changes = volumes.map((path) => `VOLUME ${path}`).join('\n')
    const { Id } = await container.commit({ changes })
    await container.remove()
    made.push(Id)
    return Id
  }

  const runners: readonly (readonly [string, () => Runner])[] = [
    ['docker', () => bench.bench.dockerRunner(newIdentity())],
    ['oci', () => bench.runner],
  ]
  const strict = { ...sh(LOOK), fence: { profile: 'strict' } } as const

  const look = async (runner: Runner, volumes: readonly string[]): Promise<string> => {
    const image = await imageWith(volumes)
    try {
      return await raceAbort(outputOf(runner, image, strict), AbortSignal.timeout(STOLEN_MS))
    } finally {
      for (const { id } of await runner.list(soon())) await runner.remove(id, soon())
    }
  }

  for (const volumes of VOLUMES) {
    for (const [name, runnerOf] of runners) {
      test(`that are ${volumes.join(', ')} has what is ours by the ${name} runner`, async () => {
        assert.equal(await look(runnerOf(), volumes), OURS)
      })
    }
  }

  // Docker mounts the deeper ones later, links or not: its containers get the image’s hyper-init.
  for (const volumes of ONLY_OCI) {
    test(`that are ${volumes.join(', ')} has what is ours by the oci runner`, async () => {
      assert.equal(await look(bench.runner, volumes), OURS)
    })
  }
})
