/** What keeps an image's layers for the oci runner, and what of an image is read. */

import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import { createImageRoots, type ImageRoots } from '../../agent/runner/oci/image-root.ts'
import { eventually } from '../support/eventually.ts'
import { OCI_SKIP, type OciBench, openOciBench } from '../support/oci-bench.ts'
import { outputOf, sh, soon, specOf } from '../support/runner-call.ts'
import { newIdentity } from '../support/runner-engine.ts'

describe('the pin of an image', { skip: OCI_SKIP }, () => {
  let bench: OciBench
  let agentId = ''
  let roots: ImageRoots
  let isUsed = false
  const images: string[] = []

  const open = (): ImageRoots => createImageRoots(bench.bench.engine, agentId, async () => isUsed)

  before(async () => {
    bench = await openOciBench()
    agentId = newIdentity().agentId
    roots = open()
  })
  afterEach(async () => {
    isUsed = false
    await roots.close()
    await eventually(async () => (await bench.leftovers()).length === 0)
  })
  after(async () => {
    const { docker } = bench.bench
    await bench.close()
    for (const id of images) await docker.getImage(id).remove({ force: true })
  })

  const pins = async (): Promise<readonly string[]> => {
    const filters = JSON.stringify({ label: [`hyper.pin=${agentId}`] })
    return (await bench.bench.docker.listContainers({ all: true, filters })).map(({ Id }) => Id)
  }

  /** The test image, and what this script made of it; nothing else uses it. */
  const imageOf = async (script: string): Promise<string> => {
    const { docker } = bench.bench
    const Cmd = ['sh', '-c', script]
    const container = await docker.createContainer({ Image: bench.images.ubuntu, Cmd })
    await container.start()
    await container.wait()
    const { Id } = await container.commit()
    await container.remove()
    images.push(Id)
    return Id
  }

  /** As `docker system prune` does it. */
  const prune = async (): Promise<void> => {
    for (const id of await pins()) await bench.bench.docker.getContainer(id).remove()
  }

  const hello = { argv: ['echo', '-n', 'hello'] }
  const ubuntu = (): string => bench.images.ubuntu

  test('that is pruned is made again by the next start', async () => {
    const runner = bench.own.openOn({ roots })
    assert.equal(await outputOf(runner, ubuntu(), hello), 'hello')
    await prune()
    assert.equal(await outputOf(runner, ubuntu(), hello), 'hello')
    assert.equal((await pins()).length, 1)
  })

  test('that is pruned while a container is being started is made again, and it starts', async () => {
    let tries = 0
    const runner = bench.own.openOn({
      roots: {
        use: (image, act) =>
          roots.use(image, async (root) => {
            tries += 1
            if (tries === 1) await prune()
            return act(root)
          }),
      },
    })
    assert.equal(await outputOf(runner, ubuntu(), hello), 'hello')
    assert.equal(tries, 2)
  })

  test('does not make a start that fails for another reason be tried again', async () => {
    let tries = 0
    const runner = bench.own.openOn({
      roots: {
        use: (image, act) =>
          roots.use(image, (root) => {
            tries += 1
            return act(root)
          }),
      },
    })
    const spec = specOf(ubuntu(), { user: 'nosuch' })
    await assert.rejects(runner.start(spec, soon()), { code: 'USER_NOT_FOUND' })
    assert.equal(tries, 1)
  })

  test('of an image that is gone says so', async () => {
    const image = await imageOf('echo x > /own')
    const runner = bench.own.openOn({ roots })
    assert.equal(await outputOf(runner, image, hello), 'hello')
    await prune()
    await bench.bench.docker.getImage(image).remove()
    images.pop()
    await assert.rejects(runner.start(specOf(image), soon()), { code: 'IMAGE_NOT_FOUND' })
  })

  test('is taken over by the next process, and by the same one once more', async () => {
    const root = await roots.use(ubuntu(), async (of) => of)
    const next = open()
    await next.adopt()
    await next.adopt()
    assert.equal((await pins()).length, 1)
    assert.equal(await next.use(ubuntu(), async ({ lower }) => lower), root.lower)
    assert.equal((await pins()).length, 1)
  })

  test('whose making was not heard of is found by its name', async () => {
    const { lower } = await roots.use(ubuntu(), async (root) => root)
    const next = open()
    assert.equal(await next.use(ubuntu(), async (root) => root.lower), lower)
    assert.equal((await pins()).length, 1)
  })

  test('stays while a container is being started, or is there', async () => {
    const begun = Promise.withResolvers<void>()
    const used = roots.use(ubuntu(), () => begun.promise)
    await eventually(async () => (await pins()).length === 1)
    await roots.forget(ubuntu())
    assert.equal((await pins()).length, 1)
    begun.resolve()
    await used
    isUsed = true
    await roots.forget(ubuntu())
    assert.equal((await pins()).length, 1)
    isUsed = false
    await roots.forget(ubuntu())
    assert.deepEqual(await pins(), [])
  })

  test('is made anew for one that comes while it goes', async () => {
    await roots.use(ubuntu(), async () => undefined)
    const going = roots.forget(ubuntu())
    const runner = bench.own.openOn({ roots })
    const outputs = Array.from({ length: 3 }, () => outputOf(runner, ubuntu(), hello))
    assert.deepEqual(await Promise.all(outputs), ['hello', 'hello', 'hello'])
    await going
  })

  test('of an earlier process goes, too, when nothing is pinned any more', async () => {
    await roots.use(ubuntu(), async () => undefined)
    await open().close()
    assert.deepEqual(await pins(), [])
  })

  test('tells the users of an image whose files are links', async () => {
    const script = `
      mkdir /own; mv /etc/passwd /own/users; ln -s ../own/users /own/link; ln -s /own/link /etc/passwd
      mv /etc/group /own/groups; ln -s ../../../../own/groups /etc/group`
    const image = await imageOf(script)
    const spec = { ...sh('id -u; id -g'), user: 'ubuntu:nogroup' }
    const runner = bench.own.openOn({ roots })
    assert.equal(await outputOf(runner, image, spec), '1000\n65534\n')
    assert.equal(
      await outputOf(bench.bench.dockerRunner(newIdentity()), image, spec),
      '1000\n65534\n',
    )
  })

  test('tells why the users of an image cannot be read', async () => {
    const runner = bench.own.openOn({ roots })
    for (const [script, why] of [
      ['dd if=/dev/zero of=/etc/passwd bs=1M count=64', /\/etc\/passwd.* larger than/],
      ['rm /etc/group; mkdir /etc/group', /\/etc\/group.* no file/],
    ] as const) {
      const image = await imageOf(script)
      const error = { code: 'USER_NOT_FOUND', message: why }
      await assert.rejects(runner.start(specOf(image), soon()), error)
    }
    assert.deepEqual(await pins(), [])
  })

  test('of an image without users, or with a link to nowhere, is root’s or a number’s', async () => {
    const image = await imageOf('rm /etc/passwd; ln -s /none /etc/passwd; rm /etc/group')
    const runner = bench.own.openOn({ roots })
    assert.equal(await outputOf(runner, image, { ...sh('id -u'), user: '7' }), '7\n')
  })
})
