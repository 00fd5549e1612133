import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ERRORS } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
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

const LINES_MAX = 300

/** The build compiles hyper-init with the agent's own means. */
const EXCEPTIONS = ['cli/setup/build.ts → agent/init/build.ts']

/** Types and values: an import, an export from, an import() of a literal. */
const IMPORT = /\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g

const importsOf = async (path: string): Promise<string[]> =>
  [...(await readFile(join(root, path), 'utf8')).matchAll(IMPORT)].map(([, name = '']) => name)

const filesOf = async (...rooms: readonly string[]): Promise<string[]> => {
  const files: string[] = []
  for (const room of rooms) {
    const entries = await readdir(join(root, room), { recursive: true })
    files.push(...entries.filter((name) => name.endsWith('.ts')).map((name) => join(room, name)))
  }
  return files
}

const filesOfProgram = (): Promise<string[]> => filesOf(...Object.keys(ROOMS))

const textOf = async (files: readonly string[], but: string): Promise<string> => {
  const read = files.filter((file) => file !== but)
  const texts = await Promise.all(read.map((file) => readFile(join(root, file), 'utf8')))
  return texts.join('\n')
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

  test('the words of protocol do no I/O, but in mesh/ and private-file.ts', async () => {
    const libraries = ['typebox', 'typebox/schema', '@ipld/dag-cbor', 'cborg']
    const pure = [...libraries, 'node:crypto', 'node:zlib']
    const found: string[] = []
    for (const file of await filesOf('protocol')) {
      if (file.startsWith('protocol/mesh/') || file === 'protocol/private-file.ts') continue
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

  test('every bound of the table is used by the program', async () => {
    const program = await textOf(await filesOfProgram(), 'protocol/limits.ts')
    const unused = Object.keys(limits).filter(
      (name) => !new RegExp(`\\blimits\\.${name}\\b`).test(program),
    )
    assert.deepEqual(unused, [])
  })

  test('every error of the table can happen in the program', async () => {
    const program = await textOf(await filesOfProgram(), 'protocol/errors.ts')
    const unused = Object.keys(ERRORS).filter((code) => !program.includes(`'${code}'`))
    assert.deepEqual(unused, [])
  })

  test('a file of code has under 300 lines', async () => {
    const long: string[] = []
    for (const file of [...(await filesOfProgram()), ...(await filesOf('bench', 'test'))]) {
      // A table has as many lines as rows.
      if (['protocol/errors.ts', 'protocol/limits.ts'].includes(file)) continue
      const lines = (await readFile(join(root, file), 'utf8')).split('\n').length - 1
      if (lines >= LINES_MAX) long.push(`${file}: ${lines}`)
    }
    assert.deepEqual(long, [])
  })

  test('a comment that cites ARCHITECTURE.md cites a heading of it', async () => {
    const document = await readFile(join(root, 'ARCHITECTURE.md'), 'utf8')
    const headings = [...document.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading)
    const files = [...(await filesOfProgram()), 'agent/init/hyper-init.c']
    for (const file of files) {
      const comments = (await readFile(join(root, file), 'utf8')).replace(/\n\s*(\*|\/\/) ?/g, ' ')
      for (const [, cited = ''] of comments.matchAll(/\(see ([^()]*?) in ARCHITECTURE\.md\)/g)) {
        assert.ok(headings.includes(cited), `${file} cites ${cited}`)
      }
    }
  })

  test('the version is the package’s own', async () => {
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    assert.equal(VERSION, version)
  })
})
