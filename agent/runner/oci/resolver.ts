/**
 * The resolv.conf of networked containers: the host's, without resolvers that only the host itself
 * reaches, and those by IPv6, which containers do not have; those behind systemd's where none is left;
 * else public ones, as Docker does.
 */

import { readFile } from 'node:fs/promises'

const FILES = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf']
const PUBLIC = 'nameserver 8.8.8.8\nnameserver 8.8.4.4\n'
const UNREACHED = /^\s*nameserver\s+(127\.|\S*:)/
const SERVER = /^\s*nameserver\s/m

/** Of the texts of such files, in the order in which they are asked. Pure. */
export const resolverOf = (texts: readonly string[]): string => {
  for (const text of texts) {
    const kept = text.split('\n').filter((line) => !UNREACHED.test(line))
    if (SERVER.test(kept.join('\n'))) return kept.join('\n')
  }
  return PUBLIC
}

export const readResolver = async (): Promise<string> =>
  resolverOf(await Promise.all(FILES.map((path) => readFile(path, 'utf8').catch(() => ''))))
