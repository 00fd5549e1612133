/**
 * Two hosts on one LAN: processes in network namespaces of their own, with a cable between them and
 * no route elsewhere. Each has another network before it, as Docker makes one. The namespaces end
 * with their processes.
 */

import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { privateKeyFromProtobuf } from '@libp2p/crypto/keys'
import { handleAgentChannels, openAgentChannel } from '../../protocol/mesh/agent-channel.ts'
import { type AgentNode, startAgentNode, startCoordinatorNode } from '../../protocol/mesh/node.ts'
import { quiet } from './mesh.ts'

export const lanTest = {
  skip: process.getuid?.() === 0 ? false : 'network namespaces need root',
}

type Order =
  | { readonly do: 'settle'; readonly address: string }
  | { readonly do: 'move'; readonly from: string; readonly to: string }
  | { readonly do: 'coordinate'; readonly key: Uint8Array; readonly port: number }
  | { readonly do: 'join'; readonly key: Uint8Array; readonly coordinator: string }
  | { readonly do: 'connect' }
type Answer = { readonly value: string } | { readonly error: string }

export interface LanHost {
  readonly pid: number
  /** What it answers: an address, or ''. */
  readonly order: (order: Order) => Promise<string>
}

const ip = async (words: string): Promise<void> => {
  await promisify(execFile)('ip', words.split(' '))
}

const startHost = (t: TestContext): LanHost => {
  const child = fork(fileURLToPath(import.meta.url), ['lan-host'], {
    execPath: 'unshare',
    execArgv: ['--net', process.execPath],
    serialization: 'advanced',
  })
  const gone = once(child, 'exit')
  t.after(async () => {
    child.kill('SIGKILL')
    await gone
  })
  return {
    pid: child.pid ?? 0,
    async order(order) {
      child.send(order)
      const [answer]: Answer[] = await Promise.race([
        once(child, 'message'),
        gone.then(() => [{ error: 'the host is gone' }]),
      ])
      if (answer === undefined || 'error' in answer) throw new Error(answer?.error)
      return answer.value
    },
  }
}

/** With the addresses 10.77.0.1 and 10.77.0.2. */
export const startLan = async (t: TestContext): Promise<readonly [LanHost, LanHost]> => {
  const hosts = [startHost(t), startHost(t)] as const
  // A host that answers is in its namespace.
  for (const [at, host] of hosts.entries()) {
    await host.order({ do: 'settle', address: `172.17.0.${at + 1}` })
  }
  const [one, other] = hosts
  await ip(`link add lan netns ${one.pid} type veth peer name lan netns ${other.pid}`)
  for (const [at, host] of hosts.entries()) {
    await host.order({ do: 'move', from: '', to: `10.77.0.${at + 1}` })
  }
  return hosts
}

const serve = (): void => {
  let agent: AgentNode | undefined
  const obey = async (order: Order): Promise<string> => {
    switch (order.do) {
      case 'settle':
        await ip('link set lo up')
        await ip('link add docker0 type veth peer name inside')
        await ip(`addr add ${order.address}/16 dev docker0`)
        await ip('link set docker0 up')
        await ip('link set inside up')
        return ''
      case 'move':
        if (order.from !== '') await ip(`addr del ${order.from}/24 dev lan`)
        await ip(`addr add ${order.to}/24 dev lan`)
        await ip('link set lan up')
        return ''
      case 'coordinate': {
        const node = await startCoordinatorNode({
          key: privateKeyFromProtobuf(order.key),
          listen: [`/ip4/0.0.0.0/tcp/${order.port}`],
          ...{ announce: [], isMember: () => true, isInvitation: () => false, log: quiet },
        })
        await handleAgentChannels(node, () => undefined)
        return ''
      }
      case 'join':
        agent = await startAgentNode({
          ...{ key: privateKeyFromProtobuf(order.key), coordinator: order.coordinator },
          ...{ addresses: [], log: quiet },
        })
        return ''
      case 'connect': {
        if (agent === undefined) throw new Error('it has not joined')
        const channel = await openAgentChannel(agent)
        channel.abort(new Error('enough'))
        return agent.whereabouts.addresses()[0] ?? ''
      }
    }
  }
  process.on('message', (order: Order) => {
    const tell = (answer: Answer): void => void process.send?.(answer)
    obey(order).then(
      (value) => tell({ value }),
      (error: unknown) => tell({ error: String(error) }),
    )
  })
  // A parent that is gone leaves nothing to do.
  process.on('disconnect', () => process.exit(1))
}

if (process.argv[2] === 'lan-host') serve()
