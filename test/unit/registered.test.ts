/** What is registered with a coordinator: accounts, functions, images, members; kept on disk. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { loadAccounts, newToken } from '../../coordinator/accounts.ts'
import { loadFuncs } from '../../coordinator/funcs.ts'
import { loadImages } from '../../coordinator/images.ts'
import { loadMembership } from '../../coordinator/membership.ts'
import type { Account } from '../../coordinator/ports.ts'
import type { Operation } from '../../coordinator/store/store.ts'
import { HyperError } from '../../protocol/errors.ts'
import { parseFuncCreate } from '../../protocol/func-request.ts'
import type { ImageRecord } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import { createDisk } from '../support/ledger-disk.ts'
import { makeHello } from '../support/ledger-words.ts'

const account: Account = {
  id: 'a1',
  name: 'one',
  quota: 1,
  operator: false,
  accessKey: '',
  created: '',
}

const record: ImageRecord = {
  reference: 'ubuntu:latest',
  digest: `sha256:${'a'.repeat(64)}`,
  id: 'sha256:id',
  platform: 'linux/amd64',
  sizeBytes: 1,
  created: '',
  config: {
    Entrypoint: null,
    Cmd: null,
    Env: null,
    User: '',
    WorkingDir: '',
    Labels: {},
    StopSignal: '',
  },
}

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof HyperError && error.code === code

const never = new AbortController().signal

const openBooks = () => {
  const disk = createDisk()
  const write = (operations: readonly Operation[]): Promise<void> => disk.commit(operations)
  return { disk, write, record: disk.commitNow }
}

describe('functions', () => {
  const openFuncs = async (live: Map<number, number>, pinned: () => void = () => undefined) => {
    const { disk, write } = openBooks()
    const accounts = new Set(['a1'])
    const load = () =>
      loadFuncs({
        store: disk,
        write,
        newId: randomUUID,
        pinImage: async () => {
          pinned()
          return record
        },
        liveCalls: (_funcId, revision) =>
          revision === undefined
            ? [...live.values()].reduce((sum, count) => sum + count, 0)
            : (live.get(revision) ?? 0),
        hasAccount: (id) => accounts.has(id),
        cancelCalls: () => live.clear(),
        removeCaches: () => [],
        onSaved: () => undefined,
      })
    return { load, accounts, funcs: await load() }
  }
  const spec = parseFuncCreate({ Name: 'f', Config: { Image: 'ubuntu' } })

  test('keep a revision only while a call of it is live', async () => {
    const live = new Map([[1, 1]])
    const { funcs, load } = await openFuncs(live)
    const { id } = await funcs.create(account, spec)
    for (let update = 0; update < 50; update += 1)
      await funcs.update(account, 'f', { Timeout: update })
    assert.equal(funcs.revision(id, 1)?.func.Timeout, 300)
    assert.equal(funcs.revision(id, 51)?.func.Timeout, 49)
    for (let revision = 2; revision < 51; revision += 1) {
      assert.equal(funcs.revision(id, revision), null, `revision ${revision}`)
    }
    const again = await load()
    assert.equal(again.get(account, 'f')?.func.Revision, 51)
    assert.equal(again.revision(id, 1)?.func.Timeout, 300)
    live.clear()
    await again.update(account, 'f', { Timeout: 1 })
    assert.equal(again.revision(id, 1), null)
  })

  test('are found by name and secret only, and gone when removed', async () => {
    const { funcs } = await openFuncs(new Map())
    const { func } = await funcs.create(account, spec)
    assert.equal(funcs.byUrl('f', func.UUID)?.func.Name, 'f')
    assert.equal(funcs.byUrl('f', `${func.UUID.slice(0, -1)}x`), null)
    assert.equal(funcs.byUrl('g', func.UUID), null)
    await assert.rejects(funcs.create(account, spec), isCode('NAME_TAKEN'))
    const changed = await funcs.update(account, 'f', { Refresh: true })
    assert.equal(funcs.byUrl('f', func.UUID), null, 'the old secret is void')
    await funcs.remove(account, 'f', false)
    assert.equal(funcs.byUrl('f', changed.func.UUID), null)
  })

  test('are not removed while a call is live, unless forced', async () => {
    const live = new Map([[1, 2]])
    const { funcs } = await openFuncs(live)
    await funcs.create(account, spec)
    await assert.rejects(funcs.remove(account, 'f', false), isCode('FUNC_BUSY'))
    await funcs.remove(account, 'f', true)
    assert.equal(live.size, 0)
  })

  test('are not made for an account that was removed while the image was pulled', async () => {
    const { funcs, accounts } = await openFuncs(new Map(), () => accounts.delete('a1'))
    await assert.rejects(funcs.create(account, spec), isCode('ACCOUNT_NOT_FOUND'))
    assert.deepEqual(funcs.list(account), [])
  })
})

describe('accounts', () => {
  const openAccounts = async (onQuota: (quota: number) => void = () => undefined) => {
    const { disk, write } = openBooks()
    const load = () =>
      loadAccounts({
        store: disk,
        write,
        newId: randomUUID,
        onQuota: (_accountId, quota) => onQuota(quota),
        onAdded: () => undefined,
        onRemoved: () => undefined,
        hasFuncs: () => false,
      })
    return { disk, load, accounts: await load() }
  }

  test('are known by their access key, until they are removed; a rotation changes the secret', async () => {
    const { accounts, load } = await openAccounts()
    const { accessKey, secretKey } = await accounts.create('team', 2)
    const found = (await load()).byAccessKey(accessKey)
    assert.deepEqual([found?.account.name, found?.secretKey], ['team', secretKey])
    assert.equal(accounts.byAccessKey(accessKey.toLowerCase()), null)
    const rotated = await accounts.rotate('team')
    assert.equal(rotated.accessKey, accessKey)
    assert.notEqual(rotated.secretKey, secretKey)
    assert.equal(accounts.byAccessKey(accessKey)?.secretKey, rotated.secretKey)
    await accounts.remove('team')
    assert.equal(accounts.byAccessKey(accessKey), null)
  })

  test('are known by their token, whose text is nowhere on disk', async () => {
    const { accounts, load, disk } = await openAccounts()
    const { token } = await accounts.create('bob', 3)
    assert.equal(accounts.byToken(token)?.name, 'bob')
    assert.equal(accounts.byToken(`${token}x`), null)
    assert.equal((await load()).byToken(token)?.quota, 3)
    for await (const [, row] of disk.range('account')) {
      assert.ok(!JSON.stringify(row).includes(token))
    }
    const rotated = await accounts.rotate('bob')
    assert.equal(accounts.byToken(token), null)
    assert.equal(accounts.byToken(rotated.token)?.name, 'bob')
  })

  test('that go while their quota is being written are told to be gone, and to nobody else', async () => {
    const told: number[] = []
    const { accounts } = await openAccounts((quota) => told.push(quota))
    await accounts.create('bob', 3)
    const setting = accounts.setQuota('bob', 5)
    const removing = accounts.remove('bob')
    await assert.rejects(setting, isCode('ACCOUNT_NOT_FOUND'))
    await removing
    assert.deepEqual(told, [])
  })

  test('of the operator stays, others go', async () => {
    const { accounts } = await openAccounts()
    await accounts.createOperator('default', 10, newToken())
    await accounts.create('bob', 3)
    await assert.rejects(accounts.remove('default'), isCode('BAD_PARAMETER'))
    await accounts.remove('bob')
    await assert.rejects(accounts.remove('bob'), isCode('ACCOUNT_NOT_FOUND'))
    await assert.rejects(accounts.create('Not A Name', 3), isCode('BAD_PARAMETER'))
    await assert.rejects(accounts.create('x', -1), isCode('BAD_PARAMETER'))
  })
})

describe('images', () => {
  const openImages = async () => {
    const { disk, write } = openBooks()
    const pulls: string[] = []
    const images = await loadImages({
      store: disk,
      write,
      pullOnAgent: async (reference) => {
        pulls.push(reference)
        return { ...record, reference }
      },
    })
    return { disk, images, pulls }
  }

  test('are pulled once for many functions, and again when asked', async () => {
    const { images, pulls } = await openImages()
    await images.pin(account, 'ubuntu')
    await images.pin(account, 'ubuntu:latest')
    assert.deepEqual(pulls, ['ubuntu:latest'])
    await images.pull(account, 'ubuntu', '', () => undefined, never)
    assert.equal(pulls.length, 2)
  })

  test('pulled with credentials are marked: they run only where they were pulled', async () => {
    const { images } = await openImages()
    const open = await images.pull(account, 'open', '', () => undefined, never)
    const closed = await images.pull(account, 'closed', 'e30=', () => undefined, never)
    assert.equal(open.isPrivate, false)
    assert.equal(closed.isPrivate, true)
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

describe('members', () => {
  const openMembership = async () => {
    const { disk, write, record: note } = openBooks()
    let wallMs = 1000
    const load = () => loadMembership({ store: disk, write, record: note, wallMs: () => wallMs })
    return { load, membership: await load(), pass: (ms: number) => (wallMs += ms) }
  }
  const { type: _type, attempts: _attempts, outbox: _outbox, ...facts } = makeHello()

  test('come in by an invitation, for its uses and its time', async () => {
    const { membership, pass, load } = await openMembership()
    await membership.addInvite('ticket', 2, 2000)
    await membership.admit('ticket', 'one')
    await membership.admit('ticket', 'one')
    assert.ok(membership.isInvitation('ticket'), 'a key that is a member already spends nothing')
    await membership.admit('ticket', 'two')
    assert.ok(!membership.isInvitation('ticket'))
    await assert.rejects(membership.admit('ticket', 'three'), isCode('TICKET_SPENT'))
    await membership.addInvite('late', 1, 2000)
    pass(1000)
    assert.ok(!membership.isInvitation('late'))
    membership.expire()
    assert.deepEqual(
      (await load()).members().map(({ peerId }) => peerId),
      ['one', 'two'],
    )
  })

  test('get names of their hosts, made unique, and stay drained across a restart', async () => {
    const { membership, load } = await openMembership()
    await membership.addInvite('ticket', 2, 2000)
    await membership.admit('ticket', 'peer-one')
    await membership.admit('ticket', 'peer-two')
    const first = membership.introduce('peer-one', facts)
    const second = membership.introduce('peer-two', facts)
    assert.equal(second.name, `${first.name}-2`)
    await membership.setDraining('peer-two', true)
    const again = await load()
    assert.equal(again.find(second.name).draining, true)
    assert.equal(again.find('peer-t').name, second.name)
    assert.throws(() => again.find('peer'), isCode('AGENT_NOT_FOUND'))
  })
})
