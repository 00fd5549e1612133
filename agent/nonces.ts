/**
 * The two nonces of a container: they prove that header and trailer were written by hyper-init.
 * Each derives from the agent's secret and the container's id, so that a restarted agent knows
 * them again, and neither tells of the other (a child can read the header from its own pipe).
 */

import { createHmac, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HyperError, isMissing } from '../protocol/errors.ts'
import { writePrivateFile } from '../protocol/private-file.ts'

const SECRET_BYTES = 32
const NONCE_BYTES = 16

export interface Nonces {
  readonly headerNonce: Uint8Array
  readonly trailerNonce: Uint8Array
}

export type DeriveNonces = (containerId: string) => Nonces

export const createNonces = (secret: Uint8Array): DeriveNonces => {
  const derive = (what: string, containerId: string): Uint8Array =>
    createHmac('sha256', secret).update(`${what}:${containerId}`).digest().subarray(0, NONCE_BYTES)
  return (containerId) => ({
    headerNonce: derive('header', containerId),
    trailerNonce: derive('trailer', containerId),
  })
}

const readSecret = async (path: string): Promise<Uint8Array | null> => {
  try {
    const secret = await readFile(path)
    if (secret.byteLength === SECRET_BYTES) return secret
    throw new HyperError('STATE_DAMAGED', `${path} is not ${SECRET_BYTES} bytes long`)
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

/** The agent's secret in `home`, which is locked by then: made at the first time, by one process. */
export const loadSecret = async (home: string): Promise<Uint8Array> => {
  const path = join(home, 'secret')
  const present = await readSecret(path)
  if (present !== null) return present
  const secret = randomBytes(SECRET_BYTES)
  await writePrivateFile(path, secret)
  return secret
}
