/**
 * A daemon's identity: one Ed25519 key in a file of its state folder. Its peer id is what the
 * coordinator's list of members holds, so losing the file means to join anew. The file is 0600, in
 * a folder 0700, and appears whole or not at all. A damaged one is never replaced silently.
 */

import { randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { HyperError, messageOf } from '../errors.ts'
import { decodeCheckedText, encodeCheckedText } from './checked-text.ts'

export const loadOrCreateIdentity = async (path: string): Promise<PrivateKey> => {
  const text = await readText(path)
  if (text !== null) return parseKeyText(text, path)
  const key = await generateKeyPair('Ed25519')
  await writeWhole(path, `${encodeCheckedText(privateKeyToProtobuf(key))}\n`)
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

const writeWhole = async (path: string, text: string): Promise<void> => {
  const folder = dirname(path)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const temporary = `${path}.${randomUUID()}`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(folder)
}

/** Only with its folder synced does a renamed file survive a power loss. */
const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
