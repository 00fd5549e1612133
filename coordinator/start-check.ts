/**
 * What a start can be refused for is found here, before anything is made: a wrong flag must not leave
 * a state folder, which `hyper restore` would not take the place of.
 */

import { readdir, readFile } from 'node:fs/promises'
import type { CoordinatorConfig } from '../protocol/daemon.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { checkMeshAddress } from '../protocol/mesh/mesh-address.ts'
import { tryMesh } from '../protocol/mesh/node.ts'
import { checkKeys, type TlsKeys, tryListening } from './gateway/listener.ts'
import { checkExposure } from './gateway/server.ts'

const readTls = async ({ tls }: CoordinatorConfig): Promise<TlsKeys | null> => {
  if (tls === null) return null
  const read = (flag: string, path: string): Promise<Buffer> =>
    readFile(path).catch((cause: unknown) => {
      throw new HyperError('BAD_PARAMETER', `${flag}: cannot be read: ${messageOf(cause)}`)
    })
  const keys = {
    cert: await read('--tls-cert', tls.certPath),
    key: await read('--tls-key', tls.keyPath),
  }
  checkKeys(keys)
  return keys
}

/** Whether there is nothing yet that a refused start could leave behind. */
const isNew = async (home: string): Promise<boolean> =>
  (await readdir(home).catch(() => [])).length === 0

/**
 * Gives the TLS keys that were read. At a first start the addresses are tried as well; later ones are
 * told by the start itself, which finds first whether another process has this very state.
 *
 * Throws BAD_PARAMETER, NOT_LOOPBACK, ADDRESS_IN_USE.
 */
export const checkStart = async (config: CoordinatorConfig): Promise<TlsKeys | null> => {
  const { home, listenHost, listenPort, insecure, mesh, announce } = config
  for (const address of mesh) checkMeshAddress('--mesh', address)
  for (const address of announce) checkMeshAddress('--announce', address)
  const tls = await readTls(config)
  checkExposure({ listenHost, tls, insecure })
  if (await isNew(home)) {
    await tryListening(listenHost, listenPort)
    await tryMesh(mesh)
  }
  return tls
}
