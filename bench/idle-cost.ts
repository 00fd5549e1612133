/**
 * What stands ready costs while nothing happens: memory by what the kernel says is available, CPU by
 * the time that hyper-init and the engine's shims use. Of a machine that does nothing else.
 */

import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'

const TICK_MS = 10
const CPU_MS = 5_000

export const availableBytes = async (): Promise<number> => {
  const [, kib] = /^MemAvailable: +(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'utf8')) ?? []
  return Number(kib) * 1024
}

/** CPU time of all waiting containers and their shims so far, in ms. */
const cpuMs = async (): Promise<number> => {
  let ticks = 0
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    const [, command = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? []
    if (!/^(hyper-init|containerd-shim)/.test(command)) continue
    const [user = '0', system = '0'] = rest.split(' ').slice(11, 13)
    ticks += Number(user) + Number(system)
  }
  return ticks * TICK_MS
}

/** Ms of CPU a second. */
export const idleCpu = async (): Promise<number> => {
  const before = await cpuMs()
  await pause(CPU_MS)
  return ((await cpuMs()) - before) / (CPU_MS / 1000)
}
