/**
 * A whole coordinator in the test's process, on a state folder and free ports, and members that the
 * test plays over its real mesh: they say what a test wants and run nothing.
 */

import { readFile } from 'node:fs/promises'
import type { TestContext } from 'node:test'
import type { PrivateKey } from '@libp2p/interface'
import { type Client, createClient } from '../../client/client.ts'
import { startCoordinator } from '../../coordinator/coordinator.ts'
import { parseClientConfig } from '../../protocol/client-config.ts'
import type { CoordinatorConfig } from '../../protocol/daemon.ts'
import { type AgentChannel, openAgentChannel } from '../../protocol/mesh/agent-channel.ts'
import { enrol } from '../../protocol/mesh/enrolment.ts'
import { startAgentNode } from '../../protocol/mesh/node.ts'
import { decodeTicket } from '../../protocol/mesh/ticket.ts'
import type { CoordinatorMessage, Hello } from '../../protocol/messages.ts'
import { makeHello } from './ledger-words.ts'
import { newKey, quiet } from './mesh.ts'

export const configFor = (folder: string): CoordinatorConfig => ({
  home: `${folder}/coordinator`,
  clientConfigPath: `${folder}/client.json`,
  ...{ listenHost: '127.0.0.1', listenPort: 0, insecure: false, tls: null, publicUrl: null },
  ...{ mesh: ['/ip4/127.0.0.1/tcp/0'], announce: [], quota: 10 },
  ...{ raiseEpoch: false, acceptDataLoss: false, drainMs: 0, logFormat: 'json' },
})

export interface TestCoordinator {
  readonly url: string
  readonly client: Client
  readonly token: string
  readonly peerId: string
  readonly mesh: readonly string[]
  /** A key that is on its list. */
  readonly enrol: (labels?: Readonly<Record<string, string>>) => Promise<PrivateKey>
  readonly stop: () => Promise<void>
}

export const startTestCoordinator = async (
  t: TestContext,
  folder: string,
  over: Partial<CoordinatorConfig> = {},
): Promise<TestCoordinator> => {
  // It logs by itself; a test's output is its assertions.
  process.env.HYPER_LOG_LEVEL ??= 'silent'
  const config = { ...configFor(folder), ...over }
  const { ready, stop: stopOnce } = await startCoordinator(config)
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopped ??= stopOnce()
    return stopped
  }
  t.after(stop)
  const path = config.clientConfigPath
  const { token = '' } =
    parseClientConfig(await readFile(path, 'utf8'), path).contexts.default ?? {}
  const client = createClient({ endpoint: ready.url, token })
  return {
    ...{ url: ready.url, client, token, peerId: ready.peerId, mesh: ready.mesh, stop },
    async enrol(labels = {}) {
      const key = await newKey()
      const { ticket } = await client.invite({ uses: 1, expiresMs: 60_000, labels })
      await enrol({ ticket: decodeTicket(ticket), key, log: quiet })
      return key
    },
  }
}

/** Connects as a member and says hello; what the coordinator answers first. */
export const sayHello = async (
  t: TestContext,
  { peerId, mesh }: Pick<TestCoordinator, 'peerId' | 'mesh'>,
  key: PrivateKey,
  over: Partial<Hello> = {},
): Promise<{ channel: AgentChannel; answer: CoordinatorMessage }> => {
  const node = await startAgentNode({ key, coordinator: peerId, addresses: mesh, log: quiet })
  t.after(() => node.stop())
  const channel = await openAgentChannel(node)
  await channel.send(makeHello(over))
  const first = await channel.messages.next()
  if (first.done === true) throw new Error('the coordinator closed the channel')
  return { channel, answer: first.value }
}
