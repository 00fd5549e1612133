/**
 * A daemon's identity: one Ed25519 key in a file of its state folder. Its peer id is what agents
 * know their coordinator by, and what its list of members holds. Whether one that is not there may be
 * made is decided by the daemon, which knows whether there was one: losing it means to join anew.
 */

import { readFile } from 'node:fs/promises'
import {
  generateKeyPair,
  generateKeyPairFromSeed,
  privateKeyFromProtobuf,
  privateKeyToProtobuf,
} from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey, PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { HyperError, isMissing, messageOf } from '../errors.ts'
import { writePrivateFile } from '../private-file.ts'
import { decodeCheckedText, encodeCheckedText } from './checked-text.ts'

/** Null where there is none. Throws STATE_DAMAGED, and DISK_FAILED where it cannot be read. */
export const readIdentity = async (path: string): Promise<PrivateKey | null> => {
  const text = await readText(path)
  return text === null ? null : parseKeyText(text, path)
}

/** Makes a new one in place of what is there; durable when it resolves (private-file.ts). */
export const createIdentity = async (path: string): Promise<PrivateKey> => {
  const key = await generateKeyPair('Ed25519')
  await writePrivateFile(path, `${encodeCheckedText(privateKeyToProtobuf(key))}\n`)
  return key
}

/** A fresh key for one purpose: to enrol another. Its peer id goes on the list, it into a ticket. */
export const createInvitation = async (): Promise<{ peerId: string; key: Uint8Array }> => {
  const key = await generateKeyPair('Ed25519')
  return { peerId: peerIdFromPrivateKey(key).toString(), key: invitationKeyBytes(key) }
}

/** The 32 bytes that an Ed25519 key is made of; its public half, which `raw` has too, follows. */
export const invitationKeyBytes = ({ raw }: Ed25519PrivateKey): Uint8Array => raw.slice(0, 32)

/** The key of those bytes. */
export const invitationKey = (bytes: Uint8Array): Promise<PrivateKey> =>
  generateKeyPairFromSeed('Ed25519', bytes)

/** Null where the bytes are no Ed25519 key. */
export const parsePrivateKey = (bytes: Uint8Array): Ed25519PrivateKey | null => {
  try {
    const key = privateKeyFromProtobuf(bytes)
    return key.type === 'Ed25519' ? key : null
  } catch {
    return null
  }
}

const parseKeyText = (text: string, path: string): PrivateKey => {
  const bytes = decodeCheckedText(text.trim())
  const key = bytes === null ? null : parsePrivateKey(bytes)
  if (key === null) throw new HyperError('STATE_DAMAGED', `the key in ${path} is damaged`)
  return key
}

const readText = async (path: string): Promise<string | null> => {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isMissing(error)) return null
    const message = `the key in ${path} cannot be read: ${messageOf(error)}`
    throw new HyperError('DISK_FAILED', message, { cause: error })
  }
}
