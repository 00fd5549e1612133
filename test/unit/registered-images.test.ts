/** What an account knows of images: pulled, kept on disk, with credentials or without. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { loadImages } from '../../coordinator/images.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { account, isCode, never, openBooks, record } from '../support/registered.ts'

describe('images', () => {
  const openImages = async (refuses: (auth: string) => boolean = () => false) => {
    const { disk, write } = openBooks()
    const pulls: string[] = []
    const auths = new Map<string, string>()
    const images = await loadImages({
      store: disk,
      write,
      registryAuth: (accountId, registry) => auths.get(`${accountId} ${registry}`) ?? '',
      async keepRegistryAuth(accountId, registry, auth) {
        auths.set(`${accountId} ${registry}`, auth)
      },
      pullOnAgent: async (reference, auth) => {
        pulls.push(reference)
        if (refuses(auth)) throw new HyperError('REGISTRY_UNAUTHORIZED', 'not with these')
        return { ...record, reference }
      },
    })
    return { disk, images, pulls, auths }
  }

  test('are pulled once for many functions, and again when asked', async () => {
    const { images, pulls } = await openImages()
    await images.pin(account, 'ubuntu')
    await images.pin(account, 'ubuntu:latest')
    assert.deepEqual(pulls, ['ubuntu:latest'])
    await images.pull(account, 'ubuntu', '', () => undefined, never)
    assert.equal(pulls.length, 2)
  })

  test('pulled with credentials are marked, and those kept for the registry', async () => {
    const { images, auths } = await openImages((auth) => auth === 'd3Jvbmc=')
    const open = await images.pull(account, 'open', '', () => undefined, never)
    const closed = await images.pull(account, 'closed', 'e30=', () => undefined, never)
    assert.equal(open.isPrivate, false)
    assert.equal(closed.isPrivate, true)
    const wrong = images.pull(account, 'closed', 'd3Jvbmc=', () => undefined, never)
    await assert.rejects(wrong, isCode('REGISTRY_UNAUTHORIZED'))
    assert.deepEqual([...auths], [['a1 docker.io', 'e30=']])
  })

  test('that a function names are pulled with what is kept, where they need it', async () => {
    const { images, auths, pulls } = await openImages((auth) => auth === '')
    await assert.rejects(images.pin(account, 'host:5000/app'), isCode('REGISTRY_UNAUTHORIZED'))
    auths.set('a1 host:5000', 'e30=')
    const pinned = await images.pin(account, 'host:5000/app')
    assert.equal(pinned.isPrivate, true)
    assert.equal(pulls.length, 3)
  })

  test('are bounded in number, the oldest go first', async () => {
    const { images, disk } = await openImages()
    for (let number = 0; number <= limits.imagesPerAccountMax; number += 1) {
      await images.pin(account, `app:${number}`)
    }
    assert.equal(images.get(account, 'app:0'), null)
    assert.equal(images.list(account).length, limits.imagesPerAccountMax)
    let rows = 0
    for await (const _ of disk.range('image')) rows += 1
    assert.equal(rows, limits.imagesPerAccountMax)
  })
})
