/** Memory of the daemons that one process started. */

import { readdir, readFile } from 'node:fs/promises'

/** The sum of what they hold in memory, in bytes. */
export const residentBytes = async (parent: number): Promise<number> => {
  let bytes = 0
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    if (Number(/^PPid:\s+(\d+)$/m.exec(status)?.[1]) !== parent) continue
    bytes += Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024
  }
  return bytes
}
