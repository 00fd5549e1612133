import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { VERSION } from '../../protocol/version.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Which other rooms a room may import. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  daemon: ['protocol'],
  agent: ['protocol', 'daemon'],
  coordinator: ['protocol', 'daemon'],
  client: ['protocol'],
  cli: ['client', 'protocol'],
}

/** The build compiles hyper-init with the agent's own means. */
const EXCEPTIONS = ['cli/setup/build.ts → agent/init/build.ts']

/** Types and values: an import, an export from, an import() of a literal. */
const IMPORT = /\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g

const importsOf = async (path: string): Promise<string[]> =>
  [...(await readFile(join(root, path), 'utf8')).matchAll(IMPORT)].map(([, name = '']) => name)

const filesOf = async (room: string): Promise<string[]> => {
  const entries = await readdir(join(root, room), { recursive: true })
  return entries.filter((name) => name.endsWith('.ts')).map((name) => join(room, name))
}

describe('the house', () => {
  for (const [room, allowed] of Object.entries(ROOMS)) {
    test(`${room} imports no other rooms than ${allowed.join(', ') || 'itself'}`, async () => {
      const files = await filesOf(room)
      assert.ok(files.length > 0)
      const forbidden: string[] = []
      for (const file of files) {
        for (const name of await importsOf(file)) {
          if (!name.startsWith('.')) continue
          const target = relative(root, join(root, dirname(file), name))
          const [into = ''] = target.split('/')
          const way = `${file} → ${target}`
          if (into !== room && !allowed.includes(into) && !EXCEPTIONS.includes(way)) {
            forbidden.push(way)
          }
        }
      }
      assert.deepEqual(forbidden, [])
    })
  }

  test('the words of protocol need no package that does I/O, but in mesh/', async () => {
    const pure = ['typebox', 'typebox/compile', '@ipld/dag-cbor']
    const found: string[] = []
    for (const file of await filesOf('protocol')) {
      if (file.startsWith('protocol/mesh/')) continue
      for (const name of await importsOf(file)) {
        if (!name.startsWith('.') && !pure.includes(name)) found.push(`${file} → ${name}`)
      }
    }
    assert.deepEqual(found, [])
  })

  test('the mesh takes no more than the type of a log from pino', async () => {
    for (const file of await filesOf('protocol')) {
      const text = await readFile(join(root, file), 'utf8')
      const lines = text.split('\n').filter((line) => line.includes("'pino'"))
      for (const line of lines) assert.match(line, /^import type \{ Logger( as Log)? \} from/, file)
    }
  })

  test('the pure rooms of the ledger have no clock, no randomness and no I/O', async () => {
    for (const file of await filesOf('coordinator/ledger')) {
      const text = await readFile(join(root, file), 'utf8')
      assert.doesNotMatch(
        text,
        /Date\.|performance\.|Math\.random|randomUUID|node:|Promise|async /,
        file,
      )
    }
  })

  test('the version is the package’s own', async () => {
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    assert.equal(VERSION, version)
  })
})
