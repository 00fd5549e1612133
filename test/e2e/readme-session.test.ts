/**
 * The README's tutorial, executed: its own text, typed into a shell, against real processes, a real
 * engine and a real registry. What the text calls CALLID is the id that the call before printed.
 */

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { type Deployment, environmentFor, startDeployment } from '../support/deployment.ts'
import { findConvert } from '../support/images.ts'

const run = promisify(execFile)
const README = new URL('../../README.md', import.meta.url)
const MAIN = new URL('../../cli/main.ts', import.meta.url).pathname

let deployment: Deployment
let folder: string

before(async () => {
  deployment = await startDeployment()
  folder = await mkdtemp(join(tmpdir(), 'tutorial-'))
  await mkdir(join(folder, 'bin'))
  const hyper = join(folder, 'bin/hyper')
  await writeFile(hyper, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`)
  await chmod(hyper, 0o755)
})

after(async () => {
  await deployment.stop()
  await rm(folder, { recursive: true, force: true })
})

/** The commands of each block after a `<!-- tutorial -->` mark. */
const tutorialBlocks = (text: string): string[][] =>
  text
    .split('<!-- tutorial -->\n')
    .slice(1)
    .map((rest) => {
      const lines = rest.split('\n')
      const end = lines.findIndex((line) => !line.startsWith('    '))
      return lines.slice(0, end).map((line) => line.trim())
    })

/** Runs one line as a user's shell does. */
const type = (line: string): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise((resolve, reject) => {
    const path = `${join(folder, 'bin')}:${process.env.PATH ?? ''}`
    const shell = spawn('sh', ['-c', line], {
      cwd: folder,
      env: { ...environmentFor(deployment.home), PATH: path },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    shell.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
    })
    shell.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    shell.once('error', reject)
    shell.once('close', (code) => resolve({ code: code ?? -1, stdout, stderr }))
  })

const succeed = async (line: string): Promise<string> => {
  const { code, stdout, stderr } = await type(line)
  assert.equal(code, 0, `${line}\n${stderr}`)
  return stdout
}

const callIdIn = (text: string): string => {
  const [, id] = /^CallId: ([0-9a-f-]{36})\n$/.exec(text) ?? []
  assert.ok(id !== undefined, `no CallId in ${JSON.stringify(text)}`)
  return id
}

test('the tutorial of the README does what it says', async () => {
  const [first = [], second = [], third = []] = tutorialBlocks(await readFile(README, 'utf8'))
  const [pull = '', create = '', call = '', callWithInput = '', logs = ''] = first
  assert.equal(pull, 'hyper pull ubuntu')
  await succeed(pull)
  const { endpoint } = deployment.context
  assert.match(
    await succeed(create),
    new RegExp(
      `^helloworld is created with the address of ${endpoint}/call/helloworld/[0-9a-f-]{36}\n$`,
    ),
  )
  const callIds = [callIdIn(await succeed(call)), callIdIn(await succeed(callWithInput))]

  const [get = '', remove = ''] = second
  for (const id of callIds) {
    assert.equal(await succeed(get.replace('CALLID', id)), 'HelloWorld\n')
  }
  const lines = (await succeed(logs)).split('\n')
  for (const [index, id] of callIds.entries()) {
    const own = lines.filter((line) => line.includes(id)).map((line) => line.replace(/^\S+ /, ''))
    assert.deepEqual(own, [
      `[CALL] CallId: ${id}, ShortStdin: ${index === 0 ? '' : 'Hello'}`,
      `[PENDING] CallId: ${id}`,
      `[RUNNING] CallId: ${id}`,
      `[FINISHED] CallId: ${id}, ShortStdout: HelloWorld, ShortStderr: `,
    ])
  }
  assert.equal(await succeed(remove), 'helloworld\n')

  const convert = await findConvert()
  assert.ok(convert !== undefined, 'ImageMagick is here')
  await run(convert, ['-size', '640x480', 'plasma:blue-red', 'picture.jpg'], { cwd: folder })
  for (const line of third) await succeed(line)
  const small = await readFile(join(folder, 'picture_small.jpg'))
  assert.deepEqual([...small.subarray(0, 3)], [0xff, 0xd8, 0xff], 'a JPEG')
  await run(convert, ['picture.jpg', '-resize', '50%', 'local.jpg'], { cwd: folder })
  assert.ok(small.equals(await readFile(join(folder, 'local.jpg'))), 'as ImageMagick does it here')
})
