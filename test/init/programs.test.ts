import assert from 'node:assert/strict'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { findPrograms } from '../../agent/init/programs.ts'
import { HyperError } from '../../protocol/errors.ts'
import { builtInit } from '../support/init-builds.ts'
import { exited, runFrame } from '../support/init-process.ts'

const MACHINE_OFFSET = 18
/** IBM's z/Architecture: no test runs there. */
const OTHER_MACHINE = 22

/** A package, and the home of an agent. */
const placeOf = async (context: TestContext) => {
  const folder = await mkdtemp(join(tmpdir(), 'hyper-programs-'))
  context.after(() => rm(folder, { recursive: true, force: true }))
  const [initDir, home] = [join(folder, 'package'), join(folder, 'home')]
  await mkdir(initDir)
  await mkdir(home)
  const packaged = join(initDir, 'hyper-init')
  await copyFile(await builtInit(), packaged)
  const told: string[] = []
  return {
    ...{ initDir, home, told, progress: (message: string) => void told.push(message) },
    async makeForeign(): Promise<void> {
      const program = await readFile(packaged)
      program.writeUInt16LE(OTHER_MACHINE, MACHINE_OFFSET)
      await writeFile(packaged, program)
    },
  }
}

describe('the programs of a package', () => {
  test('are taken as they are on a machine like the one that made it', async (t) => {
    const place = await placeOf(t)
    assert.equal(await findPrograms(place), place.initDir)
    assert.deepEqual([await readdir(place.home), place.told], [[], []])
  })

  test('are compiled for a machine of another kind, and run there', async (t) => {
    const place = await placeOf(t)
    await place.makeForeign()
    const dir = await findPrograms(place)
    assert.match(place.told.join(), /compiling hyper-init/)
    assert.deepEqual((await readdir(dir)).toSorted(), ['hello', 'hyper-init', 'hyper-keeper'])
    const { text, stdout } = await runFrame(join(dir, 'hyper-init'), { argv: [join(dir, 'hello')] })
    assert.deepEqual([text, stdout.trailer], ['Hello from Hyper Func!\n', exited(0)])
  })

  test('without a compiler are told to need one', async (t) => {
    const place = await placeOf(t)
    await place.makeForeign()
    const failed = findPrograms({ ...place, cc: 'no-such-compiler' })
    await assert.rejects(failed, (error) => {
      assert.ok(error instanceof HyperError)
      assert.equal(error.code, 'ENGINE_UNSUITABLE')
      assert.match(error.message, /not for \w+,.*no-such-compiler.*apt-get install gcc/)
      return true
    })
  })

  test('that are missing are left to be named as missing', async (t) => {
    const place = await placeOf(t)
    await rm(join(place.initDir, 'hyper-init'))
    assert.equal(await findPrograms(place), place.initDir)
  })
})
