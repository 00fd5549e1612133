/**
 * Another network namespace, reached over one wire on which all traffic is counted: both ways, with
 * the headers of Ethernet, IP and TCP. It ends with the process that holds it.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, readlink } from 'node:fs/promises'
import { eventually } from '../test/support/eventually.ts'
import { run } from '../test/support/program.ts'

export const ADDRESS = '10.77.0.1'
const OTHER_ADDRESS = '10.77.0.2'

export interface Traffic {
  readonly bytes: number
  readonly packets: number
}

export interface Wire {
  /** The /proc path of the namespace at the other end. */
  readonly namespace: string
  traffic(): Promise<Traffic>
  close(): Promise<void>
}

/** Both ways, since the start: receive bytes, packets, and six more; then transmit likewise. */
const readTraffic = async (): Promise<Traffic> => {
  const text = await readFile('/proc/self/net/dev', 'utf8')
  const line = text.split('\n').find((one) => one.trim().startsWith('wire:')) ?? ''
  const fields = line.split(':')[1]?.trim().split(/\s+/).map(Number) ?? []
  const [inBytes = Number.NaN, inPackets = Number.NaN] = fields
  const [outBytes = Number.NaN, outPackets = Number.NaN] = fields.slice(8)
  return { bytes: inBytes + outBytes, packets: inPackets + outPackets }
}

const end = async (holder: ChildProcess): Promise<void> => {
  const isOver = holder.exitCode !== null || holder.signalCode !== null
  holder.kill('SIGKILL')
  if (!isOver) await once(holder, 'exit')
}

/** From this process's own namespace, which must be nobody else's. */
export const layWire = async (): Promise<Wire> => {
  const holder = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', 'unshare', '--net', 'sleep', 'infinity'],
    {
      stdio: 'ignore',
    },
  )
  const namespace = `/proc/${holder.pid}/ns/net`
  try {
    const own = await readlink('/proc/self/ns/net')
    await eventually(async () => (await readlink(namespace).catch(() => own)) !== own)
    const ip = (words: string) => run('ip', words.split(' '))
    const there = (words: string) =>
      run('nsenter', [`--net=${namespace}`, 'ip', ...words.split(' ')])
    await ip('link set lo up')
    await ip(`link add wire type veth peer name wire netns ${holder.pid}`)
    await ip(`addr add ${ADDRESS}/24 dev wire`)
    await ip('link set wire up')
    await there(`addr add ${OTHER_ADDRESS}/24 dev wire`)
    await there('link set wire up')
  } catch (error) {
    await end(holder)
    throw error
  }
  return { namespace, traffic: readTraffic, close: () => end(holder) }
}
