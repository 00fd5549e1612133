/**
 * The store as it was at one moment, read while writes go on: rows page by page, and bodies wherever
 * they lie. Files that are dropped meanwhile stay until the snapshot is closed (store.ts). It pins
 * what LevelDB would let go of, so whoever opens one closes it soon. It ends with a reopening of the
 * drive: its reads throw then.
 */

import { blobFileName, checkFile, decodeInline } from './bodies.ts'
import type { Drive, DriveSnapshot } from './drive.ts'
import { readPages } from './pages.ts'
import { decodeRow } from './row-form.ts'
import { BODIES, type BodyKind, SCHEMA_ROW, type Sublevel } from './tables.ts'

interface StoredBody {
  readonly kind: BodyKind
  readonly key: string
  readonly bytes: Uint8Array
}

export interface StoreSnapshot {
  /** Without the store's own row of the schema. */
  rows(sublevel: Sublevel): AsyncGenerator<readonly (readonly [string, unknown])[]>
  bodies(): AsyncGenerator<StoredBody>
  close(): Promise<void>
}

const isKind = (text: string): text is BodyKind => BODIES.some((kind) => kind === text)

export const readSnapshot = (
  snapshot: DriveSnapshot,
  drive: Pick<Drive, 'readFile'>,
  onClose: () => void,
): StoreSnapshot => {
  let closed: Promise<void> | undefined

  async function* inlineBodies(): AsyncGenerator<StoredBody> {
    for (const kind of BODIES) {
      for await (const page of readPages(snapshot.page, kind)) {
        for (const [key, sealed] of page) {
          yield { kind, key, bytes: decodeInline(sealed, `${kind}/${key}`) }
        }
      }
    }
  }

  async function* fileBodies(): AsyncGenerator<StoredBody> {
    for await (const page of readPages(snapshot.page, 'blob')) {
      for (const [blob, sealed] of page) {
        const [kind = ''] = blob.split('/')
        if (!isKind(kind)) continue
        const bytes = await drive.readFile(blobFileName(blob, sealed))
        yield { kind, key: blob.slice(kind.length + 1), bytes: checkFile(bytes, sealed, blob) }
      }
    }
  }

  return {
    async *rows(sublevel) {
      for await (const page of readPages(snapshot.page, sublevel)) {
        const own = page.filter(([key]) => sublevel !== SCHEMA_ROW.table || key !== SCHEMA_ROW.key)
        yield own.map(([key, sealed]) => [key, decodeRow(sealed, `${sublevel}/${key}`)] as const)
      }
    },
    async *bodies() {
      yield* inlineBodies()
      yield* fileBodies()
    },
    close() {
      closed ??= snapshot.close().finally(onClose)
      return closed
    },
  }
}
