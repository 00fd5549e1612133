/** What the agent makes of its engine's coming, going and changing, and of tries that fail. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { type Engine, startEngine, untilUp } from '../../agent/engine.ts'
import { insist } from '../../agent/insist.ts'
import { createTrial } from '../../agent/trial.ts'
import { eventually } from '../support/eventually.ts'
import { type FakeEngine, startFakeEngine } from '../support/fake-engine.ts'

const log = pino({ level: 'silent' })

const start = async (t: TestContext): Promise<{ fake: FakeEngine; engine: Engine }> => {
  const fake = await startFakeEngine()
  const engine = startEngine(fake.dockerHost)
  t.after(async () => {
    engine.close()
    await fake.close()
  })
  return { fake, engine }
}

test('an engine that was restarted unnoticed is told by its new facts', async (t) => {
  const { fake, engine } = await start(t)
  const heard: (readonly [boolean, number | undefined])[] = []
  engine.onChange((isUp) => heard.push([isUp, engine.facts()?.cpus]))
  await engine.check()
  await engine.check()
  assert.deepEqual(heard, [[true, 2]])
  fake.say({ NCPU: 8, Runtimes: { runc: {}, runsc: {} } })
  await engine.check()
  assert.deepEqual(heard.at(-1), [true, 8])
  assert.deepEqual(engine.facts()?.runtimes, ['runc', 'runsc'])
  // Its operator gave it another fence.
  const SecurityOptions = ['name=seccomp,profile=/etc/own.json']
  fake.say({ NCPU: 8, Runtimes: { runc: {}, runsc: {} }, SecurityOptions })
  await engine.check()
  assert.equal(heard.length, 3)
  fake.say(null)
  await engine.check()
  assert.deepEqual(heard.at(-1), [false, 8])
  assert.equal(heard.length, 4)
})

test('who waits for the engine hears of it at once, and no longer than asked', async (t) => {
  const { fake, engine } = await start(t)
  fake.say(null)
  await engine.check()
  const waiting = untilUp(engine, new AbortController().signal)
  const stop = new AbortController()
  const stopped = assert.rejects(untilUp(engine, stop.signal), /enough/)
  stop.abort(new Error('enough'))
  await stopped
  fake.say({ NCPU: 1, Runtimes: {} })
  assert.equal(await engine.check(), true)
  await waiting
})

test('what a listener throws ends the process, and does not count as an absent engine', async (t) => {
  const { fake } = await start(t)
  const module = new URL('../../agent/engine.ts', import.meta.url).href
  const program = `
    import { startEngine } from '${module}'
    const engine = startEngine('${fake.dockerHost}')
    engine.onChange((isUp) => { throw new Error(\`a bug while up is \${isUp}\`) })
    setTimeout(() => process.exit(0), 10_000)
  `
  const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program])
  await assert.rejects(run, (error: { code?: unknown; stderr?: unknown }) => {
    assert.equal(error.code, 1)
    assert.match(String(error.stderr), /a bug while up is true/)
    return true
  })
})

test('an engine whose trial failed gets no calls, and is tried again until one succeeds', async (t) => {
  const { engine } = await start(t)
  await engine.check()
  let isSuitable = false
  let tries = 0
  const probe = async (): Promise<void> => {
    tries += 1
    if (!isSuitable) throw new Error('noexec')
  }
  const told: string[] = []
  const telling = pino({ level: 'warn' }, { write: (line) => told.push(line) })
  const trial = createTrial({ engine, probe, log: telling, pauseMs: 10 })
  assert.match(trial.unfit(), /not tried/)
  const done = trial.insist(new AbortController().signal)
  await eventually(() => tries > 2)
  assert.equal(trial.unfit(), 'noexec')
  assert.match(told[0] ?? '', /noexec.*no calls are taken/)
  isSuitable = true
  await done
  assert.equal(trial.unfit(), '')
})

test('an act is insisted on until it succeeds, or until nobody wants it any more', async () => {
  let tries = 0
  const act = async (): Promise<number> => {
    tries += 1
    if (tries < 3) throw new Error('not yet')
    return tries
  }
  const stop = new AbortController()
  const { signal } = stop
  assert.equal(await insist({ what: 'act', log, signal, pauseMs: 1 }, act), 3)
  const never = insist({ what: 'act', log, signal, pauseMs: 1 }, async () => {
    throw new Error('never')
  })
  stop.abort(new Error('enough'))
  await assert.rejects(never, /enough|aborted/)
})
