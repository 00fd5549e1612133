import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { buildEnvironment, type EnvironmentSource } from '../../protocol/environment.ts'
import { HyperError } from '../../protocol/errors.ts'
import { anyCharacter } from '../support/any-character.ts'

const build = (source: Partial<EnvironmentSource>) =>
  buildEnvironment({
    method: 'POST',
    queryString: '',
    headers: [],
    funcEnv: [],
    labels: {},
    ...source,
  })

const isTooLarge = (error: unknown): boolean =>
  error instanceof HyperError && error.code === 'HEADERS_TOO_LARGE'

test('a request becomes the variables of CGI', () => {
  const { environment, note } = build({
    queryString: 'a=1&b=%20',
    headers: [
      ['Host', 'h'],
      ['X-Size-Max', '3'],
      ['Content-Type', 'text/plain'],
      ['Content-Length', '2'],
    ],
  })
  assert.deepEqual(environment, [
    'HTTP_HOST=h',
    'HTTP_X_SIZE_MAX=3',
    'HTTP_CONTENT_TYPE=text/plain',
    'HTTP_CONTENT_LENGTH=2',
    'REQUEST_METHOD=POST',
    'QUERY_STRING=a=1&b=%20',
    'CONTENT_TYPE=text/plain',
    'CONTENT_LENGTH=2',
  ])
  assert.equal(note, '')
})

test("the function's own variables win over those of the request", () => {
  const { environment } = build({
    headers: [['X-A', 'theirs']],
    funcEnv: ['HTTP_X_A=mine', 'REQUEST_METHOD=NONE', 'A=b=c'],
  })
  assert.deepEqual(environment, ['HTTP_X_A=mine', 'REQUEST_METHOD=NONE', 'QUERY_STRING=', 'A=b=c'])
})

test('Proxy, hop-by-hop headers and credentials are not passed on', () => {
  const { environment, note } = build({
    headers: [
      ['Proxy', 'http://evil'],
      ['Connection', 'keep-alive, X-Hop'],
      ['X-Hop', '1'],
      ['Transfer-Encoding', 'chunked'],
      ['Authorization', 'Bearer t'],
      ['Cookie', 'c=1'],
    ],
  })
  assert.deepEqual(environment, ['REQUEST_METHOD=POST', 'QUERY_STRING='])
  assert.equal(note, '')
})

test('a function gets the credentials that its label asks for, and no Proxy', () => {
  const { environment } = build({
    headers: [
      ['authorization', 'Bearer t'],
      ['Cookie', 'c=1'],
      ['Proxy', 'http://evil'],
    ],
    labels: { 'hyper.headers': 'Authorization, proxy' },
  })
  assert.deepEqual(environment.slice(0, 1), ['HTTP_AUTHORIZATION=Bearer t'])
  assert.equal(environment.length, 3)
})

test('names out of the alphabet and values with NUL are dropped and noted', () => {
  const { environment, note } = build({
    headers: [
      ['Foo_Bar', '1'],
      ['X-A', 'a\0b'],
    ],
  })
  assert.equal(environment.length, 2)
  assert.equal(note, 'dropped headers: "Foo_Bar", "X-A"')
})

test('headers that map to one name are joined', () => {
  const { environment } = build({
    headers: [
      ['X-A', '1'],
      ['x-a', '2'],
    ],
  })
  assert.equal(environment[0], 'HTTP_X_A=1, 2')
})

test('headers over 16 KB and environments over 64 KB are refused', () => {
  const name = 'X-A'
  const room = 16_384 - name.length - 4
  build({ headers: [[name, 'v'.repeat(room)]] })
  assert.throws(() => build({ headers: [[name, 'v'.repeat(room + 1)]] }), isTooLarge)
  const own = 'REQUEST_METHOD=POST'.length + 1 + 'QUERY_STRING='.length + 1
  const fits = 65_536 - own - 'A='.length - 1
  build({ funcEnv: [`A=${'v'.repeat(fits)}`] })
  assert.throws(() => build({ funcEnv: [`A=${'v'.repeat(fits + 1)}`] }), isTooLarge)
  assert.throws(() => build({ funcEnv: [`A=${'v'.repeat(fits)}`], imageEnv: ['B='] }), isTooLarge)
})

test('no header can set a variable outside HTTP_*, or HTTP_PROXY', () => {
  const name = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.constantFrom('PATH', 'LD-PRELOAD', 'Proxy', 'proxy', 'P_ROXY', '', 'A=B', 'X-HTTP'),
  )
  const pairs = fc.array(fc.tuple(name, fc.string({ unit: anyCharacter, maxLength: 40 })), {
    maxLength: 20,
  })
  const fixed = new Set(['REQUEST_METHOD', 'QUERY_STRING', 'CONTENT_TYPE', 'CONTENT_LENGTH'])
  fc.assert(
    fc.property(pairs, fc.string({ maxLength: 20 }), (headers, asked) => {
      const { environment } = build({
        headers,
        funcEnv: ['PATH=/bin'],
        labels: { 'hyper.headers': asked },
      })
      const names = environment.map((entry) => entry.slice(0, entry.indexOf('=')))
      assert.equal(new Set(names).size, names.length)
      assert.ok(environment.includes('PATH=/bin'))
      assert.ok(environment.includes('REQUEST_METHOD=POST'))
      assert.ok(environment.every((entry) => !entry.includes('\0')))
      for (const one of names) {
        assert.ok(one === 'PATH' || fixed.has(one) || /^HTTP_[A-Z0-9_]+$/.test(one), one)
        assert.notEqual(one, 'HTTP_PROXY')
      }
    }),
  )
})
