/**
 * A daemon's identity: one Ed25519 key in a file of its state folder. Its peer id is what the
 * coordinator's list of members holds, so losing the file means to join anew. It is written as
 * private-file.ts says. A damaged one is never replaced silently.
 */

import { readFile } from 'node:fs/promises'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { HyperError, messageOf } from '../errors.ts'
import { writePrivateFile } from '../private-file.ts'
import { decodeCheckedText, encodeCheckedText } from './checked-text.ts'

export const loadOrCreateIdentity = async (path: string): Promise<PrivateKey> => {
  const text = await readText(path)
  if (text !== null) return parseKeyText(text, path)
  const key = await generateKeyPair('Ed25519')
  await writePrivateFile(path, `${encodeCheckedText(privateKeyToProtobuf(key))}\n`)
  return key
}

/** A fresh key for one purpose: to enrol another. Its peer id goes on the list, it into a ticket. */
export const createInvitation = async (): Promise<{ peerId: string; key: Uint8Array }> => {
  const key = await generateKeyPair('Ed25519')
  return { peerId: peerIdFromPrivateKey(key).toString(), key: privateKeyToProtobuf(key) }
}

/** Null where the bytes are no Ed25519 key. */
export const parsePrivateKey = (bytes: Uint8Array): PrivateKey | null => {
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
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    const message = `the key in ${path} cannot be read: ${messageOf(error)}`
    throw new HyperError('STATE_DAMAGED', message, { cause: error })
  }
}
