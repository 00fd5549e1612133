/** A whole agent in the test’s process, and a coordinator that the test plays, over a real mesh. */

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { startAgent } from '../../agent/agent.ts'
import type { Running } from '../../daemon/lifecycle.ts'
import type { Advert } from '../../protocol/advert.ts'
import type { AgentConfig } from '../../protocol/daemon.ts'
import { onAdvert } from '../../protocol/mesh/adverts.ts'
import type { MemberChannel } from '../../protocol/mesh/agent-channel.ts'
import { handleEnrolment } from '../../protocol/mesh/enrolment.ts'
import { createInvitation } from '../../protocol/mesh/identity.ts'
import { encodeTicket } from '../../protocol/mesh/ticket.ts'
import type { AgentMessage, Hello } from '../../protocol/messages.ts'
import { eventually } from './eventually.ts'
import { startMesh, type TestMesh } from './mesh.ts'

export const EPOCH = 7

/** Answers the newest channel's hello, and collects what else comes. */
export const playCoordinator = async (mesh: TestMesh, number: number) => {
  const channel = await eventually(() => mesh.channels[number - 1], 20_000)
  const first = await channel.messages.next()
  assert.ok(!first.done && first.value.type === 'hello')
  const hello: Hello = first.value
  const heard: AgentMessage[] = []
  await channel.send({
    ...{ type: 'welcome', session: number, epoch: EPOCH, version: 'test', name: 'test' },
    verdicts: hello.outbox.map((key) => ({ key, verdict: 'commit' as const })),
  })
  const listen = async (from: MemberChannel): Promise<void> => {
    for await (const message of from.messages) {
      heard.push(message)
      if (message.type === 'heartbeat') {
        await from.send({ type: 'renewed', session: number, epoch: EPOCH }).catch(() => undefined)
      }
    }
  }
  const listening = listen(channel)
  const message = <T extends AgentMessage['type']>(type: T) =>
    eventually(
      () => heard.find((one): one is Extract<AgentMessage, { type: T }> => one.type === type),
      20_000,
      () => `no ${type} came`,
    )
  return { channel, hello, heard, message, listening }
}

interface Setting {
  readonly mesh: TestMesh
  readonly config: AgentConfig
  readonly adverts: Advert[]
  readonly ticket: () => Promise<string>
}

export const prepareAgent = async (t: TestContext): Promise<Setting> => {
  // The agent logs by itself; a test's output is its assertions.
  process.env.HYPER_LOG_LEVEL ??= 'silent'
  const mesh = await startMesh(t)
  await handleEnrolment(mesh.node, {
    admit: async (_invitation, newPeerId) => {
      mesh.members.add(newPeerId)
      return { name: 'first' }
    },
  })
  const adverts: Advert[] = []
  onAdvert(mesh.node, (_peer, advert) => adverts.push(advert))
  const home = await mkdtemp(join(tmpdir(), 'agent-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  const config: AgentConfig = {
    home,
    initDir: process.env.HYPER_TEST_INIT_DIR ?? '',
    ...{
      ticket: null,
      adHoc: false,
      slots: 4,
      memoryBytes: 2 ** 30,
      ready: 0,
      runner: 'docker',
      labels: { zone: 'a' },
    },
    dockerHost: process.env.HYPER_TEST_DOCKER_HOST ?? '',
    ...{ drainMs: 5000, logFormat: 'json' },
  }
  const ticket = async (): Promise<string> => {
    const { peerId, key } = await createInvitation()
    mesh.invitations.add(peerId)
    const expires = Date.now() + 60_000
    const { node } = mesh
    return encodeTicket({
      ...{ addresses: node.addresses(), coordinator: node.peerId, invitation: key, expires },
    })
  }
  return { mesh, config, adverts, ticket }
}

export const startForTest = (t: TestContext, config: AgentConfig): Promise<Running> => {
  const starting = startAgent(config, () => undefined)
  t.after(async () => {
    const running = await starting.catch(() => null)
    await running?.stop().catch(() => undefined)
  })
  return starting
}
