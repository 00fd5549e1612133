/** What is registered with a coordinator: accounts, functions, images; kept on disk. */

import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { loadAccounts, newToken } from '../../coordinator/accounts.ts'
import { loadFuncs } from '../../coordinator/funcs.ts'
import { createSecretBox, type SecretBox } from '../../coordinator/secret-box.ts'
import { parseFuncCreate } from '../../protocol/func-request.ts'
import { limits } from '../../protocol/limits.ts'
import { account, isCode, openBooks, record } from '../support/registered.ts'

const KEY = randomBytes(32)

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
  const openAccounts = async (
    onQuota: (quota: number) => void = () => undefined,
    box = (): SecretBox => createSecretBox(KEY, async () => undefined),
  ) => {
    const { disk, write } = openBooks()
    const unreadable: string[] = []
    const load = () =>
      loadAccounts({
        store: disk,
        write,
        newId: randomUUID,
        onQuota: (_accountId, quota) => onQuota(quota),
        onAdded: () => undefined,
        onRemoved: () => undefined,
        hasFuncs: () => false,
        secrets: box(),
        onUnreadableAuth: ({ name }, registry) => unreadable.push(`${name} ${registry}`),
      })
    return { disk, load, unreadable, accounts: await load() }
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

  test('keep the last credentials of each registry, which are nowhere on disk in clear', async () => {
    const { accounts, load, disk, unreadable } = await openAccounts()
    await accounts.create('team', 2)
    const [{ id } = assert.fail()] = accounts.list()
    await accounts.keepRegistryAuth(id, 'one.test', 'c2VjcmV0LTE=')
    await accounts.keepRegistryAuth(id, 'two.test', 'c2VjcmV0LTI=')
    await accounts.keepRegistryAuth(id, 'one.test', 'c2VjcmV0LTM=')
    await accounts.rotate('team')
    const again = await load()
    const kept = ['one.test', 'two.test', 'three.test'].map((name) => again.registryAuth(id, name))
    assert.deepEqual(kept, ['c2VjcmV0LTM=', 'c2VjcmV0LTI=', ''])
    for await (const [, row] of disk.range('account')) {
      assert.doesNotMatch(JSON.stringify(row), /c2VjcmV0|secret-/)
    }
    assert.deepEqual(unreadable, [])
    for (let number = 0; number < limits.registriesPerAccountMax; number += 1) {
      await again.keepRegistryAuth(id, `${number}.test`, 'eA==')
    }
    assert.equal(again.registryAuth(id, 'one.test'), '', 'the first of too many goes')
  })

  test('go on without credentials whose key was lost, and say which', async () => {
    let key = KEY
    const box = (): SecretBox => createSecretBox(key, async () => undefined)
    const { accounts, load, unreadable } = await openAccounts(undefined, box)
    await accounts.create('team', 2)
    const [{ id } = assert.fail()] = accounts.list()
    await accounts.keepRegistryAuth(id, 'one.test', 'c2VjcmV0')
    key = randomBytes(32)
    const again = await load()
    assert.deepEqual([again.registryAuth(id, 'one.test'), unreadable], ['', ['team one.test']])
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
