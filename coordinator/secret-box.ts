/**
 * Other people's secrets on the coordinator's disk: sealed with AES-256-GCM under a key that is in a
 * file of its own, so that neither the store nor a backup alone tells them. What a secret is for (its
 * *context*) is sealed with it: one that was moved to another place does not open there.
 *
 *   no key ── the first secret is sealed: the key is on the disk before it ──► key
 *
 * Where the key is lost, or is another one, what was sealed does not open, which is not an error: it
 * is to be given again.
 */

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isMissing } from '../protocol/errors.ts'
import { writePrivateFile } from '../protocol/private-file.ts'

const CIPHER = 'aes-256-gcm'
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16

export interface SecretBox {
  /** As base64. */
  seal(secret: string, context: string): Promise<string>
  /** Null: it was not sealed with this key and for this. */
  open(sealed: string, context: string): string | null
}

const sealWith = (key: Uint8Array, secret: string, context: string): string => {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(context))
  const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64')
}

const openWith = (key: Uint8Array, sealed: string, context: string): string | null => {
  const bytes = Buffer.from(sealed, 'base64')
  const textAt = NONCE_BYTES + TAG_BYTES
  if (bytes.byteLength < textAt) return null
  const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(NONCE_BYTES, textAt))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(textAt)), decipher.final()]).toString()
  } catch {
    return null
  }
}

/** `save` puts a new key where the next start finds it. */
export const createSecretBox = (
  present: Uint8Array | null,
  save: (key: Uint8Array) => Promise<void>,
): SecretBox => {
  let key = present
  let making: Promise<Uint8Array> | null = null

  const make = async (): Promise<Uint8Array> => {
    const made = randomBytes(KEY_BYTES)
    await save(made)
    key = made
    return made
  }
  const keyToSeal = (): Promise<Uint8Array> => {
    making ??= make().finally(() => {
      making = null
    })
    return making
  }

  return {
    seal: async (secret, context) => sealWith(key ?? (await keyToSeal()), secret, context),
    open: (sealed, context) => (key === null ? null : openWith(key, sealed, context)),
  }
}

/** With the key in that file, if there is one. */
export const openSecretBox = async (path: string): Promise<SecretBox> => {
  const present = await readFile(path).catch((error: unknown) => {
    if (isMissing(error)) return null
    throw error
  })
  const isWhole = present?.byteLength === KEY_BYTES
  return createSecretBox(isWhole ? present : null, (key) => writePrivateFile(path, key))
}
