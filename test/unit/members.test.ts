/** Members and invitations, as the coordinator keeps them on disk. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { loadMembership } from '../../coordinator/membership.ts'
import type { Operation } from '../../coordinator/store/store.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { createDisk } from '../support/ledger-disk.ts'
import { makeHello } from '../support/ledger-words.ts'

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof HyperError && error.code === code

describe('members', () => {
  const openMembership = async () => {
    const disk = createDisk()
    let wallMs = 1000
    const write = (operations: readonly Operation[]): Promise<void> => disk.commit(operations)
    const load = () =>
      loadMembership({ store: disk, write, record: disk.commitNow, wallMs: () => wallMs })
    return { disk, load, membership: await load(), pass: (ms: number) => (wallMs += ms) }
  }
  const { type: _type, attempts: _attempts, outbox: _outbox, ...facts } = makeHello()

  test('come in by an invitation, for its uses and its time', async () => {
    const { membership, pass, load } = await openMembership()
    await membership.addInvite('ticket', { uses: 2, expiresMs: 2000, labels: {} })
    await membership.admit('ticket', 'one')
    await membership.admit('ticket', 'one')
    assert.ok(membership.isInvitation('ticket'), 'a key that is a member already spends nothing')
    await membership.admit('ticket', 'two')
    assert.ok(!membership.isInvitation('ticket'))
    await assert.rejects(membership.admit('ticket', 'three'), isCode('TICKET_SPENT'))
    await membership.addInvite('late', { uses: 1, expiresMs: 2000, labels: {} })
    pass(1000)
    assert.ok(!membership.isInvitation('late'))
    membership.expire()
    assert.deepEqual(
      (await load()).members().map(({ peerId }) => peerId),
      ['one', 'two'],
    )
  })

  test('an invitation that is dead is known for a while, as what it is, and not for ever', async () => {
    const { membership, pass, load, disk } = await openMembership()
    const order = { uses: 1, expiresMs: 2000, labels: {} }
    await membership.addInvite('spent', order)
    await membership.addInvite('late', order)
    await membership.admit('spent', 'one')
    pass(1000)
    membership.expire()
    const again = await load()
    for (const each of [membership, again]) {
      assert.equal(each.refusalOf('spent'), 'TICKET_SPENT')
      assert.equal(each.refusalOf('late'), 'TICKET_EXPIRED')
      assert.equal(each.refusalOf('stranger'), 'NOT_A_MEMBER')
      assert.ok(!each.isInvitation('spent') && !each.isInvitation('late'))
    }
    await assert.rejects(again.admit('spent', 'two'), isCode('TICKET_SPENT'))
    await assert.rejects(again.admit('late', 'two'), isCode('TICKET_EXPIRED'))
    for (let n = 0; n < limits.invitesKeptMax; n += 1) {
      await membership.addInvite(`later-${n}`, { ...order, expiresMs: 2001 + n })
    }
    pass(limits.invitesKeptMax + 1)
    membership.expire()
    assert.equal(disk.keys('invite').length, limits.invitesKeptMax)
    assert.equal(membership.refusalOf('late'), 'NOT_A_MEMBER', 'the oldest went first')
    pass(limits.inviteKeptMs)
    membership.expire()
    assert.deepEqual(disk.keys('invite'), [])
  })

  test('get names of their hosts, made unique, and stay drained across a restart', async () => {
    const { membership, load } = await openMembership()
    await membership.addInvite('ticket', { uses: 2, expiresMs: 2000, labels: {} })
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

  test('have their invitation’s labels over their own, across a restart', async () => {
    const { membership, load } = await openMembership()
    const labels = { zone: 'eu' }
    await membership.addInvite('ticket', { uses: 2, expiresMs: 2000, labels })
    const loaded = await load()
    await loaded.admit('ticket', 'peer-one')
    const said = { ...facts, labels: { zone: 'us', disk: 'ssd' } }
    assert.deepEqual(loaded.introduce('peer-one', said).labels, { zone: 'eu', disk: 'ssd' })
    const again = await load()
    assert.deepEqual(again.get('peer-one')?.facts?.labels, { zone: 'eu', disk: 'ssd' })
    // What it says no more is gone; what the operator said stays.
    assert.deepEqual(again.introduce('peer-one', { ...facts, labels: {} }).labels, labels)
  })
})
